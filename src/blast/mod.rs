//! The load generator: sessions on pinned cores that send rendered messages and record what happens.
//!
//! [`plan`] says what to do, [`schedule`] when it is due, [`corpus`] renders the messages, `core` runs
//! one thread's sessions, `work` says which of them sends what when, `session` is one connection and
//! the only file that joins sockets, protocol and recorder. [`misbehave`] is who breaks the rules beside
//! them. [`preview`] tells what a run would do, and
//! [`selftest`] proves the figures.

pub mod content;
mod core;
pub mod corpus;
mod goal;
pub mod misbehave;
pub mod plan;
pub mod policy;
pub mod preview;
pub mod reach;
mod record;
pub mod schedule;
pub mod search;
pub mod selftest;
mod session;
pub mod targets;
mod transcript;
mod work;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::content::ContentError;
use self::core::{Assignment, Clock};
use self::corpus::Corpus;
use self::misbehave::Mob;
use self::plan::{Load, Plan, Stop};
use self::targets::Weighted;
use crate::engine::EngineKind;
use crate::host::CpuTime;
use crate::limits::{DESCRIPTORS_RESERVED, PROGRESS_MS};
use crate::measure::{self, Collector, Cuts, Interval, Mode, Next, Recorder, Snapshot, Totals};
use crate::run::{self, ArtefactError, Machine, PlannedTarget, Run, RunDir, Stopped, Verdict};
use crate::smtp::auth::Mechanism;
use crate::smtp::client::Pipelining;

/// Why a run could not take place.
#[derive(Debug, thiserror::Error)]
pub enum BlastError {
    #[error(
        "{connections} connections need {wanted} descriptors, and the limit is {limit}; raise it with \
         'ulimit -n', or ask for fewer"
    )]
    Descriptors { connections: usize, wanted: u64, limit: u64 },
    #[error("a generator core cannot start: {0}")]
    Core(#[from] io::Error),
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// Why a run ended before its time: the target is out of reach, or cannot do what was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error("cannot reach {target}: {why}; check that a server listens there")]
    Unreachable { target: String, why: String },
    #[error("{target} refuses to talk: {why}")]
    Refused { target: String, why: String },
    #[error("{target} does not offer {extension}; leave out {cure}")]
    NotOffered { target: String, extension: &'static str, cure: &'static str },
    #[error(
        "{target} does not offer {wanted}; leave out --auth, or name a mechanism that is offered"
    )]
    NoMechanism { target: String, wanted: String },
    #[error("{target} refuses the login with {mechanism}: {why}; check --auth")]
    Login { target: String, mechanism: &'static str, why: String },
    #[error("this machine's timers do not work: {why}")]
    Clock { why: String },
    #[error("{target} went away: {why}; {after_s} s without a connection")]
    Gone { target: String, why: String, after_s: u64 },
}

impl Failure {
    /// The same, of a target that has worked before, and not for so long.
    fn after_success(self, after_s: u64) -> Self {
        match self {
            Self::Unreachable { target, why }
            | Self::Refused { target, why }
            | Self::Login { target, why, .. } => Self::Gone { target, why, after_s },
            other => other,
        }
    }
}

/// What a core has written is whole, also where it died of a panic then.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all cores see.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Begin nothing more.
    stop: Arc<AtomicBool>,
    /// Some session with the target has worked.
    reached: Vec<AtomicBool>,
    /// Targets that are out of reach while others are not, and why.
    away: Mutex<BTreeMap<usize, Failure>>,
    failure: Mutex<Option<Failure>>,
    /// What was to end the run, and did.
    stopped: Mutex<Option<Stopped>>,
    /// Where a count or a share of errors ends the run, and of how many messages.
    errors: AtomicU64,
    messages: AtomicU64,
    /// Sessions that broke and were not opened again.
    not_reopened: AtomicU64,
    /// Sessions whose dialogue is shown.
    traced: AtomicU64,
}

impl Shared {
    fn new(stop: Arc<AtomicBool>, targets: usize) -> Self {
        Self {
            stop,
            reached: (0..targets).map(|_| AtomicBool::new(false)).collect(),
            away: Mutex::default(),
            failure: Mutex::default(),
            stopped: Mutex::default(),
            errors: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            not_reopened: AtomicU64::new(0),
            traced: AtomicU64::new(0),
        }
    }

    /// Ends the run; the first failure is the one that is told.
    fn give_up(&self, failure: Failure) {
        if lock(&self.stopped).is_none() {
            lock(&self.failure).get_or_insert(failure);
        }
        self.stop.store(true, Relaxed);
    }

    /// Ends the run, unless it is ending already.
    fn halt(&self, stopped: Stopped) {
        if !self.stop.swap(true, Relaxed) {
            *lock(&self.stopped) = Some(stopped);
        }
    }
}

/// How a run is going, for who shows it.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A second is complete.
    Interval(&'a Interval),
    /// Nothing new but the totals.
    Beat,
}

