//! Totals for the live line: one padded cell per core, written by that core alone.
//!
//! Stores and loads are relaxed, so a snapshot may mix values that are a few messages apart. That is
//! good enough for a line that is overwritten; results come from the tallies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::tally::Tally;

/// Two cache lines, because the prefetcher fetches pairs: no core's store disturbs another's.
#[repr(align(128))]
#[derive(Debug, Default)]
struct CoreTotals {
    messages_ok: AtomicU64,
    messages_failed: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    connections: AtomicU64,
    in_flight: AtomicU64,
}

/// What all cores show at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    pub messages_ok: u64,
    pub messages_failed: u64,
    pub bytes: u64,
    pub errors: u64,
    /// Connections that are open now.
    pub connections: u64,
    /// Messages sent and not yet answered.
    pub in_flight: u64,
}

/// The readers' side. Clones show the same cells.
#[derive(Clone, Debug)]
pub struct Board {
    cells: Arc<[CoreTotals]>,
}

impl Board {
    pub(super) fn new(cores: usize) -> (Self, Vec<CoreCell>) {
        let cells: Arc<[CoreTotals]> = (0..cores).map(|_| CoreTotals::default()).collect();
        let of = |index| CoreCell { cells: Arc::clone(&cells), index, base: Snapshot::default() };
        let pens = (0..cores).map(of).collect();
        (Self { cells }, pens)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.cells.iter().fold(Snapshot::default(), |sum, cell| Snapshot {
            messages_ok: sum.messages_ok + cell.messages_ok.load(Relaxed),
            messages_failed: sum.messages_failed + cell.messages_failed.load(Relaxed),
            bytes: sum.bytes + cell.bytes.load(Relaxed),
            errors: sum.errors + cell.errors.load(Relaxed),
            connections: sum.connections + cell.connections.load(Relaxed),
            in_flight: sum.in_flight + cell.in_flight.load(Relaxed),
        })
    }
}

/// The writer's side of one core.
#[derive(Debug)]
pub(super) struct CoreCell {
    cells: Arc<[CoreTotals]>,
    index: usize,
    /// Sums of the tallies that were handed over already.
    base: Snapshot,
}

impl CoreCell {
    /// Shows the sums so far, where `now` is the tally not handed over yet.
    pub(super) fn publish(&self, now: &Tally, in_flight: u32) {
        let sum = self.sum(now, in_flight);
        let cell = &self.cells[self.index];
        cell.messages_ok.store(sum.messages_ok, Relaxed);
        cell.messages_failed.store(sum.messages_failed, Relaxed);
        cell.bytes.store(sum.bytes, Relaxed);
        cell.errors.store(sum.errors, Relaxed);
        cell.connections.store(sum.connections, Relaxed);
        cell.in_flight.store(sum.in_flight, Relaxed);
    }

    /// As `publish`, when `done` is about to be handed over.
    pub(super) fn settle(&mut self, done: &Tally, in_flight: u32) {
        self.publish(done, in_flight);
        self.base = self.sum(done, in_flight);
    }

    fn sum(&self, now: &Tally, in_flight: u32) -> Snapshot {
        let opened = self.base.connections + now.counts.connections_opened;
        Snapshot {
            messages_ok: self.base.messages_ok + now.counts.messages_ok,
            messages_failed: self.base.messages_failed + now.counts.messages_failed,
            bytes: self.base.bytes + now.counts.bytes,
            errors: self.base.errors + now.errors_total(),
            connections: opened.saturating_sub(now.counts.connections_closed),
            in_flight: u64::from(in_flight),
        }
    }
}
