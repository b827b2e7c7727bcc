//! The options of a spool: its sizes, its limit, and what a 250 promises.

use super::error::SpoolError;
use crate::limits::{
    SEGMENT_BYTES_FLOOR, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_STEP_BYTES,
};

/// Octets of one spool segment unless `--segment-size` says otherwise. Two per core are made at the
/// start and one is in general ready ahead, so a smaller one wastes less; at 32 MiB a core that takes
/// 800 MB/s changes segments 25 times a second, and the helper needs some 6 ms for each.
const SEGMENT_BYTES_DEFAULT: u64 = 32 * 1024 * 1024;

/// Octets of disk that the spool may use unless `--spool-limit` says otherwise.
const SPOOL_BYTES_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;

/// Segments of one core below which there is no ring: one written, one ready, and the one that the log has
/// just left, in which open messages may have begun.
const SEGMENTS_PER_CORE_MIN: u64 = 3;

/// Segments of one core for which smaller ones are made, unless `--segment-size` says otherwise.
const SEGMENTS_PER_CORE_WANTED: u64 = 4;

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
        let least_bytes = SEGMENTS_PER_CORE_MIN * cores as u64 * segment_bytes;
        if limit_bytes < least_bytes {
            return Err(SpoolError::LimitTooSmall {
                limit_bytes,
                segment_bytes,
                cores,
                least_bytes,
            });
        }
        Ok(())
    }

    /// Octets of one segment of a spool of `limit_bytes` octets if the user does not say: the default,
    /// halved while a core would get fewer than four, but not below what every envelope needs.
    pub fn segment_bytes_for(limit_bytes: u64, cores: usize) -> u64 {
        let is_too_few = |bytes: u64| {
            bytes > SEGMENT_BYTES_MIN
                && limit_bytes / bytes < SEGMENTS_PER_CORE_WANTED * cores as u64
        };
        let mut segment_bytes = SEGMENT_BYTES_DEFAULT;
        while is_too_few(segment_bytes) {
            segment_bytes /= 2;
        }
        segment_bytes
    }
}

const _: () = assert!((SEGMENT_BYTES_DEFAULT / SEGMENT_BYTES_MIN).is_power_of_two());
const _: () = assert!(SEGMENTS_PER_CORE_MIN <= SEGMENTS_PER_CORE_WANTED);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_smaller_where_few_would_fit() {
        const MIB: u64 = 1024 * 1024;
        for (limit, cores, segment) in [
            (4_096, 1, 32),
            (4_096, 32, 32),
            (4_096, 33, 16),
            (512, 2, 32),
            (255, 2, 16),
            (64, 2, 8),
            (24, 2, 4),
            (16, 2, 4),
        ] {
            let segment_bytes = Options::segment_bytes_for(limit * MIB, cores);
            assert_eq!(segment_bytes / MIB, segment, "{limit} MiB on {cores} cores");
            let options =
                Options { limit_bytes: limit * MIB, segment_bytes, cores, ..Options::default() };
            assert_eq!(options.check().is_ok(), limit > 16, "{limit} MiB on {cores} cores");
        }
    }
}
