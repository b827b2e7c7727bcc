//! The system calls that no safe wrapper offers. Each function here is a safe door: it holds for every
//! argument that its types allow.
//!
//! Invariant of each: a descriptor that is passed on is borrowed, so it is open, and no memory of ours
//! is handed to the kernel.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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
