//! Spans of the run: one core's interval, the interval of all cores, and the whole run.

use std::time::Duration;

use super::tally::Tally;

/// A core's tally of one interval on its way to the collector.
pub(super) struct Handover {
    pub(super) core: usize,
    pub(super) interval: u32,
    /// The interval that the core writes now; `None` when it has finished.
    pub(super) next: Option<u32>,
    pub(super) begun_ns: u64,
    pub(super) ended_ns: u64,
    /// How much of the measured time has passed.
    pub(super) measured_ns: u64,
    /// When its first and its last accepted message ended, since the start of the run.
    pub(super) accepted_ns: Option<(u64, u64)>,
    pub(super) in_flight_peak: u32,
    pub(super) tally: Box<Tally>,
}

/// One second of the run, all cores together.
#[derive(Debug)]
pub struct Interval {
    /// Warm-up is shown and logged under a tag, and is in no total.
    pub warmup: bool,
    /// After the measured time: only messages that were due in it and ended later.
    pub after: bool,
    /// Since the start of the run.
    pub begun_ns: u64,
    /// When the last core closed it: at a cut of the run, unless a core was held up.
    pub ended_ns: u64,
    /// Sum of the cores' peaks, which may have been at different moments: an upper bound.
    pub in_flight_peak: u64,
    /// Open connections at its end.
    pub connections: u64,
    pub tally: Box<Tally>,
}

impl Interval {
    pub fn seconds(&self) -> f64 {
        self.ended_ns.saturating_sub(self.begun_ns) as f64 / 1e9
    }
}

/// The whole run without its warm-up.
#[derive(Debug)]
pub struct Totals {
    pub tally: Tally,
    /// From the end of the warm-up: of an open loop the length of its schedule, of a closed one until the end
    /// of the measured time or the last reply to a message.
    pub elapsed: Duration,
    /// When the first and the last accepted message ended, in nanoseconds from the end of the warm-up.
    pub accepted_ns: Option<(u64, u64)>,
    /// Highest `in_flight_peak` of any interval of the measured time.
    pub in_flight_peak: u64,
    /// The generator's CPU time in the measured time over the time of its cores; `None` where it was not read.
    pub cpu_busy: Option<f64>,
    /// Cores that went away without finishing; what they had recorded since their last tick is lost.
    pub cores_lost: u32,
    /// Messages of the warm-up. Of the other figures only the connections include the warm-up.
    pub warmup_messages: u64,
    /// Messages of the cool-down.
    pub cooldown_messages: u64,
    /// Errors in the warm-up and after the measured time; in no other figure.
    pub warmup_errors: u64,
    pub cooldown_errors: u64,
}

/// The first and the last of two spans.
pub(super) fn join(a: Option<(u64, u64)>, b: Option<(u64, u64)>) -> Option<(u64, u64)> {
    match (a, b) {
        (Some((a_from, a_until)), Some((b_from, b_until))) => {
            Some((a_from.min(b_from), a_until.max(b_until)))
        }
        (one, None) | (None, one) => one,
    }
}
