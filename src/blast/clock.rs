//! The clock of a run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Pairs of readings of which one is kept.
const READINGS: usize = 16;

/// Time since the start of the run, the same on all cores, and what the wall clock said then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    start_unix_ns: u64,
}

impl Clock {
    /// Starts it. Another program may have the CPU between a reading of one clock and of the other, so that the run
    /// would lie elsewhere by the wall clock by as much: of several pairs the one that took least is kept.
    pub(super) fn start() -> Self {
        let pair = |_| {
            let start = Instant::now();
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (start.elapsed(), Self { start, start_unix_ns: unix.as_nanos() as u64 })
        };
        nearest((0..READINGS).map(pair)).unwrap_or_else(|| pair(0).1)
    }

    pub(super) fn started(self) -> Instant {
        self.start
    }

    /// The start by the wall clock.
    pub(super) fn started_at(self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.start_unix_ns)).unwrap_or_default()
    }

    #[inline]
    pub(super) fn elapsed_ns(self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    pub(super) fn instant(self, elapsed_ns: u64) -> Instant {
        self.start + Duration::from_nanos(elapsed_ns)
    }

    #[inline]
    pub(super) fn unix_ns(self, elapsed_ns: u64) -> u64 {
        self.start_unix_ns + elapsed_ns
    }
}

/// Of pairs of readings, each with the time that it took, the one that took least.
fn nearest<T>(pairs: impl Iterator<Item = (Duration, T)>) -> Option<T> {
    pairs.min_by_key(|(took, _)| *took).map(|(_, pair)| pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_are_read_at_one_moment() {
        let ms = Duration::from_millis;
        let pairs = [(ms(3), 'a'), (ms(1), 'b'), (ms(9), 'c')];
        assert_eq!(nearest(pairs.into_iter()), Some('b'));
        let clock = Clock::start();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        assert!(clock.start_unix_ns <= unix);
    }
}
