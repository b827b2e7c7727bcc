//! How much room messages may take that were not sealed: those that are open, and those that were given up
//! and lie where their room cannot be taken back.
//!
//! Only records count that are committed as fragments. A message that arrives in one piece never is one, so
//! it costs nothing here. A core takes its part from the common pool in steps, and a message that does not
//! fit into the present part of its core is rare: that is the only time that an atomic is touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::spool::options::{Options, WhenFull};

/// Octets that a core takes from the pool at once, where the pool is not small.
const STEP_BYTES: u64 = 1024 * 1024;

/// Steps of one core into which a small pool is divided at least.
const STEPS_PER_CORE: u64 = 8;

/// What all cores share.
pub(super) struct OpenPool {
    limit_bytes: u64,
    /// INVARIANT: the sum of what the cores were granted, and of what earlier runs left.
    granted: AtomicU64,
}

impl OpenPool {
    pub(super) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self { limit_bytes, granted: AtomicU64::new(0) })
    }

    fn grant(&self, bytes: u64) -> bool {
        let within =
            |granted: u64| granted.checked_add(bytes).filter(|all| *all <= self.limit_bytes);
        self.granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        let before = self.granted.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "more was given back than granted");
    }
}

fn counts_dead(options: &Options) -> bool {
    options.when_full == WhenFull::Recycle
}

/// Dead room of an earlier run. It is given back when this is dropped.
pub(super) struct DeadRoom {
    pool: Arc<OpenPool>,
    bytes: u64,
}

impl DeadRoom {
    /// Counts room that is there, whatever the limit.
    pub(super) fn count(pool: &Arc<OpenPool>, options: &Options, bytes: u64) -> Self {
        let bytes = if counts_dead(options) { bytes } else { 0 };
        pool.granted.fetch_add(bytes, Ordering::Relaxed);
        Self { pool: pool.clone(), bytes }
    }
}

impl Drop for DeadRoom {
    fn drop(&mut self) {
        self.pool.give_back(self.bytes);
    }
}

/// The part of one core.
pub(super) struct OpenRoom {
    pool: Arc<OpenPool>,
    step_bytes: u64,
    /// What this core may use at most.
    most_bytes: u64,
    /// INVARIANT: at least `used`.
    granted: u64,
    used: u64,
    /// Dead room counts until it is gone. Where the ring overwrites nothing, it deletes no mail either, and is
    /// room of the spool like any other.
    counts_dead: bool,
}

impl OpenRoom {
    pub(super) fn new(pool: Arc<OpenPool>, options: &Options) -> Self {
        let step_bytes = pool.limit_bytes / (options.cores as u64 * STEPS_PER_CORE);
        let step_bytes = step_bytes.min(STEP_BYTES);
        let most_bytes = options.open_bytes_per_core();
        let counts_dead = counts_dead(options);
        Self { pool, step_bytes, most_bytes, granted: 0, used: 0, counts_dead }
    }

    /// So many octets that were taken are of a message that was given up.
    pub(super) fn died(&mut self, bytes: u64) {
        if !self.counts_dead {
            self.give_back(bytes);
        }
    }

    /// So many octets that had [died](Self::died) are gone.
    pub(super) fn dead_gone(&mut self, bytes: u64) {
        if self.counts_dead {
            self.give_back(bytes);
        }
    }

    /// Takes room for a fragment, if there is any.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        let used = self.used + bytes;
        if used > self.most_bytes {
            return false;
        }
        if used > self.granted {
            let missing = used - self.granted;
            let more = [missing + self.step_bytes, missing];
            let Some(granted) = more.into_iter().find(|bytes| self.pool.grant(*bytes)) else {
                return false;
            };
            self.granted += granted;
        }
        self.used = used;
        true
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.used, "{bytes} of {} octets", self.used);
        self.used = self.used.saturating_sub(bytes);
        let spare = self.granted - self.used;
        if spare > 2 * self.step_bytes {
            self.pool.give_back(spare - self.step_bytes);
            self.granted = self.used + self.step_bytes;
        }
    }
}

impl Drop for OpenRoom {
    fn drop(&mut self) {
        self.pool.give_back(self.granted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_share_the_pool_and_each_has_its_bound() {
        let (segment_bytes, limit_bytes) = (1 << 16, 64 << 16);
        let (open_bytes, message_bytes) = (1 << 20, 700_000);
        let options = Options {
            segment_bytes,
            limit_bytes,
            cores: 2,
            open_bytes,
            message_bytes,
            ..Options::default()
        };
        let pool = OpenPool::new(options.open_bytes);
        let (mut one, mut two) =
            (OpenRoom::new(pool.clone(), &options), OpenRoom::new(pool.clone(), &options));
        assert!(!one.take(1 << 20), "more than a core may have");
        assert!(one.take(700_000) && two.take(200_000));
        assert!(!two.take(300_000), "the pool is empty");
        one.give_back(600_000);
        assert!(two.take(300_000));
        let earlier = DeadRoom::count(&pool, &options, 1 << 20);
        assert!(!two.take(200_000));
        drop(earlier);
        assert!(two.take(50_000));
        drop((one, two));
        assert_eq!(pool.granted.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn dead_room_counts_where_it_is_overwritten_in_its_turn_and_nowhere_else() {
        for (when_full, room) in [(WhenFull::Recycle, false), (WhenFull::Refuse, true)] {
            let (segment_bytes, open_bytes) = (1 << 16, 1 << 20);
            let limit_bytes = 64 << 16;
            let options =
                Options { segment_bytes, limit_bytes, open_bytes, when_full, ..Options::default() };
            let pool = OpenPool::new(open_bytes);
            let mut one = OpenRoom::new(pool.clone(), &options);
            let earlier = DeadRoom::count(&pool, &options, 100_000);
            assert!(one.take(800_000));
            one.died(800_000);
            assert_eq!(one.take(900_000), room, "{when_full:?}");
            one.dead_gone(800_000);
            assert!(room || one.take(900_000));
            drop((one, earlier));
            assert_eq!(pool.granted.load(Ordering::Relaxed), 0);
        }
    }
}
