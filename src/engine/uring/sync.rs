//! fdatasync(2) in the ring.

use std::io;
use std::os::fd::RawFd;

use io_uring::opcode;
use io_uring::types::{Fd, FsyncFlags};

use super::flight::launch;

pub(in crate::engine) async fn sync_data(fd: RawFd) -> io::Result<()> {
    let entry = opcode::Fsync::new(Fd(fd)).flags(FsyncFlags::DATASYNC).build();
    launch(None, (), entry).await.0.map(drop)
}
