//! Interval logs of other programs, read in place of a run: latencies, and what follows from them. All
//! else about the run is unknown.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use jiff::Timestamp;

use super::artefact::{RUN_CSV, RUN_HGRM, RUN_JSON};
use super::hlog::{self, HlogLine, LogHead};
use super::latency::Latency;
use super::load::{LoadError, Loaded, ReportOrigin, add};
use super::result::Run;
use super::series::Second;
use crate::host;
use crate::measure::Counters;

/// The unit of the values of a log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogUnit {
    #[default]
    Ns,
    Us,
    Ms,
    S,
}

impl LogUnit {
    const fn name(self) -> &'static str {
        match self {
            Self::Ns => "ns",
            Self::Us => "us",
            Self::Ms => "ms",
            Self::S => "s",
        }
    }

    const fn ns(self) -> u64 {
        match self {
            Self::Ns => 1,
            Self::Us => 1_000,
            Self::Ms => 1_000_000,
            Self::S => 1_000_000_000,
        }
    }
}

/// How a log is to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub unit: LogUnit,
    /// The lines with this tag in place of those without one.
    pub tag: Option<String>,
}

impl Loaded {
    /// Reads a directory, or a file that is a log of any program.
    pub fn open_any(path: &Path, reading: &Reading) -> Result<Self, LoadError> {
        const NO_LOGS: [&str; 3] = [RUN_JSON, RUN_HGRM, RUN_CSV];
        let is_log = path.is_file() && !NO_LOGS.iter().any(|name| path.ends_with(name));
        if is_log { open(path, reading) } else { Self::open(path) }
    }
}

/// Reads a log. Without a tag its untagged lines count, or all where they have one tag in common.
///
/// # Errors
/// When the file is not an interval log, is damaged, or has no lines with that tag.
fn open(path: &Path, reading: &Reading) -> Result<Loaded, LoadError> {
    let log = || match host::open_regular(path) {
        Ok(file) => Ok(BufReader::with_capacity(64 * 1024, file)),
        Err(error) => Err(LoadError::Io { path: path.to_owned(), error }),
    };
    let empty = |why: String| LoadError::NotALog { path: path.to_owned(), why };
    let damaged = |error| LoadError::Hlog { path: path.to_owned(), error };
    // Decoded, a log is a hundred times its size: no line is kept.
    let tags = hlog::read(log()?).map(|line| line.map(|line| line.tag).map_err(damaged));
    let tags = tags.collect::<Result<BTreeSet<_>, _>>()?;
    let names: Vec<&str> = tags.iter().flatten().map(String::as_str).collect();
    let wanted = match (&reading.tag, &names[..]) {
        (None, [one]) if !tags.contains(&None) => Some((*one).to_owned()),
        (tag, _) => tag.clone(),
    };
    if !tags.contains(&wanted) {
        return Err(empty(match (wanted, names.is_empty()) {
            (None, true) => "it holds no interval of an HdrHistogram log".to_owned(),
            (None, false) => {
                format!("all its lines have tags; name one with --tag: {}", names.join(", "))
            }
            (Some(tag), true) => format!("no line has the tag '{tag}': its lines have no tags"),
            (Some(tag), false) => {
                format!("no line has the tag '{tag}'; there are {}", names.join(", "))
            }
        }));
    }
    let mut sum = LogSum::default();
    for line in hlog::read(log()?) {
        let line = line.map_err(damaged)?;
        if line.tag == wanted {
            sum.take(&line, reading.unit).map_err(|value| {
                let (path, unit) = (path.to_owned(), reading.unit.name());
                LoadError::Unit { path, value, unit }
            })?;
        }
    }
    Ok(sum.loaded(hlog::begins(log()?)))
}

/// The lines of one tag.
#[derive(Default)]
struct LogSum {
    headline: Option<Histogram<u64>>,
    seconds: Vec<Second>,
    /// From the first begin to the last end.
    span: Option<(Duration, Duration)>,
}

