//! One segment file while the log is in it: checks that nobody has changed the file from outside, and the
//! end of its life.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::budget::Reservation;
use super::fault::SegmentFault;
use super::map::Map;
use crate::spool::error::SpoolError;
use crate::spool::file;
use crate::spool::format::{
    CANARY_BYTES, MARK_AT, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader,
};

/// A segment that is mapped and ready for records.
pub(super) struct Segment {
    pub(super) map: Map,
    /// Shared with the barriers that make it durable, so that the descriptor outlives the map.
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) header: SegmentHeader,
    pub(super) room: Reservation,
    /// The writer's `suspicion` at the latest successful [`probe`](Self::probe); 0 before the first.
    pub(super) probed: u32,
}

impl Segment {
    /// Octets at the start of the file that records, and the empty slot after the last record, may take.
    pub(super) fn room(&self) -> usize {
        self.map.len() - CANARY_BYTES
    }

    /// Whether octets that were stored may be lost. Cheap: asks the map, not the kernel.
    pub(super) fn is_torn(&self) -> bool {
        self.map.is_torn(self.header.canary())
    }

    /// Whether the path still leads to this file. Asks the kernel.
    pub(super) fn is_in_place(&self) -> bool {
        self.file.metadata().is_ok_and(|ours| leads_to(&self.path, &ours))
    }

    /// Sets the mark of a segment that was cut to `end`, up to where it was sound. So readers see that
    /// records are missing.
    pub(super) fn mark_cut(&self, end: usize) -> io::Result<()> {
        if self.file.metadata()?.len() < SEGMENT_HEADER_BYTES as u64 {
            return Ok(());
        }
        self.file.write_all_at(&self.header.mark(end as u32), MARK_AT)
    }

    /// Writes to the segment and syncs it, because the disk has refused a sync before. Notes `suspicion` on
    /// success.
    pub(super) fn probe(&mut self, suspicion: u32) -> Result<(), SpoolError> {
        let first_slot = [0; RECORD_HEADER_BYTES];
        let written = self.file.write_all_at(&first_slot, SEGMENT_HEADER_BYTES as u64);
        let synced = written.and_then(|()| self.file.sync_all());
        synced.map_err(|cause| SpoolError::io("sync a new segment", &self.path, cause))?;
        self.probed = suspicion;
        Ok(())
    }

    /// Ends the life of a segment that nobody writes any more. Unmaps it, then syncs it, sets its mark and
    /// cuts it to the `used` octets, or removes it when it has no record. Gives back the room that becomes
    /// free on the disk.
    ///
    /// A cut that fails does no harm: readers stop at the empty slot after the last record.
    pub(super) fn finish(self, used: usize) {
        let (torn, in_place) = (self.is_torn(), self.is_in_place());
        let Self { map, file, path, header, room, probed: _ } = self;
        drop(map);
        if let Some(cut) = shortened_to(&file, &header) {
            // The file is neither made longer again nor marked: readers must see that something is missing.
            if in_place {
                room.keep(cut);
            }
            return;
        }
        if used <= SEGMENT_HEADER_BYTES {
            // If another file has the name now, it is not ours to remove.
            if in_place && fs::remove_file(path).is_err() {
                room.keep(header.bytes);
            }
            return;
        }
        if !torn && file.sync_data().is_ok() {
            // A segment without its mark is as sound; readers only know less about it.
            let _ = mark(&file, &header, used as u32);
        }
        let cut = file.set_len(used as u64).is_ok();
        room.keep(if cut { used as u64 } else { header.bytes });
    }

    /// The log has left the segment. Returns its room, and its map if `retains_map`.
    pub(super) fn leave(self, retains_map: bool) -> (Reservation, Option<RetainedMap>) {
        let identity = self.file.metadata().map(|metadata| identity(&metadata));
        let Self { map, header, room, .. } = self;
        // A map without the file's identity is useless: later nobody can tell whether the file that then has
        // the name is the one that is mapped.
        let retained = identity.ok().filter(|_| retains_map).map(|file| RetainedMap {
            map,
            canary: header.canary(),
            file,
        });
        (room, retained)
    }
}

/// The length of a file that is shorter than it was made; `None` for one that is not. A file that the
/// kernel cannot tell of counts as empty.
pub(super) fn shortened_to(file: &File, header: &SegmentHeader) -> Option<u64> {
    let present = file.metadata().map_or(0, |metadata| metadata.len());
    (present < header.bytes).then_some(present)
}

/// Whether a file is shorter than it was made.
pub(super) fn is_shortened(file: &File, header: &SegmentHeader) -> bool {
    shortened_to(file, header).is_some()
}

/// What somebody else has done to a segment that should be at `path` in the length in which it was made.
pub(super) fn fault_of(file: &File, header: &SegmentHeader, path: &Path) -> Option<SegmentFault> {
    let Ok(metadata) = file.metadata() else { return Some(SegmentFault::Torn) };
    if !has_canary(file, header) {
        return Some(SegmentFault::Torn);
    }
    (!leads_to(path, &metadata)).then_some(SegmentFault::Removed)
}

/// Offset of the canary.
pub(super) fn canary_at(header: &SegmentHeader) -> u64 {
    header.bytes - CANARY_BYTES as u64
}

/// Whether the canary is there: then nobody has cut the file since its life began.
pub(super) fn has_canary(file: &File, header: &SegmentHeader) -> bool {
    let mut found = [0; CANARY_BYTES];
    let read = file.read_exact_at(&mut found, canary_at(header));
    read.is_ok() && u64::from_le_bytes(found) == header.canary()
}

/// Whether `path` leads to the file with this metadata. If the kernel does not let us see, we assume that
/// it does.
fn leads_to(path: &Path, ours: &fs::Metadata) -> bool {
    match file::metadata(path) {
        Ok(there) => identity(&there) == identity(ours),
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        }
    }
}

/// The map of a segment that nobody writes any more, retained for the file's next life: pages that were
/// not written back meanwhile are still writable, and to make them present again costs next to nothing.
pub(super) struct RetainedMap {
    map: Map,
    canary: u64,
    /// Device and inode: another file may get the name.
    file: (u64, u64),
}

impl RetainedMap {
    /// The map, if it is a map of `file`, and `file` has not been cut.
    pub(super) fn map_of(self, file: &File) -> io::Result<Option<Map>> {
        let same = identity(&file.metadata()?) == self.file;
        Ok((same && !self.map.is_torn(self.canary)).then_some(self.map))
    }
}

fn identity(of: &fs::Metadata) -> (u64, u64) {
    (of.dev(), of.ino())
}

/// Sets the mark of a segment: everything before `end` is on the disk, because a sync that began after
/// all of it was stored has succeeded. The mark itself may reach the disk later.
pub(super) fn mark(file: &File, header: &SegmentHeader, end: u32) -> io::Result<()> {
    if file.metadata()?.len() < end.into() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was cut from outside"));
    }
    file.write_all_at(&header.mark(end), MARK_AT)
}
