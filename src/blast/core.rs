//! One generator core: a pinned thread, its sessions, and what they share.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::corpus::{Corpus, Identity, Letter};
use super::session::{End, Session};
use super::{Failure, Shared};
use crate::engine::{self, EngineKind, Pool, Watch};
use crate::limits::{
    CONNECTS_AT_ONCE, DRAIN_S_DEFAULT, PROGRESS_MS, RECONNECT_MS_MAX, RECONNECT_MS_MIN,
    UNREACHED_S, UNREACHED_TRIES,
};
use crate::measure::Recorder;
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
    /// To be attempted; `u64::MAX` where time ends the run.
    pub(super) messages: u64,
    /// Since the start; no message begins later.
    pub(super) last_start: Option<Duration>,
    pub(super) per_connection: Option<u64>,
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
    pub(super) settings: Settings,
    pub(super) per_connection: Option<u64>,
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
    /// Messages that no session has claimed.
    left: Cell<u64>,
    last_start_ns: u64,
    stopped: Cell<bool>,
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
    let core = Rc::new(Core::new(assignment, shared, recorder, clock));
    let watch = tokio::task::spawn_local(Rc::clone(&core.watch).run());
    let mut sessions = JoinSet::new();
    for _ in 0..connections {
        sessions.spawn_local(keep_open(Rc::clone(&core)));
    }
    let mut beat = tokio::time::interval(Duration::from_millis(PROGRESS_MS));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending_ns = None;
    loop {
        tokio::select! {
            ended = sessions.join_next() => if ended.is_none() { break },
            _ = beat.tick() => core.beat(&mut ending_ns),
        }
    }
    watch.abort();
    if let Some(core) = Rc::into_inner(core) {
        let end_ns = core.last_ns.get();
        core.recorder.into_inner().finish(end_ns);
    }
}

/// Opens a session again whenever it has ended, as long as there are messages to send.
async fn keep_open(core: Rc<Core>) {
    let pauses_max = Duration::from_millis(RECONNECT_MS_MAX);
    let mut pause = Duration::from_millis(RECONNECT_MS_MIN);
    loop {
        let claimed = core.claim(core.per_connection.unwrap_or(1), core.clock.elapsed_ns());
        if claimed == 0 {
            return;
        }
        let end = match Session::open(&core, claimed).await {
            Ok(session) => session.run().await,
            Err(why) => {
                core.unclaim(claimed);
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
        let last_start_ns = assignment.last_start.map_or(u64::MAX, |at| at.as_nanos() as u64);
        Self {
            id: assignment.id,
            target: assignment.target,
            address: Cell::new(0),
            settings: assignment.settings,
            per_connection: assignment.per_connection,
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
            left: Cell::new(assignment.messages),
            last_start_ns,
            stopped: Cell::new(false),
            seq: Cell::new(0),
            failures: Cell::new(0),
            worked_ns: Cell::new(0),
            shared,
        }
    }

    /// Sets up to `wanted` messages aside for one session, so that no connection is made for messages
    /// that another one sends; 0 when there is nothing left to do.
    #[inline]
    pub(super) fn claim(&self, wanted: u64, now_ns: u64) -> u64 {
        if now_ns >= self.last_start_ns || self.stopped.get() {
            return 0;
        }
        let claimed = wanted.min(self.left.get());
        self.left.set(self.left.get() - claimed);
        claimed
    }

    /// Gives back what was claimed and not begun.
    pub(super) fn unclaim(&self, claimed: u64) {
        self.left.set(self.left.get() + claimed);
    }

    /// The next message of this core, unless it is too late.
    #[inline]
    pub(super) fn take(&self, now_ns: u64) -> Option<(&Letter, Identity)> {
        if now_ns >= self.last_start_ns || self.stopped.get() {
            return None;
        }
        let seq = self.seq.get() + 1;
        self.seq.set(seq);
        let identity = Identity { core: self.id, seq, due_unix_ns: self.clock.unix_ns(now_ns) };
        Some((self.corpus.pick(self.id, seq), identity))
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
            if self.failures.get() >= UNREACHED_TRIES {
                self.shared.give_up(why);
            }
        } else if self.working.get() == 0 && idle_ns > UNREACHED_S * 1_000_000_000 {
            self.shared.give_up(why.after_success());
        }
    }

    fn notice_stop(&self) {
        self.stopped.set(self.stopped.get() || self.shared.stop.load(Relaxed));
    }

    /// A few times a second: shows the totals, and ends what does not end by itself.
    fn beat(&self, ending_ns: &mut Option<u64>) {
        let now_ns = self.clock.elapsed_ns();
        let mut recorder = self.recorder.borrow_mut();
        recorder.tick(now_ns);
        recorder.publish();
        self.notice_stop();
        if self.stopped.get() || now_ns >= self.last_start_ns {
            let since_ns = *ending_ns.get_or_insert(now_ns);
            if now_ns - since_ns > DRAIN_S_DEFAULT * 1_000_000_000 {
                self.cut.set(true);
                self.watch.shutdown_all();
            }
        }
    }
}
