//! Many runs added up to one: shards of one load, each measured by a process of its own.
//!
//! The result has the files of a run and can be merged again. It is always made from the runs that were
//! measured (its *leaves*, which it carries in `run.json`), in an order that does not depend on how they
//! were given. Each second is moved to the nearest whole second of the wall clock. So merging is exact,
//! and merging merged runs gives the same octets as merging all runs at once.

mod cells;
mod check;
mod timeline;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use self::cells::{MergedSecond, ShardSource};
pub use self::check::{Difference, differences};
use self::timeline::{Timeline, most_at_once};
use super::hlog::HlogError;
use super::load::{self, LoadError};
use super::plan::RunPlan;
use super::result::{Shard, Versions};
use super::series::SeriesError;
use crate::host::{self, CpuTime};
use crate::measure::{Mode, Phase, Tally, Totals, misbehaviour};
use crate::run::restore::Unfit;
use crate::run::{ArtefactError, Conditions, Machine, Run, RunDir, Verdict};

#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    #[error("{}: {name} is missing, and a merge needs it", .dir.display())]
    Missing { dir: PathBuf, name: &'static str },
    #[error("{}: run.hlog: {error}", .dir.display())]
    Log { dir: PathBuf, error: HlogError },
    #[error("{}: run.csv: {error}", .dir.display())]
    Series { dir: PathBuf, error: SeriesError },
    #[error("{}: run.hlog: {error}", .dir.display())]
    Unfit { dir: PathBuf, error: Unfit },
    #[error("{}: run.hlog and run.csv do not hold the same seconds", .0.display())]
    Torn(PathBuf),
    #[error("{0}: run.json is damaged: its counts of messages do not fit together")]
    Counts(String),
    #[error("run.hlog of one run is damaged: it has outcomes of a phase without the phase")]
    Parts,
    #[error("{0} and {1} are the same run; leave one out")]
    Twice(String, String),
    #[error(
        "{open} ran in an open loop and {closed} in a closed one; their times do not mean the same"
    )]
    Modes { open: String, closed: String },
    #[error("{first} and {other} had different plans: {what}; --mixed merges them all the same")]
    Plans { first: String, other: String, what: String },
    #[error(
        "{late} began after {early} had ended, so their rates do not add up; --mixed merges them all the same"
    )]
    Apart { early: String, late: String },
}

impl MergeError {
    /// Whether the runs do not belong together, as opposed to a file that cannot be read or written.
    pub fn is_mismatch(&self) -> bool {
        matches!(
            self,
            Self::Twice(..) | Self::Modes { .. } | Self::Plans { .. } | Self::Apart { .. }
        )
    }
}

/// Adds up the runs in `dirs` and writes the sum into `out`. With `mixed`, their plans may differ, and
/// they need not have run at the same time.
///
/// # Errors
/// When the runs do not belong together, or a file is missing, damaged or cannot be written. Then
/// `out` holds no file of a run, as before.
pub fn merge(dirs: &[PathBuf], out: &Path, mixed: bool) -> Result<Run, MergeError> {
    let runs = dirs.iter().map(|dir| load::read_run(dir)).collect::<Result<Vec<_>, _>>()?;
    let leaves = leaves(dirs, &runs);
    check::check(&leaves, mixed)?;
    let sources = dirs
        .iter()
        .zip(&runs)
        .map(|(dir, run)| ShardSource::open(dir, run))
        .collect::<Result<Vec<_>, _>>()?;
    let started = whole_second(leaves.iter().map(|leaf| started(&leaf.run)).min());
    let mode = leaves[0].run.mode();
    let mut into = RunDir::create(out, started, mode)?;
    let mut total = match seconds(sources, &mut into, started, (mode, same_targets(&leaves))) {
        Ok(total) => total,
        Err(error) => {
            into.abandon();
            return Err(error);
        }
    };
    leaves.iter().for_each(|leaf| total.restore_counts(&leaf.run));
    let totals = totals(total, &leaves);
    let run = sum(started, leaves, &totals);
    into.finish(&run, &totals)?;
    Ok(run)
}

/// Writes the sums of all seconds, and gives that of the measured ones.
fn seconds(
    mut sources: Vec<ShardSource<'_>>,
    into: &mut RunDir,
    started: Timestamp,
    (mode, targets): (Mode, bool),
) -> Result<Tally, MergeError> {
    let mut total = Tally::new(mode);
    let mut merged = MergedSecond::new(mode, targets);
    while let Some(at) = sources.iter().filter_map(ShardSource::due).min() {
        merged.begin(at);
        for source in sources.iter_mut().filter(|source| source.due() == Some(at)) {
            source.take(&mut merged, &mut total)?;
        }
        into.interval(merged.close(started))?;
    }
    let sound = Phase::ALL.into_iter().all(|phase| total.split(phase).is_sound());
    if sound { Ok(total) } else { Err(MergeError::Parts) }
}

