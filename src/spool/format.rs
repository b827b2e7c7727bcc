//! The durable format: segment header, record header, checksums. `spool/mod.rs` describes it to the
//! byte; this file is the only one that knows the offsets.

use std::fmt;
use std::str::FromStr;

/// First octets of a segment file.
pub const SEGMENT_MAGIC: [u8; 8] = *b"RINGPOST";
/// First octets of a record, as they stand in the file.
pub const RECORD_MAGIC: [u8; 4] = *b"RPR\x01";
/// Version of the segment layout, and of the marker file.
pub const FORMAT_VERSION: u32 = 2;
/// The earlier version that is still read: no mark, and zeros where it stands.
const VERSION_WITHOUT_MARK: u32 = 1;
/// Octets of a segment header; the first record slot follows.
pub const SEGMENT_HEADER_BYTES: usize = 64;
/// Octets of a record header.
pub const RECORD_HEADER_BYTES: usize = 64;
/// Every record starts at a multiple of this.
pub const ALIGNMENT: usize = 8;
/// Where the commit word stands inside a record header.
pub const COMMIT_AT: usize = 60;
/// Where the durable mark stands inside a segment header.
pub const MARK_AT: u64 = segment_at::MARK as u64;
/// Octets of a durable mark: 8, aligned, so that a store or a sector write takes all or none of it.
pub const MARK_BYTES: usize = 8;

const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(ALIGNMENT));

/// Offsets of a segment header's fields; little endian throughout.
mod segment_at {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 8;
    pub const NUMBER: usize = 12;
    pub const CORE: usize = 16;
    pub const BYTES: usize = 24;
    pub const CREATED: usize = 32;
    pub const NONCE: usize = 40;
    pub const MARK: usize = 48;
    pub const MARK_CHECK: usize = 52;
    pub const ZERO: usize = 56;
    pub const CRC: usize = 60;
}

/// Offsets of a record header's fields; little endian throughout.
mod record_at {
    pub const MAGIC: usize = 0;
    pub const KIND: usize = 4;
    pub const ZERO: usize = 5;
    pub const CORE: usize = 6;
    pub const SEGMENT: usize = 8;
    pub const DRAFT: usize = 12;
    pub const SEQ: usize = 16;
    pub const TOTAL: usize = 24;
    pub const BODY: usize = 32;
    pub const ENVELOPE: usize = 36;
    pub const FLAGS: usize = 40;
    pub const BACK_SEGMENT: usize = 44;
    pub const BACK_OFFSET: usize = 48;
    pub const PAYLOAD_CRC: usize = 52;
    pub const HEADER_CRC: usize = 56;
    pub const COMMIT: usize = 60;
}

const _: () = {
    use record_at::*;
    assert!(MAGIC == 0 && KIND == 4 && ZERO == 5 && CORE == 6 && SEGMENT == 8);
    assert!(DRAFT == SEGMENT + 4 && SEQ == DRAFT + 4 && SEQ.is_multiple_of(8));
    assert!(TOTAL == SEQ + 8 && BODY == TOTAL + 8 && ENVELOPE == BODY + 4);
    assert!(FLAGS == ENVELOPE + 4 && BACK_SEGMENT == FLAGS + 4 && BACK_OFFSET == BACK_SEGMENT + 4);
    assert!(PAYLOAD_CRC == BACK_OFFSET + 4 && HEADER_CRC == PAYLOAD_CRC + 4);
    assert!(COMMIT == HEADER_CRC + 4 && COMMIT == COMMIT_AT && COMMIT + 4 == RECORD_HEADER_BYTES);
    assert!(segment_at::CRC + 4 == SEGMENT_HEADER_BYTES && segment_at::MAGIC == 0);
    assert!(segment_at::MARK_CHECK == segment_at::MARK + 4 && segment_at::MARK.is_multiple_of(8));
    assert!(segment_at::ZERO == segment_at::MARK + MARK_BYTES);
};

