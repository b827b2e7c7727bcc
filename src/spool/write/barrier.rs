//! What of a log is not yet known durable, and what never will be.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use super::fault::Fault;
use super::segment::{self, Segment};
use crate::spool::format::{SEGMENT_HEADER_BYTES, SegmentHeader};

/// A part of the log that a sync has to cover before its messages are durable.
///
/// Holds the file open, so the descriptor stays good until the barrier is dropped.
#[derive(Clone, Debug)]
pub struct Barrier {
    pub(super) header: SegmentHeader,
    /// Octets of the segment known durable when the barrier was taken.
    pub(super) start: usize,
    /// Octets of the segment written by then.
    pub(super) end: usize,
    /// Messages that the log had taken by then.
    pub(super) sealed: u64,
    pub(super) file: Arc<File>,
}

impl AsFd for Barrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Barrier {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Barrier {
    /// Number of the segment.
    pub fn segment(&self) -> u32 {
        self.header.number
    }

    /// What has happened to the file of a segment that should be at `path`.
    pub(super) fn fault(&self, path: &Path) -> Option<Fault> {
        segment::fault_of(&self.file, &self.header, path)
    }

    fn new(segment: &Segment, start: usize, end: usize, sealed: u64) -> Self {
        Self { header: segment.header, start, end, sealed, file: segment.file.clone() }
    }
}

/// What of one log may not be acknowledged yet. Under [`Durability::Process`](crate::spool::Durability::Process)
/// what was acknowledged counts as synced here.
pub(super) struct Barriers {
    /// Segments that were left with records not yet known durable, oldest first.
    left: VecDeque<Barrier>,
    /// Octets of the present segment known durable.
    synced_end: usize,
    /// Messages of the log known durable, or given up.
    settled: u64,
    /// Segments that were given up, for ever.
    poisoned: Vec<(u32, Fault)>,
}

impl Barriers {
    pub(super) fn new() -> Self {
        Self {
            left: VecDeque::new(),
            synced_end: SEGMENT_HEADER_BYTES,
            settled: 0,
            poisoned: Vec::new(),
        }
    }

    /// Everything to be synced, with the present segment written up to `head` and `sealed` messages taken.
    pub(super) fn due<'a>(
        &'a self,
        present: &'a Segment,
        head: usize,
        sealed: u64,
    ) -> impl Iterator<Item = Barrier> + 'a {
        let due = head > self.synced_end && !self.is_poisoned(present.header.number);
        let present = due.then(|| Barrier::new(present, self.synced_end, head, sealed));
        self.left.iter().cloned().chain(present)
    }

    /// The log leaves a segment that was written up to `end`.
    pub(super) fn leave(&mut self, segment: &Segment, end: usize, sealed: u64) {
        if end > self.synced_end && !self.is_poisoned(segment.header.number) {
            self.left.push_back(Barrier::new(segment, self.synced_end, end, sealed));
        }
        self.synced_end = SEGMENT_HEADER_BYTES;
    }

    /// `present` is the segment being written.
    pub(super) fn synced(&mut self, barrier: &Barrier, present: u32) {
        self.settled = self.settled.max(barrier.sealed);
        if barrier.segment() == present {
            self.synced_end = self.synced_end.max(barrier.end);
        } else {
            self.left.retain(|left| left.segment() != barrier.segment() || left.end > barrier.end);
        }
    }

    /// Nothing waits any more: the present segment was written up to `head`, and `sealed` messages taken.
    pub(super) fn settle(&mut self, head: usize, sealed: u64) {
        self.left.clear();
        (self.synced_end, self.settled) = (head, sealed);
    }

    /// Messages of the log known durable, or given up.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// The ring has taken the segments below `floor`.
    pub(super) fn forget_below(&mut self, floor: u32) {
        self.left.retain(|left| left.segment() >= floor);
    }

    /// Where what is known durable ends, without a gap before: segment and octets of it.
    pub(super) fn end(&self, present: u32) -> (u32, usize) {
        self.left.front().map_or((present, self.synced_end), |left| (left.segment(), left.start))
    }

    pub(super) fn poison(&mut self, segment: u32, fault: Fault) {
        self.left.retain(|left| left.segment() != segment);
        if !self.is_poisoned(segment) {
            self.poisoned.push((segment, fault));
        }
    }

    /// How many segments are, for this reason.
    pub(super) fn poisoned(&self, why: Fault) -> u64 {
        self.poisoned.iter().filter(|(_, fault)| *fault == why).count() as u64
    }

    pub(super) fn is_poisoned(&self, segment: u32) -> bool {
        self.fault_of(segment).is_some()
    }

    pub(super) fn fault_of(&self, segment: u32) -> Option<Fault> {
        self.poisoned.iter().find(|(poisoned, _)| *poisoned == segment).map(|(_, fault)| *fault)
    }

    /// The first poisoned segment from `first` to `last`.
    pub(super) fn poisoned_within(&self, first: u32, last: u32) -> Option<u32> {
        let mut segments = self.poisoned.iter().map(|(segment, _)| *segment);
        segments.find(|segment| (first..=last).contains(segment))
    }
}
