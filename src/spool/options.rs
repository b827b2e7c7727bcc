//! The options of a spool: its sizes, its limit, and what a 250 promises.

use super::error::SpoolError;
use crate::limits::{SEGMENT_BYTES_FLOOR, SEGMENT_BYTES_MAX, SEGMENT_STEP_BYTES};

/// Octets of one spool segment unless `--segment-size` says otherwise. Two per core are made at the
/// start and one is always ready ahead, so a smaller one wastes less; at 32 MiB a core that takes
/// 800 MB/s changes segments 25 times a second, and the helper needs some 6 ms for each.
const SEGMENT_BYTES_DEFAULT: u64 = 32 * 1024 * 1024;

/// Octets of disk that the spool may use unless `--spool-limit` says otherwise.
const SPOOL_BYTES_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;

/// Segments of one core below which there is no ring: one written, one ready.
const SEGMENTS_PER_CORE_MIN: u64 = 2;

/// What happens when the limit is reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenFull {
    /// The oldest segment is recycled to make room for the newest: the spool is a ring.
    #[default]
    Recycle,
    /// Messages are refused (452) until there is room.
    Refuse,
}

/// What a 250 promises.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// The message survives the death of the process. A power cut or a crash of the system may take what
    /// the system had not written back yet, in general the newest messages.
    #[default]
    Process,
    /// The message survives a power cut, after the caller has synced what
    /// [`Writer::dirty`](super::Writer::dirty) returns.
    Sync,
}

/// How a spool is to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// Length of a segment file, a multiple of 64 KiB.
    pub segment_bytes: u64,
    /// Limit of all segment files together, those of earlier runs too, in octets.
    pub limit_bytes: u64,
    pub when_full: WhenFull,
    pub durability: Durability,
    /// How many writers to open: one for each core.
    pub cores: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            limit_bytes: SPOOL_BYTES_DEFAULT,
            when_full: WhenFull::default(),
            durability: Durability::default(),
            cores: 1,
        }
    }
}

impl Options {
    /// Refuses options that cannot work, before anything is touched.
    pub fn check(&self) -> Result<(), SpoolError> {
        let &Self { segment_bytes, limit_bytes, cores, .. } = self;
        let (min, max, step) = (SEGMENT_BYTES_FLOOR, SEGMENT_BYTES_MAX, SEGMENT_STEP_BYTES);
        if !(min..=max).contains(&segment_bytes) || !segment_bytes.is_multiple_of(step) {
            return Err(SpoolError::SegmentSize { segment_bytes, min, max, step });
        }
        assert!((1..=usize::from(u16::MAX)).contains(&cores), "{cores} cores");
        let have = limit_bytes / segment_bytes;
        let need = SEGMENTS_PER_CORE_MIN * cores as u64;
        if have < need {
            return Err(SpoolError::LimitTooSmall {
                limit_bytes,
                segment_bytes,
                cores,
                have,
                need,
            });
        }
        Ok(())
    }
}
