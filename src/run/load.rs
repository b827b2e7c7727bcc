//! Reads the artefacts of a run back.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde::Deserialize;

use super::artefact::{RUN_CSV, RUN_HLOG, RUN_JSON};
use super::hlog::{self, HlogError, HlogLine};
use super::result::{Run, SCHEMA};
use super::series::{self, PhaseSecond, Second, SeriesError};
use super::tls_result::TlsResult;
use crate::host;
use crate::measure::Totals;

/// Octets of a result, and values in it: that of a thousand shards has a tenth.
pub(super) const JSON_BYTES_MAX: u64 = 64 * 1024 * 1024;
const JSON_OBJECTS_MAX: usize = 60_000;
const JSON_VALUES_MAX: usize = 1_500_000;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{}: there is no such directory or log", .0.display())]
    NoDirectory(PathBuf),
    #[error(
        "{}: no run.json here; is it the --out directory of a run that has ended?",
        .0.display()
    )]
    NoRun(PathBuf),
    #[error(
        "{}: written in version {found} of the format, and this program reads version {SCHEMA}; use \
         the ringpost that made it",
        .path.display()
    )]
    OtherSchema { path: PathBuf, found: u64 },
    #[error("{}: this is a file; name the directory of the run", .0.display())]
    NotADirectory(PathBuf),
    #[error("{}: {why}", .path.display())]
    NotALog { path: PathBuf, why: String },
    #[error(
        "{}: it holds a value of {value}, which is more than 292 years in {unit}; name the unit of its \
         values with --unit",
        .path.display()
    )]
    Unit { path: PathBuf, value: u64, unit: &'static str },
    #[error("{}: not the result of a run: {error}", .path.display())]
    Json { path: PathBuf, error: serde_json::Error },
    #[error("{}: damaged: {error}", .path.display())]
    Hlog { path: PathBuf, error: HlogError },
    #[error("{}: damaged: {error}", .path.display())]
    Series { path: PathBuf, error: SeriesError },
    #[error("{}: it holds more values than any result", .0.display())]
    Many(PathBuf),
    #[error("cannot read {}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// A run as its directory tells it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub run: Run,
    /// Sum of the untagged lines of `run.hlog`; `None` where the file is missing.
    pub headline: Option<Histogram<u64>>,
    /// Service time beside it in an open loop, where the headline is response time.
    pub service: Option<Histogram<u64>>,
    /// Send lag in an open loop.
    pub send_lag: Option<Histogram<u64>>,
    /// Rows of `run.csv`; empty where the file is missing.
    pub seconds: Vec<Second>,
    /// The phases by the second; empty where `run.hlog` is missing.
    pub phases: Vec<PhaseSecond>,
    pub origin: ReportOrigin,
}

/// What a report is read from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReportOrigin {
    Run,
    /// An interval log alone: nothing is known but the headline and what follows from it.
    Log {
        /// Written by this program, as part of a run.
        own: bool,
    },
}

impl Loaded {
    /// A run that has just ended, taken from memory and not from a directory. It has no rows by the second.
    pub fn of(run: Run, totals: &Totals) -> Self {
        let tally = &totals.tally;
        Self {
            run,
            headline: Some(tally.headline().clone()),
            service: tally.open.as_ref().map(|_| tally.service_ns.clone()),
            send_lag: tally.open.as_ref().map(|open| open.send_lag_ns.clone()),
            seconds: Vec::new(),
            phases: Vec::new(),
            origin: ReportOrigin::Run,
        }
    }

    /// Whether only a log was read.
    pub fn is_log(&self) -> bool {
        self.origin != ReportOrigin::Run
    }

    /// Whether the headlines of two runs measure the same, so that they may be drawn over each other.
    /// The headline of a log may be drawn over any other.
    pub fn is_like(&self, other: &Self) -> bool {
        self.is_log() || other.is_log() || self.run.mode() == other.run.mode()
    }

