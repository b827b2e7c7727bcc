//! The readiness engine: tokio's epoll driver, for hosts that refuse io_uring.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags, acceptfrom_with};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use socket2::SockAddr;
use tokio::io::unix::AsyncFd;
use tokio::task::LocalSet;

use super::blocking::spawn_blocking;
use super::buffer::Buf;
use super::kind::interrupted;
use super::sys;

/// Pause before a unix connect is tried again while the listener's backlog is full.
const CONNECT_RETRY_MS: u64 = 5;

/// A registered descriptor and the flag that ends a wait on it.
#[derive(Debug)]
struct EpollSocket {
    fd: AsyncFd<OwnedFd>,
    interrupted: Cell<bool>,
    /// The task that waits to read, to be woken when the flag is set.
    waiter: RefCell<Option<Waker>>,
}

impl EpollSocket {
    fn new(fd: OwnedFd) -> io::Result<Rc<Self>> {
        let fd = sys::register(fd)?;
        let (interrupted, waiter) = (Cell::new(false), RefCell::new(None));
        Ok(Rc::new(Self { fd, interrupted, waiter }))
    }

    /// Waits until `attempt` does not answer WouldBlock. The flag is checked first, at every poll.
    async fn when_readable<T>(
        &self,
        mut attempt: impl FnMut(&OwnedFd) -> io::Result<Attempt<T>>,
    ) -> io::Result<T> {
        poll_fn(|context| self.poll_readable(context, &mut attempt)).await
    }

    fn poll_readable<T>(
        &self,
        context: &mut Context<'_>,
        attempt: &mut impl FnMut(&OwnedFd) -> io::Result<Attempt<T>>,
    ) -> Poll<io::Result<T>> {
        if self.interrupted.take() {
            return Poll::Ready(Err(interrupted()));
        }
        loop {
            let Poll::Ready(guard) = self.fd.poll_read_ready(context) else {
                let mut waiter = self.waiter.borrow_mut();
                if !waiter.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    *waiter = Some(context.waker().clone());
                }
                return Poll::Pending;
            };
            let mut guard = guard?;
            match attempt(guard.get_inner()) {
                Ok(Attempt::Drained(value)) => {
                    guard.clear_ready();
                    return Poll::Ready(Ok(value));
                }
                Ok(Attempt::Done(value)) => return Poll::Ready(Ok(value)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// What one try at a ready descriptor gave.
enum Attempt<T> {
    Done(T),
    /// Done, and there was less than asked for: the next try would answer WouldBlock, so it is left
    /// out. The kernel reports what arrives later as a new edge.
    Drained(T),
}

#[derive(Clone, Debug)]
pub(super) struct EpollHandle(Weak<EpollSocket>);

impl EpollHandle {
    pub(super) fn interrupt(&self) {
        if let Some(socket) = self.0.upgrade() {
            socket.interrupted.set(true);
            if let Some(waiter) = socket.waiter.borrow_mut().take() {
                waiter.wake();
            }
        }
    }

    pub(super) fn shutdown(&self) {
        if let Some(socket) = self.0.upgrade() {
            // ENOTCONN: the peer was faster.
            let _ = rustix::net::shutdown(socket.fd.get_ref(), Shutdown::Both);
        }
    }
}

#[derive(Debug)]
pub(super) struct EpollConn {
    socket: Rc<EpollSocket>,
}

impl EpollConn {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: EpollSocket::new(fd)? })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.get_ref().as_fd()
    }

    pub(super) fn handle(&self) -> EpollHandle {
        EpollHandle(Rc::downgrade(&self.socket))
    }

    /// Receives behind the octets that `buf` holds.
    pub(super) async fn recv(&mut self, mut buf: Buf) -> (io::Result<usize>, Buf) {
        let room = buf.capacity() - buf.len();
        let result = self
            .socket
            .when_readable(|fd| {
                let flags = RecvFlags::empty();
                let count = rustix::net::recv(fd, spare_capacity(buf.vec_mut()), flags)?.1;
                debug_assert!(count <= room, "the kernel wrote no more than it was given room for");
                let partial = count > 0 && count < room;
                Ok(if partial { Attempt::Drained(count) } else { Attempt::Done(count) })
            })
            .await;
        (result, buf)
    }

    pub(super) async fn send_all(&mut self, buf: Buf) -> (io::Result<()>, Buf) {
        let mut sent = 0;
        let result = loop {
            if sent == buf.len() {
                break Ok(());
            }
            match rustix::net::send(self.fd(), &buf[sent..], SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(rustix::io::Errno::AGAIN) => {
                    if let Err(error) = self.writable().await {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error.into()),
            }
        };
        (result, buf)
    }

    pub(super) async fn send_recv(
        &mut self,
        out: Buf,
        into: Buf,
    ) -> (io::Result<()>, Buf, io::Result<usize>, Buf) {
        let (sent, out) = self.send_all(out).await;
        if sent.is_err() {
            return (sent, out, Err(io::ErrorKind::NotConnected.into()), into);
        }
        let (received, into) = self.recv(into).await;
        (sent, out, received, into)
    }

    /// The descriptor closes with the last owner, and this is it.
    pub(super) async fn close(self) {}

    /// Waits for room after a send found none. The readiness may be a stale one, from before that
    /// send: it is cleared, the caller tries again, and only then does the wait become a real one.
    async fn writable(&self) -> io::Result<()> {
        self.socket.fd.writable().await?.clear_ready();
        Ok(())
    }
}

/// Connects a non-blocking socket.
pub(super) async fn connect(
    socket: socket2::Socket,
    to: &SockAddr,
    limit: Duration,
) -> io::Result<EpollConn> {
    tokio::time::timeout(limit, async {
        while let Err(error) = socket.connect(to) {
            match error.raw_os_error() {
                Some(libc::EINPROGRESS) => return finish_connect(socket).await,
                // A unix listener whose backlog is full: there is nothing to wait on.
                Some(libc::EAGAIN) if to.is_unix() => {
                    tokio::time::sleep(Duration::from_millis(CONNECT_RETRY_MS)).await;
                }
                _ => return Err(error),
            }
        }
        EpollConn::new(socket.into())
    })
    .await
    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn finish_connect(socket: socket2::Socket) -> io::Result<EpollConn> {
    let conn = EpollConn::new(socket.into())?;
    conn.socket.fd.writable().await?.retain_ready();
    match socket2::SockRef::from(&conn.fd()).take_error()? {
        None => Ok(conn),
        Some(error) => Err(error),
    }
}

pub(super) struct EpollAcceptor {
    socket: Rc<EpollSocket>,
}

impl EpollAcceptor {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: EpollSocket::new(fd)? })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.get_ref().as_fd()
    }

