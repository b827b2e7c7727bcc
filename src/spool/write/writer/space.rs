//! The room of messages that were not sealed is given back: at the head of the log at once, and a segment
//! as soon as it holds nothing else.

use super::pieces::Piece;
use super::{Draft, OpenRecord, Writer};
use crate::spool::format::{ALIGNMENT, COMMIT_AT, RECORD_HEADER_BYTES, RecordFlags, RecordKind};
use crate::spool::write::job::Job;

/// A fragment in the present segment after its last sealed record.
pub(super) struct TailFragment {
    offset: usize,
    /// Its message was given up.
    dead: bool,
}

impl Writer {
    /// Forgets an open message, and gives back the room that it took where no sealed record or piece of
    /// another open message lies above it. Otherwise its fragments in the log are dead room.
    pub fn discard(&mut self, draft: &mut Draft) {
        if self.owns_head(draft) {
            let head = self.head;
            self.segment_mut().map.zero_at(head, RECORD_HEADER_BYTES);
            self.open = None;
        }
        let mut next = draft.piece;
        while let Some((piece, before)) = self.pieces.take(next) {
            next = before;
            if piece.bytes > 0 {
                self.fragment_died(piece);
            }
        }
        self.take_back();
        *draft = Draft::default();
    }

    /// Turns the open record into a fragment, if there is one, because another message needs its place. Where
    /// there is no room for one more fragment, its message is lost, and its client hears so later.
    pub(super) fn interrupt(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Err(open) = self.close_fragment(open) {
            let head = self.head;
            self.segment_mut().map.zero_at(head, RECORD_HEADER_BYTES);
            self.pieces.lose(open.piece);
        }
    }

    /// Commits a record as a fragment. Returns it where there is no room for that.
    pub(super) fn close_fragment(&mut self, open: OpenRecord) -> Result<(), OpenRecord> {
        let bytes = (RECORD_HEADER_BYTES + open.body_bytes).next_multiple_of(ALIGNMENT);
        if !self.supplies.open_room.take(bytes as u64) {
            return Err(open);
        }
        let place = self.commit(&open, RecordKind::Fragment, 0, RecordFlags::empty());
        self.pieces.close(open.piece, bytes as u32);
        self.note_fragment(place.offset as usize);
        Ok(())
    }

    /// A fragment was committed at `offset`.
    fn note_fragment(&mut self, offset: usize) {
        debug_assert!(self.tail.last().is_none_or(|last| last.offset < offset));
        self.tail.push(TailFragment { offset, dead: false });
    }

    fn fragment_died(&mut self, piece: Piece) {
        let (segment, offset, bytes) =
            (piece.segment, piece.offset as usize, u64::from(piece.bytes));
        if segment == self.segment().header.number {
            debug_assert!(self.alive > 0, "a fragment of the segment was counted");
            self.alive -= 1;
            self.dead_bytes += bytes;
            self.supplies.open_room.died(bytes);
            if let Ok(at) = self.tail.binary_search_by_key(&offset, |fragment| fragment.offset) {
                self.tail[at].dead = true;
            }
            return;
        }
        match self.retired.binary_search_by_key(&segment, |left| left.header.number) {
            Ok(at) => {
                debug_assert!(self.retired[at].alive > 0, "a fragment of the segment was counted");
                self.retired[at].alive -= 1;
                self.retired[at].dead_bytes += bytes;
                self.supplies.open_room.died(bytes);
                self.free_if_dead(segment);
            }
            // The helper has taken the segment meanwhile.
            Err(_) => self.supplies.open_room.give_back(bytes),
        }
    }

    /// Has a segment removed that the log has left, if all that it holds is dead.
    pub(super) fn free_if_dead(&mut self, segment: u32) {
        let Ok(at) = self.retired.binary_search_by_key(&segment, |left| left.header.number) else {
            return;
        };
        if self.retired[at].alive == 0 {
            let dead_bytes = self.retired.remove(at).map_or(0, |left| left.dead_bytes);
            self.supplies.open_room.dead_gone(dead_bytes);
            self.barriers.forget(segment);
            self.hand_over(Job::Free { core: self.core.into(), segment });
        }
    }

    /// Moves the head of the log back over dead fragments.
    ///
    /// Readers in other processes may have met them, and look again where they do not find what they saw.
    /// After a crash of the machine the disk may hold a part of this. So under `Durability::Sync` nothing
    /// is taken back for which a sync was asked: then the mark is never above the head.
    fn take_back(&mut self) {
        if self.open.is_some() || self.is_poisoned() {
            return;
        }
        while let Some(last) = self.tail.pop_if(|last| last.dead) {
            if last.offset < self.asked {
                self.tail.push(last);
                return;
            }
            // The last one goes first, and its commit word first of all: whatever instant the process dies
            // at, no record lies above a gap.
            let at = last.offset;
            let map = &mut self.segment_mut().map;
            map.store_release(at + COMMIT_AT, 0);
            map.zero_at(at, RECORD_HEADER_BYTES);
            let bytes = (self.head - at) as u64;
            self.dead_bytes -= bytes;
            self.supplies.open_room.dead_gone(bytes);
            self.head = at;
            self.seq -= 1;
        }
    }

    /// Where the log ends when no open message will be sealed any more; 0 for a segment that need not stay.
    pub(super) fn end_without_open(&mut self) -> usize {
        let is_dead = self.alive == self.tail.iter().filter(|fragment| !fragment.dead).count();
        if is_dead && !self.is_poisoned() {
            return 0;
        }
        self.open = None;
        // Whatever lies in the tail counts as dead now.
        self.dead_bytes = self.head as u64;
        self.tail.iter_mut().for_each(|fragment| fragment.dead = true);
        self.take_back();
        self.head
    }
}