    /// Reads a directory. `run.json` must be there; without the other files a report is shorter.
    pub fn open(dir: &Path) -> Result<Self, LoadError> {
        let run = read_run(dir)?;
        let mut headline = None;
        let mut service = None;
        let mut send_lag = None;
        let mut phases = Vec::new();
        let path = dir.join(RUN_HLOG);
        if let Some(log) = open_optional(&path)? {
            for line in hlog::read(log) {
                let line = line.map_err(|error| LoadError::Hlog { path: path.clone(), error })?;
                match line.tag.as_deref() {
                    None => add(&mut headline, line.histogram),
                    Some(hlog::TAG_SERVICE) => add(&mut service, line.histogram),
                    Some(hlog::TAG_SEND_LAG) => add(&mut send_lag, line.histogram),
                    Some(_) => phases.extend(phase_second(&line)),
                }
            }
        }
        let path = dir.join(RUN_CSV);
        let seconds = match open_optional(&path)? {
            None => Vec::new(),
            Some(csv) => series::read(csv).map_err(|error| LoadError::Series { path, error })?,
        };
        Ok(Self { run, headline, service, send_lag, seconds, phases, origin: ReportOrigin::Run })
    }
}

/// A line that is about a whole phase.
fn phase_second(line: &HlogLine) -> Option<PhaseSecond> {
    let (phase, None) = hlog::phase_of_tag(line.tag.as_deref()?)? else { return None };
    Some(PhaseSecond {
        phase,
        start_s: line.begun.as_secs_f64(),
        seconds: line.lasted.as_secs_f64(),
        mean_ns: Some(line.histogram.mean()).filter(|_| !line.histogram.is_empty())?,
    })
}

/// Reads the result of a run alone.
///
/// # Errors
/// When there is none, or it is damaged.
pub fn read_run(dir: &Path) -> Result<Run, LoadError> {
    if dir.is_file() {
        return Err(LoadError::NotADirectory(dir.to_owned()));
    }
    if !dir.is_dir() {
        return Err(LoadError::NoDirectory(dir.to_owned()));
    }
    let path = dir.join(RUN_JSON);
    let json = match host::read_regular(&path, JSON_BYTES_MAX) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LoadError::NoRun(dir.to_owned()));
        }
        Err(error) => return Err(LoadError::Io { path, error }),
    };
    if !is_modest(&json) {
        return Err(LoadError::Many(path));
    }
    let fail = |error| LoadError::Json { path: path.clone(), error };
    // The version comes first: the rest of another version may have any shape.
    let version: Version = serde_json::from_slice(&json).map_err(fail)?;
    if version.schema != u64::from(SCHEMA) {
        return Err(LoadError::OtherSchema { path, found: version.schema });
    }
    let mut run: Run = serde_json::from_slice(&json).map_err(fail)?;
    if !is_in_range(&run) || !run.shards.iter().all(|shard| is_in_range(&shard.run)) {
        return Err(fail(serde::de::Error::custom("a count is larger than any run comes to")));
    }
    run.settle();
    let began =
        |run: &Run| run.started.parse().is_ok_and(|at: Timestamp| at >= Timestamp::UNIX_EPOCH);
    if began(&run) && run.shards.iter().all(|shard| began(&shard.run)) {
        Ok(run)
    } else {
        Err(fail(serde::de::Error::custom("'started' is not a time since 1970")))
    }
}

/// Whether each count is one that a run can have come to.
fn is_in_range(run: &Run) -> bool {
    run.counts.are_in_range() && run.tls.as_ref().is_none_or(TlsResult::is_in_range)
}

#[derive(Deserialize)]
struct Version {
    schema: u64,
}

/// Whether the values of a JSON text fit into little memory. An object may become a whole [`Run`], and any
/// value a text of its own.
pub(super) fn is_modest(json: &[u8]) -> bool {
    let objects = memchr::memchr_iter(b'{', json).count();
    let values = memchr::memchr_iter(b',', json).count();
    objects <= JSON_OBJECTS_MAX && values <= JSON_VALUES_MAX
}

fn open_optional(path: &Path) -> Result<Option<BufReader<File>>, LoadError> {
    match host::open_regular(path) {
        Ok(file) => Ok(Some(BufReader::with_capacity(64 * 1024, file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LoadError::Io { path: path.to_owned(), error }),
    }
}

/// Foreign logs may hold histograms of other bounds; those of the first line are stretched to fit.
pub(super) fn add(sum: &mut Option<Histogram<u64>>, more: Histogram<u64>) {
    match sum {
        None => {
            let mut first = more;
            first.auto(true);
            *sum = Some(first);
        }
        Some(sum) => sum.add(more).expect("a resizing histogram takes any other"),
    }
}
