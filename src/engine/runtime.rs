//! Runs one core on the calling thread.

use std::io;
use std::os::fd::RawFd;

use super::backend;
use super::kind::{EngineKind, RunningMark, current};
use super::probe::UringRefusal;

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
    let ran = backend::run(kind, async move {
        let _running = RunningMark::mark(kind);
        future.await
    });
    ran.map_err(|error| with_cure(kind, error))
}

/// Why there is no runtime, with the way out where io_uring is what is refused: one ring was allowed at the start, and
/// now the limits of this user are used up.
fn with_cure(kind: EngineKind, error: io::Error) -> io::Error {
    match kind {
        EngineKind::Uring => io::Error::new(error.kind(), UringRefusal::of(&error)),
        EngineKind::Epoll => error,
    }
}

/// fdatasync(2) without blocking the core. `fd` must stay open until this ends.
///
/// # Errors
///
/// Those of fdatasync(2), and when no core runs on this thread.
pub async fn sync_data(fd: RawFd) -> io::Result<()> {
    backend::sync_data(current()?, fd).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_without_a_ring_says_what_to_do() {
        let told = |kind| with_cure(kind, io::Error::from_raw_os_error(libc::ENOMEM)).to_string();
        let uring = told(EngineKind::Uring);
        assert!(uring.contains("ENOMEM") && uring.contains("ulimit -l"), "{uring}");
        assert!(!told(EngineKind::Epoll).contains("ulimit"));
    }
}
