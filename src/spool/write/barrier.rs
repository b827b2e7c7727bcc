//! Which parts of a log are not known to be durable yet, and which never will be.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use super::fault::SegmentFault;
#[cfg(test)]
use super::planted::{PlantedFault, is_planted};
use super::segment::{self, Segment};
use super::ticket::TicketFate;
use crate::spool::format::{SEGMENT_HEADER_BYTES, SegmentHeader};

/// A part of the log that a sync has to cover before its messages are durable.
///
/// Holds the file open, so the descriptor stays good until the barrier is dropped.
#[derive(Clone, Debug)]
pub struct Barrier {
    pub(super) header: SegmentHeader,
    /// Octets of the segment that were known durable when the barrier was made.
    pub(super) start: usize,
    /// Octets of the segment that were written by then.
    pub(super) end: usize,
    /// Messages sealed in the log up to `start`, and up to `end`: those in between wait.
    pub(super) settled: u64,
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

    /// What somebody has done to the file of the segment, which should be at `path`.
    pub(super) fn fault(&self, path: &Path) -> Option<SegmentFault> {
        segment::fault_of(&self.file, &self.header, path)
    }
}

/// Which messages of one log may not be acknowledged yet. Under
/// [`Durability::Process`](crate::spool::Durability::Process), what was acknowledged counts as synced here.
pub(super) struct Barriers {
    /// Segments that the log has left, with records that are not known durable yet. Oldest first.
    ///
    /// INVARIANT: `settled` and `sealed` of the entries never fall from one to the next.
    left: VecDeque<Barrier>,
    /// Octets of the present segment known durable.
    synced_end: usize,
    /// Messages sealed in the log up to `synced_end`.
    ///
    /// INVARIANT: at least `sealed` of every entry of `left`.
    synced_messages: u64,
    /// Messages that were sealed in a later segment than they began in, and that wait: their numbers, and
    /// where they began. Oldest first. Empty under `Durability::Process`.
    spanning: VecDeque<(u64, u32)>,
    /// Segments that were given up, in this order. They stay so.
    poisoned: Vec<(u32, SegmentFault)>,
    /// Messages that were taken out of the log: those after the first number and up to the second. There
    /// are few, because each stands for a segment that was given up.
    lost: Vec<(u64, u64)>,
}

impl Barriers {
    pub(super) fn new() -> Self {
        Self {
            left: VecDeque::new(),
            synced_end: SEGMENT_HEADER_BYTES,
            synced_messages: 0,
            spanning: VecDeque::new(),
            poisoned: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Everything that is to be synced, with the present segment written up to `head` and `sealed` messages in
    /// the log.
    pub(super) fn due<'a>(
        &'a self,
        present: &'a Segment,
        head: usize,
        sealed: u64,
    ) -> impl Iterator<Item = Barrier> + 'a {
        self.left.iter().cloned().chain(self.due_of(present, head, sealed))
    }

    fn due_of(&self, segment: &Segment, end: usize, sealed: u64) -> Option<Barrier> {
        debug_assert!(sealed >= self.synced_messages, "messages are counted on");
        let due = end > self.synced_end && !self.is_poisoned(segment.header.number);
        due.then(|| Barrier {
            header: segment.header,
            start: self.synced_end,
            end,
            settled: self.synced_messages,
            sealed,
            file: segment.file.clone(),
        })
    }

    /// The log leaves a segment that is written up to `end`, with `sealed` messages in the log.
    pub(super) fn leave(&mut self, segment: &Segment, end: usize, sealed: u64) {
        self.left.extend(self.due_of(segment, end, sealed));
        (self.synced_end, self.synced_messages) = (SEGMENT_HEADER_BYTES, sealed);
    }

    /// The sync of `barrier` has succeeded. `present` is the segment that is being written.
    pub(super) fn synced(&mut self, barrier: &Barrier, present: u32) {
        debug_assert!(barrier.start <= barrier.end && barrier.settled <= barrier.sealed);
        if barrier.segment() == present {
            self.synced_end = self.synced_end.max(barrier.end);
            self.synced_messages = self.synced_messages.max(barrier.sealed);
            return;
        }
        // The log may have gone on in the segment, and left it, while the sync ran.
        for left in self.left.iter_mut().filter(|left| left.segment() == barrier.segment()) {
            #[cfg(test)]
            if is_planted(PlantedFault::StaleStart) && barrier.end < left.end {
                continue;
            }
            left.start = left.start.max(barrier.end);
            left.settled = left.settled.max(barrier.sealed);
        }
        self.left.retain(|left| left.start < left.end);
    }

    /// A message was sealed that began in an earlier segment.
    pub(super) fn spans(&mut self, message: u64, first_segment: u32) {
        self.spanning.push_back((message, first_segment));
    }

    /// The oldest segment, before the one that is being written, that holds a piece of a message that waits.
    pub(super) fn oldest_held(&self) -> Option<u32> {
        let left = self.left.iter().find(|left| left.settled < left.sealed);
        let spanning = self.spanning.iter().map(|&(_, first_segment)| first_segment);
        spanning.chain(left.map(Barrier::segment)).min()
    }

