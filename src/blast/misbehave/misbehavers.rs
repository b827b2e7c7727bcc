//! The thread of the clients that misbehave.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use super::client::{BadClient, BadClientEnd};
use super::kind::MisbehaviourKind;
use super::script;
use super::shared::{DialogueParts, MisbehaverState};
use crate::blast::corpus::Corpus;
use crate::blast::error::BlastError;
use crate::blast::plan::Plan;
use crate::engine;
use crate::engine::task::{self, JoinSet};
use crate::host::CpuTime;
use crate::limits::{LAST_ANSWERS_NS, PROGRESS_MS};
use crate::measure::Misbehaviour;

/// Pause of a misbehaving client between two connections. Without it a few of them would be a flood.
const MISBEHAVIOUR_PAUSE_MS: u64 = 20;

/// The thread of the clients that misbehave.
pub(in crate::blast) struct Misbehavers {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Vec<Misbehaviour>>>>,
    /// The number of the thread in the kernel.
    tid: Option<i32>,
}

impl Misbehavers {
    /// Starts the thread, if the plan asks for clients that misbehave.
    ///
    /// # Errors
    /// When there is no thread to be had, or a target cannot be secured.
    pub(in crate::blast) fn begin(plan: &Plan, corpus: &Corpus) -> Result<Self, BlastError> {
        let stop = Arc::new(AtomicBool::new(false));
        if plan.misbehave.is_empty() {
            return Ok(Self { stop, thread: None, tid: None });
        }
        let kinds: Vec<_> = plan.misbehave.clients(plan.connections).collect();
        let (engine, over) = (plan.engine, Arc::clone(&stop));
        let parts = DialogueParts::new(plan, corpus)?;
        let (tell, told) = channel();
        let thread =
            std::thread::Builder::new().name("blast-misbehave".to_owned()).spawn(move || {
                // The receiver waits for it, below.
                let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get());
                engine::run_core(engine, misbehave(parts, kinds, over))
            })?;
        Ok(Self { stop, thread: Some(thread), tid: told.recv().ok() })
    }

    /// The CPU time that the thread has spent up to now.
    pub(in crate::blast) fn spent(&self) -> CpuTime {
        self.tid.and_then(CpuTime::of_task).unwrap_or_default()
    }

    /// Ends all clients. Answers what they met with, one entry for each kind.
    ///
    /// # Errors
    /// When the thread could not run its engine, or has panicked.
    pub(in crate::blast) fn end(mut self) -> io::Result<Vec<Misbehaviour>> {
        self.stop.store(true, Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(Vec::new()) };
        thread.join().map_err(|_| io::Error::other("the thread of --misbehave died"))?
    }
}

impl Drop for Misbehavers {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// Runs the clients until `stop` is set.
async fn misbehave(
    parts: DialogueParts,
    kinds: Vec<(MisbehaviourKind, usize)>,
    stop: Arc<AtomicBool>,
) -> Vec<Misbehaviour> {
    let blank = |&(kind, connections): &(MisbehaviourKind, usize)| Misbehaviour {
        name: kind.to_string(),
        connections: connections as u64,
        rule: kind.rule().to_owned(),
        ..Misbehaviour::default()
    };
    let met = kinds.iter().map(blank).collect();
    let state = Rc::new(MisbehaverState::new(parts, script::would_be_endings(), met));
    let watch = task::spawn(Rc::clone(&state.watch).run());
    let mut sessions = JoinSet::new();
    for (index, (kind, connections)) in kinds.into_iter().enumerate() {
        for _ in 0..connections {
            sessions.spawn_local(keep_at_it(index, kind, Rc::clone(&state)));
        }
    }
    while !stop.load(Relaxed) {
        task::sleep(Duration::from_millis(PROGRESS_MS)).await;
    }
    state.end();
    // A session that hangs in a connect ends with the thread.
    let all = async { while sessions.join_next().await.is_some() {} };
    drop(task::timeout(Duration::from_nanos(LAST_ANSWERS_NS), all).await);
    watch.abort();
    state.met.take()
}

/// Runs one session after the other until the run is over.
async fn keep_at_it(index: usize, kind: MisbehaviourKind, state: Rc<MisbehaverState>) {
    while !state.is_over() {
        let (end, example) = match BadClient::connect(&state).await {
            Ok(mut client) => {
                let end = script::perform(kind, &mut client).await;
                let example = client.example.take();
                client.close().await;
                (end, example)
            }
            Err(end) => (end, None),
        };
        note(&mut state.met.borrow_mut()[index], end, example);
        state.pause(Duration::from_millis(MISBEHAVIOUR_PAUSE_MS)).await;
    }
}

/// Counts a session that has ended.
fn note(met: &mut Misbehaviour, end: BadClientEnd, example: Option<String>) {
    let count = match end {
        BadClientEnd::Reply(code) => met.replies.entry(code).or_default(),
        BadClientEnd::Wrong(code) => {
            met.wrong += 1;
            example.iter().for_each(|example| met.show(example));
            met.replies.entry(code).or_default()
        }
        BadClientEnd::Closed => &mut met.closed,
        BadClientEnd::Reset => &mut met.reset,
        BadClientEnd::Garbled => &mut met.garbled,
        BadClientEnd::Silent => &mut met.silent,
        BadClientEnd::Left => &mut met.left,
        BadClientEnd::Prevented => return met.prevented += 1,
        BadClientEnd::NotOffered => return met.not_offered += 1,
        BadClientEnd::Cut => return met.unfinished += 1,
    };
    *count += 1;
    met.sessions += 1;
}
