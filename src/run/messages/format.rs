//! The head of the file and the heads of its blocks.

use crate::limits::{FLIGHT_REPLIES_MAX, PATH_BYTES_MAX};

const MAGIC: &[u8; 8] = b"RPMSGS01";
pub(super) const HEAD_BYTES: usize = 64;
const SUMMED_BYTES: usize = HEAD_BYTES - 4;
pub(super) const BLOCK_HEAD_BYTES: usize = 24;
const BLOCK_CRC_AT: usize = 12;

/// Octets of the things of one block. A block is written when it has so many.
pub(super) const BLOCK_BYTES: usize = 64 * 1024;
/// The largest block: a single envelope whose paths are all as long as may be, and have places that differ.
pub(super) const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + 4 * FLIGHT_REPLIES_MAX * PATH_BYTES_MAX;

/// What a file says of its run before anything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessagesHead {
    /// As in the stamps.
    pub run: u64,
    pub shard: u16,
    /// The start of the clock of the run, Unix nanoseconds.
    pub start_unix_ns: u64,
    pub seed: u64,
    pub cores: u32,
    /// How many different messages were sent in turn, and how many different envelopes they have.
    pub messages: u32,
    pub envelopes: u32,
}

impl MessagesHead {
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut octets = [0; HEAD_BYTES];
        octets[..8].copy_from_slice(MAGIC);
        octets[8..16].copy_from_slice(&self.run.to_le_bytes());
        octets[16..24].copy_from_slice(&self.start_unix_ns.to_le_bytes());
        octets[24..32].copy_from_slice(&self.seed.to_le_bytes());
        octets[32..36].copy_from_slice(&self.cores.to_le_bytes());
        octets[36..40].copy_from_slice(&self.messages.to_le_bytes());
        octets[40..44].copy_from_slice(&self.envelopes.to_le_bytes());
        octets[44..46].copy_from_slice(&self.shard.to_le_bytes());
        let crc = crc(&[&octets[..SUMMED_BYTES]]);
        octets[SUMMED_BYTES..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    /// `None` where it is not the head of such a file, or not as it was written.
    pub(super) fn decode(octets: &[u8; HEAD_BYTES]) -> Option<Self> {
        let sound = u32_at(octets, SUMMED_BYTES) == crc(&[&octets[..SUMMED_BYTES]]);
        let head = Self {
            run: u64_at(octets, 8),
            shard: u16_at(octets, 44),
            start_unix_ns: u64_at(octets, 16),
            seed: u64_at(octets, 24),
            cores: u32_at(octets, 32),
            messages: u32_at(octets, 36),
            envelopes: u32_at(octets, 40),
        };
        // A core has 16 bits in the stamp.
        let modest = (1..=1 << 16).contains(&head.cores) && head.messages > 0;
        (sound && modest && octets.starts_with(MAGIC)).then_some(head)
    }

    /// Which of the different messages number `seq` of `core` is. The numbers of all cores are one row.
    pub fn index(&self, core: u16, seq: u64) -> u64 {
        self.number(core, seq) % u64::from(self.messages)
    }

    /// The number of a message among those of all cores, from 0 on.
    pub fn number(&self, core: u16, seq: u64) -> u64 {
        debug_assert!(seq > 0, "messages are numbered from 1 on");
        seq.wrapping_sub(1).wrapping_mul(u64::from(self.cores)).wrapping_add(core.into())
    }
}

/// What a block holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BlockKind {
    Envelopes = 1,
    Messages = 2,
    Fates = 3,
    End = 4,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    pub(super) kind: BlockKind,
    pub(super) core: u16,
    pub(super) count: u32,
    pub(super) bytes: u32,
    /// Lowest number of the fates, or messages without a fate.
    pub(super) first: u64,
}

impl BlockHead {
    /// The head of a block with these things.
    pub(super) fn encode(&self, things: &[u8]) -> [u8; BLOCK_HEAD_BYTES] {
        debug_assert_eq!(self.bytes as usize, things.len());
        let mut octets = [0; BLOCK_HEAD_BYTES];
        octets[0] = self.kind as u8;
        octets[2..4].copy_from_slice(&self.core.to_le_bytes());
        octets[4..8].copy_from_slice(&self.count.to_le_bytes());
        octets[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        octets[16..].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc(&[&octets, things]);
        octets[BLOCK_CRC_AT..BLOCK_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    pub(super) fn decode(octets: &[u8; BLOCK_HEAD_BYTES]) -> Option<Self> {
        let kinds = [BlockKind::Envelopes, BlockKind::Messages, BlockKind::Fates, BlockKind::End];
        let kind = kinds.into_iter().find(|kind| *kind as u8 == octets[0])?;
        let (core, count) = (u16_at(octets, 2), u32_at(octets, 4));
        let (bytes, first) = (u32_at(octets, 8), u64_at(octets, 16));
        (bytes as usize <= BLOCK_BYTES_MAX).then_some(Self { kind, core, count, bytes, first })
    }
}

/// Whether a block is as it was written.
pub(super) fn is_sound(head: &[u8; BLOCK_HEAD_BYTES], things: &[u8]) -> bool {
    let mut blank = *head;
    blank[BLOCK_CRC_AT..BLOCK_CRC_AT + 4].fill(0);
    u32_at(head, BLOCK_CRC_AT) == crc(&[&blank, things])
}

fn crc(pieces: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    pieces.iter().for_each(|piece| digest.update(piece));
    digest.finalize() as u32
}

pub(super) fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([octets[at], octets[at + 1]])
}

pub(super) fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from(u16_at(octets, at)) | u32::from(u16_at(octets, at + 2)) << 16
}

pub(super) fn u64_at(octets: &[u8], at: usize) -> u64 {
    u64::from(u32_at(octets, at)) | u64::from(u32_at(octets, at + 4)) << 32
}
