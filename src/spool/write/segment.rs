//! One segment file: how it comes to be, how it ends.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::fault::Fault;
use super::map::{Map, Touch};
use super::sys;
use crate::limits::WRITE_STEP_BYTES;
use crate::spool::error::SpoolError;
use crate::spool::format::{
    MARK_AT, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, WITNESS_BYTES, file_name,
    name_in_making,
};
use crate::spool::options::Durability;

/// Header of a segment that begins its life now.
pub(super) fn fresh_header(core: u16, number: u32, bytes: u64) -> SegmentHeader {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The standard library keys this hasher from the system's random source.
    let nonce = RandomState::new().hash_one((core, number, created.as_nanos()));
    SegmentHeader { number, core, bytes, created_ns: created.as_nanos() as u64, nonce }
}

/// A segment that is mapped and ready to be written.
pub(super) struct Segment {
    pub(super) map: Map,
    /// Shared with the barriers that make it durable, so that the descriptor outlives the map.
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) header: SegmentHeader,
    /// The writer's suspicion when the disk last took a write to this file and a sync.
    pub(super) probed: u32,
}

impl Segment {
    /// Makes a new file. On failure nothing is left of it: fallocate on a full ext4 keeps what it got.
    pub(super) fn create(
        dir: &Path,
        header: SegmentHeader,
        durability: Durability,
    ) -> Result<Self, SpoolError> {
        let making = dir.join(name_in_making(header.core, header.number));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&making)
            .map_err(|cause| SpoolError::io("create the segment", &making, cause))?;
        let made = allocate(&file, header.bytes, durability)
            .map_err(|cause| match cause.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    SpoolError::NoSpace { dir: dir.to_owned(), segment_bytes: header.bytes }
                }
                _ => SpoolError::io("allocate the segment", &making, cause),
            })
            .and_then(|()| Self::begin(dir, &making, file, None, header, durability));
        made.inspect_err(|_| forget(dir, &header))
    }

    /// Gives a full file of the same length a new life. Its pages stay in memory, and in the map if that
    /// was kept.
    ///
    /// The order matters to whoever reads at the same time, and to a crash. First the name goes: from then
    /// on nobody finds the file, and what is left of it after a crash is known to hold nothing. Then the old
    /// header is void, which tells those who have the file open; then the first slot is empty; then the
    /// new header is there; and only then the new name. A failure before the old name goes leaves all as
    /// it was; after one behind it there is no file.
    pub(super) fn recycle(
        dir: &Path,
        old: &Path,
        kept: Option<Kept>,
        header: SegmentHeader,
        durability: Durability,
    ) -> Result<Self, SpoolError> {
        let failed = |cause| SpoolError::io("recycle the segment", old, cause);
        let file = OpenOptions::new().read(true).write(true).open(old).map_err(failed)?;
        if is_shortened(&file, &header) {
            return Err(failed(io::Error::other("it was cut from outside")));
        }
        let map = match kept {
            Some(kept) => kept.map_of(&file).map_err(failed)?,
            None => None,
        };
        let making = dir.join(name_in_making(header.core, header.number));
        fs::rename(old, &making).map_err(failed)?;
        let emptied = file.write_all_at(&[0; SEGMENT_HEADER_BYTES], 0).and_then(|()| {
            file.write_all_at(&[0; RECORD_HEADER_BYTES], SEGMENT_HEADER_BYTES as u64)
        });
        let made = emptied
            .map_err(failed)
            .and_then(|()| Self::begin(dir, &making, file, map, header, durability));
        made.inspect_err(|_| forget(dir, &header))
    }

    fn begin(
        dir: &Path,
        making: &Path,
        file: File,
        map: Option<Map>,
        header: SegmentHeader,
        durability: Durability,
    ) -> Result<Self, SpoolError> {
        let path = dir.join(file_name(header.core, header.number));
        let failed = |cause| SpoolError::io("prepare the segment", &path, cause);
        let was_kept = map.is_some();
        file.write_all_at(&header.encode(), 0)
            .and_then(|()| file.write_all_at(&header.witness().to_le_bytes(), witness_at(&header)))
            .map_err(failed)?;
        if durability == Durability::Sync {
            // Length and name must be on the disk before a barrier on the data means anything.
            file.sync_all().map_err(failed)?;
        }
        fs::rename(making, &path).map_err(failed)?;
        if durability == Durability::Sync {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        }
        let map = match map {
            Some(map) => map,
            None => Map::new(&file, header.bytes as usize).map_err(failed)?,
        };
        let touch = match durability {
            // Whatever writes a page back takes the right to write to it away, and with that its mark as
            // dirty: while all are dirty in a map that was kept, there is nothing to ask for.
            Durability::Process if was_kept && sys::is_all_dirty(file.as_fd(), header.bytes) => {
                None
            }
            Durability::Process => Some(Touch::Write),
            // A sync writes every dirty page of the file, and takes the right to write to it away: pages
            // made writable ahead would cost the first sync a whole segment, and then gain nothing.
            Durability::Sync => Some(Touch::Read),
        };
        let populated = touch.map_or(Ok(()), |touch| map.populate(touch));
        populated.map_err(|cause| {
            if cause.raw_os_error() == Some(Errno::FAULT.raw_os_error()) {
                let segment_bytes = header.bytes;
                return SpoolError::NoSpace { dir: dir.to_owned(), segment_bytes };
            }
            failed(cause)
        })?;
        Ok(Self { map, file: Arc::new(file), path, header, probed: 0 })
    }

    /// Octets that records and the empty slot behind the last of them may take.
    pub(super) fn room(&self) -> usize {
        self.map.len() - WITNESS_BYTES
    }

    /// Whether octets that were stored may be lost. Cheap.
    pub(super) fn is_torn(&self) -> bool {
        self.map.is_torn(self.header.witness())
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
    /// cut to what is used, or removed when that is nothing. Returns the octets that the disk got back.
    ///
    /// A failed cut is no loss: readers stop at the empty slot behind the last record.
    pub(super) fn finish(self, used: usize) -> u64 {
        let (torn, in_place) = (self.is_torn(), self.is_in_place());
        let Self { map, file, path, header, .. } = self;
        drop(map);
        if let Some(cut) = shortened_to(&file, &header) {
            // Neither made longer again nor marked: what is missing must be seen to be missing.
            return header.bytes - cut;
        }
        if used <= SEGMENT_HEADER_BYTES {
            // What has the name now is not ours to remove.
            return if in_place {
                fs::remove_file(path).map_or(0, |()| header.bytes)
            } else {
                header.bytes
            };
        }
        if !torn && file.sync_data().is_ok() {
            // Without its mark a segment is as sound as before; less is known of it, that is all.
            let _ = mark(&file, &header, used as u32);
        }
        file.set_len(used as u64).map_or(0, |()| header.bytes - used as u64)
    }
}

