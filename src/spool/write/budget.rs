//! How much room the segment files of a spool take, and how much they may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::spool::options::Options;

/// Room for the segment files of one spool. Each file has a [`Reservation`].
pub(super) struct Budget {
    taken: Arc<Taken>,
    segment_bytes: u64,
    limit_bytes: u64,
    /// Files that each core may hold.
    quota: u64,
}

/// INVARIANT: each count is the sum over the reservations that live, and over those that were
/// [kept](Reservation::keep) for good.
struct Taken {
    bytes: AtomicU64,
    /// Files of each core, of this run.
    files: Vec<AtomicU64>,
}

impl Budget {
    pub(super) fn new(options: &Options) -> Self {
        let files = (0..options.cores).map(|_| AtomicU64::new(0)).collect();
        Self {
            taken: Arc::new(Taken { bytes: AtomicU64::new(0), files }),
            segment_bytes: options.segment_bytes,
            limit_bytes: options.limit_bytes,
            quota: options.limit_bytes / options.segment_bytes / options.cores as u64,
        }
    }

    /// Reserves room for one more segment of `core`, if there is any.
    pub(super) fn reserve(&self, core: usize) -> Option<Reservation> {
        let bytes = self.taken.bytes.load(Ordering::Relaxed) + self.segment_bytes;
        (self.may_hold_more(core) && bytes <= self.limit_bytes).then(|| self.count(core))
    }

    /// Counts a segment of `core`, even if there is no room for it.
    pub(super) fn count(&self, core: usize) -> Reservation {
        let mut counted = self.count_old(self.segment_bytes);
        counted.give_to(core);
        counted
    }

    /// Counts a file of `bytes` octets that is left of an earlier run.
    pub(super) fn count_old(&self, bytes: u64) -> Reservation {
        self.taken.bytes.fetch_add(bytes, Ordering::Relaxed);
        Reservation { taken: self.taken.clone(), core: None, bytes }
    }

    /// Whether a core may hold one more file.
    pub(super) fn may_hold_more(&self, core: usize) -> bool {
        self.taken.files[core].load(Ordering::Relaxed) < self.quota
    }
}

/// The room of one file. It is given back when this is dropped.
pub(super) struct Reservation {
    taken: Arc<Taken>,
    /// `None` for a file of an earlier run.
    core: Option<usize>,
    bytes: u64,
}

impl Reservation {
    /// A file of an earlier run becomes a segment of `core`.
    pub(super) fn give_to(&mut self, core: usize) {
        assert!(self.core.is_none(), "one file belongs to one core");
        self.taken.files[core].fetch_add(1, Ordering::Relaxed);
        self.core = Some(core);
    }

    /// The file stays after this run, with `bytes` octets.
    pub(super) fn keep(self, bytes: u64) {
        debug_assert!(bytes <= self.bytes, "{bytes} of {} octets", self.bytes);
        let freed = self.bytes.saturating_sub(bytes);
        self.taken.bytes.fetch_sub(freed, Ordering::Relaxed);
        std::mem::forget(self);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let before = self.taken.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        debug_assert!(before >= self.bytes, "more was given back than taken");
        if let Some(core) = self.core {
            let before = self.taken.files[core].fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before > 0, "more files were given back than taken");
        }
    }
}

#[cfg(test)]
impl Reservation {
    /// Room for a segment of a test that has no budget.
    pub(super) fn unlimited() -> Self {
        let taken = Taken { bytes: AtomicU64::new(1 << 30), files: Vec::new() };
        Self { taken: Arc::new(taken), core: None, bytes: 1 << 30 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_what_stays_is_counted() {
        let (segment_bytes, limit_bytes) = (1 << 16, 4 << 16);
        let options = Options { segment_bytes, limit_bytes, cores: 2, ..Options::default() };
        let budget = Budget::new(&options);
        let mut old = budget.count_old(segment_bytes);
        let (one, two) = (budget.reserve(0).unwrap(), budget.reserve(0).unwrap());
        assert!(budget.reserve(0).is_none() && !budget.may_hold_more(0), "its share is two");
        let three = budget.reserve(1).unwrap();
        assert!(budget.reserve(1).is_none() && budget.may_hold_more(1), "all octets are taken");
        drop(one);
        drop(budget.reserve(0).unwrap());
        old.give_to(1);
        assert!(!budget.may_hold_more(1));
        three.keep(0);
        assert!(!budget.may_hold_more(1), "a file that stays is counted");
        drop(two);
        drop(old);
        assert!(budget.may_hold_more(1));
        assert_eq!(budget.taken.bytes.load(Ordering::Relaxed), 0);
    }
}
