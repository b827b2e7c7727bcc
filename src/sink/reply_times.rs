//! How long replies took: one histogram for each kind of command. One core writes it, and any thread may
//! read it at any time.
//!
//! The buckets are log-linear, as in an HdrHistogram: 16 for each power of two, so that a value is at most
//! 6 % too high. This is the server's share of the time alone; the time that a client waits is measured
//! at the client.

use serde::Serialize;

use super::counters::Count;
use crate::limits::carries;

/// Buckets for each power of two, as a power of two.
const SUB_BITS: u32 = 4;
const SUB_BUCKETS: usize = 1 << SUB_BITS;

/// Values from 2^40 ns (18 minutes) on share the last bucket.
const BITS_MAX: u32 = 40;
const BUCKETS: usize = (BITS_MAX - SUB_BITS + 1) as usize * SUB_BUCKETS;

/// The cells of one histogram.
#[derive(Debug)]
pub(super) struct TimeCells {
    buckets: [Count; BUCKETS],
    max_ns: Count,
}

impl Default for TimeCells {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Count::default()), max_ns: Count::default() }
    }
}

impl TimeCells {
    /// Counts `times` replies that took `took_ns` each. Only the one writer may call this.
    #[inline]
    pub(super) fn record(&self, took_ns: u64, times: u64) {
        if took_ns > self.max_ns.get() {
            self.max_ns.set(took_ns);
        }
        self.buckets[bucket(took_ns)].add(times);
    }
}

/// The sum of the histograms of all cores, as read at one moment.
#[derive(Clone, Debug)]
pub(super) struct TimeHistogram {
    buckets: Vec<u64>,
    max_ns: u64,
}

impl Default for TimeHistogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], max_ns: 0 }
    }
}

impl TimeHistogram {
    pub(super) fn add(&mut self, cells: &TimeCells) {
        for (sum, cell) in self.buckets.iter_mut().zip(&cells.buckets) {
            *sum += cell.get();
        }
        self.max_ns = self.max_ns.max(cells.max_ns.get());
    }

    pub(super) fn summary(&self) -> ReplyTimes {
        let count: u64 = self.buckets.iter().sum();
        let at = |quantile| carries(count, quantile).then(|| self.value_at(quantile, count));
        ReplyTimes {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: (count > 0).then_some(self.max_ns),
            count,
        }
    }

    /// The highest value in the bucket of the value at `quantile`. `count` is the sum of all buckets.
    fn value_at(&self, quantile: f64, count: u64) -> u64 {
        debug_assert!(count > 0, "an empty histogram has no quantiles");
        let rank = ((count as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.buckets.iter().position(|here| {
            below += here;
            below >= rank
        });
        found.map_or(0, |index| highest_in(index).min(self.max_ns))
    }
}

/// The quantiles of a histogram, in nanoseconds. They are `None` where there are too few replies for them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ReplyTimes {
    pub p50: Option<u64>,
    pub p90: Option<u64>,
    pub p99: Option<u64>,
    pub p999: Option<u64>,
    pub max: Option<u64>,
    /// Replies that were measured.
    pub count: u64,
}

/// The bucket of a value: one for each value below 16, then 16 for each power of two.
fn bucket(value: u64) -> usize {
    let value = value.min((1 << BITS_MAX) - 1);
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(SUB_BITS + 1);
    let index = shift as usize * SUB_BUCKETS + (value >> shift) as usize;
    debug_assert!(index < BUCKETS);
    index
}

/// The highest value of a bucket.
fn highest_in(index: usize) -> u64 {
    let shift = (index / SUB_BUCKETS).saturating_sub(1);
    let lead = index - shift * SUB_BUCKETS;
    ((lead as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap_and_are_narrow() {
        let mut next = 0;
        for index in 0..BUCKETS {
            assert_eq!(bucket(next), index, "{next} begins it");
            let last = highest_in(index);
            assert_eq!(bucket(last), index, "{last} ends it");
            assert!(last - next <= next / SUB_BUCKETS as u64, "{next} to {last} is wide");
            next = last + 1;
        }
        assert_eq!(next, 1 << BITS_MAX);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let cells = TimeCells::default();
        for value in 1..=1_000 {
            cells.record(value * 1_000, 1);
        }
        cells.record(77_000_000, 1);
        let mut histogram = TimeHistogram::default();
        histogram.add(&cells);
        let times = histogram.summary();
        assert_eq!((times.count, times.max), (1_001, Some(77_000_000)));
        for (told, exact) in [(times.p50, 501_000), (times.p90, 901_000), (times.p99, 991_000)] {
            let told = told.unwrap();
            assert!(told >= exact && told - exact <= exact / 16, "{told} for {exact}");
        }
        assert_eq!(TimeHistogram::default().summary(), ReplyTimes::default());
    }

    #[test]
    fn quantiles_that_the_replies_do_not_carry_are_unknown() {
        let cells = TimeCells::default();
        cells.record(1_000, 20);
        let mut histogram = TimeHistogram::default();
        histogram.add(&cells);
        let ReplyTimes { p50, p90, p99, p999, max, count } = histogram.summary();
        assert!(p50.is_some() && p90.is_some() && max == Some(1_000), "{p50:?} {p90:?} {max:?}");
        assert_eq!((p99, p999, count), (None, None, 20));
    }

    #[test]
    fn no_quantile_is_above_the_greatest_value() {
        let cells = TimeCells::default();
        cells.record(1_000_001, 1_000);
        let mut histogram = TimeHistogram::default();
        histogram.add(&cells);
        assert_eq!(histogram.summary().p999, Some(1_000_001));
    }
}
