//! What can go wrong in the spool. Each text says in one line what happened, why, and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{BadPlace, Place};
use crate::human;
use crate::limits::SEGMENT_BYTES_MIN;

/// An error of the spool. [`SpoolError::is_full`] tells a lack of room, which passes, from other errors.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SpoolError {
    #[error(
        "{dir}: the spool is full: --spool-limit {limit_bytes} is used up and --when-full is refuse; \
         raise the limit, move the segments away, or use --when-full recycle"
    )]
    Full { dir: PathBuf, limit_bytes: u64 },

    #[error(
        "{dir}: no space left on the file system for a segment of {segment_bytes} bytes; \
         free some space, or lower --spool-limit or --segment-size"
    )]
    NoSpace { dir: PathBuf, segment_bytes: u64 },

    #[error(
        "--spool-limit {} is too small: {cores} {} three segments of {}{} each, {} in all; raise it{} \
         or lower --cores",
        in_words(*limit_bytes),
        if *cores == 1 { "core needs" } else { "cores need" },
        if is_smallest(*segment_bytes) { "at least " } else { "" },
        in_words(*segment_bytes),
        in_words(*least_bytes),
        if is_smallest(*segment_bytes) { "" } else { ", lower --segment-size," },
    )]
    LimitTooSmall { limit_bytes: u64, segment_bytes: u64, cores: usize, least_bytes: u64 },

    #[error(
        "--segment-size {segment_bytes} is not possible: {min} to {max} bytes, a multiple of {step}"
    )]
    SegmentSize { segment_bytes: u64, min: u64, max: u64, step: u64 },

    #[error(
        "{dir} is not a ringpost spool and is not empty; nothing was touched: name an empty or new \
         directory, or a spool"
    )]
    Foreign { dir: PathBuf },

    #[error("{dir} is not a ringpost spool: it has no file SPOOL; name the --spool of a sink")]
    NotASpool { dir: PathBuf },

    #[error(
        "{dir} was written by another version (its SPOOL file says {found:?}, this program reads \
         \"ringpost-spool 2\" and 1); nothing was touched: use that version, or name another directory"
    )]
    Version { dir: PathBuf, found: String },

    #[error("{dir} is in use by another sink; stop that sink, or name another directory")]
    Locked { dir: PathBuf },

    #[error("{path}: cannot {doing}: {cause}; check the path, its owner, its mode and its disk")]
    Io { doing: &'static str, path: PathBuf, cause: Arc<io::Error> },

    #[error(
        "the envelope has {bytes} bytes, and at most {max} fit; send to fewer recipients, or raise \
         --segment-size"
    )]
    EnvelopeTooLarge { bytes: usize, max: usize },

    #[error(
        "the start of the message was recycled or moved away before its end arrived; raise --spool-limit, \
         or lower --max-size"
    )]
    Outlived,

    #[error(
        "the room for messages that were not completed is used up; send smaller messages, or fewer at once, or \
         raise --open-limit"
    )]
    OpenLimit,

    #[error(
        "--open-limit {} is too small for a message of {}, which needs {}; raise it, or lower --max-size",
        in_words(*open_bytes), human::bytes(*message_bytes as f64), human::bytes(*needed_bytes as f64)
    )]
    OpenLimitTooSmall { open_bytes: u64, message_bytes: u64, needed_bytes: u64 },

    #[error(
        "a message of {}, the --max-size, needs {} of the spool, and a core has {}; raise --spool-limit, or lower \
         --max-size, --cores or --segment-size",
        human::bytes(*message_bytes as f64), human::bytes(*needed_bytes as f64), human::bytes(*ring_bytes as f64)
    )]
    MessageTooLarge { message_bytes: u64, needed_bytes: u64, ring_bytes: u64 },

    #[error(
        "the segments of core {core} hold messages that the disk has not synced yet, and none can be recycled \
         before that; raise --spool-limit, or use a faster disk"
    )]
    Held { core: u16 },

    #[error("an earlier piece of this message was not stored; the message must be sent again")]
    Broken,

    #[error(
        "segment {segment} of core {core} could not be synced to the disk: its messages that were not \
         acknowledged yet are refused; check the disk"
    )]
    Poisoned { core: u16, segment: u32 },

    #[error(
        "segment {segment} of core {core} was cut by another program, or its disk lost pages: its messages \
         that were not acknowledged yet are refused; leave the files of the spool alone, and check the disk"
    )]
    Torn { core: u16, segment: u32 },

    #[error(
        "segment {segment} of core {core} was removed or moved away while it was written: its messages that \
         were not acknowledged yet are refused; leave the files of the spool alone"
    )]
    Removed { core: u16, segment: u32 },

    #[error(
        "{dir}: all numbers for segments are used up, and none is given twice; move the directory away, and \
         begin a new one"
    )]
    NumbersUsedUp { dir: PathBuf },

    #[error("the spool is shutting down; the message must be sent again")]
    Closed,

    #[error(transparent)]
    BadPlace(BadPlace),

    #[error("{place}: there is no such message; `ringpost spool ls` lists those that there are")]
    NoMessage { place: Place },

    #[error("{place}: {what}; `ringpost spool verify` shows how much is damaged")]
    Damaged { place: Place, what: Doubt },
}

