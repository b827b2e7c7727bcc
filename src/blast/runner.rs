//! One run, from the plan to its outcome.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::artefacts::Artefacts;
use super::corpus::Corpus;
use super::describe::describe;
use super::error::BlastError;
use super::failure::Failure;
use super::message_log::message_logs;
use super::misbehave::Misbehavers;
use super::plan::{Load, Plan, StopAfter};
use super::shared::{Shared, lock};
use super::stop_request::StopRequest;
use super::team::Team;
use crate::engine::EngineKind;
use crate::host::CpuTime;
use crate::human;
use crate::limits::{DESCRIPTORS_RESERVED, PROGRESS_MS};
use crate::measure::{self, Collected, Collector, Interval, Mode, Phase, Snapshot, Totals};
use crate::run::{ArtefactError, Machine, NewRunDir, Run, Stopped};

/// What has happened in a run, for the code that shows its progress.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A second is complete.
    Interval(&'a Interval),
    /// Nothing new but the totals.
    Beat,
}

/// The result, and what ended it early if anything did.
#[derive(Debug)]
pub struct RunOutcome {
    pub run: Run,
    pub totals: Totals,
    pub failure: Option<Failure>,
    /// Why the artefacts are not complete, if some were asked for.
    pub unwritten: Option<ArtefactError>,
}

