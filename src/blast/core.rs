//! One generator core: a pinned thread, its sessions, and what they share.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::corpus::{Corpus, Identity, Letter};
use super::plan::Plan;
use super::reach::Reach;
use super::session::{End, Session};
use super::work::{Drive, Slot, Work};
use super::{Failure, Shared};
use crate::engine::{self, Address, EngineKind, Pool, Watch};
use crate::limits::{
    CONNECTS_AT_ONCE, LAST_ANSWERS_NS, PROGRESS_MS, RECONNECT_MS_MAX, RECONNECT_MS_MIN, UNREACHED_S,
};
use crate::measure::{Recorder, waited_by_thread};
use crate::smtp::client::Settings;
use crate::target::Target;

/// What one core is to do.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) id: u16,
    pub(super) cpu: usize,
    pub(super) engine: EngineKind,
    pub(super) target: Target,
    pub(super) settings: Settings,
    pub(super) connections: usize,
    pub(super) plan: Arc<Plan>,
    pub(super) corpus: Arc<Corpus>,
}

/// Time since the start of the run, the same on all cores, and what the wall clock said then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    start_unix_ns: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_unix_ns: unix.as_nanos() as u64 }
    }

    pub(super) fn started(self) -> Instant {
        self.start
    }

    #[inline]
    pub(super) fn elapsed_ns(self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    pub(super) fn instant(self, elapsed_ns: u64) -> Instant {
        self.start + Duration::from_nanos(elapsed_ns)
    }

    #[inline]
    fn unix_ns(self, elapsed_ns: u64) -> u64 {
        self.start_unix_ns + elapsed_ns
    }
}

/// What the sessions of one core share.
pub(super) struct Core {
    id: u16,
    pub(super) target: Target,
    /// Which of the target's addresses answered last.
    pub(super) address: Cell<usize>,
    pub(super) reach: Reach,
    /// Connections made; the cores take their sources in turn.
    connected: Cell<u64>,
    cores: u64,
    pub(super) settings: Settings,
    pub(super) work: Work,
    pub(super) corpus: Arc<Corpus>,
    pub(super) clock: Clock,
    pub(super) recorder: RefCell<Recorder>,
    pub(super) watch: Rc<Watch>,
    pub(super) pool: Pool,
    pub(super) connecting: Semaphore,
    /// Messages begun and not yet answered.
    pub(super) in_flight: Cell<u32>,
    /// Sessions whose greeting is done.
    pub(super) working: Cell<usize>,
    /// When a message was last decided: the end of the run as far as figures go.
    pub(super) last_ns: Cell<u64>,
    /// The time to end politely is over, and connections are being shut from here.
    pub(super) cut: Cell<bool>,
    drain_ns: u64,
    seq: Cell<u64>,
    failures: Cell<u32>,
    /// When a session last worked.
    worked_ns: Cell<u64>,
    shared: Arc<Shared>,
}

/// Runs one core on this thread to the end of the run. Says on `ready` that its engine is up, and
/// starts when `opening` gives the clock.
pub(super) fn run(
    assignment: Assignment,
    shared: Arc<Shared>,
    recorder: Recorder,
    ready: &Sender<io::Result<()>>,
    opening: &Receiver<Clock>,
) {
    // Unpinned, the core is slower and nothing else.
    drop(engine::pin(assignment.cpu));
    let engine = assignment.engine;
    let ended = engine::run_core(engine, async move {
        drop(ready.send(Ok(())));
        // No clock comes where another core could not start.
        if let Ok(clock) = opening.recv() {
            sessions(assignment, shared, recorder, clock).await;
        }
    });
    if let Err(error) = ended {
        drop(ready.send(Err(error)));
    }
}

