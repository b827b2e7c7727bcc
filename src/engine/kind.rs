//! Which engine is asked for, and which one runs on this thread.

use std::cell::Cell;
use std::io;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Io {
    #[default]
    Auto,
    Epoll,
    Uring,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    Epoll,
    Uring,
}

impl EngineKind {
    /// The name in reports: `epoll` or `uring`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Uring => "uring",
        }
    }
}

thread_local! {
    /// INVARIANT: `Some` from the first poll of a core's future to its end, also when it unwinds.
    static RUNNING: Cell<Option<EngineKind>> = const { Cell::new(None) };
}

/// Marks the thread as one that runs an engine, until it is dropped.
pub(super) struct RunningMark(());

impl RunningMark {
    pub(super) fn mark(kind: EngineKind) -> Self {
        assert!(RUNNING.replace(Some(kind)).is_none(), "a core runs on this thread already");
        Self(())
    }
}

impl Drop for RunningMark {
    fn drop(&mut self) {
        RUNNING.set(None);
    }
}

/// The engine of the core that runs on this thread, if one does.
pub(super) fn running() -> Option<EngineKind> {
    RUNNING.get()
}

/// The engine of the core that runs on this thread.
pub(super) fn current() -> io::Result<EngineKind> {
    running().ok_or_else(|| io::Error::other("no engine runs on this thread"))
}

/// The answer to a wait that [`Handle::interrupt`](super::Handle::interrupt) ended.
pub(super) fn interrupted() -> io::Error {
    io::ErrorKind::Interrupted.into()
}
