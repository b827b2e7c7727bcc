//! Walks through one segment from front to back. It uses read(2), not a map, because a sink may write,
//! cut or recycle the file at the same time.

use std::io;
use std::path::Path;

use crc_fast::{CrcAlgorithm, Digest};

use super::window::Window;
use crate::limits::{ENVELOPE_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_STEP_BYTES, SPOOL_READ_BYTES};
use crate::spool::error::{Doubt, SpoolError};
use crate::spool::file::{self, Access};
use crate::spool::format::{
    ALIGNMENT, CANARY_BYTES, Mark, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader, RecordKind,
    SEGMENT_HEADER_BYTES, SegmentHeader, SlotState,
};

/// The least that it takes at once.
const WINDOW_BYTES_MIN: usize = 8 * 1024;

/// Octets of memory for envelopes that a walk keeps from one record to the next.
const ENVELOPE_KEPT_BYTES: usize = 16 * 1024;

/// Times that a walk goes back in a row, while a live writer takes records back.
const LOOKS_MAX: usize = 8;

/// How the records of a segment end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::spool) enum RecordsEnd {
    /// After a committed record comes nothing.
    Clean,
    /// A record was begun and not committed: the writer is storing it, or died while it did.
    Open,
    /// The file was recycled while we read it.
    Recycled,
    /// What comes next is doubtful, and need not have reached the disk: a power cut can leave this.
    Torn(Doubt),
    /// What comes next is doubtful, although it was on the disk once.
    Damaged(Doubt),
}

/// One step through a segment.
pub(super) enum WalkStep {
    /// A record whose checksums are right, and where it begins.
    Record(u32, RecordHeader),
    /// A record whose header is sound and whose payload is not. The records after it are met.
    Spoilt(Spoilt),
    End(RecordsEnd),
}

/// A record of which only the header can be believed: it still says where the next one begins.
#[derive(Clone, Copy)]
pub(super) struct Spoilt {
    pub(super) offset: u32,
    pub(super) header: RecordHeader,
    pub(super) what: Doubt,
    /// Its payload need not have reached the disk: a power cut can leave this.
    pub(super) torn: bool,
}

impl Spoilt {
    /// Whether a message that needs this piece was torn by a power cut.
    pub(super) fn tears_a_chain(&self) -> bool {
        self.torn && self.header.kind == RecordKind::Fragment
    }
}

pub(super) struct Walk {
    file: Window,
    header: SegmentHeader,
    mark: Mark,
    at: u64,
    /// Octets of the file when it was opened.
    len: u64,
    last_seq: Option<u64>,
    /// The latest record, and where it begins.
    latest: Option<(u64, RecordHeader)>,
    /// `at` and `last_seq` after the latest record that is no fragment: the writer takes nothing back that
    /// lies below.
    firm: (u64, Option<u64>),
    /// That of the latest record.
    envelope: Vec<u8>,
}

/// The outcome of opening a segment.
pub(super) enum Opened {
    Walk(Box<Walk>),
    /// The segment is gone, or is being made, or its header is not what it should be.
    End(RecordsEnd),
}

impl Walk {
    /// Opens the segment that `path`'s name says is number `number` of `core`.
    pub(super) fn open(path: &Path, core: u16, number: u32) -> Result<Opened, SpoolError> {
        let first = Self::try_open(path, core, number)?;
        let Opened::End(RecordsEnd::Damaged(_) | RecordsEnd::Torn(_)) = first else {
            return Ok(first);
        };
        // The file may have been recycled after we opened it and before we read its header. Then the name
        // is gone by now, or leads to a sound file.
        Self::try_open(path, core, number)
    }