async fn sessions(assignment: Assignment, shared: Arc<Shared>, recorder: Recorder, clock: Clock) {
    let connections = assignment.connections;
    let mut waits = assignment.plan.cuts();
    let core = Rc::new(Core::new(assignment, shared, recorder, clock));
    let watch = tokio::task::spawn_local(Rc::clone(&core.watch).run());
    let pacer = tokio::task::spawn_local(pace(Rc::clone(&core)));
    let mut sessions = JoinSet::new();
    for _ in 0..connections {
        sessions.spawn_local(keep_open(Rc::clone(&core)));
    }
    let mut beat = tokio::time::interval(Duration::from_millis(PROGRESS_MS));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending = Ending::default();
    loop {
        tokio::select! {
            ended = sessions.join_next() => if ended.is_none() { break },
            _ = beat.tick() => {
                waits.pass(clock.started().elapsed(), waited_by_thread);
                core.beat(&mut ending);
            }
        }
    }
    core.finish(&mut ending);
    if let Some((before, after)) = waits.end(waited_by_thread) {
        core.recorder.borrow_mut().note_cpu_wait(after - before);
    }
    watch.abort();
    pacer.abort();
    // The pacer lets go of the core when it is dropped.
    drop(pacer.await);
    if let Some(core) = Rc::into_inner(core) {
        let end_ns = core.end_ns();
        core.recorder.into_inner().finish(end_ns);
    }
}

async fn pace(core: Rc<Core>) {
    if core.work.drive == Drive::Closed {
        return;
    }
    if let Err(error) = core.work.pace().await {
        core.shared.give_up(Failure::Clock { why: error.to_string() });
    }
}

/// How far the end of the run has come.
#[derive(Debug, Default)]
struct Ending {
    since_ns: Option<u64>,
    /// Whether it was noted how far the target is behind.
    noted: bool,
}

/// Opens a session again whenever it has ended, as long as there are messages to send.
async fn keep_open(core: Rc<Core>) {
    let pauses_max = Duration::from_millis(RECONNECT_MS_MAX);
    let mut pause = Duration::from_millis(RECONNECT_MS_MIN);
    let slot = Rc::new(Slot::default());
    while let Some(task) = core.work.next_session(&slot).await {
        let asked_ns = core.clock.elapsed_ns();
        let opened = {
            // The semaphore is never closed.
            let _turn = core.connecting.acquire().await;
            // Else a target that lets connects time out is asked by all that queued for it.
            core.notice_stop();
            if core.work.stopped_ns().is_some() {
                core.work.give_back(task);
                break;
            }
            Session::open(&core, &slot, task, asked_ns).await
        };
        let end = match opened {
            Ok(session) => session.run().await,
            Err(why) => {
                core.work.give_back(task);
                End::Useless(why)
            }
        };
        match end {
            End::Worked => pause = Duration::from_millis(RECONNECT_MS_MIN),
            End::Useless(why) => {
                core.failed(why);
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(pauses_max);
            }
            End::Unfit(why) => core.shared.give_up(why),
        }
        core.notice_stop();
    }
}

impl Core {
    fn new(assignment: Assignment, shared: Arc<Shared>, recorder: Recorder, clock: Clock) -> Self {
        let plan = &assignment.plan;
        Self {
            id: assignment.id,
            target: assignment.target,
            address: Cell::new(0),
            reach: plan.reach.clone(),
            connected: Cell::new(u64::from(assignment.id)),
            cores: plan.cores() as u64,
            settings: assignment.settings,
            work: Work::new(plan, usize::from(assignment.id), clock),
            drain_ns: plan.drain.as_nanos() as u64,
            corpus: assignment.corpus,
            clock,
            recorder: RefCell::new(recorder),
            watch: Watch::new(),
            pool: Pool::new(),
            connecting: Semaphore::new(CONNECTS_AT_ONCE),
            in_flight: Cell::new(0),
            working: Cell::new(0),
            last_ns: Cell::new(0),
            cut: Cell::new(false),
            seq: Cell::new(0),
            failures: Cell::new(0),
            worked_ns: Cell::new(0),
            shared,
        }
    }