    /// Forgets where the messages began whose fate is known now. Of them those are lost that began in a
    /// segment below `floor`: the helper took it just before they were sealed.
    pub(super) fn forget_settled(&mut self, floor: u32) {
        let settled = self.settled();
        while let Some(&(message, first_segment)) = self.spanning.front()
            && message <= settled
        {
            self.spanning.pop_front();
            if first_segment < floor && self.fate(message) == TicketFate::Kept {
                self.lost.push((message - 1, message));
            }
        }
    }

    /// Nothing waits any more. The present segment is written up to `head`, with `sealed` messages in the log.
    pub(super) fn settle(&mut self, head: usize, sealed: u64) {
        self.left.clear();
        (self.synced_end, self.synced_messages) = (head, sealed);
    }

    /// The number of the latest message up to which all are known durable, or lost.
    pub(super) fn settled(&self) -> u64 {
        self.left.front().map_or(self.synced_messages, |left| left.settled)
    }

    /// Everything that waits is lost, with `sealed` messages in the log. [`settle`](Self::settle) has to follow.
    pub(super) fn lose(&mut self, sealed: u64) {
        let settled = self.settled();
        debug_assert!(settled <= sealed, "{settled} of {sealed} messages are settled");
        if settled < sealed {
            self.lost.push((settled, sealed));
        }
    }

    /// What became of the message with this number.
    pub(super) fn fate(&self, message: u64) -> TicketFate {
        if self.lost.iter().any(|&(after, up_to)| after < message && message <= up_to) {
            TicketFate::Lost
        } else if message <= self.settled() {
            TicketFate::Kept
        } else {
            TicketFate::Waiting
        }
    }

    /// The helper has taken the segments below `floor`.
    pub(super) fn forget_below(&mut self, floor: u32) {
        self.left.retain(|left| left.segment() >= floor);
    }

    /// Up to where all of the log is known durable: a segment, and octets of it.
    pub(super) fn end(&self, present: u32) -> (u32, usize) {
        self.left.front().map_or((present, self.synced_end), |left| (left.segment(), left.start))
    }

    /// Nothing in this segment, which the log has left, is of any use.
    pub(super) fn forget(&mut self, segment: u32) {
        debug_assert!(
            self.left.iter().all(|left| left.segment() != segment || left.settled == left.sealed),
            "no message was sealed in it"
        );
        self.left.retain(|left| left.segment() != segment);
    }

    pub(super) fn poison(&mut self, segment: u32, fault: SegmentFault) {
        self.left.retain(|left| left.segment() != segment);
        if !self.is_poisoned(segment) {
            self.poisoned.push((segment, fault));
        }
    }

    /// How many segments were given up for this reason.
    pub(super) fn poisoned(&self, why: SegmentFault) -> u64 {
        self.poisoned.iter().filter(|(_, fault)| *fault == why).count() as u64
    }

    pub(super) fn is_poisoned(&self, segment: u32) -> bool {
        self.fault_of(segment).is_some()
    }

    pub(super) fn fault_of(&self, segment: u32) -> Option<SegmentFault> {
        self.poisoned.iter().find(|(poisoned, _)| *poisoned == segment).map(|(_, fault)| *fault)
    }

    /// How many segments were given up so far.
    pub(super) fn poisoned_so_far(&self) -> usize {
        self.poisoned.len()
    }

    /// The first of these segments that was given up after so many others.
    pub(super) fn poisoned_since(
        &self,
        earlier: usize,
        segments: &RangeInclusive<u32>,
    ) -> Option<u32> {
        let mut later = self.poisoned[earlier..].iter().map(|(segment, _)| *segment);
        later.find(|segment| segments.contains(segment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::options::Durability;
    use crate::spool::write::budget::Reservation;
    use crate::spool::write::make::{SegmentPlan, fresh_header};

    #[test]
    fn what_was_synced_of_a_segment_that_was_left_meanwhile_waits_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let create = |number| {
            let header = fresh_header(0, number, 65_536);
            let (dir, room) = (dir.path(), Reservation::unlimited());
            SegmentPlan { dir, header, durability: Durability::Sync, room }.create().unwrap()
        };
        let (first, second) = (create(1), create(2));
        let mut barriers = Barriers::new();
        // One message, and its sync begins; two more come, and the log rolls.
        let one = barriers.due(&first, 1_000, 1).next().unwrap();
        barriers.leave(&first, 3_000, 3);
        barriers.synced(&one, 2);
        let fates = [1, 2, 3].map(|message| barriers.fate(message));
        assert_eq!(fates, [TicketFate::Kept, TicketFate::Waiting, TicketFate::Waiting]);
        assert_eq!(barriers.end(2), (1, 1_000), "a relay may hand on what is kept");
        let due: Vec<_> = barriers.due(&second, 500, 4).map(|b| (b.segment(), b.start)).collect();
        assert_eq!(due, [(1, 1_000), (2, 64)], "a segment that is given up keeps what was synced");
        // A sync of the present segment alone settles nothing that lies before.
        let present = barriers.due(&second, 500, 4).nth(1).unwrap();
        barriers.synced(&present, 2);
        assert_eq!(barriers.fate(4), TicketFate::Waiting);
        barriers.lose(4);
        barriers.settle(500, 4);
        let fates = [1, 2, 3, 4].map(|message| barriers.fate(message));
        assert_eq!(fates[0], TicketFate::Kept);
        assert_eq!(fates[1..], [TicketFate::Lost; 3]);
    }
}