/// What a session saw of a message's octets and of its protocol; bits of [`RecordHeader::flags`].
pub mod flag {
    /// The body holds a CR without LF.
    pub const BARE_CR: u32 = 1;
    /// The body holds an LF without CR.
    pub const BARE_LF: u32 = 2;
    /// It came in BDAT chunks (RFC 3030).
    pub const BDAT: u32 = 4;
    /// The body holds an octet above 0x7F.
    pub const EIGHT_BIT: u32 = 8;
    /// MAIL FROM carried SMTPUTF8 (RFC 6531).
    pub const SMTPUTF8: u32 = 16;
    /// The body holds a NUL.
    pub const NUL: u32 = 32;
    /// It came over LMTP (RFC 2033).
    pub const LMTP: u32 = 64;
    /// It came under TLS.
    pub const TLS: u32 = 128;
    /// Only the header block was kept; the envelope tells how many octets were sent.
    pub const HEADERS_ONLY: u32 = 256;

    /// Bit and name of each flag, in the order of the bits.
    pub const NAMES: [(u32, &str); 9] = [
        (BARE_CR, "bare-cr"),
        (BARE_LF, "bare-lf"),
        (BDAT, "bdat"),
        (EIGHT_BIT, "8bit"),
        (SMTPUTF8, "smtputf8"),
        (NUL, "nul"),
        (LMTP, "lmtp"),
        (TLS, "tls"),
        (HEADERS_ONLY, "headers-only"),
    ];

    /// The names of the bits that are set.
    pub fn names(flags: u32) -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(move |(bit, _)| flags & bit != 0).map(|(_, name)| *name)
    }
}

/// Where a record stands; of a message, where its sealing record stands, which is its name for ever.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    pub core: u16,
    pub segment: u32,
    /// Octets from the start of the segment file.
    pub offset: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.core, self.segment, self.offset)
    }
}

impl Place {
    /// Appends what [`Display`](fmt::Display) shows. Once per message, where the formatting machinery
    /// took 5 % of a core at 500,000 messages/s.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(self.core).as_bytes());
        for number in [self.segment, self.offset] {
            out.push(b'-');
            out.extend_from_slice(digits.format(number).as_bytes());
        }
    }
}

/// The text is not `<core>-<segment>-<offset>`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a message id is <core>-<segment>-<offset> in decimal, such as 0-1-64")]
pub struct BadPlace;

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let mut parts = text.split('-').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then_some(part)
        });
        let mut next = || parts.next().flatten().ok_or(BadPlace);
        let core = next()?.parse().map_err(|_| BadPlace)?;
        let segment = next()?.parse().map_err(|_| BadPlace)?;
        let offset = next()?.parse().map_err(|_| BadPlace)?;
        if parts.next().is_some() {
            return Err(BadPlace);
        }
        Ok(Self { core, segment, offset })
    }
}

impl serde::Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The first 64 octets of a segment file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SegmentHeader {
    /// Number and epoch: no two lives of a file share one.
    pub number: u32,
    pub core: u16,
    /// Octets of the file when it was made.
    pub bytes: u64,
    /// When it was made, Unix nanoseconds.
    pub created_ns: u64,
    /// Random; goes into each commit word, so that octets of an earlier life cannot pass for a record.
    pub nonce: u64,
}

/// Up to where a segment is known to have been on the disk once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    /// Octets from the start of the file; 0 while nothing is known.
    Upto(u32),
    /// The format of the segment has no mark.
    Unknown,
}

