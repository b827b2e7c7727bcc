//! A connection of one core, whichever engine runs.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::{RecvFlags, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::limits::CONNECT_S_DEFAULT;

use super::{Address, Buf, epoll, sys, uring};

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
    pub(super) static RUNNING: Cell<Option<EngineKind>> = const { Cell::new(None) };
}

/// Runs `future` on this thread with the engine's runtime; `tokio::task::spawn_local` and
/// `tokio::time` work inside. Tasks that still live when it ends are dropped.
///
/// # Panics
///
/// When called on a thread that already runs a core.
pub fn run_core<F: Future>(kind: EngineKind, future: F) -> io::Result<F::Output> {
    match kind {
        EngineKind::Epoll => epoll::run(running(kind, future)),
        EngineKind::Uring => uring::run(running(kind, future)),
    }
}

/// Marks the thread while `future` runs, also when it unwinds.
async fn running<F: Future>(kind: EngineKind, future: F) -> F::Output {
    struct Unmark;
    impl Drop for Unmark {
        fn drop(&mut self) {
            RUNNING.set(None);
        }
    }
    assert!(RUNNING.replace(Some(kind)).is_none(), "a core runs on this thread already");
    let _unmark = Unmark;
    future.await
}

/// The engine of the core that runs on this thread.
pub(super) fn current() -> io::Result<EngineKind> {
    RUNNING.get().ok_or_else(|| io::Error::other("no engine runs on this thread"))
}

/// One connection, TCP or unix.
#[derive(Debug)]
pub struct Conn {
    link: Link,
    tcp: bool,
}

#[derive(Debug)]
enum Link {
    Epoll(epoll::Conn),
    Uring(uring::Conn),
}

impl Conn {
    /// Wraps a connected socket that is blocking under io_uring and non-blocking under epoll.
    pub(super) fn new(kind: EngineKind, fd: OwnedFd, tcp: bool) -> io::Result<Self> {
        let link = match kind {
            EngineKind::Epoll => Link::Epoll(epoll::Conn::new(fd)?),
            EngineKind::Uring => Link::Uring(uring::Conn::new(fd)),
        };
        Ok(Self { link, tcp })
    }

    /// Receives up to the buffer's capacity, in place of what it held. `Ok(0)` is the end of the
    /// peer's stream. `ErrorKind::Interrupted` says that [`Handle::interrupt`] was called; no octet
    /// is lost by that, the next call goes on.
    ///
    /// # Panics
    ///
    /// When `buf` has no capacity: its `Ok(0)` would read as the end of the stream.
    pub async fn recv(&mut self, buf: Buf) -> (io::Result<usize>, Buf) {
        assert!(buf.capacity() > 0, "a receive needs room");
        match &mut self.link {
            Link::Epoll(conn) => conn.recv(buf).await,
            Link::Uring(conn) => conn.recv(buf).await,
        }
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
        assert!(buf.capacity() > 0, "a receive needs room");
        buf.clear();
        let room = rustix::buffer::spare_capacity(buf.vec_mut());
        Ok(rustix::net::recv(self.fd(), room, RecvFlags::DONTWAIT)?.1)
    }

    /// Sends all of `buf` and gives it back unchanged. Not ended by [`Handle::interrupt`]: part of
    /// it may be on its way. [`Handle::shutdown`] ends it.
    pub async fn send_all(&mut self, buf: Buf) -> (io::Result<()>, Buf) {
        if buf.is_empty() {
            return (Ok(()), buf);
        }
        match &mut self.link {
            Link::Epoll(conn) => conn.send_all(buf).await,
            Link::Uring(conn) => conn.send_all(buf).await,
        }
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
        into: Buf,
    ) -> (io::Result<()>, Buf, io::Result<usize>, Buf) {
        assert!(into.capacity() > 0, "a receive needs room");
        if out.is_empty() {
            let (received, into) = self.recv(into).await;
            return (Ok(()), out, received, into);
        }
        match &mut self.link {
            Link::Epoll(conn) => conn.send_recv(out, into).await,
            Link::Uring(conn) => conn.send_recv(out, into).await,
        }
    }

    /// A handle by which others on this core reach the connection while it waits.
    pub fn handle(&self) -> Handle {
        Handle(match &self.link {
            Link::Epoll(conn) => Reach::Epoll(conn.handle()),
            Link::Uring(conn) => Reach::Uring(conn.handle()),
        })
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
        local_address(self.fd())
    }

