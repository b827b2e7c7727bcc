//! The log of one core, from the writer's side: appends pieces of open messages, seals messages, and rolls
//! to the next segment. Nothing here waits, allocates or calls the kernel, except when a segment is full.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Instant;

use crc_fast::{CrcAlgorithm, Digest};

use self::pieces::{PieceId, Pieces};
use self::space::TailFragment;
use super::barrier::Barriers;
use super::job::{Job, Supplies};
use super::marker::Lock;
#[cfg(test)]
use super::planted::{PlantedFault, is_planted};
use super::segment::Segment;
use super::ticket::{Sealed, Ticket};
use super::watermark::Watermark;
use crate::limits::SEGMENT_REST_BYTES;
use crate::spool::envelope::Meta;
use crate::spool::error::SpoolError;
use crate::spool::format::{
    ALIGNMENT, COMMIT_AT, Place, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordFlags, RecordHeader,
    RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use crate::spool::options::Durability;

mod durable;
mod pieces;
mod roll;
#[cfg(test)]
pub(super) mod schedule;
mod space;

/// An open message: what links its pieces. Cheap; a session has one and uses it for all its messages.
#[derive(Debug, Default)]
pub struct Draft {
    /// 0 until the first octet.
    id: u32,
    /// Where the latest record of this message begins.
    latest: Option<Place>,
    /// Segment of the first record; 0 is none.
    first_segment: u32,
    /// The latest record.
    piece: PieceId,
    total_bytes: u64,
    /// So many segments had been given up when the message was last found to have no piece in any of them.
    given_up: usize,
    /// A piece was refused, so the message can only be discarded.
    broken: bool,
}

impl Draft {
    /// Octets appended so far.
    pub fn len(&self) -> u64 {
        self.total_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.total_bytes == 0
    }
}

/// The record being written at the head of the log.
struct OpenRecord {
    draft: u32,
    body_bytes: usize,
    /// Body octets of the message, this record's among them.
    total_bytes: u64,
    back: Option<Place>,
    piece: PieceId,
}

/// Counters of one writer since it was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Stats {
    /// Records committed, fragments too.
    pub records: u64,
    /// Messages sealed.
    pub messages: u64,
    /// Message octets sealed.
    pub bytes: u64,
    /// Segments begun after the first.
    pub rolls: u64,
    /// Times a full segment had no successor ready and the core waited.
    pub roll_waits: u64,
    /// Segments that could not be synced, or written back, and took no more messages.
    pub poisoned: u64,
    /// Segments that another program cut, or that lost pages, and those that were given up with them.
    pub torn: u64,
    /// Segments that were removed, moved away or replaced while they were written, and those that were given
    /// up with them.
    pub removed: u64,
    /// Messages that had been acknowledged in them.
    pub removed_messages: u64,
    /// Times that mail had to be refused because no segment could be made, for another reason than a lack of
    /// room.
    pub unusable: u64,
}

/// A segment that the log has left, and that the helper has not recycled yet.
struct Retired {
    header: SegmentHeader,
    /// Messages sealed in the log when the segment began, and when the log left it.
    began: u64,
    ended: u64,
    /// Records that are not dead: sealed ones, and pieces of messages that may still be sealed.
    alive: usize,
    /// Octets of fragments of messages that were given up.
    dead_bytes: u64,
}

