//! One generator core: a pinned thread, its sessions, and what they share.

mod balance;
mod halt;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::corpus::{Corpus, Identity, Letter};
use super::goal::Goal;
use super::plan::Plan;
use super::policy::{ErrorPolicy, Pauses};
use super::reach::Reach;
use super::session::{End, Session};
use super::targets::{Turns, Weighted};
use super::transcript::Trace;
use super::work::{Drive, Slot, Work};
use super::{Failure, Shared, lock};
use crate::engine::task::{self, JoinSet, Semaphore, select};
use crate::engine::{self, Address, Conn, Connecting, EngineKind, Pool, Watch};
use crate::host::{self, waited_by_thread};
use crate::limits::{
    CONNECTS_AT_ONCE, LAST_ANSWERS_NS, PROGRESS_MS, RECONNECT_LOOK_MS, TARGET_AWAY_NS,
};
use crate::measure::Recorder;

/// What one core is to do.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) id: u16,
    pub(super) cpu: usize,
    pub(super) engine: EngineKind,
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
    pub(super) goals: Vec<Goal>,
    turns: Turns,
    reach: Reach,
    /// Time without a working session after which a target is given up.
    idle_max: Duration,
    /// Connections made; the cores take their sources in turn.
    connected: Cell<u64>,
    cores: u64,
    pub(super) work: Work,
    pub(super) corpus: Arc<Corpus>,
    pub(super) clock: Clock,
    pub(super) recorder: RefCell<Recorder>,
    pub(super) watch: Rc<Watch>,
    pub(super) pool: Pool,
    pub(super) connecting: Semaphore,
    /// Messages begun and not yet answered.
    pub(super) in_flight: Cell<u32>,
    /// When a message was last decided: the end of the run as far as figures go.
    pub(super) last_ns: Cell<u64>,
    /// The time to end politely is over, and connections are being shut from here.
    pub(super) cut: Cell<bool>,
    drain_ns: u64,
    seq: Cell<u64>,
    policy: ErrorPolicy,
    /// Sessions of all cores whose dialogue is shown.
    traces: u64,
    /// Refused messages and failures without a reply.
    errors: Cell<u64>,
    /// Of `seq` and `errors`, what the other cores know.
    shown: Cell<(u64, u64)>,
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
    drop(host::pin(assignment.cpu));
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
    let watch = task::spawn(Rc::clone(&core.watch).run());
    let pacer = task::spawn(pace(Rc::clone(&core)));
    let mut sessions = JoinSet::new();
    for _ in 0..connections {
        sessions.spawn_local(keep_open(Rc::clone(&core)));
    }
    let mut beat = task::interval(Duration::from_millis(PROGRESS_MS));
    let mut ending = Ending::default();
    loop {
        select! {
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
    let mut pauses = Pauses::new(core.policy.reconnect);
    let slot = Rc::new(Slot::default());
    while let Some(task) = core.work.next_session(&slot).await {
        let asked_ns = core.clock.elapsed_ns();
        let goal = core.deal(asked_ns);
        let opened = {
            // The semaphore is never closed.
            let _turn = core.connecting.acquire().await;
            // Else a target that lets connects time out is asked by all that queued for it.
            core.notice_stop();
            if core.work.stopped_ns().is_some() {
                core.work.give_back(task);
                core.let_go(goal);
                break;
            }
            Session::open(&core, goal, &slot, task, asked_ns).await
        };
        let end = match opened {
            Ok(session) => session.run().await,
            Err(why) => {
                core.work.give_back(task);
                End::Useless(why)
            }
        };
        core.let_go(goal);
        let useful = match end {
            End::Worked => {
                pauses.reset();
                core.notice_stop();
                continue;
            }
            End::Broken => true,
            End::Useless(why) => {
                core.failed(goal, why);
                false
            }
            End::Unfit(why) => {
                core.unfit(goal, why);
                false
            }
        };
        core.notice_stop();
        if core.work.over(core.clock.elapsed_ns()) {
            continue;
        }
        let Some(pause) = pauses.after_break(useful) else {
            core.shared.not_reopened.fetch_add(1, Relaxed);
            break;
        };
        core.pause(pause).await;
    }
}

impl Core {
    fn new(assignment: Assignment, shared: Arc<Shared>, recorder: Recorder, clock: Clock) -> Self {
        let plan = &assignment.plan;
        let utf8 = assignment.corpus.needs_smtputf8();
        let goal = |of: &Weighted| Goal::new(of.target.clone(), plan.settings(&of.target, utf8));
        Self {
            id: assignment.id,
            goals: plan.targets.all().iter().map(goal).collect(),
            turns: Turns::new(&plan.targets),
            reach: plan.reach.clone(),
            idle_max: plan.idle_max(),
            connected: Cell::new(u64::from(assignment.id)),
            cores: plan.cores() as u64,
            work: Work::new(plan, usize::from(assignment.id), clock),
            drain_ns: plan.drain.as_nanos() as u64,
            corpus: assignment.corpus,
            clock,
            recorder: RefCell::new(recorder),
            watch: Watch::new(),
            pool: Pool::new(),
            connecting: Semaphore::new(CONNECTS_AT_ONCE),
            in_flight: Cell::new(0),
            last_ns: Cell::new(0),
            cut: Cell::new(false),
            seq: Cell::new(0),
            policy: plan.policy.clone(),
            traces: plan.trace,
            errors: Cell::new(0),
            shown: Cell::new((0, 0)),
            shared,
        }
    }

    /// Whether what is done is told of each target.
    #[inline]
    pub(super) fn tells_targets(&self) -> bool {
        self.goals.len() > 1
    }

    /// Tries the target's addresses in turn, from the one that answered last.
    pub(super) async fn connect(&self, goal: usize) -> io::Result<Conn> {
        let Goal { target, address, .. } = &self.goals[goal];
        let addresses = &target.addresses;
        let mut failed = io::ErrorKind::AddrNotAvailable.into();
        for n in 0..addresses.len() {
            let index = (address.get() + n) % addresses.len();
            let Reach { recv_buffer, send_buffer, .. } = self.reach;
            let from = self.source(&addresses[index]);
            let how = Connecting { from, recv_buffer, send_buffer, ..Connecting::default() };
            match engine::connect(&addresses[index], &how).await {
                Ok(conn) => {
                    if self.reach.reset {
                        conn.reset_on_close()?;
                    }
                    address.set(index);
                    return Ok(conn);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Shows the dialogue of a session, while there are few of them.
    pub(super) fn trace(&self) -> Option<Trace> {
        if self.traces == 0 {
            return None;
        }
        let number = self.shared.traced.fetch_add(1, Relaxed) + 1;
        (number <= self.traces).then(|| Trace::new(number, self.traces))
    }

    /// The source address of the next connection; `None` lets the kernel choose.
    fn source(&self, to: &Address) -> Option<IpAddr> {
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
    pub(super) fn session_works(&self, index: usize) {
        let goal = &self.goals[index];
        goal.failures.set(0);
        goal.working.set(goal.working.get() + 1);
        self.shared.reached[index].store(true, Relaxed);
        if goal.away_until_ns.take() > 0 {
            lock(&self.shared.away).remove(&index);
        }
    }

    pub(super) fn session_ended(&self, goal: usize, now_ns: u64) {
        let goal = &self.goals[goal];
        goal.working.set(goal.working.get() - 1);
        goal.worked_ns.set(now_ns);
    }

    fn reached(&self, goal: usize) -> bool {
        self.shared.reached[goal].load(Relaxed)
    }

    /// Whether there is no hope for a target any more.
    fn is_hopeless(&self, index: usize, now_ns: u64) -> bool {
        let goal = &self.goals[index];
        if goal.away_until_ns.get() == u64::MAX {
            return true;
        }
        let idle_ns = now_ns.saturating_sub(goal.worked_ns.get());
        match self.reached(index) {
            false => goal.failures.get() >= self.reach.tries,
            true => {
                let idle = idle_ns > self.idle_max.as_nanos() as u64;
                goal.failures.get() > 0 && goal.working.get() == 0 && idle
            }
        }
    }

    /// A session ended before it was of use. Gives its target up where there is no hope.
    fn failed(&self, index: usize, why: Failure) {
        let goal = &self.goals[index];
        goal.failures.set(goal.failures.get().saturating_add(1));
        let now_ns = self.clock.elapsed_ns();
        if !self.reached(index) && self.policy.stop_on_error {
            self.shared.give_up(why);
        } else if self.is_hopeless(index, now_ns) {
            let why = match self.reached(index) {
                true => why.after_success(self.idle_max.as_secs()),
                false => why,
            };
            self.go_without(index, why, now_ns, now_ns + TARGET_AWAY_NS);
        } else if self.work.sessions_stay() {
            // Else the session would ask again alone, as its target lacks it, and serve nobody.
            goal.away_until_ns.set(now_ns + TARGET_AWAY_NS);
        }
    }

    /// No session with this target can do what is asked.
    fn unfit(&self, index: usize, why: Failure) {
        self.go_without(index, why, self.clock.elapsed_ns(), u64::MAX);
    }

    /// Leaves a target to itself for a while, or ends the run where no other has any hope either.
    fn go_without(&self, index: usize, why: Failure, now_ns: u64, until_ns: u64) {
        self.goals[index].away_until_ns.set(until_ns);
        if (0..self.goals.len()).all(|goal| self.is_hopeless(goal, now_ns)) {
            self.shared.give_up(why);
        } else {
            lock(&self.shared.away).insert(index, why);
        }
    }

    /// Pauses before another connection is made, unless none is wanted any more.
    async fn pause(&self, pause: Duration) {
        let end = self.clock.started() + Duration::from_nanos(self.clock.elapsed_ns()) + pause;
        while !self.work.over(self.clock.elapsed_ns()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            task::sleep(left.min(Duration::from_millis(RECONNECT_LOOK_MS))).await;
            self.notice_stop();
        }
    }

    /// A few times a second: shows the totals, and ends what does not end by itself.
    fn beat(&self, ending: &mut Ending) {
        let now_ns = self.clock.elapsed_ns();
        self.recorder.borrow_mut().tick(now_ns);
        self.recorder.borrow().publish();
        self.watch_share();
        self.notice_stop();
        self.balance(now_ns);
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
