//! Numbers and checksums as they are in the files.

/// Every record starts at a multiple of this.
pub(crate) const ALIGNMENT: usize = 8;

/// The word whose store commits a record. Never 0; differs from record to record, and between the lives of
/// a segment file.
pub(super) fn commit_word(nonce: u64, segment: u32, seq: u64) -> u32 {
    let mixed = (nonce ^ seq).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(segment);
    ((mixed >> 32) ^ mixed) as u32 | 1
}

/// CRC-32C (Castagnoli; RFC 3720 §12.1).
pub(in crate::spool) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

pub(super) fn put32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn put64(out: &mut [u8], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four octets"))
}

pub(super) fn get64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight octets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