    /// The source address of the next connection; `None` lets the kernel choose.
    pub(super) fn source(&self, to: &Address) -> Option<IpAddr> {
        let Address::Tcp(to) = to else { return None };
        let n = self.connected.get();
        self.connected.set(n + self.cores);
        self.reach.source(n, to.is_ipv6())
    }

    /// The next message of this core.
    #[inline]
    pub(super) fn letter(&self, due_ns: u64) -> (&Letter, Identity) {
        let seq = self.seq.get() + 1;
        self.seq.set(seq);
        let (core, due_unix_ns) = (self.id, self.clock.unix_ns(due_ns));
        let filling = self.corpus.filling(core, seq);
        let identity = Identity { core, seq, due_unix_ns, filling };
        (self.corpus.pick(core, seq), identity)
    }

    /// A session's greeting is done.
    pub(super) fn session_works(&self) {
        self.failures.set(0);
        self.working.set(self.working.get() + 1);
        self.shared.reached.store(true, Relaxed);
    }

    pub(super) fn session_ended(&self, now_ns: u64) {
        self.working.set(self.working.get() - 1);
        self.worked_ns.set(now_ns);
    }

    /// A session ended before it was of use. Gives the target up where there is no hope.
    fn failed(&self, why: Failure) {
        self.failures.set(self.failures.get().saturating_add(1));
        let idle_ns = self.clock.elapsed_ns().saturating_sub(self.worked_ns.get());
        if !self.shared.reached.load(Relaxed) {
            if self.failures.get() >= self.reach.tries {
                self.shared.give_up(why);
            }
        } else if self.working.get() == 0 && idle_ns > UNREACHED_S * 1_000_000_000 {
            self.shared.give_up(why.after_success());
        }
    }

    fn notice_stop(&self) {
        if self.shared.stop.load(Relaxed) {
            self.work.stop(self.clock.elapsed_ns());
        }
    }

    /// A few times a second: shows the totals, and ends what does not end by itself.
    fn beat(&self, ending: &mut Ending) {
        let now_ns = self.clock.elapsed_ns();
        self.recorder.borrow_mut().tick(now_ns);
        self.recorder.borrow().publish();
        self.notice_stop();
        self.note_behind(ending, now_ns);
        if self.work.stopped_ns().is_some() || now_ns >= self.work.last_start_ns() {
            let over_ns = now_ns - *ending.since_ns.get_or_insert(now_ns);
            if over_ns > self.drain_ns {
                self.work.stop(now_ns);
            }
            if over_ns > self.drain_ns + LAST_ANSWERS_NS {
                self.cut.set(true);
                self.watch.shutdown_all();
            }
        }
    }

    fn note_behind(&self, ending: &mut Ending, now_ns: u64) {
        let at_ns = self.work.behind_at_ns().min(self.work.stopped_ns().unwrap_or(u64::MAX));
        if ending.noted || now_ns < at_ns {
            return;
        }
        ending.noted = true;
        let count =
            |(count, oldest_ns): (u64, u64), due_ns: u64| (count + 1, due_ns.min(oldest_ns));
        let (waiting, oldest_ns) = self.work.waiting(at_ns).fold((0, at_ns), count);
        if waiting > 0 {
            self.recorder.borrow_mut().note_behind(waiting, at_ns - oldest_ns);
        }
    }

    /// Counts what was due and is not done.
    fn finish(&self, ending: &mut Ending) {
        let now_ns = self.clock.elapsed_ns();
        self.recorder.borrow_mut().tick(now_ns);
        self.note_behind(ending, now_ns);
        for due_ns in self.work.waiting(now_ns) {
            self.recorder.borrow_mut().record_not_begun(due_ns, now_ns);
        }
    }

    /// The end of the run as far as figures go.
    fn end_ns(&self) -> u64 {
        let last_ns = self.last_ns.get();
        let time_ns = self.work.stopped_ns().unwrap_or(u64::MAX).min(self.work.last_start_ns());
        match time_ns {
            u64::MAX => last_ns,
            time_ns => last_ns.max(time_ns.min(self.clock.elapsed_ns())),
        }
    }
}
