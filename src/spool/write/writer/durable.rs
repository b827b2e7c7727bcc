//! Which of a writer's messages may be acknowledged: barriers and their syncs, segments that the disk
//! has failed, and segments whose files another program has cut, removed or moved away.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Draft, Retired, Writer};
use crate::human;
use crate::notice::notice;
use crate::spool::error::SpoolError;
use crate::spool::file::{self, Access};
use crate::spool::format::{Place, RECORD_HEADER_BYTES, SegmentHeader, file_name};
use crate::spool::options::Durability;
use crate::spool::write::barrier::Barrier;
use crate::spool::write::fault::SegmentFault;
use crate::spool::write::job::{Job, NOTHING_HELD};
use crate::spool::write::segment::{Segment, has_canary};
use crate::spool::write::ticket::{Ticket, TicketFate};
use crate::spool::write::watermark::Watermark;

/// Least time between two marks of a segment that is being written under durability sync.
const MARK_EVERY_MS: u64 = 1_000;

impl Writer {
    /// What must be synced to make everything durable that is sealed now. Empty unless the durability
    /// is [`Durability::Sync`]. The caller syncs each file and calls [`Writer::synced`] or
    /// [`Writer::poison`] before it acknowledges.
    pub fn dirty(&mut self) -> impl Iterator<Item = Barrier> + '_ {
        let syncing = self.durability == Durability::Sync;
        if syncing {
            self.asked = self.head;
        }
        syncing.then(|| self.waiting()).into_iter().flatten()
    }

    /// What was sealed and may not be acknowledged yet.
    fn waiting(&self) -> impl Iterator<Item = Barrier> + '_ {
        self.barriers.due(self.segment(), self.head, self.stats.messages)
    }

    /// Under [`Durability::Process`]: checks that everything sealed so far is kept, and counts it as
    /// acknowledged. An error is returned once: the messages that were not acknowledged before are taken out
    /// of the log.
    pub fn acknowledge(&mut self) -> Result<(), SpoolError> {
        self.check()?;
        if self.durability == Durability::Process {
            self.barriers.settle(self.head, self.stats.messages);
        }
        Ok(())
    }

    /// Whether a sealed message may be acknowledged. Cheap.
    ///
    /// Under [`Durability::Process`] this does what [`Writer::acknowledge`] does, and never returns
    /// [`TicketFate::Waiting`]. Under [`Durability::Sync`] a sync has to come first: see [`Writer::dirty`].
    pub fn fate(&mut self, ticket: Ticket) -> TicketFate {
        assert!(ticket.0 <= self.stats.messages, "a ticket of another writer");
        if self.durability == Durability::Process {
            // On an error, what was not acknowledged before is lost, and the writer has said so on stderr.
            let _ = self.acknowledge();
        }
        self.barriers.fate(ticket.0)
    }

    /// The sync of this barrier succeeded; see [`Writer::all_synced`].
    pub fn synced(&mut self, barrier: &Barrier) -> Result<(), SpoolError> {
        self.all_synced(std::slice::from_ref(barrier))
    }

    /// The syncs of these barriers succeeded.
    ///
    /// # Errors
    /// None of them counts as durable when another sync of the same segment has failed, since the kernel
    /// reports that only once and a later success proves nothing; or when the file was cut or has lost pages,
    /// so that not all that was stored was synced; or when the file is not in the spool any more.
    pub fn all_synced(&mut self, barriers: &[Barrier]) -> Result<(), SpoolError> {
        barriers.iter().try_for_each(|barrier| self.check_synced(barrier))?;
        barriers.iter().for_each(|barrier| self.note_synced(barrier));
        Ok(())
    }

    fn check_synced(&mut self, barrier: &Barrier) -> Result<(), SpoolError> {
        let segment = barrier.segment();
        if self.barriers.is_poisoned(segment) {
            return Err(self.given_up(segment));
        }
        if segment == self.segment().header.number {
            self.check()?;
        }
        match barrier.fault(&self.path_of(segment)) {
            // The helper may have recycled a segment that the log has left, before which it raises the floor, or
            // removed one that we gave it as dead.
            Some(fault) if !self.is_taken(segment) && self.header_of(segment).is_some() => {
                Err(self.tear(segment, fault, &barrier.file))
            }
            _ => Ok(()),
        }
    }

    fn note_synced(&mut self, barrier: &Barrier) {
        let (segment, present) = (barrier.segment(), self.segment().header.number);
        self.barriers.synced(barrier, present);
        self.note_settled();
        let (segment_of_end, end) = self.barriers.end(present);
        let end = Place { core: self.core, segment: segment_of_end, offset: end as u32 };
        self.watermark.move_to(end);
        // A segment that the log has left gets its last mark now. The present one need not be marked after
        // each sync.
        let due = self.marked.elapsed() >= Duration::from_millis(MARK_EVERY_MS);
        if due || segment != present {
            self.marked = Instant::now();
            self.hand_over(Job::Durable { core: self.core.into(), barrier: barrier.clone() });
        }
    }

    /// The sync of this barrier failed: nothing more of its segment is ever acknowledged. New messages go to
    /// the next segment, after a write to it and a sync have succeeded.
    pub fn poison(&mut self, barrier: &Barrier) {
        if self.barriers.is_poisoned(barrier.segment()) {
            return;
        }
        self.give_up(barrier.segment(), SegmentFault::Unsynced);
        self.suspicion += 1;
        // A shortage that is known stays: the helper tells of it once.
        if self.shortage.is_none() {
            self.shortage = Some(self.given_up(barrier.segment()));
        }
        if let Some(segment) = self.spare.take() {
            self.have_probed(segment);
        }
    }

    /// Checks that what was stored to the present segment is in its file. Cheap. An error is returned once:
    /// another program has cut the segment, or its disk has failed under the map. Then nothing more of it is
    /// acknowledged, and new messages go to the next segment.
    pub(super) fn check(&mut self) -> Result<(), SpoolError> {
        if !self.segment().is_torn() || self.is_poisoned() {
            return Ok(());
        }
        Err(self.tear_present(SegmentFault::Torn))
    }

    /// Checks that the present segment is still where readers find it, and was not cut. Asks the kernel, so
    /// call it now and then. An error is as that of [`Writer::acknowledge`].
    pub fn check_path(&mut self) -> Result<(), SpoolError> {
        self.check()?;
        if self.is_poisoned() || self.segment().is_in_place() {
            return Ok(());
        }
        Err(self.tear_present(SegmentFault::Removed))
    }

    /// Times that segments were given up. When this has grown, what was sealed before and not acknowledged yet
    /// must be refused.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The durable watermark of the log, for readers of it; `None` unless the durability is
    /// [`Durability::Sync`].
    pub fn watermark(&self) -> Option<Watermark> {
        (self.durability == Durability::Sync).then(|| self.watermark.clone())
    }

    fn tear_present(&mut self, fault: SegmentFault) -> SpoolError {
        let (number, file) = (self.segment().header.number, self.segment().file.clone());
        self.tear(number, fault, &file)
    }

    fn tear(&mut self, segment: u32, fault: SegmentFault, file: &File) -> SpoolError {
        let acknowledged = self.acknowledged_in(segment);
        notice!(
            "ringpost-sink: {}: {}; its messages that wait for their 250 get 451, and new mail goes to \
             another segment; leave the files of the spool alone, and check the disk",
            self.path_of(segment).display(),
            self.what_happened(segment, fault, file, acknowledged),
        );
        self.give_up(segment, fault);
        if fault == SegmentFault::Removed {
            self.stats.removed_messages += acknowledged;
        } else if segment == self.segment().header.number {
            // Without the mark the same is lost, but readers do not see that it is.
            let _ = self.segment().mark_cut(self.head);
        }
        self.given_up(segment)
    }

    fn what_happened(
        &self,
        segment: u32,
        fault: SegmentFault,
        file: &File,
        acknowledged: u64,
    ) -> String {
        let metadata = file.metadata();
        let whole = self.segment().header.bytes;
        let present = metadata.as_ref().map_or(0, Metadata::len);
        let named = metadata.as_ref().is_ok_and(|metadata| metadata.nlink() > 0);
        let kept = human::counted(acknowledged, "message");
        let lost = format!(
            "the {kept} acknowledged in it {}",
            if acknowledged == 1 { "is" } else { "are" }
        );
        let below = format!("of the {kept} acknowledged in it, what lies below is there");
        match fault {
            SegmentFault::Removed if named => {
                format!("was moved away while it was written: {lost} where it is now")
            }
            SegmentFault::Removed if file::is_there(&self.path_of(segment)) => {
                format!("was replaced by another file while it was written: {lost} lost")
            }
            SegmentFault::Removed => format!("was removed while it was written: {lost} lost"),
            _ if present < whole => {
                format!("was cut from outside, to {present} of {whole} bytes: {below}")
            }
            _ if self.header_of(segment).is_some_and(|header| has_canary(file, &header)) => {
                "has lost pages that its disk could not read or write".to_owned()
            }
            _ => format!("was cut from outside and made longer again: {below}"),
        }
    }

    /// How many acknowledged messages are in this segment.
    fn acknowledged_in(&self, segment: u32) -> u64 {
        let (began, ended) = match self.retired_segment(segment) {
            Some(retired) => (retired.began, retired.ended),
            None => (self.began, self.stats.messages),
        };
        ended.min(self.barriers.settled()).saturating_sub(began)
    }

    fn retired_segment(&self, segment: u32) -> Option<&Retired> {
        self.retired.iter().find(|retired| retired.header.number == segment)
    }

    fn header_of(&self, segment: u32) -> Option<SegmentHeader> {
        let present = self.segment().header;
        let retired = || self.retired_segment(segment).map(|retired| retired.header);
        (present.number == segment).then_some(present).or_else(retired)
    }

    /// Takes everything out of the log that was not acknowledged. That includes what was sealed later, and in
    /// later segments: it may have begun in this one.
    fn give_up(&mut self, segment: u32, fault: SegmentFault) {
        let waiting: Vec<_> = self.waiting().collect();
        self.failures += 1;
        self.barriers.lose(self.stats.messages);
        self.barriers.poison(segment, fault);
        for barrier in waiting {
            self.take_out(barrier, fault);
        }
        self.barriers.settle(self.head, self.stats.messages);
        self.note_settled();
        self.stats.poisoned = self.barriers.poisoned(SegmentFault::Unsynced);
        self.stats.torn = self.barriers.poisoned(SegmentFault::Torn);
        self.stats.removed = self.barriers.poisoned(SegmentFault::Removed);
    }

    /// The log leaves a segment.
    pub(super) fn leave(&mut self, left: &Segment) {
        let messages = self.stats.messages;
        self.barriers.leave(left, self.head, messages);
        let began = std::mem::replace(&mut self.began, messages);
        let alive = std::mem::take(&mut self.alive);
        let dead_bytes = std::mem::take(&mut self.dead_bytes);
        self.tail.clear();
        self.asked = 0;
        self.retired.push_back(Retired {
            header: left.header,
            began,
            ended: messages,
            alive,
            dead_bytes,
        });
        let floor = self.supplies.floor.load(Ordering::Acquire);
        while self.retired.front().is_some_and(|retired| retired.header.number < floor) {
            let dead_bytes = self.retired.pop_front().map_or(0, |retired| retired.dead_bytes);
            self.supplies.open_room.dead_gone(dead_bytes);
        }
        if self.durability == Durability::Process {
            self.barriers.forget_below(floor);
        } else {
            self.publish_hold();
        }
    }

    /// A message was sealed that began in an earlier segment.
    pub(super) fn note_spanning(&mut self, message: u64, first_segment: u32) {
        if self.durability == Durability::Sync {
            self.barriers.spans(message, first_segment);
            self.publish_hold();
        }
    }

    /// The fate of more messages is known.
    fn note_settled(&mut self) {
        self.barriers.forget_settled(self.supplies.floor.load(Ordering::Acquire));
        let before = self.supplies.hold.load(Ordering::Relaxed);
        if self.publish_hold() > before {
            self.hand_over(Job::Settled { core: self.core.into() });
        }
    }

    /// Keeps the helper from the segments of messages that wait, and returns the first of them. A segment
    /// that the log leaves is held before the helper hears of it. A message that began in an earlier
    /// segment may come too late; `Barriers::forget_settled` finds that.
    fn publish_hold(&self) -> u32 {
        let oldest = self.barriers.oldest_held().unwrap_or(NOTHING_HELD);
        self.supplies.hold.store(oldest, Ordering::Release);
        oldest
    }

    fn take_out(&mut self, barrier: Barrier, fault: SegmentFault) {
        self.barriers.poison(barrier.segment(), fault);
        if barrier.segment() != self.segment().header.number {
            return self.hand_over(Job::Void { core: self.core.into(), barrier });
        }
        self.open = None;
        let (from, to) = (barrier.start, self.head + RECORD_HEADER_BYTES);
        let to = to.min(self.segment().map.len());
        self.segment_mut().map.zero_at(from, to - from);
        self.head = from;
        self.tail.clear();
    }

    /// Checks that every segment that may hold a piece of the message is there and sound.
    pub(super) fn check_whole(&mut self, draft: &mut Draft) -> Result<(), SpoolError> {
        let Some(latest) = draft.latest else { return Ok(()) };
        // The helper raises the floor before it takes a segment. If it does so right after this check, the
        // message is recycled as one of the ring's oldest, as it could have been a moment later.
        if self.is_taken(draft.first_segment) {
            return Err(SpoolError::Outlived);
        }
        self.check_pieces(draft)?;
        if draft.first_segment == self.segment().header.number {
            return Ok(());
        }
        let pieces = draft.first_segment..=latest.segment;
        let retired: Vec<_> = self.retired.iter().map(|retired| retired.header).collect();
        for header in retired {
            let number = header.number;
            // One that was given up holds none of the message: that was checked above.
            if !pieces.contains(&number) || self.barriers.is_poisoned(number) {
                continue;
            }
            match file::open(&self.path_of(header.number), Access::Read) {
                Ok(file) if has_canary(&file, &header) => {}
                Ok(file) if !self.is_taken(header.number) => {
                    return Err(self.tear(header.number, SegmentFault::Torn, &file));
                }
                Ok(_) => return Err(SpoolError::Outlived),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(SpoolError::Outlived);
                }
                // Without a free descriptor there is no check, as there was none before.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Checks that no segment that may hold a piece of the message was given up, and that no piece was lost.
    /// Then its next piece goes to a sound segment, and those that were given up by now never hold any of the
    /// message.
    pub(super) fn check_pieces(&self, draft: &mut Draft) -> Result<(), SpoolError> {
        if let Some(latest) = draft.latest {
            if self.pieces.is_lost(draft.piece) {
                return Err(SpoolError::OpenLimit);
            }
            let pieces = draft.first_segment..=latest.segment;
            if let Some(segment) = self.barriers.poisoned_since(draft.given_up, &pieces) {
                return Err(self.given_up(segment));
            }
        }
        draft.given_up = self.barriers.poisoned_so_far();
        Ok(())
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.barriers.is_poisoned(self.segment().header.number)
    }

    /// The error for a segment that was given up.
    pub(super) fn given_up(&self, segment: u32) -> SpoolError {
        match self.barriers.fault_of(segment) {
            Some(SegmentFault::Torn) => SpoolError::Torn { core: self.core, segment },
            Some(SegmentFault::Removed) => SpoolError::Removed { core: self.core, segment },
            _ => SpoolError::Poisoned { core: self.core, segment },
        }
    }

    /// Where a segment of this core is, if it is still there.
    fn path_of(&self, segment: u32) -> PathBuf {
        self.segment().path.with_file_name(file_name(self.core, segment))
    }
}
