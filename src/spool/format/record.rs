//! The header of a record, and its commit word.

use super::octets::{ALIGNMENT, commit_word, crc32c, get32, get64, put32, put64};
use super::place::Place;
use super::segment::SegmentHeader;

/// First octets of a record, as they stand in the file.
pub(crate) const RECORD_MAGIC: [u8; 4] = *b"RPR\x01";
/// Octets of a record header.
pub(crate) const RECORD_HEADER_BYTES: usize = 64;
/// Where the commit word stands inside a record header.
pub(crate) const COMMIT_AT: usize = 60;

/// Offsets of the fields; little endian throughout.
mod at {
    pub(super) const MAGIC: usize = 0;
    pub(super) const KIND: usize = 4;
    pub(super) const ZERO: usize = 5;
    pub(super) const CORE: usize = 6;
    pub(super) const SEGMENT: usize = 8;
    pub(super) const DRAFT: usize = 12;
    pub(super) const SEQ: usize = 16;
    pub(super) const TOTAL: usize = 24;
    pub(super) const BODY: usize = 32;
    pub(super) const ENVELOPE: usize = 36;
    pub(super) const FLAGS: usize = 40;
    pub(super) const BACK_SEGMENT: usize = 44;
    pub(super) const BACK_OFFSET: usize = 48;
    pub(super) const PAYLOAD_CRC: usize = 52;
    pub(super) const HEADER_CRC: usize = 56;
    pub(super) const COMMIT: usize = 60;
}

const _: () = {
    use at::*;
    assert!(RECORD_HEADER_BYTES.is_multiple_of(ALIGNMENT));
    assert!(MAGIC == 0 && KIND == 4 && ZERO == 5 && CORE == 6 && SEGMENT == 8);
    assert!(DRAFT == SEGMENT + 4 && SEQ == DRAFT + 4 && SEQ.is_multiple_of(8));
    assert!(TOTAL == SEQ + 8 && BODY == TOTAL + 8 && ENVELOPE == BODY + 4);
    assert!(FLAGS == ENVELOPE + 4 && BACK_SEGMENT == FLAGS + 4 && BACK_OFFSET == BACK_SEGMENT + 4);
    assert!(PAYLOAD_CRC == BACK_OFFSET + 4 && HEADER_CRC == PAYLOAD_CRC + 4);
    assert!(COMMIT == HEADER_CRC + 4 && COMMIT == COMMIT_AT && COMMIT + 4 == RECORD_HEADER_BYTES);
};

bitflags::bitflags! {
    /// What a session saw of a message's octets and of its protocol. A later version may know more of them:
    /// bits without a name are kept as they are.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct RecordFlags: u32 {
        /// The body holds a CR without LF.
        const BARE_CR = 1;
        /// The body holds an LF without CR.
        const BARE_LF = 2;
        /// It came in BDAT chunks (RFC 3030).
        const BDAT = 4;
        /// The body holds an octet above 0x7F.
        const EIGHT_BIT = 8;
        /// MAIL FROM carried SMTPUTF8 (RFC 6531).
        const SMTPUTF8 = 16;
        /// The body holds a NUL.
        const NUL = 32;
        /// It came over LMTP (RFC 2033).
        const LMTP = 64;
        /// It came under TLS.
        const TLS = 128;
        /// Only the header block was kept; the envelope tells how many octets were sent.
        const HEADERS_ONLY = 256;
    }
}

impl RecordFlags {
    /// Each flag and its name, in the order of the bits.
    pub const NAMES: [(Self, &str); 9] = [
        (Self::BARE_CR, "bare-cr"),
        (Self::BARE_LF, "bare-lf"),
        (Self::BDAT, "bdat"),
        (Self::EIGHT_BIT, "8bit"),
        (Self::SMTPUTF8, "smtputf8"),
        (Self::NUL, "nul"),
        (Self::LMTP, "lmtp"),
        (Self::TLS, "tls"),
        (Self::HEADERS_ONLY, "headers-only"),
    ];

    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
    }
}

const _: () = {
    let (mut at, mut named) = (0, RecordFlags::empty());
    while at < RecordFlags::NAMES.len() {
        named = named.union(RecordFlags::NAMES[at].0);
        at += 1;
    }
    assert!(named.bits() == RecordFlags::all().bits(), "each flag has a name");
};

/// Which part of its message a record is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    /// A whole message: body and envelope.
    Single = 1,
    /// A piece of a message's body; others follow. It counts only if a chain of links leads to it from a seal.
    Fragment = 2,
    /// The last piece of a body, perhaps empty, and the envelope. Links to the last fragment.
    Seal = 3,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Single),
            2 => Some(Self::Fragment),
            3 => Some(Self::Seal),
            _ => None,
        }
    }
}

/// The 64 octets before a record's payload, without the checksum of the header and the commit word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RecordHeader {
    pub kind: RecordKind,
    pub core: u16,
    /// Number of the segment that holds the record.
    pub segment: u32,
    /// Which open message of the core this was; 0 is none.
    pub draft: u32,
    /// Position of the record among all records of its core, from 1 on; no gaps inside a segment.
    pub seq: u64,
    /// Body octets of the message up to the end of this record.
    pub total_bytes: u64,
    /// Body octets of this record.
    pub body_bytes: u32,
    /// Octets of the envelope after the body; 0 in a fragment.
    pub envelope_bytes: u32,
    /// None in a fragment.
    pub flags: RecordFlags,
    /// Segment of the previous fragment of this message; 0 when there is none.
    pub back_segment: u32,
    /// Offset of the previous fragment; 0 when there is none.
    pub back_offset: u32,
    /// CRC32C of body and envelope.
    pub payload_crc: u32,
}

