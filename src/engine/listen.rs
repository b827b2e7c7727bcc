//! Accepting connections on one core, also when descriptors run out.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::address::{Address, Peer};
use super::backend::{BackendAcceptor, each};
use super::conn::{Conn, Handle};
use super::kind::EngineKind;
use super::socket_file::SocketFile;
use super::task::sleep;

/// Pause after accept failed for want of descriptors or memory; without it accept spins.
const ACCEPT_PAUSE_MS: u64 = 20;

/// Accepts connections on one core.
pub struct Listener {
    acceptor: BackendAcceptor,
    kind: EngineKind,
    address: Address,
    /// A descriptor kept back for the day there is no other: given up, it lets one caller in, who
    /// can be told that we are full. `None` while that caller has it.
    spare: Option<OwnedFd>,
    _file: Option<Arc<SocketFile>>,
}

impl Listener {
    pub(super) fn new(
        kind: EngineKind,
        fd: OwnedFd,
        address: Address,
        file: Option<Arc<SocketFile>>,
    ) -> io::Result<Self> {
        let spare = Some(fd.try_clone()?);
        let acceptor = BackendAcceptor::new(kind, fd)?;
        Ok(Self { acceptor, kind, address, spare, _file: file })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// `interrupt` on it makes `accept` answer `ErrorKind::Interrupted`; no connection is lost.
    pub fn handle(&self) -> Handle {
        Handle(self.acceptor.handle())
    }

    /// The next connection. Out of descriptors or memory, it lets one caller in as
    /// [`Peer::crowded`], and beyond that waits and leaves callers in the backlog; it never spins.
    /// Any error but `Interrupted` means that this listener is of no more use.
    pub async fn accept(&mut self) -> io::Result<(Conn, Peer)> {
        loop {
            let error = match each!(&mut self.acceptor, acceptor => acceptor.accept().await) {
                Ok((fd, caller)) => match self.admit(fd, caller) {
                    Ok(admitted) => return Ok(admitted),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match AcceptFailure::of(&error) {
                AcceptFailure::Caller => {}
                AcceptFailure::Full => self.make_room().await,
                AcceptFailure::Listener => return Err(error),
            }
        }
    }

    /// A connection that is in the backlog already, without waiting for one: what is left to
    /// greet and turn away when the listener stops.
    pub async fn accept_waiting(&mut self) -> io::Result<Option<(Conn, Peer)>> {
        loop {
            let error = match each!(&mut self.acceptor, acceptor => acceptor.accept_waiting().await)
            {
                Ok((fd, caller)) => return self.admit(fd, caller).map(Some),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => error,
            };
            match AcceptFailure::of(&error) {
                AcceptFailure::Caller => {}
                AcceptFailure::Full if self.spare.take().is_some() => {}
                AcceptFailure::Full | AcceptFailure::Listener => return Err(error),
            }
        }
    }

    fn admit(&mut self, fd: OwnedFd, address: Option<SocketAddr>) -> io::Result<(Conn, Peer)> {
        let conn = Conn::new(self.kind, fd, self.address.is_tcp())?;
        if self.spare.is_none() {
            self.spare = self.reserve();
        }
        Ok((conn, Peer { address, crowded: self.spare.is_none() }))
    }

    /// Keeps a descriptor back; `None` when there is none.
    fn reserve(&self) -> Option<OwnedFd> {
        each!(&self.acceptor, acceptor => acceptor.fd()).try_clone_to_owned().ok()
    }

    /// Gives the spare descriptor up for the next caller, or waits for somebody to close.
    async fn make_room(&mut self) {
        if self.spare.take().is_none() {
            sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            self.spare = self.reserve();
        }
    }
}

/// Whose trouble an accept error is (accept(2), "Error handling").
enum AcceptFailure {
    /// The connection died before it was accepted; the next one is as good as ever.
    Caller,
    /// Descriptors or memory ran out.
    Full,
    Listener,
}

impl AcceptFailure {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(
                libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EPERM
                | libc::EPROTO,
            ) => Self::Caller,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC) => {
                Self::Full
            }
            _ => Self::Listener,
        }
    }
}
