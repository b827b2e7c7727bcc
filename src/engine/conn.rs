//! One connection, and the handle by which others on its core reach it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{RecvFlags, sockopt};

use super::address::Address;
use super::backend::{BackendConn, BackendHandle, each};
use super::buffer::Buf;
use super::kind::EngineKind;

/// One connection, TCP or unix.
#[derive(Debug)]
pub struct Conn {
    link: BackendConn,
    tcp: bool,
}

impl Conn {
    /// Wraps a connected socket that is blocking under io_uring and non-blocking under epoll.
    pub(super) fn new(kind: EngineKind, fd: OwnedFd, tcp: bool) -> io::Result<Self> {
        Ok(Self { link: BackendConn::new(kind, fd)?, tcp })
    }

    /// A connection that an engine has made.
    pub(super) fn over(link: BackendConn, tcp: bool) -> Self {
        Self { link, tcp }
    }

    /// Receives up to the buffer's capacity, in place of what it held. `Ok(0)` is the end of the
    /// peer's stream. `ErrorKind::Interrupted` says that [`Handle::interrupt`] was called; no octet
    /// is lost by that, the next call goes on.
    ///
    /// # Panics
    ///
    /// When `buf` has no capacity: its `Ok(0)` would read as the end of the stream.
    pub async fn recv(&mut self, mut buf: Buf) -> (io::Result<usize>, Buf) {
        buf.clear();
        self.recv_behind(buf).await
    }

    /// As [`Conn::recv`], behind the octets that `buf` holds.
    pub(super) async fn recv_behind(&mut self, buf: Buf) -> (io::Result<usize>, Buf) {
        assert!(buf.capacity() > buf.len(), "a receive needs room");
        each!(&mut self.link, conn => conn.recv(buf).await)
    }

    /// Receives what is there already, in place of what `buf` held, without waiting.
    ///
    /// So a session can wait with a small buffer and take the rest of a flight into a large one that
    /// it borrows for the moment: what waits stays small, and one large buffer stays in the cache.
    ///
    /// # Errors
    ///
    /// `ErrorKind::WouldBlock` when nothing is there; the others of [`Conn::recv`], except that
    /// interrupts are left for the next one.
    ///
    /// # Panics
    ///
    /// When `buf` has no capacity.
    pub fn recv_ready(&mut self, buf: &mut Buf) -> io::Result<usize> {
        buf.clear();
        self.recv_ready_behind(buf)
    }

    /// As [`Conn::recv_ready`], behind the octets that `buf` holds.
    pub(super) fn recv_ready_behind(&mut self, buf: &mut Buf) -> io::Result<usize> {
        assert!(buf.capacity() > buf.len(), "a receive needs room");
        let room = rustix::buffer::spare_capacity(buf.vec_mut());
        Ok(rustix::net::recv(self.fd(), room, RecvFlags::DONTWAIT)?.1)
    }

    /// Sends all of `buf` and gives it back unchanged. Not ended by [`Handle::interrupt`]: part of
    /// it may be on its way. [`Handle::shutdown`] ends it.
    pub async fn send_all(&mut self, buf: Buf) -> (io::Result<()>, Buf) {
        if buf.is_empty() {
            return (Ok(()), buf);
        }
        each!(&mut self.link, conn => conn.send_all(buf).await)
    }

    /// Sends all of `out` and receives into `into`: the same as `send_all`, then `recv`, with both
    /// handed to the kernel at once. After a failed send the receive's result means nothing more
    /// than that it ended.
    ///
    /// # Panics
    ///
    /// When `into` has no capacity.
    pub async fn send_recv(
        &mut self,
        out: Buf,
        mut into: Buf,
    ) -> (io::Result<()>, Buf, io::Result<usize>, Buf) {
        into.clear();
        self.send_recv_behind(out, into).await
    }

    /// As [`Conn::send_recv`], behind the octets that `into` holds.
    pub(super) async fn send_recv_behind(
        &mut self,
        out: Buf,
        into: Buf,
    ) -> (io::Result<()>, Buf, io::Result<usize>, Buf) {
        assert!(into.capacity() > into.len(), "a receive needs room");
        if out.is_empty() {
            let (received, into) = self.recv_behind(into).await;
            return (Ok(()), out, received, into);
        }
        each!(&mut self.link, conn => conn.send_recv(out, into).await)
    }

    /// A handle by which others on this core reach the connection while it waits.
    pub fn handle(&self) -> Handle {
        Handle(self.link.handle())
    }

    /// Asks the kernel to acknowledge at once what arrives next (TCP only). Clients that write a
    /// message in several small pieces wait 40 ms for each delayed acknowledgement otherwise. The
    /// kernel forgets it again, so ask whenever there is nothing to say.
    pub fn quickack(&self) {
        if self.tcp {
            // A connection that is gone says so at the next receive.
            let _ = sockopt::set_tcp_quickack(self.fd(), true);
        }
    }

    /// Makes the close a reset: nothing lingers in TIME_WAIT, and octets not yet sent are dropped.
    pub fn reset_on_close(&self) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(self.fd(), Some(Duration::ZERO))?)
    }

    /// Ends our direction: what was sent before arrives, and then the peer sees the end of the
    /// stream. Receiving goes on.
    pub fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.fd(), rustix::net::Shutdown::Write)?)
    }

    pub fn local_address(&self) -> io::Result<Address> {
        Address::of_socket(self.fd())
    }

    /// Closes: the descriptor is gone when this returns. An operation whose future was dropped is
    /// ended first.
    pub async fn close(self) {
        each!(self.link, conn => conn.close().await);
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        each!(&self.link, conn => conn.fd())
    }
}

/// Reaches a connection or listener of this core while its owner waits in an operation. Does not
/// keep it open; on a closed one every call does nothing.
#[derive(Clone, Debug)]
pub struct Handle(pub(super) BackendHandle);

impl Handle {
    /// Sets a flag that the pending `recv` or `accept`, or else the next one, takes and answers with
    /// `ErrorKind::Interrupted`. Several calls before that count as one. A receive that has octets
    /// by then answers them, and the flag stays for the next. Sends are let through.
    pub fn interrupt(&self) {
        each!(&self.0, handle => handle.interrupt());
    }

    /// Ends both directions: a pending send fails, a pending receive sees the end of the stream.
    pub fn shutdown(&self) {
        each!(&self.0, handle => handle.shutdown());
    }
}
