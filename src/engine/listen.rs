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

/// Pause after accept failed because descriptors or memory ran out; without it accept spins.
const ACCEPT_PAUSE_MS: u64 = 20;

/// Accepts connections on one core.
pub struct Listener {
    acceptor: BackendAcceptor,
    kind: EngineKind,
    address: Address,
    /// A descriptor held in reserve. When no other is left it is given up, so that one more client
    /// can be accepted and told that the server is full.
    ///
    /// INVARIANT: `None` only while such a connection uses it, or while none can be had.
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

    /// Accepts the next connection. Without descriptors or memory it accepts one more client as
    /// [`Peer::crowded`]; after that it waits and leaves clients in the backlog. It never spins.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Interrupted` after [`Handle::interrupt`]; after any other error this listener
    /// cannot be used any more.
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

    /// Accepts a connection that is already in the backlog, and does not wait for one: a listener
    /// that stops still answers the clients that came in time.
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

    /// Opens a descriptor to hold in reserve; `None` when there is none.
    fn reserve(&self) -> Option<OwnedFd> {
        each!(&self.acceptor, acceptor => acceptor.fd()).try_clone_to_owned().ok()
    }

    /// Gives the spare descriptor up for the next client, or waits until another one is closed.
    async fn make_room(&mut self) {
        if self.spare.take().is_none() {
            sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            self.spare = self.reserve();
        }
    }
}

/// What an accept error says (accept(2), "Error handling").
enum AcceptFailure {
    /// The connection died before it was accepted; the next one is not affected.
    Caller,
    /// Descriptors or memory ran out.
    Full,
    /// The listening socket itself failed.
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
