//! `run.hlog`: HdrHistogram's interval log, one line a second and metric.
//!
//! Payloads are V2 with DEFLATE, because the Java, JavaScript and Python readers take no other form.
//! The headline is the untagged line: a log of tagged lines alone crashes Java's
//! `HistogramLogProcessor`. All values, the readable maximum included, are nanoseconds.

mod read;

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};

pub use self::read::{HlogError, HlogLine, HlogReader, LogHead, begins, read};

use crate::limits::TARGETS_MAX;
use crate::measure::{Interval, Outcome, Phase};

/// What the untagged lines hold.
pub const HEADLINE_OPEN: &str = "response";
pub const HEADLINE_CLOSED: &str = "service";

/// Tags beside those of [`phase_tag`].
pub const TAG_SERVICE: &str = "service";
pub const TAG_SEND_LAG: &str = "send_lag";
pub const TAG_OWN_LAG: &str = "own_lag";
pub const TAG_REFUSED: &str = "refused";
/// The headline metric before the measurement began; in no total.
pub const TAG_WARMUP: &str = "warmup";
pub const TAG_WARMUP_LAG: &str = "warmup.send_lag";

/// The tag of a phase's part: `rcpt.refused_4xx`. The whole, whatever the outcomes, has the bare name.
pub fn phase_tag(phase: Phase, outcome: Outcome) -> String {
    format!("{}.{}", phase.name(), outcome.name())
}

/// The tag of one of several targets, which count from 1: `target.1`.
pub fn target_tag(target: usize) -> String {
    format!("target.{}", target + 1)
}

/// The way back.
pub fn target_of_tag(tag: &str) -> Option<usize> {
    let number: usize = tag.strip_prefix("target.")?.parse().ok()?;
    number.checked_sub(1).filter(|target| *target < TARGETS_MAX)
}

/// The way back: a phase, and a part of it unless it is the whole.
pub fn phase_of_tag(tag: &str) -> Option<(Phase, Option<Outcome>)> {
    match tag.split_once('.') {
        None => Some((Phase::from_name(tag)?, None)),
        Some((phase, outcome)) => {
            Some((Phase::from_name(phase)?, Some(Outcome::from_name(outcome)?)))
        }
    }
}

/// How the comment begins that says who wrote the log.
const OWN_COMMENT: &str = "[ringpost ";

pub struct HlogWriter<W> {
    out: W,
    serializer: V2DeflateSerializer,
}

impl<W: Write> HlogWriter<W> {
    /// Writes the head of the log; `started` is the start of the run.
    pub fn begin(mut out: W, started: SystemTime, headline: &str) -> io::Result<Self> {
        let mut serializer = V2DeflateSerializer::new();
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(&format!(
                "{OWN_COMMENT}{}: nanoseconds; untagged lines are {headline} time]",
                env!("CARGO_PKG_VERSION")
            ))
            .with_start_time(started)
            .with_base_time(started)
            .begin_log_with(&mut out, &mut serializer)?;
        // The legend that Java's writer prints; its graphical readers look for it.
        writeln!(
            out,
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
        )?;
        Ok(Self { out, serializer })
    }

