//! How the time of a run is cut into intervals.

use super::tally::Tally;
use crate::limits::INTERVAL_NS;

/// How the time of a run is cut: seconds of warm-up, of measurement, and of what comes after, the last
/// of each of which may be short. All cores use the same cuts, so that their intervals can be added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    pub(super) warmup_ns: u64,
    /// The end of the measured time; `u64::MAX` where messages and not time end it.
    pub(super) end_ns: u64,
}

impl Spans {
    fn warmup_intervals(self) -> u32 {
        self.warmup_ns.div_ceil(INTERVAL_NS) as u32
    }

    pub(super) fn is_warmup(self, index: u32) -> bool {
        index < self.warmup_intervals()
    }

    /// The first interval after the measured time, if that has an end.
    fn first_after(self) -> u32 {
        let measured = match self.end_ns {
            u64::MAX => u64::MAX,
            end_ns => (end_ns - self.warmup_ns).div_ceil(INTERVAL_NS),
        };
        u32::try_from(measured).unwrap_or(u32::MAX).saturating_add(self.warmup_intervals())
    }

    /// Whether it lies after the measured time: in the cool-down, or while the last answers come.
    pub(super) fn is_after(self, index: u32) -> bool {
        index >= self.first_after()
    }

    /// Whether a message that is due, or in a closed loop begun, at `start_ns` is measured.
    pub(super) fn measures(self, start_ns: u64) -> bool {
        (self.warmup_ns..self.end_ns).contains(&start_ns)
    }

    /// Counts a message that is not measured and ended outside of the warm-up.
    pub(super) fn pass_over(self, tally: &mut Tally, start_ns: u64) {
        if start_ns < self.warmup_ns {
            tally.messages_early += 1;
        } else {
            tally.messages_late += 1;
        }
    }

    /// The end of what the figures cover, as of `elapsed_ns`: the measured time, and longer where
    /// messages that were due in it end after it.
    pub(super) fn measured_until(self, elapsed_ns: u64, last_ns: u64) -> u64 {
        elapsed_ns.min(self.end_ns.max(last_ns)).saturating_sub(self.warmup_ns)
    }

    /// The interval that `elapsed_ns` falls into.
    pub(super) fn index(self, elapsed_ns: u64) -> u32 {
        if let Some(after_ns) = elapsed_ns.checked_sub(self.end_ns) {
            return self.first_after() + (after_ns / INTERVAL_NS) as u32;
        }
        match elapsed_ns.checked_sub(self.warmup_ns) {
            None => (elapsed_ns / INTERVAL_NS) as u32,
            Some(measured_ns) => self.warmup_intervals() + (measured_ns / INTERVAL_NS) as u32,
        }
    }

    pub(super) fn start_ns(self, index: u32) -> u64 {
        if self.is_after(index) {
            return self.end_ns + u64::from(index - self.first_after()) * INTERVAL_NS;
        }
        match index.checked_sub(self.warmup_intervals()) {
            None => u64::from(index) * INTERVAL_NS,
            Some(measured) => self.warmup_ns + u64::from(measured) * INTERVAL_NS,
        }
    }

    /// The first nanosecond after the interval.
    pub(super) fn end_ns(self, index: u32) -> u64 {
        self.start_ns(index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = INTERVAL_NS;

    #[test]
    fn the_measured_time_is_cut_where_it_ends() {
        let spans = Spans { warmup_ns: S / 2, end_ns: 2 * S };
        let at = [0, S / 2, S, S + S / 2, 2 * S - 1, 2 * S, 3 * S - 1, 3 * S];
        assert_eq!(at.map(|ns| spans.index(ns)), [0, 1, 1, 2, 2, 3, 3, 4]);
        let ends = [S / 2, S + S / 2, 2 * S, 3 * S, 4 * S];
        assert_eq!([0, 1, 2, 3, 4].map(|index| spans.end_ns(index)), ends);
        assert_eq!([2, 3, 4].map(|index| spans.is_after(index)), [false, true, true]);
        let endless = Spans { end_ns: u64::MAX, ..spans };
        assert_eq!((endless.index(9 * S), endless.end_ns(9)), (9, 9 * S + S / 2));
        assert!(!endless.is_after(1_000_000));
    }
}
