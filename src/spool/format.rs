//! The durable format: segment header, record header, checksums. `spool/mod.rs` describes it to the
//! byte; this file and those below it are the only ones that know the offsets.

use std::fmt;
use std::str::FromStr;

mod record;
mod segment;

pub use record::{COMMIT_AT, Kind, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader, Slot, flag};
pub use segment::{MARK_AT, Mark, SEGMENT_HEADER_BYTES, SegmentHeader, WITNESS_BYTES};

/// Every record starts at a multiple of this.
pub const ALIGNMENT: usize = 8;

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