/// Runs `plan` to its end, or until `stop` is made: then messages under way are finished, and the
/// outcome covers what was done. `see` is called a few times a second with the time since the start.
///
/// # Errors
/// When nothing could be started.
pub fn run(
    plan: &Plan,
    stop: impl Into<StopRequest>,
    see: &mut dyn FnMut(Duration, Seen<'_>, Snapshot),
) -> Result<RunOutcome, BlastError> {
    raise_descriptor_limit(plan)?;
    let mode = match plan.load {
        Load::Closed => Mode::Closed,
        Load::Messages(_) | Load::Sessions(_) => Mode::Open,
    };
    let run_id = fastrand::u64(..);
    let corpus = Arc::new(Corpus::render(plan, run_id, Timestamp::now())?);
    let dir = plan.out.as_ref().map(|path| NewRunDir::create(path, mode)).transpose()?;
    let files = dir.map(|dir| {
        let messages = dir.messages(corpus.sent_envelopes(), corpus.sent_messages());
        (dir, messages)
    });
    let (logs, fates) = files.as_ref().map(|_| message_logs(plan.cores())).unzip();
    let stop = stop.into();
    let shared = Arc::new(Shared::new(stop.flag(), plan));
    let (recorders, mut collector) =
        measure::team(plan.cores(), mode, plan.warmup, plan.measured());
    let team = Team::assemble(plan, &corpus, &shared, recorders, logs)?;
    let misbehavers = Misbehavers::begin(plan, &corpus)?;
    let clock = team.start();
    // All times of the run count from the start of its clock, and large messages take seconds to render.
    let started = clock.started_at();
    let head = corpus.messages_head(run_id, clock.unix_ns(0));
    let mut artefacts = Artefacts::begin(files, fates, started, &head);
    let (cpu, busy) =
        follow(&mut collector, clock.started(), plan, &misbehavers, &mut artefacts, see);
    team.join();
    let misbehaviour = misbehavers.end()?;
    let mut totals = collector.into_totals();
    totals.cpu_busy = busy.map(|busy| (busy / plan.cores() as f64).min(1.0));
    let cut_short = shared.stop.load(Relaxed) || shared.not_reopened.load(Relaxed) > 0;
    debug_assert_eq!(lock(&shared.account).check(plan, &totals, cut_short), Ok(()));
    let machine = Machine::here(plan.engine.name());
    let mut run = Run::new(started, describe(plan), machine, &totals, cpu);
    shared.settle_ungreeted();
    let failure = lock(&shared.failure).take();
    if let Some(failure) = &failure {
        run.overrule(failure.verdict(), failure.to_string());
    }
    for why in lock(&shared.away).values().filter(|_| failure.is_none()) {
        run.add_failure(why.to_string());
    }
    run.id = format!("{run_id:016x}");
    let not_reopened = shared.not_reopened.load(Relaxed);
    if not_reopened > 0 {
        let broken = human::part(not_reopened, plan.connections as u64, "connection");
        run.add_failure(format!("{broken} broke, and --reconnect never makes no other"));
    }
    run.misbehaviour = misbehaviour;
    run.fail_if(&plan.fail_if);
    let by_policy = lock(&shared.stopped).take();
    let asked = || stop.made().and_then(|made| cut_off(plan, &run, made, clock.started()));
    if let Some(stopped) = by_policy.or_else(asked) {
        run.stop(stopped);
    }
    let unwritten = artefacts.finish(&run, &totals);
    Ok(RunOutcome { run, totals, failure, unwritten })
}

/// What was left of the plan when somebody ended the run; `None` if nothing was.
fn cut_off(
    plan: &Plan,
    run: &Run,
    (by, asked): (&str, Instant),
    started: Instant,
) -> Option<Stopped> {
    let at = asked.saturating_duration_since(started);
    let text = match plan.stop {
        StopAfter::Messages(messages) => {
            let due = run.messages_due + run.warmup_messages + run.cooldown_messages;
            let part = human::part(due, messages, "message");
            (due < messages).then(|| format!("{part} had been due"))
        }
        StopAfter::Duration(_) => {
            let planned = plan.last_start().filter(|end| at < *end)?;
            Some(format!("it was to take {}", human::seconds(planned.as_secs_f64())))
        }
    };
    let (target, phase, code, error) = (None, Phase::Message, None, None);
    let (by, at_s) = (by.to_owned(), at.as_secs_f64());
    text.map(|text| Stopped { by, at_s, target, phase, code, error, text })
}

/// Collects until all cores have finished; answers the CPU time that the messages cost, and the CPU time in the
/// measured time over its length. Both are without that of the misbehaving clients, which is read at the same
/// moments.
fn follow(
    collector: &mut Collector,
    begun: Instant,
    plan: &Plan,
    misbehavers: &Misbehavers,
    artefacts: &mut Artefacts,
    see: &mut dyn FnMut(Duration, Seen<'_>, Snapshot),
) -> (CpuTime, Option<f64>) {
    let (mut cuts, mut busy_cuts) = (plan.cuts(), plan.busy_cuts());
    let board = collector.board();
    let beat = Duration::from_millis(PROGRESS_MS);
    let read = || {
        let spent = CpuTime::of_process().ok()?.since(misbehavers.spent());
        Some((spent, begun.elapsed()))
    };
    loop {
        let elapsed = begun.elapsed();
        cuts.pass(elapsed, read);
        busy_cuts.pass(elapsed, read);
        let waits = [cuts.wait(elapsed), busy_cuts.wait(elapsed)];
        let collected = collector.next(waits.into_iter().flatten().fold(beat, Duration::min));
        artefacts.fates();
        match collected {
            Collected::Interval(interval) => {
                artefacts.interval(&interval);
                see(begun.elapsed(), Seen::Interval(&interval), board.snapshot());
                collector.reuse(interval);
            }
            Collected::Waiting => see(begun.elapsed(), Seen::Beat, board.snapshot()),
            Collected::Finished => {
                let cost = cuts.end(read).map(|(before, after)| after.0.since(before.0));
                return (cost.unwrap_or_default(), busy_cuts.end(read).and_then(busy_share));
            }
        }
    }
}

/// CPU time over the time between two readings of both.
fn busy_share((before, after): ((CpuTime, Duration), (CpuTime, Duration))) -> Option<f64> {
    let lasted_s = after.1.saturating_sub(before.1).as_secs_f64();
    (lasted_s > 0.0).then(|| after.0.since(before.0).total().as_secs_f64() / lasted_s)
}

/// Descriptors of a run: one for each connection, misbehaving ones included, and under epoll one for
/// the alarm of each connection that pauses.
fn descriptors(plan: &Plan) -> u64 {
    let alarms = plan.think.is_some() && plan.engine == EngineKind::Epoll;
    let misbehavers = plan.misbehave.connections(plan.connections) as u64;
    plan.connections as u64 * (1 + u64::from(alarms)) + misbehavers
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
