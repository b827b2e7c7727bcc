//! Makes segment files, new ones and from old ones.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
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
use crate::spool::file::{self, Access};
use crate::spool::format::{
    RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, file_name, name_in_making,
};
use crate::spool::options::Durability;

/// The header of a segment whose life begins now.
pub(super) fn fresh_header(core: u16, number: u32, bytes: u64) -> SegmentHeader {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The standard library keys this hasher from the system's random source.
    let nonce = RandomState::new().hash_one((core, number, created.as_nanos()));
    SegmentHeader { number, core, bytes, created_ns: created.as_nanos() as u64, nonce }
}

/// A segment to be made. Its room is given back if that fails.
pub(super) struct SegmentPlan<'d> {
    pub(super) dir: &'d Path,
    pub(super) header: SegmentHeader,
    pub(super) durability: Durability,
    pub(super) room: Reservation,
}

impl SegmentPlan<'_> {
    /// Makes a new file, and removes it on failure: on a full ext4, fallocate keeps what it has got.
    pub(super) fn create(self) -> Result<Segment, SpoolError> {
        let Self { dir, header, durability, .. } = self;
        let making = dir.join(name_in_making(header.core, header.number));
        let file = file::create(&making)
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
    /// was retained.
    ///
    /// The order matters to programs that read at the same time, and after a crash:
    ///
    /// 1. The old name goes. From now on nobody finds the file, and after a crash the opener knows that it
    ///    holds nothing.
    /// 2. The old header is zeroed, which tells readers that have the file open.
    /// 3. The first slot is zeroed.
    /// 4. The new header is stored.
    /// 5. The file gets its new name.
    ///
    /// A failure before step 1 leaves everything as it was. After a later failure the file is gone.
    pub(super) fn recycle(
        self,
        old: &Path,
        retained: Option<RetainedMap>,
    ) -> Result<Segment, SpoolError> {
        let Self { dir, header, .. } = self;
        let failed = |cause| SpoolError::io("recycle the segment", old, cause);
        let file = file::open(old, Access::ReadWrite).map_err(failed)?;
        if is_shortened(&file, &header) {
            return Err(failed(io::Error::other("it was cut from outside")));
        }
        let map = match retained {
            Some(retained) => retained.map_of(&file).map_err(failed)?,
            None => None,
        };
        let making = dir.join(name_in_making(header.core, header.number));
        file::rename(old, &making).map_err(failed)?;
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
            // A sync of the data is worth nothing before length and name are on the disk.
            file.sync_all().map_err(failed)?;
        }
        file::rename(making, &path).map_err(failed)?;
        if durability == Durability::Sync {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        }
        let map = match map {
            Some(map) => map,
            None => Map::new(&file, header.bytes as usize).map_err(failed)?,
        };
        let touch = match durability {
            // Write-back takes away a page's right to be written to, and marks it clean. So while all pages
            // of a retained map are dirty, all can be written to.
            Durability::Process
                if was_retained && sys::is_all_dirty(file.as_fd(), header.bytes) =>
            {
                None
            }
            Durability::Process => Some(Touch::Write),
            // Pages that are made writable are dirty. The first sync would write a whole segment, and take
            // the right to write away again.
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

/// Removes what was made of a segment so far. What cannot be removed now, the next opener removes.
fn forget(dir: &Path, header: &SegmentHeader) {
    for name in [name_in_making, file_name] {
        let _ = fs::remove_file(dir.join(name(header.core, header.number)));
    }
}

/// Reserves the blocks of the whole file, so that a store through the map never meets a full disk.
///
/// The first sync of a block that was reserved and never written needs an entry in the file system's
/// journal, which takes most of the time of such a sync. So for [`Durability::Sync`] all blocks are written.
fn allocate(file: &File, bytes: u64, durability: Durability) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) if durability == Durability::Process => Ok(()),
        Ok(()) | Err(Errno::OPNOTSUPP) => write_zeros(file, bytes),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes the whole file in steps, and waits for the write-back of each, so that the syncs of running
/// cores find no long queue at the disk.
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