impl SegmentHeader {
    /// The header of a new segment: nothing of it is known to be on the disk.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        use segment_at::*;
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[MAGIC..MAGIC + 8].copy_from_slice(&SEGMENT_MAGIC);
        put32(&mut out, VERSION, FORMAT_VERSION);
        put32(&mut out, NUMBER, self.number);
        out[CORE..CORE + 2].copy_from_slice(&self.core.to_le_bytes());
        put64(&mut out, BYTES, self.bytes);
        put64(&mut out, CREATED, self.created_ns);
        put64(&mut out, NONCE, self.nonce);
        let crc = crc32c(&out[..MARK]);
        put32(&mut out, CRC, crc);
        out
    }

    /// The octets to store at [`MARK_AT`] once everything before `end` is known to be on the disk.
    pub fn mark(&self, end: u32) -> [u8; MARK_BYTES] {
        let mut out = [0; MARK_BYTES];
        put32(&mut out, 0, end);
        put32(&mut out, 4, self.mark_check(end));
        out
    }

    /// Other than the commit word of any record: no sequence number comes near the top.
    fn mark_check(&self, end: u32) -> u32 {
        commit_word(self.nonce, self.number, !u64::from(end))
    }

    /// `None` when magic, version, checksum or mark say that this is not a segment of this format.
    pub fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<(Self, Mark)> {
        use segment_at::*;
        let version = get32(bytes, VERSION);
        let covered = if version == VERSION_WITHOUT_MARK { CRC } else { MARK };
        if bytes[..8] != SEGMENT_MAGIC
            || get32(bytes, CRC) != crc32c(&bytes[..covered])
            || !matches!(version, FORMAT_VERSION | VERSION_WITHOUT_MARK)
        {
            return None;
        }
        let header = Self {
            number: get32(bytes, NUMBER),
            core: u16::from_le_bytes([bytes[CORE], bytes[CORE + 1]]),
            bytes: get64(bytes, BYTES),
            created_ns: get64(bytes, CREATED),
            nonce: get64(bytes, NONCE),
        };
        if version == VERSION_WITHOUT_MARK {
            return Some((header, Mark::Unknown));
        }
        let (end, check) = (get32(bytes, MARK), get32(bytes, MARK_CHECK));
        let unmarked = end == 0 && check == 0;
        let sound = get32(bytes, ZERO) == 0 && (unmarked || check == header.mark_check(end));
        sound.then_some((header, Mark::Upto(end)))
    }
}

/// What a record is to its message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// A whole message: body and envelope.
    Single = 1,
    /// A piece of a message's body; others follow. It counts only if a seal links back to it.
    Fragment = 2,
    /// The last piece of a body, maybe empty, and the envelope; links back to the last fragment.
    Seal = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Single),
            2 => Some(Self::Fragment),
            3 => Some(Self::Seal),
            _ => None,
        }
    }
}

/// The 64 octets before a record's payload. The checksums and the commit word are its own affair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordHeader {
    pub kind: Kind,
    pub core: u16,
    /// Number of the segment that holds the record.
    pub segment: u32,
    /// Which open message of the core this was; 0 is none.
    pub draft: u32,
    /// Position of the record among all of its core, from 1; no gaps inside a segment.
    pub seq: u64,
    /// Body octets of the message up to and with this record.
    pub total_bytes: u64,
    /// Body octets of this record.
    pub body_bytes: u32,
    /// Octets of the envelope behind the body; 0 in a fragment.
    pub envelope_bytes: u32,
    /// [`flag`] bits; 0 in a fragment.
    pub flags: u32,
    /// Segment of the previous fragment of this message; 0 when there is none.
    pub back_segment: u32,
    /// Offset of the previous fragment; 0 when there is none.
    pub back_offset: u32,
    /// CRC32C of body and envelope.
    pub payload_crc: u32,
}

/// Why 64 octets are not a record header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Slot {
    /// All zero: nothing was ever begun here. The clean end of a log.
    Empty,
    /// Begun and not committed: what a crash leaves of the record that was being written.
    Open,
    /// Neither of them, and not a record of this segment.
    Doubtful,
}