impl LogSum {
    /// Adds a line whose values are in `unit`; a value that is too large for nanoseconds is the error.
    fn take(&mut self, line: &HlogLine, unit: LogUnit) -> Result<(), u64> {
        let scaled = scaled(&line.histogram, unit.ns())?;
        let latency = Latency::from(&scaled);
        let ended = line.begun + line.lasted;
        let (first, last) = self.span.unwrap_or((line.begun, ended));
        self.span = Some((first.min(line.begun), last.max(ended)));
        self.seconds.push(Second {
            start_s: (line.begun.saturating_sub(first)).as_secs_f64(),
            seconds: line.lasted.as_secs_f64(),
            messages_ok: latency.count,
            p50_ns: latency.p50,
            p90_ns: latency.p90,
            p99_ns: latency.p99,
            p999_ns: latency.p999,
            max_ns: latency.max,
            ..Second::default()
        });
        add(&mut self.headline, scaled);
        Ok(())
    }

    fn loaded(self, begins: LogHead) -> Loaded {
        let Self { headline, seconds, span } = self;
        let (begun, ended) = span.unwrap_or_default();
        let service_ns = headline.as_ref().map(Latency::from).unwrap_or_default();
        let elapsed_s = (ended - begun).as_secs_f64();
        let run = Run {
            started: started(begins.start, begun),
            counts: Counters { messages_ok: service_ns.count, ..Counters::default() },
            elapsed_s,
            rate_msg_s: (elapsed_s > 0.0).then(|| service_ns.count as f64 / elapsed_s),
            service_ns,
            ..Run::default()
        };
        Loaded {
            run,
            headline,
            service: None,
            send_lag: None,
            seconds,
            phases: Vec::new(),
            origin: ReportOrigin::Log { own: begins.own },
        }
    }
}

/// The same in nanoseconds, to the digits that it was kept to; a value that does not fit is the error.
fn scaled(histogram: &Histogram<u64>, factor: u64) -> Result<Histogram<u64>, u64> {
    if factor == 1 {
        return Ok(histogram.clone());
    }
    let mut scaled = Histogram::new(histogram.sigfig()).expect("digits of a histogram");
    for cell in histogram.iter_recorded() {
        let value = cell.value_iterated_to();
        let ns = value.checked_mul(factor).filter(|ns| *ns <= i64::MAX as u64).ok_or(value)?;
        scaled.record_n(ns, cell.count_since_last_iteration()).expect("it grows");
    }
    Ok(scaled)
}

/// As the log itself says; empty where it does not.
fn started(start: Option<Duration>, begun: Duration) -> String {
    let at = |since: Duration| Timestamp::try_from(std::time::SystemTime::UNIX_EPOCH + since).ok();
    let start = start.or(Some(begun).filter(|begun| begun.as_secs() > 1_000_000_000));
    start.and_then(at).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_in_nanoseconds_and_counts_stay() {
        let mut ms = Histogram::<u64>::new(3).unwrap();
        for value in 1..=1_000 {
            ms.record(value).unwrap();
        }
        let ns = scaled(&ms, LogUnit::Ms.ns()).unwrap();
        assert_eq!(ns.len(), 1_000);
        let p50 = ns.value_at_quantile(0.5) as f64;
        assert!((p50 / 500e6 - 1.0).abs() < 0.001, "{p50}");
        assert_eq!(scaled(&ms, 1), Ok(ms));
        let mut most = Histogram::<u64>::new(3).unwrap();
        most.record(9_000_000_000).unwrap();
        assert_eq!(scaled(&most, LogUnit::S.ns()).unwrap().len(), 1);
        most.record(10_000_000_000).unwrap();
        let value = most.max();
        assert_eq!(scaled(&most, LogUnit::S.ns()), Err(value), "what does not fit is told");
    }
}