/// Takes away what was made of a segment so far. What cannot be taken away, the next opener does.
fn forget(dir: &Path, header: &SegmentHeader) {
    for name in [name_in_making, file_name] {
        let _ = fs::remove_file(dir.join(name(header.core, header.number)));
    }
}

/// Octets of a file that is no longer as long as it was made. One that cannot be asked counts as empty.
pub(super) fn shortened_to(file: &File, header: &SegmentHeader) -> Option<u64> {
    let present = file.metadata().map_or(0, |metadata| metadata.len());
    (present < header.bytes).then_some(present)
}

/// Whether a file is no longer as long as it was made.
fn is_shortened(file: &File, header: &SegmentHeader) -> bool {
    shortened_to(file, header).is_some()
}

/// What has happened from outside to a segment that should be as long as it was made, and at `path`.
pub(super) fn fault_of(file: &File, header: &SegmentHeader, path: &Path) -> Option<Fault> {
    let Ok(metadata) = file.metadata() else { return Some(Fault::Torn) };
    if !has_witness(file, header) {
        return Some(Fault::Torn);
    }
    (!leads_to(path, &metadata)).then_some(Fault::Removed)
}

fn witness_at(header: &SegmentHeader) -> u64 {
    header.bytes - WITNESS_BYTES as u64
}