/// The result, and what ended it early if anything did.
#[derive(Debug)]
pub struct Outcome {
    pub run: Run,
    pub totals: Totals,
    pub failure: Option<Failure>,
    /// Why the artefacts are not whole, where they were to be.
    pub unwritten: Option<ArtefactError>,
}

/// Runs `plan` to its end, or until `stop` is set: then messages under way are finished, and the
/// outcome covers what was done. `see` is called a few times a second with the time since the start.
///
/// # Errors
/// When nothing could be started.
pub fn run(
    plan: &Plan,
    stop: Arc<AtomicBool>,
    see: &mut dyn FnMut(Duration, Seen<'_>, Snapshot),
) -> Result<Outcome, BlastError> {
    raise_descriptor_limit(plan)?;
    let started = Timestamp::now();
    let mode = match plan.load {
        Load::Closed => Mode::Closed,
        Load::Messages(_) | Load::Sessions(_) => Mode::Open,
    };
    let run_id = fastrand::u64(..);
    let corpus = Arc::new(Corpus::render(plan, run_id, started)?);
    let mut artefacts = Artefacts::begin(plan, started, mode)?;
    let shared = Arc::new(Shared::new(stop, plan.targets.all().len()));
    let (recorders, mut collector) =
        measure::team(plan.cores(), mode, plan.warmup, plan.measured());
    let team = Team::assemble(plan, &corpus, &shared, recorders)?;
    let mob = Mob::begin(plan, &corpus)?;
    let begun = team.start();
    let cpu = follow(&mut collector, begun, plan.cuts(), &mob, &mut artefacts, see);
    team.join();
    let misbehaviour = mob.end()?;
    let totals = collector.into_totals();
    let machine = Machine::here(plan.engine.name());
    let mut run = Run::new(started, describe(plan), machine, &totals, cpu);
    let failure = lock(&shared.failure).take();
    if let Some(failure) = &failure {
        run.overrule(Verdict::Unreachable, failure.to_string());
    }
    for why in lock(&shared.away).values().filter(|_| failure.is_none()) {
        run.add_failure(why.to_string());
    }
    run.id = format!("{run_id:016x}");
    let not_reopened = shared.not_reopened.load(Relaxed);
    if not_reopened > 0 {
        let of = plan.connections;
        run.add_failure(format!(
            "{not_reopened} of {of} connections broke, and --reconnect never makes no other"
        ));
    }
    run.misbehaviour = misbehaviour;
    run.fail_if(&plan.fail_if);
    if let Some(stopped) = lock(&shared.stopped).take() {
        run.stop(stopped);
    }
    let unwritten = artefacts.finish(&run, &totals);
    Ok(Outcome { run, totals, failure, unwritten })
}

/// The files of a run. The first that cannot be written is the end of them and not of the run, which
/// is worth its report.
struct Artefacts {
    dir: Option<RunDir>,
    failed: Option<ArtefactError>,
}

impl Artefacts {
    fn begin(plan: &Plan, started: Timestamp, mode: Mode) -> Result<Self, ArtefactError> {
        let dir = plan.out.as_ref().map(|path| RunDir::create(path, started, mode)).transpose()?;
        Ok(Self { dir, failed: None })
    }

    fn interval(&mut self, interval: &Interval) {
        let Some(dir) = &mut self.dir else { return };
        if let Err(error) = dir.interval(interval) {
            self.failed = Some(error);
            self.dir = None;
        }
    }

    fn finish(self, run: &Run, totals: &Totals) -> Option<ArtefactError> {
        self.failed.or_else(|| self.dir?.finish(run, totals).err())
    }
}

/// Threads that are ready and wait for the start.
struct Team {
    threads: Vec<JoinHandle<()>>,
    gates: Vec<Sender<Clock>>,
}

impl Team {
    /// Starts one thread per core and waits until each has its engine. If one cannot, the others
    /// see their gate close and leave.
    fn assemble(
        plan: &Plan,
        corpus: &Arc<Corpus>,
        shared: &Arc<Shared>,
        recorders: Vec<Recorder>,
    ) -> io::Result<Self> {
        let (ready, readiness) = channel();
        let mut team = Self { threads: Vec::new(), gates: Vec::new() };
        let cores = recorders.len();
        let plan = Arc::new(plan.clone());
        for (index, recorder) in recorders.into_iter().enumerate() {
            let (gate, opening) = channel();
            let assignment = assignment(&plan, corpus, index);
            let (ready, shared) = (ready.clone(), Arc::clone(shared));
            let thread = std::thread::Builder::new()
                .name(format!("blast-{index}"))
                .spawn(move || core::run(assignment, shared, recorder, &ready, &opening))?;
            team.threads.push(thread);
            team.gates.push(gate);
        }
        drop(ready);
        for _ in 0..cores {
            let gone = || io::Error::other("its thread ended before the start");
            readiness.recv().map_err(|_| gone())??;
        }
        Ok(team)
    }

    fn start(&self) -> Instant {
        let clock = Clock::start();
        for gate in &self.gates {
            // A core that is gone shows in the totals as lost.
            let _ = gate.send(clock);
        }
        clock.started()
    }

    fn join(self) {
        for thread in self.threads {
            // A panic was printed by its thread, and the collector counts the core as lost.
            drop(thread.join());
        }
    }
}

fn assignment(plan: &Arc<Plan>, corpus: &Arc<Corpus>, index: usize) -> Assignment {
    Assignment {
        id: index as u16,
        cpu: plan.cpus[index],
        engine: plan.engine,
        connections: plan.connections_of(index),
        plan: Arc::clone(plan),
        corpus: Arc::clone(corpus),
    }
}

/// Collects until all cores have finished; answers the CPU time of the measured part, without that of the
/// mob, which is read at the same moments.
fn follow(
    collector: &mut Collector,
    begun: Instant,
    mut cuts: Cuts<(CpuTime, CpuTime)>,
    mob: &Mob,
    artefacts: &mut Artefacts,
    see: &mut dyn FnMut(Duration, Seen<'_>, Snapshot),
) -> CpuTime {
    let board = collector.board();
    let beat = Duration::from_millis(PROGRESS_MS);
    let read = || Some((CpuTime::of_process().ok()?, mob.spent()));
    loop {
        let elapsed = begun.elapsed();
        cuts.pass(elapsed, read);
        match collector.next(cuts.wait(elapsed).map_or(beat, |wait| wait.min(beat))) {
            Next::Interval(interval) => {
                artefacts.interval(&interval);
                see(begun.elapsed(), Seen::Interval(&interval), board.snapshot());
                collector.reuse(interval);
            }
            Next::Waiting => see(begun.elapsed(), Seen::Beat, board.snapshot()),
            Next::Finished => {
                let Some((before, after)) = cuts.end(read) else { return CpuTime::default() };
                return after.0.since(before.0).since(after.1.since(before.1));
            }
        }
    }
}

/// One for each connection, those that misbehave included, and under epoll one for the alarm of each
/// that pauses.
fn descriptors(plan: &Plan) -> u64 {
    let alarms = plan.think.is_some() && plan.engine == EngineKind::Epoll;
    let mob = plan.misbehave.connections(plan.connections) as u64;
    plan.connections as u64 * (1 + u64::from(alarms)) + mob
}

/// Lifts the soft limit to what the run needs.
fn raise_descriptor_limit(plan: &Plan) -> Result<(), BlastError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let connections = plan.connections;
    let wanted = descriptors(plan) + DESCRIPTORS_RESERVED;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if let Some(limit) = maximum.filter(|&maximum| maximum < wanted) {
        return Err(BlastError::Descriptors { connections, wanted, limit });
    }
    let raised = Rlimit { current: Some(wanted), maximum };
    setrlimit(Resource::Nofile, raised).map_err(|errno| BlastError::Core(errno.into()))
}

fn planned(of: &Weighted) -> PlannedTarget {
    PlannedTarget { target: of.target.url.clone(), weight: of.weight }
}

/// The plan as the result carries it.
fn describe(plan: &Plan) -> run::Plan {
    let schedule = plan.schedule();
    let (messages, duration) = match plan.stop {
        Stop::Messages(messages) => (Some(messages), None),
        Stop::Duration(duration) => (None, Some(duration.as_secs_f64())),
    };
    let pipelining = match plan.pipelining {
        Pipelining::None => "none",
        Pipelining::Commands => "commands",
        Pipelining::Full => "full",
    };
    run::Plan {
        command: plan.command.clone(),
        target: plan.targets.names(),
        targets: plan
            .targets
            .all()
            .iter()
            .filter(|_| plan.targets.several())
            .map(planned)
            .collect(),
        connections: plan.connections as u64,
        cores: plan.cores() as u64,
        messages,
        duration_s: duration,
        warmup_s: plan.warmup.as_secs_f64(),
        cooldown_s: plan.cooldown.as_secs_f64(),
        rate_msg_s: plan.mean_rate(),
        rate: schedule.map(|schedule| schedule.profile.to_string()),
        arrivals: schedule.map(|schedule| schedule.spacing.name().to_owned()),
        arrivals_of: match plan.load {
            Load::Closed => None,
            Load::Messages(_) => Some("messages".to_owned()),
            Load::Sessions(_) => Some("sessions".to_owned()),
        },
        size: plan.content.sizes(),
        recipients: plan.content.recipients.mean().round() as u64,
        per_connection: plan.per_connection.map(|(least, most)| least.midpoint(most)),
        think: plan.think.map(|think| think.to_string()),
        misbehave: (!plan.misbehave.is_empty()).then(|| plan.misbehave.to_string()),
        pipelining: pipelining.to_owned(),
        chunking: plan.chunking,
        depth: plan.depth as u64,
        tls: "none".to_owned(),
        auth: plan
            .login
            .as_ref()
            .map(|login| login.mechanism().map_or("best offered", Mechanism::name).to_owned()),
        hello: plan.hello.name().to_owned(),
        helo: plan.helo.clone(),
        from: content::in_words(&plan.content.from),
        to: content::in_words(&plan.content.to),
        seed: plan.content.seed,
    }
}
