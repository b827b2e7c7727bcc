//! Accepting over the ring.
//!
//! INVARIANT: what the kernel writes for an accept, the descriptor and the caller's address, is read only after
//! that accept has landed, and the descriptor is taken once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use io_uring::opcode;
use socket2::{SockAddr, SockAddrStorage};

use super::flight::{Airborne, launch};
use super::socket::{UringHandle, UringSocket};
use crate::engine::kind::interrupted;

/// Room for the caller's address, reused by one accept after the other.
struct CallerAddress {
    storage: SockAddrStorage,
    length: libc::socklen_t,
}

pub(in crate::engine) struct UringAcceptor {
    socket: Rc<UringSocket>,
    /// `None` while the kernel has it.
    caller: Option<Box<CallerAddress>>,
}

impl UringAcceptor {
    pub(in crate::engine) fn new(fd: OwnedFd) -> Self {
        Self { socket: UringSocket::new(fd), caller: None }
    }

    pub(in crate::engine) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }

    pub(in crate::engine) fn handle(&self) -> UringHandle {
        UringHandle(Rc::downgrade(&self.socket))
    }

    pub(in crate::engine) async fn accept(&mut self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        if self.socket.interrupted.take() {
            return Err(interrupted());
        }
        let flight = self.launch_accept();
        self.land_accept(flight).await
    }

    /// Like `accept`, but does not wait: a cancel is queued right after it.
    pub(in crate::engine) async fn accept_waiting(
        &mut self,
    ) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        let flight = self.launch_accept();
        self.socket.cancel_waiting();
        match self.land_accept(flight).await {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            other => other,
        }
    }

    fn launch_accept(&mut self) -> Airborne<Box<CallerAddress>> {
        let mut caller = self.caller.take().unwrap_or_else(|| {
            Box::new(CallerAddress { storage: SockAddrStorage::zeroed(), length: 0 })
        });
        caller.length = caller.storage.size_of();
        let entry = opcode::Accept::new(
            self.socket.target(),
            (&raw mut caller.storage).cast(),
            &raw mut caller.length,
        )
        .flags(libc::SOCK_CLOEXEC)
        .build();
        self.socket.waiting.set(true);
        launch(Some(self.socket.clone()), caller, entry)
    }

    async fn land_accept(
        &mut self,
        flight: Airborne<Box<CallerAddress>>,
    ) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        let (result, mut caller) = flight.await;
        let accepted = self.socket.landed(result).map(|number| {
            // SAFETY: the completion of an accept gives us a descriptor that nobody else has.
            let fd = unsafe { OwnedFd::from_raw_fd(number as RawFd) };
            let storage = std::mem::replace(&mut caller.storage, SockAddrStorage::zeroed());
            // SAFETY: the storage was zeroed once and then written by the kernel, which tells
            // how much of it is an address.
            let address = unsafe { SockAddr::new(storage, caller.length) };
            (fd, address.as_socket())
        });
        self.caller = Some(caller);
        accepted
    }
}