impl RecordHeader {
    /// The header as it stands in the file, commit word included.
    pub fn encode(&self, nonce: u64) -> [u8; RECORD_HEADER_BYTES] {
        use record_at::*;
        let mut out = [0; RECORD_HEADER_BYTES];
        out[MAGIC..MAGIC + 4].copy_from_slice(&RECORD_MAGIC);
        out[KIND] = self.kind as u8;
        out[CORE..CORE + 2].copy_from_slice(&self.core.to_le_bytes());
        put32(&mut out, SEGMENT, self.segment);
        put32(&mut out, DRAFT, self.draft);
        put64(&mut out, SEQ, self.seq);
        put64(&mut out, TOTAL, self.total_bytes);
        put32(&mut out, BODY, self.body_bytes);
        put32(&mut out, ENVELOPE, self.envelope_bytes);
        put32(&mut out, FLAGS, self.flags);
        put32(&mut out, BACK_SEGMENT, self.back_segment);
        put32(&mut out, BACK_OFFSET, self.back_offset);
        put32(&mut out, PAYLOAD_CRC, self.payload_crc);
        let crc = crc32c(&out[..HEADER_CRC]);
        put32(&mut out, HEADER_CRC, crc);
        put32(&mut out, COMMIT, commit_word(nonce, self.segment, self.seq));
        out
    }

    /// Reads a header that must belong to `segment`.
    pub fn decode(
        bytes: &[u8; RECORD_HEADER_BYTES],
        segment: &SegmentHeader,
    ) -> Result<Self, Slot> {
        use record_at::*;
        if get32(bytes, COMMIT) == 0 {
            return Err(uncommitted(bytes));
        }
        let header = Self {
            kind: Kind::from_byte(bytes[KIND]).ok_or(Slot::Doubtful)?,
            core: u16::from_le_bytes([bytes[CORE], bytes[CORE + 1]]),
            segment: get32(bytes, SEGMENT),
            draft: get32(bytes, DRAFT),
            seq: get64(bytes, SEQ),
            total_bytes: get64(bytes, TOTAL),
            body_bytes: get32(bytes, BODY),
            envelope_bytes: get32(bytes, ENVELOPE),
            flags: get32(bytes, FLAGS),
            back_segment: get32(bytes, BACK_SEGMENT),
            back_offset: get32(bytes, BACK_OFFSET),
            payload_crc: get32(bytes, PAYLOAD_CRC),
        };
        let sound = bytes[..4] == RECORD_MAGIC
            && bytes[ZERO] == 0
            && get32(bytes, HEADER_CRC) == crc32c(&bytes[..HEADER_CRC])
            && header.segment == segment.number
            && header.core == segment.core
            && get32(bytes, COMMIT) == commit_word(segment.nonce, header.segment, header.seq);
        if sound { Ok(header) } else { Err(Slot::Doubtful) }
    }

    /// Octets of body and envelope.
    pub fn payload_bytes(&self) -> u64 {
        u64::from(self.body_bytes) + u64::from(self.envelope_bytes)
    }

    /// Octets from this record's start to the next one's.
    pub fn stride(&self) -> u64 {
        (RECORD_HEADER_BYTES as u64 + self.payload_bytes()).next_multiple_of(ALIGNMENT as u64)
    }

    /// The fragment before this record.
    pub fn back(&self) -> Option<Place> {
        (self.back_offset != 0).then_some(Place {
            core: self.core,
            segment: self.back_segment,
            offset: self.back_offset,
        })
    }
}

/// What a slot whose commit word is zero says: a marker that stands alone is a record in the making.
fn uncommitted(bytes: &[u8; RECORD_HEADER_BYTES]) -> Slot {
    if bytes.iter().all(|&b| b == 0) {
        Slot::Empty
    } else if bytes[..4] == RECORD_MAGIC {
        Slot::Open
    } else {
        Slot::Doubtful
    }
}