/// The log of one core. One thread owns it.
pub struct Writer {
    core: u16,
    /// `None` only while it is being dropped.
    segment: Option<Segment>,
    /// Where the next record begins, or the open one began.
    ///
    /// INVARIANT: a multiple of 8; the commit word of the slot there, if there is room for one, is 0.
    head: usize,
    open: Option<OpenRecord>,
    pieces: Pieces,
    /// Those after the last sealed record of the present segment, in order.
    tail: Vec<TailFragment>,
    /// As in [`Retired`], of the present segment.
    alive: usize,
    dead_bytes: u64,
    /// Octets of the present segment for which a sync was asked.
    asked: usize,
    digest: Digest,
    /// That of the latest record.
    seq: u64,
    /// That of the latest draft.
    drafts: u32,
    envelope: Vec<u8>,
    supplies: Supplies,
    spare: Option<Segment>,
    /// The helper knows that the next segment is needed soon, so that it may recycle one.
    has_asked: bool,
    /// Oldest first.
    retired: VecDeque<Retired>,
    /// Messages sealed in the log when the present segment began.
    began: u64,
    /// Why the helper has no segment for us. It keeps trying.
    shortage: Option<SpoolError>,
    /// Times that a sync failed. Each next segment has to pass a probe after the latest of them, a write and
    /// a sync, before it is written to.
    suspicion: u32,
    /// Times that a segment was given up, for that or because of what happened to its file.
    failures: u32,
    /// When the helper was last told what is durable.
    marked: Instant,
    durability: Durability,
    barriers: Barriers,
    watermark: Watermark,
    stats: Stats,
    _lock: Arc<Lock>,
}

impl Writer {
    pub(super) fn new(
        core: u16,
        first: Segment,
        seq: u64,
        supplies: Supplies,
        durability: Durability,
        lock: Arc<Lock>,
    ) -> Self {
        let offset = SEGMENT_HEADER_BYTES as u32;
        let start = Place { core, segment: first.header.number, offset };
        assert_eq!(first.header.core, core, "a segment of another core");
        let mut writer = Self {
            core,
            segment: Some(first),
            head: SEGMENT_HEADER_BYTES,
            open: None,
            pieces: Pieces::default(),
            tail: Vec::new(),
            alive: 0,
            dead_bytes: 0,
            asked: 0,
            digest: Digest::new(CrcAlgorithm::Crc32Iscsi),
            seq,
            drafts: 0,
            envelope: Vec::with_capacity(4096),
            supplies,
            spare: None,
            has_asked: false,
            retired: VecDeque::new(),
            began: 0,
            shortage: None,
            suspicion: 0,
            failures: 0,
            marked: Instant::now(),
            durability,
            barriers: Barriers::new(),
            watermark: Watermark::new(start),
            stats: Stats::default(),
            _lock: lock,
        };
        writer.want();
        writer
    }

    /// Appends octets to an open message. This is the only time that they are copied.
    ///
    /// On an error the message cannot be sealed any more; the draft must be discarded.
    pub fn append(&mut self, draft: &mut Draft, mut piece: &[u8]) -> Result<(), SpoolError> {
        if draft.broken {
            return Err(SpoolError::Broken);
        }
        while !piece.is_empty() {
            let space = self.claim(draft, piece.len()).inspect_err(|_| draft.broken = true)?;
            let (now, later) = piece.split_at(space.min(piece.len()));
            self.extend(draft, now);
            piece = later;
        }
        Ok(())
    }

