//! The octets of a stored message, as far as they are needed, and the checksum of all of them.

use std::io::{self, Write};

use crate::stamp::body_crc;

/// Octets of a message that are in memory at once. Of a larger one the rest is summed up.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Takes a message that is copied out of a spool.
#[derive(Debug, Default)]
pub(super) struct StoredContent {
    pub(super) octets: Vec<u8>,
    /// Octets beyond those, and their checksum.
    more: u64,
    more_crc: u32,
}

impl StoredContent {
    /// For the next message.
    pub(super) fn clear(&mut self) {
        self.octets.clear();
        (self.more, self.more_crc) = (0, 0);
    }

    /// Whether all octets are in memory.
    pub(super) fn is_whole(&self) -> bool {
        self.more == 0
    }

    /// Octets from `at` on, and their checksum.
    pub(super) fn sum_from(&self, at: usize) -> (u64, u32) {
        let first = &self.octets[at..];
        let crc = joined(body_crc(first), self.more_crc, self.more);
        (first.len() as u64 + self.more, crc)
    }
}

impl Write for StoredContent {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let room = KEPT_BYTES_MAX - self.octets.len();
        let (kept, more) = octets.split_at(room.min(octets.len()));
        self.octets.extend_from_slice(kept);
        self.more_crc = joined(self.more_crc, body_crc(more), more.len() as u64);
        self.more += more.len() as u64;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn joined(first: u32, second: u32, bytes: u64) -> u32 {
    if bytes == 0 {
        return first;
    }
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    crc_fast::checksum_combine(algorithm, first.into(), second.into(), bytes) as u32
}