/// The word whose store makes a record real. Never 0; other for each segment life and each record.
pub fn commit_word(nonce: u64, segment: u32, seq: u64) -> u32 {
    let mixed = (nonce ^ seq).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(segment);
    ((mixed >> 32) ^ mixed) as u32 | 1
}

/// CRC-32C (Castagnoli; RFC 3720 §12.1).
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

fn put32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut [u8], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four octets"))
}

fn get64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight octets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> SegmentHeader {
        SegmentHeader {
            number: 7,
            core: 3,
            bytes: 1 << 20,
            created_ns: 42,
            nonce: 0x0123_4567_89AB,
        }
    }

    fn record() -> RecordHeader {
        RecordHeader {
            kind: Kind::Seal,
            core: 3,
            segment: 7,
            draft: 9,
            seq: 11,
            total_bytes: 5_000_000_000,
            body_bytes: 100,
            envelope_bytes: 50,
            flags: flag::BDAT | flag::NUL,
            back_segment: 6,
            back_offset: 64,
            payload_crc: 0xDEAD_BEEF,
        }
    }

    #[test]
    fn headers_come_back_as_they_went() {
        let unmarked = Some((segment(), Mark::Upto(0)));
        assert_eq!(SegmentHeader::decode(&segment().encode()), unmarked);
        let bytes = record().encode(segment().nonce);
        assert_eq!(RecordHeader::decode(&bytes, &segment()), Ok(record()));
        assert_eq!(record().stride(), 216);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        let sound = record().encode(segment().nonce);
        for bit in 0..RECORD_HEADER_BYTES * 8 {
            let mut bytes = sound;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bytes, &segment()), Err(Slot::Doubtful), "bit {bit}");
        }
        let unmarked = segment().encode();
        let mut marked = unmarked;
        marked[MARK_AT as usize..][..MARK_BYTES].copy_from_slice(&segment().mark(4096));
        assert_eq!(SegmentHeader::decode(&marked), Some((segment(), Mark::Upto(4096))));
        for sound in [unmarked, marked] {
            for bit in 0..SEGMENT_HEADER_BYTES * 8 {
                let mut bytes = sound;
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(SegmentHeader::decode(&bytes), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_mark_of_another_life_of_the_file_is_not_a_mark() {
        let mut bytes = segment().encode();
        let other = SegmentHeader { nonce: 1, ..segment() };
        bytes[MARK_AT as usize..][..MARK_BYTES].copy_from_slice(&other.mark(4096));
        assert_eq!(SegmentHeader::decode(&bytes), None);
    }

    #[test]
    fn a_record_of_another_life_of_the_file_is_not_a_record() {
        let bytes = record().encode(segment().nonce);
        let other_number = SegmentHeader { number: 8, ..segment() };
        let other_nonce = SegmentHeader { nonce: 1, ..segment() };
        assert_eq!(RecordHeader::decode(&bytes, &other_number), Err(Slot::Doubtful));
        assert_eq!(RecordHeader::decode(&bytes, &other_nonce), Err(Slot::Doubtful));
    }

    #[test]
    fn slots_without_a_commit_word_tell_empty_from_open() {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        assert_eq!(RecordHeader::decode(&bytes, &segment()), Err(Slot::Empty));
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        assert_eq!(RecordHeader::decode(&bytes, &segment()), Err(Slot::Open));
        bytes[0] = 0;
        assert_eq!(RecordHeader::decode(&bytes, &segment()), Err(Slot::Doubtful));
    }

    #[test]
    fn places_are_read_as_they_are_written_and_nothing_else_is() {
        let place = Place { core: 1, segment: 22, offset: 64 };
        assert_eq!(place.to_string(), "1-22-64");
        assert_eq!("1-22-64".parse(), Ok(place));
        for bad in ["", "1", "1-2", "1-2-3-4", "1--3", "-1-2-3", "+1-2-3", "70000-1-1", "1-2-x"] {
            assert_eq!(bad.parse::<Place>(), Err(BadPlace), "{bad}");
        }
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
