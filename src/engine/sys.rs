//! The system calls that no safe wrapper offers. Each function here is a safe door: it holds for
//! every argument that its types allow.
//!
//! INVARIANT of each: a descriptor that is passed on is owned or borrowed, so it is open, and memory
//! that the kernel reads lives on the stack of the call, with the size that is passed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use tokio::io::unix::AsyncFd;

/// Registers a non-blocking descriptor with this thread's readiness driver.
pub(super) fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, answers the same number at every call, and is closed only
    // when the `AsyncFd` that now owns it gives it up or is dropped.
    let registered = unsafe { AsyncFd::register(fd) };
    Ok(registered?)
}

/// IP_BIND_ADDRESS_NO_PORT: a bind to an address with port 0 does not take a port yet; connect
/// takes one that is free towards that destination. Without it, one source address ends at 28,000
/// connections, no matter how many destinations there are.
pub(super) fn bind_address_no_port(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one int at the pointer, and the length says so.
    let status = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// fdatasync(2) of a descriptor number; a number that is not open answers EBADF.
pub(super) fn fdatasync(fd: RawFd) -> io::Result<()> {
    // SAFETY: takes an integer and touches no memory of ours.
    let status = unsafe { libc::fdatasync(fd) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// _exit(2): ends the process with all its threads, and runs nothing of it any more.
pub(super) fn exit_now(code: u8) -> ! {
    // SAFETY: takes an integer, and does not return.
    unsafe { libc::_exit(code.into()) }
}