/// The runs that were measured, in an order that does not depend on how they were given.
fn leaves(dirs: &[PathBuf], runs: &[Run]) -> Vec<Shard> {
    let mut leaves = Vec::new();
    for (dir, run) in dirs.iter().zip(runs) {
        if run.shards.is_empty() {
            leaves.push(Shard { name: dir.display().to_string(), run: run.clone() });
        } else {
            leaves.extend(run.shards.iter().cloned());
        }
    }
    leaves.sort_by(|a, b| {
        let key = |leaf: &Shard| (started(&leaf.run), leaf.run.id.clone(), leaf.name.clone());
        key(a).cmp(&key(b))
    });
    leaves
}

/// When a run started, in nanoseconds since 1970. `read_run` has seen that it is a time.
fn started(run: &Run) -> i64 {
    let at: Timestamp = run.started.parse().unwrap_or_default();
    at.as_nanosecond() as i64
}

fn whole_second(ns: Option<i64>) -> Timestamp {
    let second = ns.unwrap_or_default().div_euclid(cells::SECOND_NS);
    Timestamp::from_second(second).unwrap_or_default()
}

/// When the first and the last accepted message of a run came, in nanoseconds since 1970.
fn accepted_at(run: &Run) -> Option<(i64, i64)> {
    let (from, _) = measured(run);
    let at = |seconds: f64| from + (seconds * 1e9).round() as i64;
    Some((at(run.accepted_from_s?), at(run.accepted_until_s?)))
}

/// The measured time of a run, from and to in nanoseconds since 1970.
fn measured(run: &Run) -> (i64, i64) {
    let ns = |seconds: f64| (seconds * 1e9).round() as i64;
    let from = started(run) + ns(run.plan.warmup_s);
    (from, from + ns(run.elapsed_s))
}

/// The most of something that runs which were measured at the same time had together.
fn at_once(leaves: &[Shard], of: impl Fn(&Run) -> u64) -> u64 {
    let spans: Vec<(i64, i64)> = leaves.iter().map(|leaf| measured(&leaf.run)).collect();
    most_at_once(&spans, |index| of(&leaves[index].run))
}

/// The time in which the runs were measured.
fn elapsed_ns(leaves: &[Shard]) -> u64 {
    Timeline::of(leaves.iter().map(|leaf| measured(&leaf.run))).length_ns()
}

/// When the first and the last message of all runs was accepted, as of the begin of the first. The time between runs
/// that were not at the same time is no part of that: a rate is over the time in which something was asked for.
fn accepted_ns(leaves: &[Shard]) -> Option<(u64, u64)> {
    let accepted = || leaves.iter().filter_map(|leaf| accepted_at(&leaf.run));
    let with_drain = |leaf: &Shard| {
        let (from, to) = measured(&leaf.run);
        (from, accepted_at(&leaf.run).map_or(to, |(_, last)| last.max(to)))
    };
    let time = Timeline::of(leaves.iter().map(with_drain));
    let first = accepted().map(|(first, _)| first).min()?;
    let last = accepted().map(|(_, last)| last).max()?;
    Some((time.passed_ns(first), time.passed_ns(last)))
}

fn totals(tally: Tally, leaves: &[Shard]) -> Totals {
    Totals {
        tally,
        elapsed: Duration::from_nanos(elapsed_ns(leaves)),
        accepted_ns: accepted_ns(leaves),
        cpu_busy: cpu_busy(leaves),
        in_flight_peak: at_once(leaves, |run| run.in_flight_peak),
        cores_lost: leaves.iter().map(|leaf| leaf.run.cores_lost).sum(),
        warmup_messages: leaves.iter().map(|leaf| leaf.run.warmup_messages).sum(),
        cooldown_messages: leaves.iter().map(|leaf| leaf.run.cooldown_messages).sum(),
        warmup_errors: leaves.iter().map(|leaf| leaf.run.warmup_errors).sum(),
        cooldown_errors: leaves.iter().map(|leaf| leaf.run.cooldown_errors).sum(),
    }
}

/// The result, judged anew.
fn sum(started: Timestamp, leaves: Vec<Shard>, totals: &Totals) -> Run {
    let mut run = Run::new(started, plan(&leaves), machine(&leaves), totals, cpu(&leaves));
    run.versions = Versions { ringpost: distinct(&leaves, |run| &run.versions.ringpost) };
    let of = |verdict| {
        let names: Vec<&str> = leaves
            .iter()
            .filter(|leaf| leaf.run.verdict == verdict)
            .map(|leaf| leaf.name.as_str())
            .collect();
        names.join(", ")
    };
    let (unreachable, limited) = (of(Verdict::Unreachable), of(Verdict::GeneratorLimited));
    if !unreachable.is_empty() && run.verdict != Verdict::Unreachable {
        let verdict = if run.verdict == Verdict::Ok { Verdict::Failures } else { run.verdict };
        run.overrule(verdict, format!("not reached by {unreachable}"));
    }
    let stopped = of(Verdict::Stopped);
    if !stopped.is_empty() {
        run.overrule(Verdict::Stopped, format!("stopped early: {stopped}"));
    }
    if !limited.is_empty() {
        run.overrule(
            Verdict::GeneratorLimited,
            format!("the generator was the limit in {limited}"),
        );
    }
    run.misbehaviour = misbehaviour::sum(leaves.iter().flat_map(|leaf| &leaf.run.misbehaviour));
    run.fail_if(&conditions(&leaves));
    run.shards = leaves;
    run
}