/// Why 64 octets are not a record header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SlotState {
    /// All zero: no record was begun here. The clean end of a log.
    Empty,
    /// A record was begun and not committed. A crash leaves this of the record that was being written.
    Open,
    /// Neither of them, and not a record of this segment.
    Doubtful,
}

impl RecordHeader {
    /// The header as it is in the file, with the commit word.
    pub(crate) fn encode(&self, nonce: u64) -> [u8; RECORD_HEADER_BYTES] {
        use at::*;
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
        put32(&mut out, FLAGS, self.flags.bits());
        put32(&mut out, BACK_SEGMENT, self.back_segment);
        put32(&mut out, BACK_OFFSET, self.back_offset);
        put32(&mut out, PAYLOAD_CRC, self.payload_crc);
        let crc = crc32c(&out[..HEADER_CRC]);
        put32(&mut out, HEADER_CRC, crc);
        put32(&mut out, COMMIT, commit_word(nonce, self.segment, self.seq));
        out
    }

    /// Reads a header that must belong to `segment`.
    pub(crate) fn decode(
        bytes: &[u8; RECORD_HEADER_BYTES],
        segment: &SegmentHeader,
    ) -> Result<Self, SlotState> {
        use at::*;
        if get32(bytes, COMMIT) == 0 {
            return Err(uncommitted(bytes));
        }
        let header = Self {
            kind: RecordKind::from_byte(bytes[KIND]).ok_or(SlotState::Doubtful)?,
            core: u16::from_le_bytes([bytes[CORE], bytes[CORE + 1]]),
            segment: get32(bytes, SEGMENT),
            draft: get32(bytes, DRAFT),
            seq: get64(bytes, SEQ),
            total_bytes: get64(bytes, TOTAL),
            body_bytes: get32(bytes, BODY),
            envelope_bytes: get32(bytes, ENVELOPE),
            flags: RecordFlags::from_bits_retain(get32(bytes, FLAGS)),
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
        if sound { Ok(header) } else { Err(SlotState::Doubtful) }
    }

    /// Octets of body and envelope.
    pub(crate) fn payload_bytes(&self) -> u64 {
        u64::from(self.body_bytes) + u64::from(self.envelope_bytes)
    }

    /// Octets from this record's start to the next one's.
    pub(crate) fn stride(&self) -> u64 {
        (RECORD_HEADER_BYTES as u64 + self.payload_bytes()).next_multiple_of(ALIGNMENT as u64)
    }

    /// The fragment before this record.
    pub(crate) fn back(&self) -> Option<Place> {
        (self.back_offset != 0).then_some(Place {
            core: self.core,
            segment: self.back_segment,
            offset: self.back_offset,
        })
    }
}

/// Judges a slot whose commit word is zero: with the marker, it is a record that was being written.
fn uncommitted(bytes: &[u8; RECORD_HEADER_BYTES]) -> SlotState {
    if bytes.iter().all(|&b| b == 0) {
        SlotState::Empty
    } else if bytes[..4] == RECORD_MAGIC {
        SlotState::Open
    } else {
        SlotState::Doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::tests::segment;
    use super::*;

    fn record() -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Seal,
            core: 3,
            segment: 7,
            draft: 9,
            seq: 11,
            total_bytes: 5_000_000_000,
            body_bytes: 100,
            envelope_bytes: 50,
            flags: RecordFlags::BDAT | RecordFlags::NUL,
            back_segment: 6,
            back_offset: 64,
            payload_crc: 0xDEAD_BEEF,
        }
    }

    #[test]
    fn a_header_comes_back_as_it_went() {
        let bytes = record().encode(segment().nonce);
        assert_eq!(RecordHeader::decode(&bytes, &segment()), Ok(record()));
        assert_eq!(record().stride(), 216);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let sound = record().encode(segment().nonce);
        for bit in 0..RECORD_HEADER_BYTES * 8 {
            let mut bytes = sound;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                RecordHeader::decode(&bytes, &segment()),
                Err(SlotState::Doubtful),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_record_of_another_life_of_the_file_is_not_a_record() {
        let bytes = record().encode(segment().nonce);
        let other_number = SegmentHeader { number: 8, ..segment() };
        let other_nonce = SegmentHeader { nonce: 1, ..segment() };
        assert_eq!(RecordHeader::decode(&bytes, &other_number), Err(SlotState::Doubtful));
        assert_eq!(RecordHeader::decode(&bytes, &other_nonce), Err(SlotState::Doubtful));
    }

    #[test]
    fn slots_without_a_commit_word_tell_empty_from_open() {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        assert_eq!(RecordHeader::decode(&bytes, &segment()), Err(SlotState::Empty));
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        assert_eq!(RecordHeader::decode(&bytes, &segment()), Err(SlotState::Open));
        bytes[0] = 0;
        assert_eq!(RecordHeader::decode(&bytes, &segment()), Err(SlotState::Doubtful));
    }
}
