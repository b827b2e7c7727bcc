//! How often clients that nobody knows may have the relay work.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Times in a row.
const ASKS_MAX: u32 = 200;

/// Time that gives one back.
const ASK_BACK: Duration = Duration::from_secs(1);

/// What is left of it.
pub(super) struct Allowance {
    left: Cell<u32>,
    /// When the last one was given back.
    since: Cell<Instant>,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self { left: Cell::new(ASKS_MAX), since: Cell::new(Instant::now()) }
    }

    /// Takes one; `false` if none is left.
    pub(super) fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since.get()).as_nanos();
        let back = u32::try_from(passed / ASK_BACK.as_nanos()).unwrap_or(u32::MAX).min(ASKS_MAX);
        if back > 0 {
            self.since.set(now);
        }
        let left = (self.left.get() + back).min(ASKS_MAX);
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_row_and_one_for_each_second_after_that() {
        let (allowance, start) = (Allowance::new(), Instant::now());
        let taken = |seconds, most: usize| {
            (0..most).take_while(|_| allowance.take_at(start + seconds * ASK_BACK)).count()
        };
        assert_eq!(taken(0, 300), ASKS_MAX as usize);
        assert_eq!(taken(5, 100), 5);
        assert_eq!(taken(5, 100), 0);
        assert_eq!(taken(100_000, 300), ASKS_MAX as usize);
    }
}