    /// Ends a message. When this returns, a reader finds it at the returned place, and it
    /// survives the death of this process. It may be acknowledged when [`Writer::fate`] says so.
    ///
    /// `recipients` are the path and the parameters of each. Afterwards the draft is empty, also on an error.
    ///
    /// # Errors
    /// [`SpoolError`]; then the message is not in the log.
    pub fn seal<'r>(
        &mut self,
        draft: &mut Draft,
        meta: &Meta<'_>,
        recipients: impl IntoIterator<Item = (&'r [u8], &'r [u8])>,
    ) -> Result<Sealed, SpoolError> {
        let sealed = self.try_seal(draft, meta, recipients);
        match &sealed {
            Ok(_) => {
                let bytes = self.pieces.forget(draft.piece);
                self.supplies.open_room.give_back(bytes);
            }
            Err(_) => self.discard(draft),
        }
        *draft = Draft::default();
        sealed
    }

    pub fn stats(&self) -> Stats {
        let failed = self.supplies.failed.load(Ordering::Relaxed);
        Stats { poisoned: self.stats.poisoned + failed, ..self.stats }
    }

    pub fn core(&self) -> u16 {
        self.core
    }

    /// Where the next record will begin.
    pub fn position(&self) -> Place {
        Place { core: self.core, segment: self.segment().header.number, offset: self.head as u32 }
    }

    fn try_seal<'r>(
        &mut self,
        draft: &mut Draft,
        meta: &Meta<'_>,
        recipients: impl IntoIterator<Item = (&'r [u8], &'r [u8])>,
    ) -> Result<Sealed, SpoolError> {
        if draft.broken {
            return Err(SpoolError::Broken);
        }
        let mut envelope = std::mem::take(&mut self.envelope);
        envelope.clear();
        let sealed = meta
            .encode(recipients, &mut envelope)
            .and_then(|()| self.claim_for_envelope(draft, envelope.len()))
            .map(|()| self.commit_message(draft, &envelope, meta.flags))
            .and_then(|sealed| self.check().map(|()| sealed));
        self.envelope = envelope;
        sealed
    }

    /// Sees to it that the record at the head is one of `draft` with room for `bytes` octets of envelope.
    fn claim_for_envelope(&mut self, draft: &mut Draft, bytes: usize) -> Result<(), SpoolError> {
        self.check_pieces(draft)?;
        self.yield_head(draft);
        if self.space() < bytes || self.is_poisoned() {
            self.roll()?;
        }
        if self.space() < bytes {
            return Err(SpoolError::EnvelopeTooLarge { bytes, max: self.space() });
        }
        self.check_whole(draft)?;
        if self.open.is_none() {
            self.begin(draft);
        }
        Ok(())
    }

    /// Sees to it that the record at the head is one of `draft` with room for at least one octet. Returns
    /// the room in octets.
    fn claim(&mut self, draft: &mut Draft, wanted: usize) -> Result<usize, SpoolError> {
        self.check_pieces(draft)?;
        // The first piece of a message is not refused: most messages have no other.
        if draft.id != 0 && self.pieces.is_full() && !self.owns_head(draft) {
            return Err(SpoolError::OpenLimit);
        }
        self.yield_head(draft);
        let space = self.space();
        let too_small = wanted > space && space < SEGMENT_REST_BYTES.min(self.capacity() / 4);
        // A segment that was given up holds none of the message: see `check_pieces`.
        let given_up = self.is_poisoned();
        #[cfg(test)]
        let given_up =
            given_up && !(is_planted(PlantedFault::GoesOnInGivenUp) && draft.latest.is_some());
        if too_small || given_up {
            self.roll()?;
        }
        if self.open.is_none() {
            self.begin(draft);
        }
        Ok(self.space())
    }

    /// Turns the record at the head into a fragment if it is one of another draft.
    fn yield_head(&mut self, draft: &Draft) {
        if !self.owns_head(draft) {
            self.interrupt();
        }
    }

    fn owns_head(&self, draft: &Draft) -> bool {
        draft.id != 0 && self.open.as_ref().is_some_and(|open| open.draft == draft.id)
    }

    fn begin(&mut self, draft: &mut Draft) {
        debug_assert!(self.open.is_none(), "one record is open at a time");
        let place = self.position();
        if draft.id == 0 {
            self.drafts = self.drafts.wrapping_add(1).max(1);
            draft.id = self.drafts;
            draft.first_segment = place.segment;
        }
        debug_assert!(draft.latest.is_none_or(|latest| latest.core == self.core && latest < place));
        draft.piece = self.pieces.add(place.segment, place.offset, draft.piece);
        self.open = Some(OpenRecord {
            draft: draft.id,
            body_bytes: 0,
            total_bytes: draft.total_bytes,
            back: draft.latest.replace(place),
            piece: draft.piece,
        });
        self.digest.reset();
        let head = self.head;
        // By the marker recovery sees that a record was open here; the commit word is still 0.
        self.segment_mut().map.write_at(head, &RECORD_MAGIC);
    }

    fn extend(&mut self, draft: &mut Draft, piece: &[u8]) {
        debug_assert!(piece.len() <= self.space(), "{} octets do not fit", piece.len());
        let open = self.open.as_mut().expect("claim opened a record");
        let at = self.head + RECORD_HEADER_BYTES + open.body_bytes;
        open.body_bytes += piece.len();
        open.total_bytes += piece.len() as u64;
        draft.total_bytes += piece.len() as u64;
        self.segment_mut().map.write_at(at, piece);
        self.digest.update(piece);
    }

    fn commit_message(&mut self, draft: &Draft, envelope: &[u8], flags: RecordFlags) -> Sealed {
        let open = self.open.take().expect("claim_for_envelope opened a record");
        let kind = if open.back.is_some() { RecordKind::Seal } else { RecordKind::Single };
        let at = self.head + RECORD_HEADER_BYTES + open.body_bytes;
        self.segment_mut().map.write_at(at, envelope);
        self.digest.update(envelope);
        self.stats.messages += 1;
        self.stats.bytes += open.total_bytes;
        let place = self.commit(&open, kind, envelope.len(), flags);
        self.tail.clear();
        if draft.first_segment < place.segment {
            self.note_spanning(self.stats.messages, draft.first_segment);
        }
        Sealed { place, ticket: Ticket(self.stats.messages) }
    }

    /// Commits the open record at the head, and moves the head to the slot after it.
    ///
    /// The payload is stored already. Then come, in this order, zeros up to the next slot and in it, the
    /// header, and the commit word with release ordering. A reader that sees the commit word sees all of
    /// this, so the log always ends with an empty slot, even among old octets of a recycled segment.
    fn commit(
        &mut self,
        open: &OpenRecord,
        kind: RecordKind,
        envelope_bytes: usize,
        flags: RecordFlags,
    ) -> Place {
        let place = self.position();
        self.seq += 1;
        let header = RecordHeader {
            kind,
            core: self.core,
            segment: place.segment,
            draft: open.draft,
            seq: self.seq,
            total_bytes: open.total_bytes,
            body_bytes: open.body_bytes as u32,
            envelope_bytes: envelope_bytes as u32,
            flags,
            back_segment: open.back.map_or(0, |back| back.segment),
            back_offset: open.back.map_or(0, |back| back.offset),
            payload_crc: self.digest.finalize() as u32,
        };
        let head = self.head;
        let payload_end = head + RECORD_HEADER_BYTES + open.body_bytes + envelope_bytes;
        let segment = self.segment_mut();
        let bytes = header.encode(segment.header.nonce);
        let next = payload_end.next_multiple_of(ALIGNMENT);
        debug_assert!(head.is_multiple_of(ALIGNMENT), "a record at {head}");
        debug_assert!(next + RECORD_HEADER_BYTES <= segment.room(), "no empty slot after {next}");
        segment.map.zero_at(payload_end, next + RECORD_HEADER_BYTES - payload_end);
        segment.map.write_at(head, &bytes[..COMMIT_AT]);
        let commit = u32::from_le_bytes(bytes[COMMIT_AT..].try_into().expect("four octets"));
        segment.map.store_release(head + COMMIT_AT, commit);
        let half_full = next >= segment.map.len() / 2;
        self.head = next;
        self.alive += 1;
        self.stats.records += 1;
        if half_full {
            self.ask();
        }
        place
    }

    fn segment(&self) -> &Segment {
        self.segment.as_ref().expect("a live writer has a segment")
    }

    fn segment_mut(&mut self) -> &mut Segment {
        self.segment.as_mut().expect("a live writer has a segment")
    }
}

impl Drop for Writer {
    /// What was not sealed is gone. The helper cuts the segment after the last record.
    fn drop(&mut self) {
        let used = self.end_without_open();
        if let Some(segment) = self.segment.take() {
            self.hand_over(Job::Finish { segment, used });
        }
        if let Some(segment) = self.spare.take() {
            self.hand_over(Job::Finish { segment, used: 0 });
        }
        // The helper may be making a segment for us just now: only it can tell which was the last.
        let ready = std::mem::replace(&mut self.supplies.ready, mpsc::channel().1);
        self.hand_over(Job::Leave { ready });
    }
}