/// Whether `--segment-size` cannot be lower.
fn is_smallest(segment_bytes: u64) -> bool {
    segment_bytes <= SEGMENT_BYTES_MIN
}

/// A size as the user gives it: in the largest unit in which it is a whole number.
fn in_words(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

impl SpoolError {
    pub(crate) fn io(doing: &'static str, path: &Path, cause: impl Into<io::Error>) -> Self {
        Self::Io { doing, path: path.to_owned(), cause: Arc::new(cause.into()) }
    }

    /// Whether the error is a lack of room, which may pass: answer 452 and go on.
    pub fn is_full(&self) -> bool {
        matches!(
            self,
            Self::Full { .. }
                | Self::OpenLimit
                | Self::NumbersUsedUp { .. }
                | Self::NoSpace { .. }
                | Self::Held { .. }
                | Self::Outlived
        )
    }

    /// Whether it is a lack of room, also where the disk says it only when a file that was made is filled: the
    /// spool can be used as it is, and has done nothing wrong.
    pub(crate) fn is_shortage(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        let of_disk = |cause: &io::Error| matches!(cause.kind(), StorageFull | QuotaExceeded);
        self.is_full() || matches!(self, Self::Io { cause, .. } if of_disk(cause))
    }
}

/// Why a reader stopped believing a segment or a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Doubt {
    #[error("it is no regular file")]
    NotRegular,
    #[error("the segment header is damaged")]
    SegmentHeader,
    #[error("the segment has lost its header")]
    NoHeader,
    #[error("the header has another number than the file name")]
    SegmentName,
    #[error("the record header is damaged")]
    RecordHeader,
    #[error("the record reaches beyond its segment")]
    Bounds,
    #[error("the checksum of the record's payload is wrong")]
    Payload,
    #[error("the octets between two records are not zero")]
    Padding,
    #[error("a record is missing before this one")]
    Sequence,
    #[error("the envelope cannot be read")]
    Envelope,
    #[error("an earlier piece of the message is missing")]
    Chain,
    #[error("the message says that it is shorter than a piece of it")]
    Length,
    #[error("the message is in more pieces than any sink makes")]
    Pieces,
    #[error("it cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    #[error("the start of the message has been recycled")]
    Recycled,
    #[error("the log ends before the end of what was once on the disk")]
    Short,
    #[error("there is a gap here, and records after it")]
    Gap,
    #[error("an earlier piece of the message is missing, as after a power cut")]
    Torn,
}

impl serde::Serialize for Doubt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
