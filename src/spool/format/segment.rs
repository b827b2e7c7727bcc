//! The header of a segment, and the mark in it.

use super::octets::{ALIGNMENT, commit_word, crc32c, get32, get64, put32, put64};

/// First octets of a segment file.
const SEGMENT_MAGIC: [u8; 8] = *b"RINGPOST";
/// Version of the segment layout, and of the marker file.
const FORMAT_VERSION: u32 = 2;
/// The earlier version, which can still be read: it has zeros instead of a mark.
const VERSION_WITHOUT_MARK: u32 = 1;
/// Octets of a segment header; the first record slot follows.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// Octets of the canary at the end of a file of full length.
pub(crate) const CANARY_BYTES: usize = 8;
/// Offset of the durable mark in a segment header.
pub(crate) const MARK_AT: u64 = at::MARK as u64;
/// Octets of a durable mark: 8 and aligned, so that a store or a sector write takes all of it or none.
const MARK_BYTES: usize = 8;

const _: () = {
    use at::*;
    assert!(SEGMENT_HEADER_BYTES.is_multiple_of(ALIGNMENT));
    assert!(CRC + 4 == SEGMENT_HEADER_BYTES && MAGIC == 0);
    assert!(MARK_CHECK == MARK + 4 && MARK.is_multiple_of(8));
    assert!(ZERO == MARK + MARK_BYTES);
};

/// Offsets of the fields; little endian throughout.
mod at {
    pub(super) const MAGIC: usize = 0;
    pub(super) const VERSION: usize = 8;
    pub(super) const NUMBER: usize = 12;
    pub(super) const CORE: usize = 16;
    pub(super) const BYTES: usize = 24;
    pub(super) const CREATED: usize = 32;
    pub(super) const NONCE: usize = 40;
    pub(super) const MARK: usize = 48;
    pub(super) const MARK_CHECK: usize = 52;
    pub(super) const ZERO: usize = 56;
    pub(super) const CRC: usize = 60;
}

/// The first 64 octets of a segment file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SegmentHeader {
    /// No two lives of the files of a core have the same number.
    pub number: u32,
    pub core: u16,
    /// Length of the file when it was made, octets.
    pub bytes: u64,
    /// When it was made, Unix nanoseconds.
    pub created_ns: u64,
    /// Random. Goes into each commit word, so that octets of an earlier life cannot pass for a record.
    pub nonce: u64,
}

/// Up to where a segment is known to have reached the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mark {
    /// Octets from the start of the file; 0 while nothing is known.
    Upto(u32),
    /// The format of the segment has no mark.
    Unknown,
}

impl SegmentHeader {
    /// The header of a new segment: nothing of it is known to be on the disk.
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        use at::*;
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
    pub(crate) fn mark(&self, end: u32) -> [u8; MARK_BYTES] {
        let mut out = [0; MARK_BYTES];
        put32(&mut out, 0, end);
        put32(&mut out, 4, self.mark_check(end));
        out
    }

    /// The last octets of the file, while the file is as long as it was made. A cut takes some of them, and no
    /// octet of them is zero, so the cut shows even if the file is made longer again.
    pub(crate) fn canary(&self) -> u64 {
        self.nonce | u64::from_le_bytes([1; CANARY_BYTES])
    }

    /// The check of a mark. Differs from the commit word of any record, since no sequence number is so high.
    fn mark_check(&self, end: u32) -> u32 {
        commit_word(self.nonce, self.number, !u64::from(end))
    }

    /// `None` if magic, version, checksum or mark say that this is no segment of this format.
    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<(Self, Mark)> {
        use at::*;
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn segment() -> SegmentHeader {
        SegmentHeader {
            number: 7,
            core: 3,
            bytes: 1 << 20,
            created_ns: 42,
            nonce: 0x0123_4567_89AB,
        }
    }

    #[test]
    fn a_header_comes_back_as_it_went() {
        let unmarked = Some((segment(), Mark::Upto(0)));
        assert_eq!(SegmentHeader::decode(&segment().encode()), unmarked);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
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
}