/// Whether the second target of one run is the second of another.
fn same_targets(leaves: &[Shard]) -> bool {
    leaves.iter().all(|leaf| leaf.run.plan.targets == leaves[0].run.plan.targets)
}

/// The plan of all runs together. Fields that cannot be added are those of the first run.
fn plan(leaves: &[Shard]) -> RunPlan {
    let plans = || leaves.iter().map(|leaf| &leaf.run.plan);
    let names = leaves.iter().map(|leaf| leaf.name.clone());
    let command = ["ringpost", "report", "merge"].map(str::to_owned).into_iter().chain(names);
    RunPlan {
        command: command.collect(),
        name: distinct(leaves, |run| &run.plan.name),
        note: distinct(leaves, |run| &run.plan.note),
        connections: at_once(leaves, |run| run.plan.connections),
        cores: at_once(leaves, |run| run.plan.cores),
        messages: plans().map(|plan| plan.messages).sum(),
        rate_msg_s: rate_msg_s(leaves),
        // The shapes of several rates are not the shape of their sum.
        targets: match same_targets(leaves) {
            true => leaves[0].run.plan.targets.clone(),
            false => Vec::new(),
        },
        rate: leaves[0].run.plan.rate.clone().filter(|_| leaves.len() == 1),
        ..leaves[0].run.plan.clone()
    }
}

/// What was asked for per second over the measured time of all runs.
fn rate_msg_s(leaves: &[Shard]) -> Option<f64> {
    let rates = || leaves.iter().map(|leaf| leaf.run.plan.rate_msg_s);
    if check::times(leaves).is_ok() {
        return rates().sum();
    }
    let asked = |Shard { run, .. }: &Shard| Some(run.plan.rate_msg_s? * run.elapsed_s);
    let asked: f64 = leaves.iter().map(asked).sum::<Option<f64>>()?;
    let elapsed_s = elapsed_ns(leaves) as f64 / 1e9;
    (elapsed_s > 0.0).then(|| asked / elapsed_s)
}

/// `cpus` are those of the largest machine: the runs do not tell how many machines there were.
fn machine(leaves: &[Shard]) -> Machine {
    Machine {
        cpus: leaves.iter().map(|leaf| leaf.run.machine.cpus).max().unwrap_or_default(),
        cpu_model: distinct(leaves, |run| &run.machine.cpu_model),
        kernel: distinct(leaves, |run| &run.machine.kernel),
        engine: distinct(leaves, |run| &run.machine.engine),
    }
}

fn distinct(leaves: &[Shard], of: impl Fn(&Run) -> &String) -> String {
    let mut values: Vec<&str> = leaves.iter().map(|leaf| of(&leaf.run).as_str()).collect();
    values.sort_unstable();
    values.dedup();
    values.retain(|value| !value.is_empty());
    values.join(", ")
}

/// What the cores of all runs used of their time.
fn cpu_busy(leaves: &[Shard]) -> Option<f64> {
    if let [one] = leaves {
        return one.run.cpu_busy;
    }
    let time_s = |run: &Run| run.elapsed_s * run.plan.cores as f64;
    let used_s = |Shard { run, .. }: &Shard| Some(run.cpu_busy? * time_s(run));
    // Where it is not known of one, it is not known of all.
    let used_s = leaves.iter().map(used_s).sum::<Option<f64>>()?;
    let had_s: f64 = leaves.iter().map(|leaf| time_s(&leaf.run)).sum();
    (had_s > 0.0).then(|| (used_s / had_s).min(1.0))
}

fn cpu(leaves: &[Shard]) -> CpuTime {
    let mut sum = CpuTime::default();
    for Shard { run, .. } in leaves {
        let messages = run.counts.messages_begun() as f64;
        let spent = |ns: f64| Duration::from_nanos(ns.round() as u64);
        match run.cpu_per_message_ns {
            Some(each) => {
                sum.user += spent(each.user * messages);
                sum.system += spent(each.system * messages);
            }
            // Without a message, the share of the cores tells the sum of both.
            None => {
                let cores_ns = run.elapsed_s * run.plan.cores as f64 * 1e9;
                sum.user += spent(run.cpu_busy.unwrap_or_default() * cores_ns);
            }
        }
    }
    sum
}

/// The conditions of the single runs, for their sum.
fn conditions(leaves: &[Shard]) -> Conditions {
    let mut conditions = Conditions::default();
    for judged in leaves.iter().flat_map(|leaf| &leaf.run.thresholds) {
        if let Ok(condition) = judged.condition.parse()
            && !conditions.0.contains(&condition)
        {
            conditions.0.push(condition);
        }
    }
    conditions
}

/// Opens a file that a merge cannot do without.
fn open(dir: &Path, name: &'static str) -> Result<BufReader<File>, MergeError> {
    let path = dir.join(name);
    match host::open_regular(&path) {
        Ok(file) => Ok(BufReader::new(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(MergeError::Missing { dir: dir.to_owned(), name })
        }
        Err(error) => Err(LoadError::Io { path, error }.into()),
    }
}
