//! The engines side by side: the one file that knows how many there are.
//!
//! A new engine is a file (or folder) of its own, a variant of [`PerEngine`] and an arm in each
//! function below. All else in this room asks through [`each!`].

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use socket2::{SockAddr, Socket};

use super::epoll::{self, EpollAcceptor, EpollAlarm, EpollConn, EpollHandle};
use super::kind::EngineKind;
use super::uring::{self, UringAcceptor, UringAlarm, UringConn, UringHandle};

/// A part that each engine has; holds that of the engine that runs.
#[derive(Clone, Debug)]
pub(super) enum PerEngine<E, U> {
    Epoll(E),
    Uring(U),
}

/// Evaluates one expression on the part of the engine that runs.
macro_rules! each {
    ($part:expr, $name:pat => $call:expr) => {
        match $part {
            $crate::engine::backend::PerEngine::Epoll($name) => $call,
            $crate::engine::backend::PerEngine::Uring($name) => $call,
        }
    };
}
pub(super) use each;

pub(super) type BackendConn = PerEngine<EpollConn, UringConn>;
pub(super) type BackendAcceptor = PerEngine<EpollAcceptor, UringAcceptor>;
pub(super) type BackendHandle = PerEngine<EpollHandle, UringHandle>;
pub(super) type BackendAlarm = PerEngine<EpollAlarm, UringAlarm>;

impl BackendConn {
    /// Wraps a connected socket that is blocking under io_uring and non-blocking under epoll.
    pub(super) fn new(kind: EngineKind, fd: OwnedFd) -> io::Result<Self> {
        Ok(match kind {
            EngineKind::Epoll => Self::Epoll(EpollConn::new(fd)?),
            EngineKind::Uring => Self::Uring(UringConn::new(fd)),
        })
    }

    pub(super) fn handle(&self) -> BackendHandle {
        match self {
            Self::Epoll(conn) => PerEngine::Epoll(conn.handle()),
            Self::Uring(conn) => PerEngine::Uring(conn.handle()),
        }
    }
}

impl BackendAcceptor {
    /// Attaches a listening socket to the core that runs on this thread.
    pub(super) fn new(kind: EngineKind, fd: OwnedFd) -> io::Result<Self> {
        socket2::SockRef::from(&fd).set_nonblocking(kind == EngineKind::Epoll)?;
        Ok(match kind {
            EngineKind::Epoll => Self::Epoll(EpollAcceptor::new(fd)?),
            EngineKind::Uring => Self::Uring(UringAcceptor::new(fd)),
        })
    }

    pub(super) fn handle(&self) -> BackendHandle {
        match self {
            Self::Epoll(acceptor) => PerEngine::Epoll(acceptor.handle()),
            Self::Uring(acceptor) => PerEngine::Uring(acceptor.handle()),
        }
    }
}

impl BackendAlarm {
    pub(super) fn new(kind: EngineKind) -> io::Result<Self> {
        Ok(match kind {
            EngineKind::Epoll => Self::Epoll(EpollAlarm::new()?),
            EngineKind::Uring => Self::Uring(UringAlarm::default()),
        })
    }
}

/// Connects `socket` to `to`; longer than `limit` is `ErrorKind::TimedOut`.
pub(super) async fn connect(
    kind: EngineKind,
    socket: Socket,
    to: SockAddr,
    limit: Duration,
) -> io::Result<BackendConn> {
    Ok(match kind {
        EngineKind::Epoll => {
            socket.set_nonblocking(true)?;
            PerEngine::Epoll(epoll::connect(socket, &to, limit).await?)
        }
        EngineKind::Uring => PerEngine::Uring(uring::connect(socket.into(), to, limit).await?),
    })
}

pub(super) async fn sync_data(kind: EngineKind, fd: RawFd) -> io::Result<()> {
    match kind {
        EngineKind::Epoll => epoll::sync_data(fd).await,
        EngineKind::Uring => uring::sync_data(fd).await,
    }
}

pub(super) fn run<F: Future>(kind: EngineKind, future: F) -> io::Result<F::Output> {
    match kind {
        EngineKind::Epoll => epoll::run(future),
        EngineKind::Uring => uring::run(future),
    }
}

/// Whether this host allows `kind`.
///
/// # Errors
///
/// The kernel's refusal.
pub(super) fn probe(kind: EngineKind) -> io::Result<()> {
    match kind {
        EngineKind::Epoll => Ok(()),
        EngineKind::Uring => uring::probe(),
    }
}