    fn try_open(path: &Path, core: u16, number: u32) -> Result<Opened, SpoolError> {
        let file = match file::open(path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Opened::End(RecordsEnd::Recycled));
            }
            Err(error) if file::is_not_regular(&error) => {
                return Ok(Opened::End(RecordsEnd::Damaged(Doubt::NotRegular)));
            }
            Err(cause) => return Err(SpoolError::io("open the segment", path, cause)),
        };
        let metadata = file.metadata();
        let len = metadata.map_err(|cause| SpoolError::io("read the segment", path, cause))?.len();
        let mut file = Window::new(file, path.to_owned());
        let bytes = file.get(0, SEGMENT_HEADER_BYTES)?;
        if bytes.iter().all(|&b| b == 0) {
            return Ok(Opened::End(end_without_header(&mut file, len)?));
        }
        let header = bytes.try_into().ok().and_then(SegmentHeader::decode);
        // Places in a segment have 32 bits, and no writer makes a larger one.
        let header = header.filter(|(header, _)| header.bytes <= SEGMENT_BYTES_MAX);
        let Some((header, mark)) = header else {
            return Ok(Opened::End(RecordsEnd::Damaged(Doubt::SegmentHeader)));
        };
        if (header.core, header.number) != (core, number) {
            // A power cut in the middle of a recycling can leave this too, with the octets of a life that the ring
            // has given up. But so does whoever renames sound segments, and what they hold must not pass for
            // an end that nobody has to look at.
            return Ok(Opened::End(RecordsEnd::Damaged(Doubt::SegmentName)));
        }
        let at = SEGMENT_HEADER_BYTES as u64;
        let len = len.min(header.bytes);
        let envelope = Vec::new();
        let (last_seq, latest, firm) = (None, None, (at, None));
        let walk = Self { file, header, mark, at, len, last_seq, latest, firm, envelope };
        Ok(Opened::Walk(Box::new(walk)))
    }

    pub(super) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Octets found sound so far: where the next record would begin.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Takes at most `bytes` from the file at once from now on, where many segments are read side by side.
    pub(super) fn narrow(&mut self, bytes: usize) {
        self.file.reach_max = bytes.clamp(WINDOW_BYTES_MIN, SPOOL_READ_BYTES);
    }

    /// Gives back the memory of a large envelope, which is not looked at any more.
    pub(super) fn drop_envelope(&mut self) {
        if self.envelope.capacity() > ENVELOPE_KEPT_BYTES {
            self.envelope = Vec::new();
        }
    }

    /// Octets from here on that were on the disk once and that the file no longer has.
    pub(super) fn bytes_cut_off(&self) -> u64 {
        let Mark::Upto(mark) = self.mark else { return 0 };
        if self.len < mark.into() { u64::from(mark).saturating_sub(self.at) } else { 0 }
    }

    /// Moves to `offset`, where a record is known to begin.
    pub(super) fn seek(&mut self, offset: u32) {
        self.at = offset.into();
        self.last_seq = None;
        self.latest = None;
        self.firm = (self.at, None);
    }

    /// The envelope of the record that the latest step returned.
    pub(super) fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// Reads and checks the next record.
    pub(super) fn step(&mut self) -> Result<WalkStep, SpoolError> {
        for _ in 0..LOOKS_MAX {
            let first = self.try_step()?;
            if !matches!(
                first,
                WalkStep::Spoilt(_) | WalkStep::End(RecordsEnd::Damaged(_) | RecordsEnd::Torn(_))
            ) {
                return Ok(first);
            }
            // We may have read a header while it was being stored, or octets of the next life of the file: read
            // again.
            self.file.forget();
            if !self.same_life()? {
                return Ok(WalkStep::End(RecordsEnd::Recycled));
            }
            if !self.goes_back()? {
                break;
            }
        }
        let last = self.try_step()?;
        if let WalkStep::Spoilt(spoilt) = &last {
            self.pass(&spoilt.header);
        }
        Ok(last)
    }

    /// Whether the writer has taken the latest record back, which was a fragment. Then the walk goes on after
    /// the latest record that is none.
    fn goes_back(&mut self) -> Result<bool, SpoolError> {
        let Some((at, seen)) = self.latest.filter(|(_, seen)| seen.kind == RecordKind::Fragment)
        else {
            return Ok(false);
        };
        let mut now = [0; RECORD_HEADER_BYTES];
        self.file.read(at, &mut now)?;
        if RecordHeader::decode(&now, &self.header) == Ok(seen) {
            return Ok(false);
        }
        (self.at, self.last_seq) = self.firm;
        self.latest = None;
        self.file.forget();
        Ok(true)
    }

    /// Whether the file still holds the segment that was opened.
    pub(super) fn same_life(&self) -> Result<bool, SpoolError> {
        let mut now = [0; SEGMENT_HEADER_BYTES];
        self.file.read(0, &mut now)?;
        Ok(SegmentHeader::decode(&now).is_some_and(|(now, _)| now == self.header))
    }

    /// Checks an end to which a walk from the front has come: what follows it in the file, and the mark, may
    /// say that it is none. `None` if a record has been stored there since.
    pub(super) fn confirm(&mut self, end: RecordsEnd) -> Result<Option<RecordsEnd>, SpoolError> {
        if !matches!(end, RecordsEnd::Clean | RecordsEnd::Open) {
            return Ok(Some(end));
        }
        if self.goes_back()? {
            return Ok(None);
        }
        if matches!(self.mark, Mark::Upto(mark) if self.at < mark.into()) {
            return Ok(Some(RecordsEnd::Damaged(Doubt::Short)));
        }
        if self.count_beyond()? == 0 {
            return Ok(Some(end));
        }
        // The writer may have stored records meanwhile, but it never leaves a gap.
        self.file.forget();
        if !self.same_life()? {
            return Ok(Some(RecordsEnd::Recycled));
        }
        let slot = self.file.get(self.at, RECORD_HEADER_BYTES)?.try_into();
        let gap = slot.is_ok_and(|slot| RecordHeader::decode(slot, &self.header).is_err());
        Ok(gap.then(|| self.verdict()(Doubt::Gap)))
    }

    /// What a doubtful next record is: torn or damaged.
    fn verdict(&self) -> fn(Doubt) -> RecordsEnd {
        if self.is_above_mark() { RecordsEnd::Torn } else { RecordsEnd::Damaged }
    }

    /// Whether what comes next need not have reached the disk.
    pub(super) fn is_above_mark(&self) -> bool {
        matches!(self.mark, Mark::Upto(mark) if self.at >= mark.into())
    }

    fn try_step(&mut self) -> Result<WalkStep, SpoolError> {
        let verdict = self.verdict();
        let doubtful = |doubt| Ok(WalkStep::End(verdict(doubt)));
        let slot = self.file.get(self.at, RECORD_HEADER_BYTES)?;
        let Ok(bytes) = slot.try_into() else {
            // The end of a file of full length is never written. A file that was cut ends with a record.
            let whole = self.len == self.header.bytes || slot.is_empty();
            return if whole {
                Ok(WalkStep::End(RecordsEnd::Clean))
            } else {
                doubtful(Doubt::Bounds)
            };
        };
        let header = match RecordHeader::decode(bytes, &self.header) {
            Ok(header) => header,
            Err(SlotState::Empty) => return Ok(WalkStep::End(RecordsEnd::Clean)),
            Err(SlotState::Open) => return Ok(WalkStep::End(RecordsEnd::Open)),
            Err(SlotState::Doubtful) => return doubtful(Doubt::RecordHeader),
        };
        let is_small = header.envelope_bytes as usize <= ENVELOPE_BYTES_MAX;
        if self.at + header.stride() > self.len || !is_small {
            return doubtful(Doubt::Bounds);
        }
        if self.last_seq.is_some_and(|last| last.checked_add(1) != Some(header.seq)) {
            return doubtful(Doubt::Sequence);
        }
        if let Some(doubt) = self.check_payload(&header)? {
            return Ok(match doubt {
                Doubt::Payload | Doubt::Padding => {
                    let torn = self.is_above_mark();
                    WalkStep::Spoilt(Spoilt { offset: self.at as u32, header, what: doubt, torn })
                }
                _ => WalkStep::End(verdict(doubt)),
            });
        }
        let offset = self.at as u32;
        self.pass(&header);
        Ok(WalkStep::Record(offset, header))
    }

    /// Goes to where the record after this one begins.
    fn pass(&mut self, header: &RecordHeader) {
        self.latest = Some((self.at, *header));
        self.at += header.stride();
        self.last_seq = Some(header.seq);
        if header.kind != RecordKind::Fragment {
            self.firm = (self.at, self.last_seq);
        }
    }

    fn check_payload(&mut self, header: &RecordHeader) -> Result<Option<Doubt>, SpoolError> {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        self.envelope.clear();
        let mut at = self.at + RECORD_HEADER_BYTES as u64;
        let envelope_at = at + u64::from(header.body_bytes);
        let end = at + header.payload_bytes();
        while at < end {
            let until = if at < envelope_at { envelope_at } else { end };
            let chunk = self.file.get(at, (until - at).min(self.file.reach_max as u64) as usize)?;
            if chunk.is_empty() {
                return Ok(Some(Doubt::Bounds));
            }
            digest.update(chunk);
            if at >= envelope_at {
                self.envelope.extend_from_slice(chunk);
            }
            at += chunk.len() as u64;
        }
        if digest.finalize() as u32 != header.payload_crc {
            return Ok(Some(Doubt::Payload));
        }
        let next = self.at + header.stride();
        let padding = self.file.get(end, (next - end) as usize)?;
        Ok(padding.iter().any(|&b| b != 0).then_some(Doubt::Padding))
    }

    /// Counts the records with sound headers after the place where the walk stopped: those that the damage
    /// hides.
    pub(super) fn count_beyond(&mut self) -> Result<u64, SpoolError> {
        let mut count = 0;
        let mut at = self.at + ALIGNMENT as u64;
        while at + RECORD_HEADER_BYTES as u64 <= self.len {
            let rest = self.file.rest(at, RECORD_HEADER_BYTES)?;
            // Windows and records begin and end at multiples of 8, so no magic lies across two windows.
            if rest.is_empty() {
                break;
            }
            let Some(found) = memchr::memmem::find(rest, &RECORD_MAGIC) else {
                at += (rest.len() as u64).next_multiple_of(ALIGNMENT as u64);
                continue;
            };
            at += found as u64;
            if !at.is_multiple_of(ALIGNMENT as u64) {
                at = at.next_multiple_of(ALIGNMENT as u64);
                continue;
            }
            let slot = self.file.get(at, RECORD_HEADER_BYTES)?.try_into();
            match slot.map(|slot| RecordHeader::decode(slot, &self.header)) {
                Ok(Ok(header)) => {
                    count += 1;
                    at += header.stride();
                }
                _ => at += ALIGNMENT as u64,
            }
        }
        Ok(count)
    }

    /// Passes the octets `at..at + len` to `take` in chunks, and returns how many there were. The octets
    /// that the latest step has read stay in memory.
    pub(super) fn copy<E: From<SpoolError>>(
        &mut self,
        mut at: u64,
        len: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        if let Some(held) = self.file.held(at, len) {
            take(held)?;
            return Ok(len);
        }
        let end = at + len;
        let mut chunk = vec![0; len.min(SPOOL_READ_BYTES as u64) as usize];
        while at < end {
            let wanted = (end - at).min(chunk.len() as u64) as usize;
            let count = self.file.read(at, &mut chunk[..wanted])?;
            if count == 0 {
                break;
            }
            take(&chunk[..count])?;
            at += count as u64;
        }
        Ok(len - (end - at))
    }
}

/// Judges a file of `len` octets with zeros for a header. A segment that was never begun has its full length,
/// and holds nothing but its canary. A file that was cut was on the disk before, with its header.
fn end_without_header(file: &mut Window, len: u64) -> Result<RecordsEnd, SpoolError> {
    let whole = len > 0 && len.is_multiple_of(SEGMENT_STEP_BYTES);
    if !whole || len > SEGMENT_BYTES_MAX {
        return Ok(RecordsEnd::Damaged(Doubt::NoHeader));
    }
    let end = len - CANARY_BYTES as u64;
    let mut at = 0;
    loop {
        let rest = file.rest(at, file.reach_max)?;
        let rest = &rest[..rest.len().min((end - at) as usize)];
        if rest.is_empty() {
            return Ok(RecordsEnd::Clean);
        }
        if rest.iter().any(|&octet| octet != 0) {
            return Ok(RecordsEnd::Torn(Doubt::NoHeader));
        }
        at += rest.len() as u64;
    }
}
