//! The system calls that no safe wrapper offers. Each function here is a safe door: it holds for every
//! argument that its types allow.
//!
//! Invariant of each: a descriptor that is passed on is borrowed, so it is open, and the kernel gets no
//! memory of ours but locals that outlive the call and are of the size that it expects.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// cachestat(2), under the one number that it has on every architecture; the libc crate does not know it.
const SYS_CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range` of `linux/mman.h`, in octets.
#[repr(C)]
struct CacheRange {
    at: u64,
    bytes: u64,
}

/// `struct cachestat` of `linux/mman.h`, in pages.
#[repr(C)]
#[derive(Default)]
struct CacheCounts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether each page of the first `bytes` octets is in memory and dirty. `false` when the kernel cannot
/// tell (before 6.5, or a file system that keeps no such account).
pub(super) fn is_all_dirty(fd: BorrowedFd<'_>, bytes: u64) -> bool {
    let range = CacheRange { at: 0, bytes };
    let mut counts = CacheCounts::default();
    // SAFETY: both structures have the kernel's layout and live until the call returns.
    let status = unsafe {
        libc::syscall(SYS_CACHESTAT, fd.as_raw_fd(), &raw const range, &raw mut counts, 0)
    };
    status == 0 && counts.dirty >= bytes.div_ceil(rustix::param::page_size() as u64)
}

/// sync_file_range(2): writes the dirty pages of `bytes` octets at `at` and waits until that is done.
/// Paces the disk; makes nothing durable, because neither the file system's journal nor the cache of
/// the disk is written.
pub(super) fn write_back(fd: BorrowedFd<'_>, at: u64, bytes: u64) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let range = (at as libc::off64_t, bytes as libc::off64_t);
    // SAFETY: takes integers and touches no memory of ours.
    let status = unsafe { libc::sync_file_range(fd.as_raw_fd(), range.0, range.1, flags) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_file_is_all_dirty_only_while_nothing_of_it_was_written_back() {
        const PAGES: u64 = 300;
        let bytes = PAGES * rustix::param::page_size() as u64;
        let (_dir, file) = on_the_disk(bytes);
        // Neither this nor what follows is known of a kernel or file system that does not tell.
        if !is_all_dirty(file.as_fd(), bytes) {
            eprintln!(
                "this kernel or file system keeps no account of dirty pages: nothing was tested"
            );
            return;
        }
        assert!(!is_all_dirty(file.as_fd(), 2 * bytes));
        file.sync_data().unwrap();
        assert!(!is_all_dirty(file.as_fd(), bytes));
        file.write_all_at(&[1; 10], 0).unwrap();
        assert!(!is_all_dirty(file.as_fd(), bytes));
    }

    /// Beside the tests' program there is a disk; where temporary files are, there may be none.
    pub(crate) fn dir_on_the_disk() -> tempfile::TempDir {
        tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap()
    }

    fn on_the_disk(bytes: u64) -> (tempfile::TempDir, File) {
        let dir = dir_on_the_disk();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(dir.path().join("file"))
            .unwrap();
        file.write_all_at(&vec![1; bytes as usize], 0).unwrap();
        (dir, file)
    }
}
