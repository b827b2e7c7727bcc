//! How a segment file comes to be, of nothing or of an older one.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::budget::Reservation;
use super::map::{Map, Touch};
use super::segment::{RetainedMap, Segment, canary_at, is_shortened};
use super::sys;
use crate::limits::WRITE_STEP_BYTES;
use crate::spool::error::SpoolError;
use crate::spool::format::{
    RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, file_name, name_in_making,
};
use crate::spool::options::Durability;

/// Header of a segment that begins its life now.
pub(super) fn fresh_header(core: u16, number: u32, bytes: u64) -> SegmentHeader {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The standard library keys this hasher from the system's random source.
    let nonce = RandomState::new().hash_one((core, number, created.as_nanos()));
    SegmentHeader { number, core, bytes, created_ns: created.as_nanos() as u64, nonce }
}

/// What a segment is to be. Its room is given back when it does not come to be.
pub(super) struct SegmentPlan<'d> {
    pub(super) dir: &'d Path,
    pub(super) header: SegmentHeader,
    pub(super) durability: Durability,
    pub(super) room: Reservation,
}

impl SegmentPlan<'_> {
    /// Makes a new file. On failure nothing is left of it: fallocate on a full ext4 keeps what it got.
    pub(super) fn create(self) -> Result<Segment, SpoolError> {
        let Self { dir, header, durability, .. } = self;
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
            .and_then(|()| self.begin(&making, file, None));
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
        self,
        old: &Path,
        retained: Option<RetainedMap>,
    ) -> Result<Segment, SpoolError> {
        let Self { dir, header, .. } = self;
        let failed = |cause| SpoolError::io("recycle the segment", old, cause);
        let file = OpenOptions::new().read(true).write(true).open(old).map_err(failed)?;
        if is_shortened(&file, &header) {
            return Err(failed(io::Error::other("it was cut from outside")));
        }
        let map = match retained {
            Some(retained) => retained.map_of(&file).map_err(failed)?,
            None => None,
        };
        let making = dir.join(name_in_making(header.core, header.number));
        fs::rename(old, &making).map_err(failed)?;
        let emptied = file.write_all_at(&[0; SEGMENT_HEADER_BYTES], 0).and_then(|()| {
            file.write_all_at(&[0; RECORD_HEADER_BYTES], SEGMENT_HEADER_BYTES as u64)
        });
        let made = emptied.map_err(failed).and_then(|()| self.begin(&making, file, map));
        made.inspect_err(|_| forget(dir, &header))
    }

    fn begin(self, making: &Path, file: File, map: Option<Map>) -> Result<Segment, SpoolError> {
        let Self { dir, header, durability, room } = self;
        let path = dir.join(file_name(header.core, header.number));
        let failed = |cause| SpoolError::io("prepare the segment", &path, cause);
        let was_retained = map.is_some();
        file.write_all_at(&header.encode(), 0)
            .and_then(|()| file.write_all_at(&header.canary().to_le_bytes(), canary_at(&header)))
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
            Durability::Process
                if was_retained && sys::is_all_dirty(file.as_fd(), header.bytes) =>
            {
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
        Ok(Segment { map, file: Arc::new(file), path, header, room, probed: 0 })
    }
}

/// Takes away what was made of a segment so far. What cannot be taken away, the next opener does.
fn forget(dir: &Path, header: &SegmentHeader) {
    for name in [name_in_making, file_name] {
        let _ = fs::remove_file(dir.join(name(header.core, header.number)));
    }
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
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_file_system_without_allocation_gets_zeros() {
        let file = tempfile::tempfile().unwrap();
        write_zeros(&file, 3 * 1024 * 1024 + 5).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 * 1024 * 1024 + 5);
    }

    const BYTES: u64 = 1024 * 1024;

    fn plan(dir: &Path, header: SegmentHeader) -> SegmentPlan<'_> {
        SegmentPlan { dir, header, durability: Durability::Process, room: Reservation::unlimited() }
    }

    fn sealed(dir: &Path) -> (PathBuf, Option<RetainedMap>) {
        let header = fresh_header(0, 1, BYTES);
        let mut segment = plan(dir, header).create().unwrap();
        segment.map.write_at(9_000, b"of the life before");
        let path = segment.path.clone();
        (path, segment.leave(true).1)
    }

    fn again(dir: &Path, old: &Path, retained: Option<RetainedMap>) -> Result<Segment, SpoolError> {
        plan(dir, fresh_header(0, 2, BYTES)).recycle(old, retained)
    }

    #[test]
    fn a_retained_map_is_of_the_file_in_its_next_life_and_writable_throughout() {
        let dir = sys::tests::dir_on_the_disk();
        for written_back in [false, true] {
            let (path, retained) = sealed(dir.path());
            if written_back {
                File::open(&path).unwrap().sync_data().unwrap();
            }
            let mut segment = again(dir.path(), &path, retained).unwrap();
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
        let (path, retained) = sealed(dir.path());
        let copy = dir.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
        let mut segment = again(dir.path(), &path, retained).unwrap();
        segment.map.write_at(20_000, b"new");
        let mut seen = [0; 3];
        segment.file.read_exact_at(&mut seen, 20_000).unwrap();
        assert_eq!(&seen, b"new");
    }
}
