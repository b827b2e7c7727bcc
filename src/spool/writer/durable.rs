//! What of a writer's log can be believed to be kept: barriers and their syncs, segments that the disk
//! has failed, segments that were cut from outside.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Draft, Writer};
use crate::limits::MARK_EVERY_MS;
use crate::notice::notice;
use crate::spool::barrier::{Barrier, Fault};
use crate::spool::error::SpoolError;
use crate::spool::format::{Place, RECORD_HEADER_BYTES};
use crate::spool::horizon::Horizon;
use crate::spool::open::Durability;
use crate::spool::prepare::Job;
use crate::spool::segment::file_name;

impl Writer {
    /// What must be synced before everything sealed up to now is durable. Empty unless the durability
    /// is [`Durability::Sync`]. The caller syncs each file and reports [`Writer::synced`] or
    /// [`Writer::poison`] before it acknowledges.
    pub fn dirty(&self) -> impl Iterator<Item = Barrier> + '_ {
        let syncing = self.durability == Durability::Sync;
        let due = syncing.then(|| self.barriers.due(self.segment(), self.head));
        due.into_iter().flatten()
    }

    /// The sync of this barrier succeeded. An error says that another sync of the same segment failed:
    /// the kernel reports that only once, so a later success proves nothing. Or that the segment is
    /// torn: then what was synced may not be all that was stored.
    pub fn synced(&mut self, barrier: &Barrier) -> Result<(), SpoolError> {
        let segment = barrier.segment();
        if self.barriers.is_poisoned(segment) {
            return Err(self.given_up(segment));
        }
        let present = self.segment().header.number;
        if segment == present {
            self.check()?;
        }
        if barrier.is_shortened() {
            return Err(self.tear(segment));
        }
        self.barriers.synced(barrier, present);
        let (segment_of_end, end) = self.barriers.end(present);
        let end = Place { core: self.core, segment: segment_of_end, offset: end as u32 };
        self.horizon.move_to(end);
        // The mark of a segment that was left is its last; the others need not come at every sync.
        let due = self.marked.elapsed() >= Duration::from_millis(MARK_EVERY_MS);
        if due || segment != present {
            self.marked = Instant::now();
            self.hand_over(Job::Durable { core: self.core.into(), barrier: barrier.clone() });
        }
        Ok(())
    }

    /// The sync of this barrier failed: nothing more is acknowledged from its segment, for ever. New
    /// messages go to the next segment, once the disk has taken a write to that one and a sync.
    pub fn poison(&mut self, barrier: &Barrier) {
        if self.barriers.is_poisoned(barrier.segment()) {
            return;
        }
        self.give_up(barrier.segment(), Fault::Unsynced);
        self.suspicion += 1;
        self.shortage = Some(self.given_up(barrier.segment()));
        if let Some(segment) = self.spare.take() {
            self.have_probed(segment);
        }
    }

    /// Whether the present segment still takes what is stored to it; cheap. An error is given once: the
    /// segment was cut from outside, or its disk failed under the map. Then nothing more is acknowledged
    /// from it, and new messages go to the next one.
    pub fn check(&mut self) -> Result<(), SpoolError> {
        let segment = self.segment();
        let number = segment.header.number;
        if !segment.is_torn(self.head) || self.barriers.is_poisoned(number) {
            return Ok(());
        }
        Err(self.tear(number))
    }

    /// Times that segments were given up. Whoever holds back acknowledgements of what was sealed before
    /// must refuse them when this has grown.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Up to where the log is durable, for those who read it meanwhile; `None` where nothing waits for
    /// that.
    pub fn horizon(&self) -> Option<Horizon> {
        (self.durability == Durability::Sync).then(|| self.horizon.clone())
    }

    fn tear(&mut self, segment: u32) -> SpoolError {
        let path = self.path_of(segment);
        let present = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let whole = self.segment().header.bytes;
        let what = if present < whole {
            format!("was cut from outside, to {present} of {whole} bytes")
        } else {
            "has lost pages that its disk could not read or write".to_owned()
        };
        notice!(
            "ringpost-sink: {}: {what}; its messages that wait for their 250 get 451, and new mail goes \
             to another segment; leave the files of the spool alone, and check the disk",
            path.display()
        );
        self.give_up(segment, Fault::Torn);
        self.given_up(segment)
    }

    /// All that is not known durable is taken out of the log, what was sealed since and in later segments
    /// too: it may have begun here, and none of it may be acknowledged.
    ///
    /// Under [`Durability::Process`] what was sealed has been acknowledged, and stays as far as it is
    /// there.
    fn give_up(&mut self, segment: u32, fault: Fault) {
        let due: Vec<_> = self.dirty().collect();
        self.failures += 1;
        self.barriers.poison(segment, fault);
        for barrier in due {
            self.take_out(barrier, fault);
        }
        self.stats.poisoned = self.barriers.poisoned(Fault::Unsynced);
        self.stats.torn = self.barriers.poisoned(Fault::Torn);
    }

    fn take_out(&mut self, barrier: Barrier, fault: Fault) {
        self.barriers.poison(barrier.segment(), fault);
        if barrier.segment() != self.segment().header.number {
            return self.hand_over(Job::Void { core: self.core.into(), barrier });
        }
        self.open = None;
        let (from, to) = (barrier.start, self.head + RECORD_HEADER_BYTES);
        let to = to.min(self.segment().map.len());
        self.segment_mut().map.zero_at(from, to - from);
        self.head = from;
    }

    /// Checks the segment in which a message was sealed just now, and takes the message out of it again
    /// if that is torn.
    pub(super) fn check_sealed(&mut self, place: Place) -> Result<Place, SpoolError> {
        self.check().map(|()| place).inspect_err(|_| {
            self.segment_mut().map.zero_at(place.offset as usize, RECORD_HEADER_BYTES);
            self.head = self.head.min(place.offset as usize);
        })
    }

    /// Every segment that holds a piece of the message must still be there and be sound.
    pub(super) fn check_whole(&mut self, draft: &Draft) -> Result<(), SpoolError> {
        let Some(latest) = draft.latest else { return Ok(()) };
        // The helper moves the floor before it takes a segment. If it does so right after this look,
        // the message goes the way of the ring's oldest, as it would have a moment later.
        if self.is_outlived(draft) {
            return Err(SpoolError::Outlived);
        }
        self.check_sound(draft.first_segment, latest.segment)?;
        let present = self.segment().header.number;
        for left in (draft.first_segment..=latest.segment).filter(|number| *number != present) {
            // Not every number between has a segment: one that could not be made has used its own up.
            let there = fs::metadata(self.path_of(left));
            if there.is_ok_and(|metadata| metadata.len() < self.segment().header.bytes) {
                return Err(self.tear(left));
            }
        }
        Ok(())
    }

    pub(super) fn check_sound(&self, first: u32, last: u32) -> Result<(), SpoolError> {
        match self.barriers.poisoned_within(first, last) {
            Some(segment) => Err(self.given_up(segment)),
            None => Ok(()),
        }
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.barriers.is_poisoned(self.segment().header.number)
    }

    /// Why nothing more is taken from a segment that was given up.
    pub(super) fn given_up(&self, segment: u32) -> SpoolError {
        match self.barriers.fault_of(segment) {
            Some(Fault::Torn) => SpoolError::Torn { core: self.core, segment },
            _ => SpoolError::Poisoned { core: self.core, segment },
        }
    }

    /// Where a segment of this core is, if it still is.
    fn path_of(&self, segment: u32) -> PathBuf {
        self.segment().path.with_file_name(file_name(self.core, segment))
    }
}
