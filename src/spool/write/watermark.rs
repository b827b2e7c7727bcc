//! Up to where a log is durable, told by its writer to those who hand messages on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::spool::format::Place;

/// The end of what is durable of one core's log, under [`Durability::Sync`](crate::spool::Durability::Sync):
/// behind it are messages that were sealed and not acknowledged yet.
#[derive(Clone, Debug)]
pub struct Watermark {
    core: u16,
    end: Arc<AtomicU64>,
}

impl Watermark {
    /// At the start of a log, where `place` is; what is before it is of earlier runs.
    pub(super) fn new(place: Place) -> Self {
        Self { core: place.core, end: Arc::new(AtomicU64::new(position(place))) }
    }

    /// It never goes back.
    pub(super) fn move_to(&self, end: Place) {
        self.end.fetch_max(position(end), Ordering::Release);
    }

    /// Whether the message at `place` is behind it. Those of other cores are not its to judge.
    pub fn hides(&self, place: Place) -> bool {
        place.core == self.core && position(place) >= self.end.load(Ordering::Acquire)
    }
}

fn position(place: Place) -> u64 {
    u64::from(place.segment) << 32 | u64::from(place.offset)
}
