//! Seconds of many runs, brought together on the seconds of the wall clock.

use std::fs::File;
use std::io::BufReader;
use std::iter::Peekable;
use std::path::Path;

use jiff::Timestamp;

use super::{MergeError, open, started};
use crate::measure::{Interval, Mode, Tally};
use crate::run::Run;
use crate::run::artefact::{RUN_CSV, RUN_HLOG};
use crate::run::hlog::{self, HlogLine, HlogReader, TAG_WARMUP, target_of_tag};
use crate::run::series::{Second, SeriesReader};

pub(super) const SECOND_NS: i64 = 1_000_000_000;

/// A time in a file may be rounded by as much; a tick is never so early.
const ROUNDED_NS: i64 = 500_000;

/// A second since 1970, of which warm-up, measurement and what comes after are kept apart.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct At {
    second: i64,
    /// Not in the warm-up.
    measured: bool,
    after: bool,
}

/// The sum of all runs over one second.
pub(super) struct MergedSecond {
    at: At,
    lasted_ns: u64,
    /// The runs had the same targets in the same order, so that a target's number means the same in all.
    targets: bool,
    interval: Interval,
}

impl MergedSecond {
    pub(super) fn new(mode: Mode, targets: bool) -> Self {
        let interval = Interval {
            warmup: false,
            after: false,
            begun_ns: 0,
            ended_ns: 0,
            in_flight_peak: 0,
            connections: 0,
            tally: Box::new(Tally::new(mode)),
        };
        let at = At { second: 0, measured: false, after: false };
        Self { at, lasted_ns: 0, targets, interval }
    }

    pub(super) fn begin(&mut self, at: At) {
        self.at = at;
        self.lasted_ns = 0;
        self.interval.warmup = !at.measured;
        self.interval.after = at.after;
        self.interval.in_flight_peak = 0;
        self.interval.connections = 0;
        self.interval.tally.clear();
    }

    /// The second as part of a run that started at `started`. It lasted as long as the longest of
    /// its parts, of which each run has at most one.
    pub(super) fn close(&mut self, started: Timestamp) -> &Interval {
        let begun_s = self.at.second - started.as_second();
        self.interval.begun_ns = (begun_s * SECOND_NS) as u64;
        self.interval.ended_ns = self.interval.begun_ns + self.lasted_ns;
        &self.interval
    }
}

/// One run's log and rows, read an interval at a time: decoded, a log is a hundred times its size.
pub(super) struct ShardSource<'r> {
    run: &'r Run,
    dir: &'r Path,
    lines: Peekable<HlogReader<BufReader<File>>>,
    rows: SeriesReader<BufReader<File>>,
    /// The next row, and the second that it belongs to.
    next: Option<(At, Second)>,
}

impl<'r> ShardSource<'r> {
    pub(super) fn open(dir: &'r Path, run: &'r Run) -> Result<Self, MergeError> {
        let series = |error| MergeError::Series { dir: dir.to_owned(), error };
        let rows = SeriesReader::begin(open(dir, RUN_CSV)?).map_err(series)?;
        let lines = hlog::read(open(dir, RUN_HLOG)?).peekable();
        let mut source = Self { run, dir, lines, rows, next: None };
        source.advance(At { second: i64::MIN, measured: false, after: false })?;
        Ok(source)
    }

    /// Reads the next row, which is not before `last`: a core that was held up may hand over out of turn,
    /// and time does not go back for that.
    fn advance(&mut self, last: At) -> Result<(), MergeError> {
        let series = |error| MergeError::Series { dir: self.dir.to_owned(), error };
        let row = self.rows.next().transpose().map_err(series)?;
        self.next = row.map(|row| (last.max(place(self.run, &row)), row));
        Ok(())
    }

    /// The second that the next interval belongs to.
    pub(super) fn due(&self) -> Option<At> {
        self.next.as_ref().map(|(at, _)| *at)
    }

    /// Adds its next interval to the second and, unless it is warm-up, to the total.
    pub(super) fn take(
        &mut self,
        merged: &mut MergedSecond,
        total: &mut Tally,
    ) -> Result<(), MergeError> {
        let torn = || MergeError::Torn(self.dir.to_owned());
        let damaged = |error| MergeError::Log { dir: self.dir.to_owned(), error };
        let unfit = |error| MergeError::Unfit { dir: self.dir.to_owned(), error };
        let (at, row) = self.next.take().ok_or_else(torn)?;
        let head = self.lines.next().ok_or_else(torn)?.map_err(damaged)?;
        if !begins_interval(&head) || head.tag.is_none() != at.measured {
            return Err(torn());
        }
        merged.interval.tally.restore_second(&row);
        merged.interval.in_flight_peak += row.in_flight_peak;
        merged.interval.connections += row.connections;
        merged.lasted_ns = merged.lasted_ns.max((row.seconds * 1e9).round() as u64);
        let mut next = Some(head);
        while let Some(line) = next {
            let tag = line.tag.as_deref();
            if merged.targets || tag.and_then(target_of_tag).is_none() {
                merged.interval.tally.restore_line(tag, &line.histogram).map_err(unfit)?;
                if at.measured {
                    total.restore_line(tag, &line.histogram).map_err(unfit)?;
                }
            }
            let goes_on = |line: &Result<HlogLine, _>| !line.as_ref().is_ok_and(begins_interval);
            next = self.lines.next_if(goes_on).transpose().map_err(damaged)?;
        }
        let is_torn = self.rows_end(at)? && self.lines.peek().is_some();
        if is_torn { Err(MergeError::Torn(self.dir.to_owned())) } else { Ok(()) }
    }
}

impl ShardSource<'_> {
    /// Goes on to the row after that of `at`; whether there is none.
    fn rows_end(&mut self, at: At) -> Result<bool, MergeError> {
        self.advance(at)?;
        Ok(self.next.is_none())
    }
}

/// Each interval is logged headline first, and that is logged even when it is empty.
fn begins_interval(line: &HlogLine) -> bool {
    matches!(line.tag.as_deref(), None | Some(TAG_WARMUP))
}

/// The whole second that is nearest to where the interval was to begin. That time counts, not the
/// tick that was late, so that a run has one interval in each second, whatever its ticks did.
fn place(run: &Run, row: &Second) -> At {
    let begun_ns = (row.start_s * 1e9).round() as i64;
    let due_ns = if run.shards.is_empty() {
        let ns = |seconds: f64| (seconds * 1e9).round() as i64;
        let warmup_ns = ns(run.plan.warmup_s);
        let from_ns = match (row.warmup, row.after) {
            (true, _) => 0,
            (_, false) => warmup_ns,
            (_, true) => warmup_ns + ns(run.plan.duration_s.unwrap_or_default()),
        };
        from_ns + (begun_ns - from_ns + ROUNDED_NS).div_euclid(SECOND_NS) * SECOND_NS
    } else {
        begun_ns
    };
    let second = (started(run) + due_ns + SECOND_NS / 2).div_euclid(SECOND_NS);
    At { second, measured: !row.warmup, after: row.after }
}
