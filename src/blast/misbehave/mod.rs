//! Clients that break the rules on purpose, beside the sessions whose figures a run is about: what the
//! server makes of them is told apart, and what they do to the others shows in the others' latency.
//!
//! They have a thread of their own, so that the cores of the good sessions spend nothing on them. `kind`
//! says what there is and what a server may answer, `script` what each does, `client` is one connection.

mod client;
mod kind;
mod script;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use self::client::{Caller, End};
pub use self::kind::{Kind, Misbehave, MisbehaveError};
use super::corpus::Corpus;
use super::plan::Plan;
use crate::dial::Target;
use crate::engine::task::{self, JoinSet, Notify};
use crate::engine::{self, Pool, Watch};
use crate::host::CpuTime;
use crate::limits::{LAST_ANSWERS_NS, MISBEHAVIOUR_PAUSE_MS, PROGRESS_MS};
use crate::measure::Misbehaviour;
use crate::smtp::ending::WouldBeEnd;
use crate::smtp::offered::Offered;

/// The thread of those that misbehave.
pub(super) struct Mob {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Vec<Misbehaviour>>>>,
    /// Its number in the kernel.
    tid: Option<i32>,
}

impl Mob {
    /// Begins; without anyone to misbehave nothing is started.
    pub(super) fn begin(plan: &Plan, corpus: &Corpus) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        if plan.misbehave.is_empty() {
            return Ok(Self { stop, thread: None, tid: None });
        }
        let kinds: Vec<_> = plan.misbehave.crowd(plan.connections).collect();
        let (engine, over) = (plan.engine, Arc::clone(&stop));
        let part = Part::of(plan, corpus);
        let (tell, told) = channel();
        let thread = std::thread::Builder::new().name("blast-mob".to_owned()).spawn(move || {
            // Nobody who began it goes away before it has told.
            let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get());
            engine::run_core(engine, riot(part, kinds, over))
        })?;
        Ok(Self { stop, thread: Some(thread), tid: told.recv().ok() })
    }

    /// What its thread has spent up to now.
    pub(super) fn spent(&self) -> CpuTime {
        self.tid.and_then(CpuTime::of_task).unwrap_or_default()
    }

    /// Ends all of them, and tells what came of it.
    pub(super) fn end(mut self) -> io::Result<Vec<Misbehaviour>> {
        self.stop.store(true, Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(Vec::new()) };
        thread.join().map_err(|_| io::Error::other("the thread of --misbehave died"))?
    }
}

impl Drop for Mob {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// What of the plan each session needs.
struct Part {
    targets: Vec<Target>,
    helo: String,
    /// Commands of the envelope of a message.
    mail: Vec<u8>,
    rcpt: Vec<u8>,
}

impl Part {
    fn of(plan: &Plan, corpus: &Corpus) -> Self {
        let (core, seq) = (0, 1);
        let filling = corpus.filling(core, seq);
        let outgoing = corpus.outgoing(corpus.pick(core, seq), filling);
        let (mut mail, mut rcpt) = (Vec::new(), Vec::new());
        outgoing.write_mail(&mut mail, &Offered::default());
        outgoing.recipients.write_one(0, &mut rcpt, filling);
        let targets = plan.targets.all().iter().map(|of| of.target.clone()).collect();
        Self { targets, helo: plan.helo.clone(), mail, rcpt }
    }
}

/// What the sessions share.
struct Crowd {
    targets: Vec<Target>,
    /// Connections made; they take the targets in turn.
    connected: Cell<usize>,
    helo: String,
    mail: Vec<u8>,
    rcpt: Vec<u8>,
    watch: Rc<Watch>,
    pool: Pool,
    over: Cell<bool>,
    ending: Notify,
    /// All would-be ends of data, and the number of those sent.
    endings: Vec<WouldBeEnd>,
    smuggled: Cell<usize>,
    /// One for each kind.
    met: RefCell<Vec<Misbehaviour>>,
}

impl Crowd {
    fn over(&self) -> bool {
        self.over.get()
    }

    async fn pause(&self, pause: Duration) {
        if !self.over() {
            // Elapsed or not: the caller looks whether the run is over.
            drop(task::timeout(pause, self.ending.notified()).await);
        }
    }

    fn next_target(&self) -> &Target {
        let n = self.connected.get();
        self.connected.set(n + 1);
        &self.targets[n % self.targets.len()]
    }

    fn next_ending(&self) -> WouldBeEnd {
        let n = self.smuggled.get();
        self.smuggled.set(n + 1);
        self.endings[n % self.endings.len()]
    }
}

async fn riot(part: Part, kinds: Vec<(Kind, usize)>, stop: Arc<AtomicBool>) -> Vec<Misbehaviour> {
    let Part { targets, helo, mail, rcpt } = part;
    let blank = |&(kind, connections): &(Kind, usize)| Misbehaviour {
        name: kind.to_string(),
        connections: connections as u64,
        rule: kind.rule().to_owned(),
        ..Misbehaviour::default()
    };
    let crowd = Rc::new(Crowd {
        targets,
        connected: Cell::new(0),
        helo,
        mail,
        rcpt,
        watch: Watch::new(),
        pool: Pool::new(),
        over: Cell::new(false),
        ending: Notify::new(),
        endings: script::would_be_endings(),
        smuggled: Cell::new(0),
        met: RefCell::new(kinds.iter().map(blank).collect()),
    });
    let watch = task::spawn(Rc::clone(&crowd.watch).run());
    let mut sessions = JoinSet::new();
    for (index, (kind, connections)) in kinds.into_iter().enumerate() {
        for _ in 0..connections {
            sessions.spawn_local(go_on(index, kind, Rc::clone(&crowd)));
        }
    }
    while !stop.load(Relaxed) {
        task::sleep(Duration::from_millis(PROGRESS_MS)).await;
    }
    crowd.over.set(true);
    crowd.ending.notify_waiters();
    crowd.watch.shutdown_all();
    // What hangs in a connect is left to the end of the thread.
    let all = async { while sessions.join_next().await.is_some() {} };
    drop(task::timeout(Duration::from_nanos(LAST_ANSWERS_NS), all).await);
    watch.abort();
    crowd.met.take()
}

/// One session after the other, until the run is over.
async fn go_on(index: usize, kind: Kind, crowd: Rc<Crowd>) {
    while !crowd.over() {
        let (end, example) = match Caller::connect(&crowd).await {
            Ok(mut caller) => {
                let end = script::perform(kind, &mut caller).await;
                let example = caller.example.take();
                caller.close().await;
                (end, example)
            }
            Err(end) => (end, None),
        };
        note(&mut crowd.met.borrow_mut()[index], end, example);
        crowd.pause(Duration::from_millis(MISBEHAVIOUR_PAUSE_MS)).await;
    }
}

fn note(met: &mut Misbehaviour, end: End, example: Option<String>) {
    let count = match end {
        End::Reply(code) => met.replies.entry(code).or_default(),
        End::Wrong(code) => {
            met.wrong += 1;
            example.iter().for_each(|example| met.show(example));
            met.replies.entry(code).or_default()
        }
        End::Closed => &mut met.closed,
        End::Reset => &mut met.reset,
        End::Garbled => &mut met.garbled,
        End::Silent => &mut met.silent,
        End::Left => &mut met.left,
        End::Prevented => return met.prevented += 1,
        End::NotOffered => return met.not_offered += 1,
        End::Cut => return met.unfinished += 1,
    };
    *count += 1;
    met.sessions += 1;
}
