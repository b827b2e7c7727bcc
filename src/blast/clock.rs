//! The clock of a run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Time since the start of the run, the same on all cores, and what the wall clock said then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    start_unix_ns: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_unix_ns: unix.as_nanos() as u64 }
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
