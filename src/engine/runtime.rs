//! Runs one core on the calling thread.

use std::io;
use std::os::fd::RawFd;

use super::backend;
use super::kind::{EngineKind, RunningMark, current};

/// Runs `future` on this thread with the engine's runtime; what [`task`](super::task) offers works
/// inside. Tasks that still live when it ends are dropped.
///
/// # Errors
///
/// When the host does not let this thread have a runtime: no ring, no descriptors, no memory.
///
/// # Panics
///
/// When called on a thread that already runs a core.
pub fn run_core<F: Future>(kind: EngineKind, future: F) -> io::Result<F::Output> {
    backend::run(kind, async move {
        let _running = RunningMark::mark(kind);
        future.await
    })
}

/// fdatasync(2) without blocking the core. `fd` must stay open until this ends.
///
/// # Errors
///
/// Those of fdatasync(2), and when no core runs on this thread.
pub async fn sync_data(fd: RawFd) -> io::Result<()> {
    backend::sync_data(current()?, fd).await
}
