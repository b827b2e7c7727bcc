//! Up to where a log is durable: the writer moves it, and the relay does not hand on what lies above it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::spool::format::Place;

/// The end of the durable part of one core's log, under [`Durability::Sync`](crate::spool::Durability::Sync).
/// Messages above it are sealed and not acknowledged yet.
#[derive(Clone, Debug)]
pub struct Watermark {
    core: u16,
    end: Arc<AtomicU64>,
}

impl Watermark {
    /// A watermark at `place`, where the log of this run starts.
    pub(super) fn new(place: Place) -> Self {
        Self { core: place.core, end: Arc::new(AtomicU64::new(position(place))) }
    }

    /// Moves the watermark up. It never goes down.
    pub(super) fn move_to(&self, end: Place) {
        self.end.fetch_max(position(end), Ordering::Release);
    }

    /// Whether the message at `place` is of this core and above the watermark.
    pub fn hides(&self, place: Place) -> bool {
        place.core == self.core && position(place) >= self.end.load(Ordering::Acquire)
    }
}

fn position(place: Place) -> u64 {
    u64::from(place.segment) << 32 | u64::from(place.offset)
}