    /// Closes: the descriptor is gone when this returns. An operation whose future was dropped is
    /// ended first.
    pub async fn close(self) {
        match self.link {
            Link::Epoll(conn) => drop(conn),
            Link::Uring(conn) => conn.close().await,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match &self.link {
            Link::Epoll(conn) => conn.fd(),
            Link::Uring(conn) => conn.fd(),
        }
    }
}

/// Reaches a connection or listener of this core while its owner waits in an operation. Does not
/// keep it open; on a closed one every call does nothing.
#[derive(Clone, Debug)]
pub struct Handle(pub(super) Reach);

#[derive(Clone, Debug)]
pub(super) enum Reach {
    Epoll(epoll::Handle),
    Uring(uring::Handle),
}

impl Handle {
    /// Sets a flag that the pending `recv` or `accept`, or else the next one, takes and answers with
    /// `ErrorKind::Interrupted`. Several calls before that count as one. A receive that has octets
    /// by then answers them, and the flag stays for the next. Sends are let through.
    pub fn interrupt(&self) {
        match &self.0 {
            Reach::Epoll(handle) => handle.interrupt(),
            Reach::Uring(handle) => handle.interrupt(),
        }
    }

    /// Ends both directions: a pending send fails, a pending receive sees the end of the stream.
    pub fn shutdown(&self) {
        match &self.0 {
            Reach::Epoll(handle) => handle.shutdown(),
            Reach::Uring(handle) => handle.shutdown(),
        }
    }
}

/// How a connection is made.
#[derive(Clone, Copy, Debug)]
pub struct Connecting {
    /// The address of ours that it comes from; `None` lets the kernel choose.
    pub from: Option<IpAddr>,
    /// SO_RCVBUF and SO_SNDBUF, set before the window is agreed on.
    pub recv_buffer: Option<usize>,
    pub send_buffer: Option<usize>,
    /// Longer is `ErrorKind::TimedOut`.
    pub limit: Duration,
}

impl Default for Connecting {
    fn default() -> Self {
        let limit = Duration::from_secs(CONNECT_S_DEFAULT);
        Self { from: None, recv_buffer: None, send_buffer: None, limit }
    }
}

/// Connects with TCP_NODELAY, on the current core.
pub async fn connect(address: &Address, how: &Connecting) -> io::Result<Conn> {
    let kind = current()?;
    let sockaddr = address.to_sockaddr()?;
    let socket = Socket::new(sockaddr.domain(), Type::STREAM, None)?;
    if address.is_tcp() {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(octets) = how.recv_buffer {
        socket.set_recv_buffer_size(octets)?;
    }
    if let Some(octets) = how.send_buffer {
        socket.set_send_buffer_size(octets)?;
    }
    if let Some(ip) = how.from.filter(|_| address.is_tcp()) {
        bind_source(&socket, ip)?;
    }
    let link = match kind {
        EngineKind::Epoll => {
            socket.set_nonblocking(true)?;
            Link::Epoll(epoll::connect(socket, &sockaddr, how.limit).await?)
        }
        EngineKind::Uring => Link::Uring(uring::connect(socket.into(), sockaddr, how.limit).await?),
    };
    Ok(Conn { link, tcp: address.is_tcp() })
}

/// Whether the kernel says that `ip` is no address of this machine. What it cannot say counts as one.
pub fn is_elsewhere(ip: IpAddr) -> bool {
    let bound = Socket::new(Domain::for_address((ip, 0).into()), Type::STREAM, None)
        .and_then(|socket| bind_source(&socket, ip));
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

fn bind_source(socket: &Socket, ip: IpAddr) -> io::Result<()> {
    if socket.domain()? != Domain::for_address((ip, 0).into()) {
        let text = format!("the source address {ip} is of another family than the target");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    sys::bind_address_no_port(socket.as_fd())?;
    socket.bind(&SockAddr::from(SocketAddr::new(ip, 0)))
}

/// fdatasync(2) without blocking the core. `fd` must stay open until this ends.
pub async fn sync_data(fd: RawFd) -> io::Result<()> {
    match current()? {
        EngineKind::Epoll => epoll::sync_data(fd).await,
        EngineKind::Uring => uring::sync_data(fd).await,
    }
}

pub(super) fn local_address(fd: BorrowedFd<'_>) -> io::Result<Address> {
    Ok(Address::from_sockaddr(&socket2::SockRef::from(&fd).local_addr()?))
}

pub(super) fn interrupted() -> io::Error {
    io::ErrorKind::Interrupted.into()
}
