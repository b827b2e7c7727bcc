//! What passes between a core and the helper thread, and between that and the thread that writes back.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::mpsc::{Receiver, Sender};

use super::barrier::Barrier;
use super::segment::Segment;
use crate::spool::error::SpoolError;
use crate::spool::format::SegmentHeader;

/// What a core asks of the helper.
pub(super) enum Job {
    /// Make one more segment ready.
    Want { core: usize },
    /// This one is full, or, if it is not sound, has been poisoned; `used` octets of it count.
    Retire { core: usize, segment: Segment, used: usize, sound: bool },
    /// The end of this barrier is on the disk.
    Durable { core: usize, barrier: Barrier },
    /// This one has been written back, or could not be.
    Flushed { order: Order, outcome: io::Result<File> },
    /// Nothing from the start to the end of this barrier was acknowledged or ever will be.
    Void { core: usize, barrier: Barrier },
    /// This one's name leads elsewhere before it was used; make another ready.
    Replace { core: usize, segment: Segment },
    /// Have the disk take a write to this one and a sync before it is used, and to all that follow.
    Probe { core: usize, segment: Segment, suspicion: u32 },
    /// This one will never be written again; `used` octets of it count.
    Finish { segment: Segment, used: usize },
    /// The core is gone; what was made ready for it is not needed.
    Leave { ready: Receiver<Ready> },
}

/// What a core gets for a want.
pub(super) type Ready = Result<Segment, SpoolError>;

/// A core's end of the line to the helper.
pub(super) struct Supplies {
    pub(super) ready: Receiver<Ready>,
    pub(super) jobs: Sender<Job>,
    /// Segments of this core with a lower number are gone, or about to go.
    pub(super) floor: Arc<AtomicU32>,
    /// Segments of this core whose write-back failed.
    pub(super) failed: Arc<AtomicU64>,
}

/// A segment that nobody writes any more.
pub(super) struct Order {
    pub(super) core: usize,
    pub(super) header: SegmentHeader,
    pub(super) path: PathBuf,
    /// Octets of it that count.
    pub(super) end: usize,
}