    /// Writes one second. The headline line comes even when it is empty, since a second without any
    /// answer is a finding; others come only when something was recorded.
    pub fn write(&mut self, interval: &Interval) -> io::Result<()> {
        let tally = &interval.tally;
        if interval.warmup {
            self.line(interval, tally.headline(), Some(TAG_WARMUP))?;
            if let Some(open) = &tally.open {
                self.line(interval, &open.send_lag_ns, Some(TAG_WARMUP_LAG))?;
            }
            return Ok(());
        }
        self.line(interval, tally.headline(), None)?;
        if let Some(open) = &tally.open {
            self.line(interval, &tally.service_ns, Some(TAG_SERVICE))?;
            self.line(interval, &open.send_lag_ns, Some(TAG_SEND_LAG))?;
            self.line(interval, &open.own_lag_ns, Some(TAG_OWN_LAG))?;
        }
        if !tally.refused_ns.is_empty() {
            self.line(interval, &tally.refused_ns, Some(TAG_REFUSED))?;
        }
        for (target, portion) in tally.targets.iter().enumerate() {
            if !portion.headline_ns.is_empty() {
                self.line(interval, &portion.headline_ns, Some(&target_tag(target)))?;
            }
        }
        for phase in Phase::ALL {
            let split = tally.split(phase);
            if !split.all().is_empty() {
                self.line(interval, split.all(), Some(phase.name()))?;
            }
            for (outcome, part) in split.apart() {
                self.line(interval, part, Some(&phase_tag(phase, outcome)))?;
            }
        }
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn line(
        &mut self,
        interval: &Interval,
        histogram: &Histogram<u64>,
        tag: Option<&str>,
    ) -> io::Result<()> {
        let begun = Duration::from_nanos(interval.begun_ns);
        let lasted = Duration::from_nanos(interval.ended_ns.saturating_sub(interval.begun_ns));
        self.histogram((begun, lasted), histogram, tag)
    }

    /// Writes one line: what was recorded in a stretch of time that began and lasted so long after the start.
    pub fn histogram(
        &mut self,
        (begun, lasted): (Duration, Duration),
        histogram: &Histogram<u64>,
        tag: Option<&str>,
    ) -> io::Result<()> {
        let tag = tag.and_then(Tag::new);
        // A builder without headers writes nothing, so one per line is how the library lets an
        // owned file be written to over time.
        IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.out, &mut self.serializer)?
            .write_histogram(histogram, begun, lasted, tag)
            .map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => error,
                IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::{Collected, MessageSample, Mode, RecipientCounts, team};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn what_is_logged_is_read_back_cell_by_cell(
            samples in prop::collection::vec(0..10_000_000_000u64, 0..100),
        ) {
            let (mut recorders, mut collector) = team(1, Mode::Closed, Duration::ZERO, None);
            let mut recorder = recorders.pop().unwrap();
            for &service_ns in &samples {
                let outcome = Outcome::Accepted;
                let start_ns = 0;
                let recipients = RecipientCounts::of(outcome, 1);
                let ended_ns = service_ns;
                let message =
                    MessageSample { outcome, bytes: 1, recipients, start_ns, ended_ns, service_ns, open: None };
                recorder.record_message(&message);
                recorder.record_phase(Phase::EndOfData, Outcome::Accepted, service_ns / 2);
            }
            recorder.finish(1_500_000_000);
            let Collected::Interval(interval) = collector.next(Duration::ZERO) else { panic!() };
            let mut log = Vec::new();
            let mut writer = HlogWriter::begin(&mut log, SystemTime::UNIX_EPOCH, "service").unwrap();
            writer.write(&interval).unwrap();
            let lines: Vec<HlogLine> = read(&log[..]).map(Result::unwrap).collect();
            prop_assert_eq!(&lines[0].histogram, &interval.tally.service_ns);
            prop_assert_eq!(lines[0].lasted, Duration::from_millis(1_500));
            prop_assert_eq!(lines.len(), if samples.is_empty() { 1 } else { 2 });
            for line in &lines[1..] {
                prop_assert_eq!(line.tag.as_deref(), Some("end_of_data"));
                prop_assert_eq!(&line.histogram, interval.tally.phase(Phase::EndOfData));
            }
        }
    }

    #[test]
    fn a_tag_names_a_target_or_a_phase_and_a_part_of_it() {
        for phase in Phase::ALL {
            assert_eq!(phase_of_tag(phase.name()), Some((phase, None)));
            for outcome in Outcome::APART {
                let tag = phase_tag(phase, outcome);
                assert_eq!(phase_of_tag(&tag), Some((phase, Some(outcome))));
                assert!(Tag::new(&tag).is_some());
            }
        }
        for target in [0, 1, TARGETS_MAX - 1] {
            let tag = target_tag(target);
            assert_eq!((target_of_tag(&tag), phase_of_tag(&tag)), (Some(target), None));
            assert!(Tag::new(&tag).is_some());
        }
        for tag in ["target.0", "target.33", "target.x", "target"] {
            assert_eq!(target_of_tag(tag), None, "{tag}");
        }
        assert_eq!(phase_of_tag(TAG_SEND_LAG), None);
        assert_eq!(phase_of_tag("mail.slow"), None);
    }
}