/// Whether nobody has cut a file since its life began.
pub(super) fn has_witness(file: &File, header: &SegmentHeader) -> bool {
    let mut found = [0; WITNESS_BYTES];
    let read = file.read_exact_at(&mut found, witness_at(header));
    read.is_ok() && u64::from_le_bytes(found) == header.witness()
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
pub(super) struct Kept {
    map: Map,
    witness: u64,
    /// (device, inode): the name may come to stand for another file.
    file: (u64, u64),
}

impl Kept {
    /// `None` when it cannot be told later whether the map is of the file that has the name then.
    pub(super) fn new(segment: Segment) -> Option<Self> {
        let file = identity(&segment.file.metadata().ok()?);
        Some(Self { map: segment.map, witness: segment.header.witness(), file })
    }

    /// The map, if it is the one of `file` and all of that.
    fn map_of(self, file: &File) -> io::Result<Option<Map>> {
        let same = identity(&file.metadata()?) == self.file;
        Ok((same && !self.map.is_torn(self.witness)).then_some(self.map))
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

/// Reserves the blocks of the whole file, so that a store through the map never meets a full disk.
///
/// A block that was reserved and never written costs the sync that first covers it an entry in the file
/// system's journal, which is most of what such a sync takes: for [`Durability::Sync`] all are written.
fn allocate(file: &File, bytes: u64, durability: Durability) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) if durability == Durability::Process => Ok(()),
        Ok(()) | Err(Errno::OPNOTSUPP) => write_zeros(file, bytes),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes the whole file and waits for each step to be on its way before the next, so that the syncs of
/// running cores find no long queue at the disk.
fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; WRITE_STEP_BYTES];
    let mut at = 0;
    while at < bytes {
        let step = (bytes - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..step as usize], at)?;
        sys::write_back(file.as_fd(), at, step)?;
        at += step;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_allocation_gets_zeros() {
        let file = tempfile::tempfile().unwrap();
        write_zeros(&file, 3 * 1024 * 1024 + 5).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 * 1024 * 1024 + 5);
    }

    const BYTES: u64 = 1024 * 1024;

    fn sealed(dir: &Path) -> (PathBuf, Option<Kept>) {
        let header = fresh_header(0, 1, BYTES);
        let mut segment = Segment::create(dir, header, Durability::Process).unwrap();
        segment.map.write_at(9_000, b"of the life before");
        (segment.path.clone(), Kept::new(segment))
    }

    fn again(dir: &Path, old: &Path, kept: Option<Kept>) -> Result<Segment, SpoolError> {
        Segment::recycle(dir, old, kept, fresh_header(0, 2, BYTES), Durability::Process)
    }

    #[test]
    fn a_kept_map_is_of_the_file_in_its_next_life_and_writable_throughout() {
        let dir = sys::tests::dir_on_the_disk();
        for written_back in [false, true] {
            let (path, kept) = sealed(dir.path());
            if written_back {
                File::open(&path).unwrap().sync_data().unwrap();
            }
            let mut segment = again(dir.path(), &path, kept).unwrap();
            // Nothing is left to fault for.
            assert_eq!(sys::is_all_dirty(segment.file.as_fd(), BYTES), is_told(dir.path()));
            segment.map.write_at(20_000, b"new");
            let mut seen = [0; 18];
            segment.file.read_exact_at(&mut seen[..3], 20_000).unwrap();
            assert_eq!(&seen[..3], b"new");
            segment.file.read_exact_at(&mut seen, 9_000).unwrap();
            assert_eq!(&seen, b"of the life before");
            segment.finish(0);
        }
    }

    /// Whether the kernel and this file system tell at all.
    fn is_told(dir: &Path) -> bool {
        let file = tempfile::tempfile_in(dir).unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        sys::is_all_dirty(file.as_fd(), 4096)
    }

    #[test]
    fn a_map_is_not_used_for_another_file_that_has_taken_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let (path, kept) = sealed(dir.path());
        let copy = dir.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
        let mut segment = again(dir.path(), &path, kept).unwrap();
        segment.map.write_at(20_000, b"new");
        let mut seen = [0; 3];
        segment.file.read_exact_at(&mut seen, 20_000).unwrap();
        assert_eq!(&seen, b"new");
    }
}
