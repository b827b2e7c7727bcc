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

/// Segments of one core that hold no mail that is complete: the one that is written and the one that is ready.
const SEGMENTS_TAKEN: u64 = 2;

/// The part of the spool that open messages may take unless `--open-limit` says otherwise.
const OPEN_PART: u64 = 4;

/// A message takes more room than it has octets, for the headers of its records: this part of it more.
const OPEN_EXTRA_PART: u64 = 8;

/// Room for an open message of so many octets.
fn open_bytes_for(message_bytes: u64) -> u64 {
    message_bytes.saturating_add(message_bytes / OPEN_EXTRA_PART)
}

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
    /// Room, in octets, that messages of all cores may take that are not sealed, open ones and those that
    /// were given up. A message that fits into one record takes none.
    pub open_bytes: u64,
    /// Octets of the largest message; there must be room for it.
    pub message_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            limit_bytes: SPOOL_BYTES_DEFAULT,
            when_full: WhenFull::default(),
            durability: Durability::default(),
            cores: 1,
            open_bytes: SPOOL_BYTES_DEFAULT / OPEN_PART,
            message_bytes: 0,
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
        let (message_bytes, needed_bytes) =
            (self.message_bytes, open_bytes_for(self.message_bytes));
        if needed_bytes > self.open_bytes {
            let open_bytes = self.open_bytes;
            return Err(SpoolError::OpenLimitTooSmall { open_bytes, message_bytes, needed_bytes });
        }
        let ring_bytes = self.ring_bytes();
        if needed_bytes > ring_bytes {
            return Err(SpoolError::MessageTooLarge { message_bytes, needed_bytes, ring_bytes });
        }
        Ok(())
    }

    /// Octets of one core's segments besides the one that is written and the one that is ready.
    fn ring_bytes(&self) -> u64 {
        let segments = self.limit_bytes / self.segment_bytes / self.cores as u64;
        segments.saturating_sub(SEGMENTS_TAKEN) * self.segment_bytes
    }

    /// Sets the largest message and the room of open ones, and leaves what the user does not say to the size
    /// of the spool. Returns the largest message; [`check`](Self::check) comes after this.
    pub fn set_room(
        &mut self,
        message_bytes: Option<u64>,
        default_bytes: u64,
        open_bytes: Option<u64>,
    ) -> u64 {
        let half = self.limit_bytes / self.cores as u64 / 2;
        let room = self.ring_bytes().min(half).min(open_bytes.unwrap_or(u64::MAX));
        let fits = room - room.div_ceil(OPEN_EXTRA_PART + 1);
        self.message_bytes = message_bytes.unwrap_or_else(|| default_bytes.min(fits));
        let default = self.limit_bytes / OPEN_PART;
        self.open_bytes =
            open_bytes.unwrap_or_else(|| default.max(open_bytes_for(self.message_bytes)));
        self.message_bytes
    }

    /// The part of [`open_bytes`](Self::open_bytes) that one core may use: an equal share, or what the
    /// largest message needs.
    pub(super) fn open_bytes_per_core(&self) -> u64 {
        let share = self.open_bytes / self.cores as u64;
        share.max(open_bytes_for(self.message_bytes)).min(self.open_bytes)
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
const _: () = assert!(SEGMENTS_TAKEN < SEGMENTS_PER_CORE_MIN, "a message fits into every ring");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_largest_message_or_an_error() {
        const MIB: u64 = 1024 * 1024;
        for (limit, cores, asked, open, largest, room) in [
            (4_096, 1, None, None, 64, Some(1_024)),
            (4_096, 16, None, None, 64, Some(1_024)),
            (64, 1, None, None, 28, Some(32)),
            (64, 1, Some(20), None, 20, Some(22)),
            (64, 1, None, Some(9), 8, Some(9)),
            (64, 1, Some(20), Some(9), 20, None),
            (64, 1, Some(60), None, 60, None),
            (12, 1, None, None, 3, Some(4)),
        ] {
            let limit_bytes = limit * MIB;
            let segment_bytes = Options::segment_bytes_for(limit_bytes, cores).min(8 * MIB);
            let mut options = Options { limit_bytes, segment_bytes, cores, ..Options::default() };
            let open = open.map(|mib: u64| mib * MIB);
            let message = options.set_room(asked.map(|mib: u64| mib * MIB), 64 * MIB, open);
            assert_eq!(message / MIB, largest, "{limit} MiB on {cores} cores");
            assert_eq!(options.check().is_ok(), room.is_some(), "{:?}", options.check());
            if let Some(room) = room {
                assert!(options.open_bytes.div_ceil(MIB).abs_diff(room) <= 1, "{options:?}");
                assert!(options.open_bytes_per_core() >= message);
            }
        }
    }

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