    pub(super) fn handle(&self) -> EpollHandle {
        EpollHandle(Rc::downgrade(&self.socket))
    }

    pub(super) async fn accept(&mut self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        self.socket.when_readable(|fd| accept_now(fd).map(Attempt::Done)).await
    }

    pub(super) async fn accept_waiting(&mut self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        accept_now(self.socket.fd.get_ref())
    }
}

fn accept_now(fd: &OwnedFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (accepted, caller) = acceptfrom_with(fd, flags)?;
    Ok((accepted, caller.and_then(|address| SocketAddr::try_from(address).ok())))
}

/// A timer descriptor among the others that epoll watches.
#[derive(Debug)]
pub(super) struct EpollAlarm(AsyncFd<OwnedFd>);

impl EpollAlarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(sys::register(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
    }

    /// `at` is a time of CLOCK_MONOTONIC.
    pub(super) async fn until(&mut self, at: Duration) -> io::Result<()> {
        let at = Timespec { tv_sec: at.as_secs() as i64, tv_nsec: at.subsec_nanos().into() };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval: never, it_value: at };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::ABSTIME, &once)?;
        loop {
            let mut guard = self.0.readable().await?;
            match rustix::io::read(guard.get_inner(), &mut [0; 8]) {
                // Setting it anew made an earlier expiry forgotten, which may still be reported.
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                other => return Ok(other.map(drop)?),
            }
        }
    }
}

pub(super) async fn sync_data(fd: RawFd) -> io::Result<()> {
    spawn_blocking(move || sys::fdatasync(fd)).await?
}

pub(super) fn run<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    let output = runtime.block_on(tasks.run_until(future));
    // Tasks before the driver that their descriptors are registered with.
    drop(tasks);
    // A drop would wait for blocking work, which may hang.
    runtime.shutdown_background();
    Ok(output)
}
