//! One segment file: whether it is still what it was, how it ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::budget::Reservation;
use super::fault::SegmentFault;
use super::map::Map;
use crate::spool::error::SpoolError;
use crate::spool::format::{
    CANARY_BYTES, MARK_AT, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader,
};

/// A segment that is mapped and ready to be written.
pub(super) struct Segment {
    pub(super) map: Map,
    /// Shared with the barriers that make it durable, so that the descriptor outlives the map.
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) header: SegmentHeader,
    pub(super) room: Reservation,
    /// The writer's suspicion when the disk last took a write to this file and a sync.
    pub(super) probed: u32,
}

impl Segment {
    /// Octets that records and the empty slot behind the last of them may take.
    pub(super) fn room(&self) -> usize {
        self.map.len() - CANARY_BYTES
    }

    /// Whether octets that were stored may be lost. Cheap.
    pub(super) fn is_torn(&self) -> bool {
        self.map.is_torn(self.header.canary())
    }

    /// Whether the name still leads to this file. Asks the kernel.
    pub(super) fn is_in_place(&self) -> bool {
        self.file.metadata().is_ok_and(|ours| leads_to(&self.path, &ours))
    }

    /// Notes in a segment that was cut that it was sound up to `end`, so that what is missing is seen to be.
    pub(super) fn mark_cut(&self, end: usize) -> io::Result<()> {
        if self.file.metadata()?.len() < SEGMENT_HEADER_BYTES as u64 {
            return Ok(());
        }
        self.file.write_all_at(&self.header.mark(end as u32), MARK_AT)
    }

    /// Whether the disk takes a write to this segment and a sync: not known after it has refused one.
    pub(super) fn probe(&mut self, suspicion: u32) -> Result<(), SpoolError> {
        let first_slot = [0; RECORD_HEADER_BYTES];
        let written = self.file.write_all_at(&first_slot, SEGMENT_HEADER_BYTES as u64);
        let synced = written.and_then(|()| self.file.sync_all());
        synced.map_err(|cause| SpoolError::io("sync a new segment", &self.path, cause))?;
        self.probed = suspicion;
        Ok(())
    }

    /// Ends the life of a segment that nobody writes any more: unmapped first, then synced, marked and
    /// cut to what is used, or removed when that is nothing. Gives back what room the disk gets back.
    ///
    /// A failed cut is no loss: readers stop at the empty slot behind the last record.
    pub(super) fn finish(self, used: usize) {
        let (torn, in_place) = (self.is_torn(), self.is_in_place());
        let Self { map, file, path, header, room, probed: _ } = self;
        drop(map);
        if let Some(cut) = shortened_to(&file, &header) {
            // Neither made longer again nor marked: what is missing must be seen to be missing.
            return room.keep(cut);
        }
        if used <= SEGMENT_HEADER_BYTES {
            // What has the name now is not ours to remove.
            if in_place && fs::remove_file(path).is_err() {
                room.keep(header.bytes);
            }
            return;
        }
        if !torn && file.sync_data().is_ok() {
            // Without its mark a segment is as sound as before; less is known of it, that is all.
            let _ = mark(&file, &header, used as u32);
        }
        let cut = file.set_len(used as u64).is_ok();
        room.keep(if cut { used as u64 } else { header.bytes });
    }

    /// The log has left it: what the ring needs of it, and its map if that is asked for.
    pub(super) fn leave(self, retains_map: bool) -> (Reservation, Option<RetainedMap>) {
        let identity = self.file.metadata().map(|metadata| identity(&metadata));
        let Self { map, header, room, .. } = self;
        // Without its identity it cannot be told later whether the map is of the file that has the name then.
        let retained = identity.ok().filter(|_| retains_map).map(|file| RetainedMap {
            map,
            canary: header.canary(),
            file,
        });
        (room, retained)
    }
}

/// Octets of a file that is no longer as long as it was made. One that cannot be asked counts as empty.
pub(super) fn shortened_to(file: &File, header: &SegmentHeader) -> Option<u64> {
    let present = file.metadata().map_or(0, |metadata| metadata.len());
    (present < header.bytes).then_some(present)
}

/// Whether a file is no longer as long as it was made.
pub(super) fn is_shortened(file: &File, header: &SegmentHeader) -> bool {
    shortened_to(file, header).is_some()
}

/// What has happened from outside to a segment that should be as long as it was made, and at `path`.
pub(super) fn fault_of(file: &File, header: &SegmentHeader, path: &Path) -> Option<SegmentFault> {
    let Ok(metadata) = file.metadata() else { return Some(SegmentFault::Torn) };
    if !has_canary(file, header) {
        return Some(SegmentFault::Torn);
    }
    (!leads_to(path, &metadata)).then_some(SegmentFault::Removed)
}

pub(super) fn canary_at(header: &SegmentHeader) -> u64 {
    header.bytes - CANARY_BYTES as u64
}

/// Whether nobody has cut a file since its life began.
pub(super) fn has_canary(file: &File, header: &SegmentHeader) -> bool {
    let mut found = [0; CANARY_BYTES];
    let read = file.read_exact_at(&mut found, canary_at(header));
    read.is_ok() && u64::from_le_bytes(found) == header.canary()
}

/// Whether `path` leads to the file of which this is told. Who may not look believes it.
fn leads_to(path: &Path, ours: &fs::Metadata) -> bool {
    match fs::metadata(path) {
        Ok(there) => identity(&there) == identity(ours),
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        }
    }
}

/// The map of a segment that nobody writes any more, kept for the file's next life: a page that was not
/// written back meanwhile is still writable there, and asking for it again costs next to nothing.
pub(super) struct RetainedMap {
    map: Map,
    canary: u64,
    /// (device, inode): the name may come to stand for another file.
    file: (u64, u64),
}

impl RetainedMap {
    /// The map, if it is the one of `file` and all of that.
    pub(super) fn map_of(self, file: &File) -> io::Result<Option<Map>> {
        let same = identity(&file.metadata()?) == self.file;
        Ok((same && !self.map.is_torn(self.canary)).then_some(self.map))
    }
}

fn identity(of: &fs::Metadata) -> (u64, u64) {
    (of.dev(), of.ino())
}

/// Notes in a segment that everything before `end` is on the disk: a sync that began when all of it
/// was stored has succeeded. The mark itself may come to the disk later.
pub(super) fn mark(file: &File, header: &SegmentHeader, end: u32) -> io::Result<()> {
    if file.metadata()?.len() < end.into() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was cut from outside"));
    }
    file.write_all_at(&header.mark(end), MARK_AT)
}
