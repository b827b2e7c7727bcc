//! The messages between a core and the helper thread, and between the helper and the write-back thread.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::mpsc::{Receiver, Sender};

use super::barrier::Barrier;
use super::open_room::OpenRoom;
use super::segment::Segment;
use crate::spool::error::SpoolError;
use crate::spool::format::SegmentHeader;

/// What a core asks the helper to do.
pub(super) enum Job {
    /// Make one more segment ready, in free room only: the present one has just begun.
    Want { core: usize },
    /// The segment wanted will be needed soon, so the oldest one may be recycled for it.
    Need { core: usize },
    /// The log has left this segment. It holds `used` octets. If it is not `sound`, it was given up.
    Retire { core: usize, segment: Segment, used: usize, sound: bool },
    /// The segment of this barrier is on the disk up to the barrier's end.
    Durable { core: usize, barrier: Barrier },
    /// This segment was written back, or could not be.
    Flushed { order: Order, outcome: WriteBack },
    /// The messages for whose fate the helper had to leave old segments alone have their fate.
    Settled { core: usize },
    /// Nothing between the start and the end of this barrier was acknowledged, nor will be.
    Void { core: usize, barrier: Barrier },
    /// The name of this segment leads elsewhere, before it was used. Make another ready.
    Replace { core: usize, segment: Segment },
    /// Probe this segment, and each later one, by a write and a sync before it is used.
    Probe { core: usize, segment: Segment, suspicion: u32 },
    /// All that this segment holds is dead: remove it.
    Free { core: usize, segment: u32 },
    /// Nobody will write to this segment again. It holds `used` octets.
    Finish { segment: Segment, used: usize },
    /// The core is gone and does not need the segments that were made ready for it.
    Leave { ready: Receiver<Ready> },
}

/// Above the number of every segment.
pub(super) const NOTHING_HELD: u32 = u32::MAX;

/// The answer to [`Job::Want`].
pub(super) type Ready = Result<Segment, SpoolError>;

/// A core's end of the channels to the helper.
pub(super) struct Supplies {
    pub(super) ready: Receiver<Ready>,
    pub(super) jobs: Sender<Job>,
    /// Segments of this core with a lower number are gone, or about to go.
    pub(super) floor: Arc<AtomicU32>,
    /// From this number on, segments of this core hold pieces of messages whose fate is not known. The helper
    /// takes none of them. [`NOTHING_HELD`] while there are no such messages, but for those in the segment
    /// that is being written.
    pub(super) hold: Arc<AtomicU32>,
    /// Segments of this core whose write-back failed.
    pub(super) failed: Arc<AtomicU64>,
    pub(super) open_room: OpenRoom,
}

/// What became of a segment that was to be written back.
pub(super) enum WriteBack {
    Written(File),
    /// The disk has refused a write or a sync.
    Failed(io::Error),
    /// The file could not be opened: it is gone, or the process has no descriptor left. That says nothing of
    /// the disk, and the kernel writes the segment in its own time.
    Unopened,
}

impl Supplies {
    /// Waits for the helper.
    pub(super) fn wait(&self) -> Ready {
        // Where all run on one thread, the helper works while the writer waits.
        #[cfg(test)]
        if let Some(ready) = super::writer::schedule::wait(&self.ready) {
            return ready;
        }
        self.ready.recv().unwrap_or(Err(SpoolError::Closed))
    }
}

/// A segment to be written back; nobody writes to it any more.
pub(super) struct Order {
    pub(super) core: usize,
    pub(super) header: SegmentHeader,
    pub(super) path: PathBuf,
    /// Octets that it holds.
    pub(super) end: usize,
}
