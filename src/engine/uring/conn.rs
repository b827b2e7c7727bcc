//! Connections, listeners and alarms over the ring.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, FsyncFlags, TimeoutFlags, Timespec};
use io_uring::{cqueue, opcode, squeue};
use rustix::net::Shutdown;
use socket2::{SockAddr, SockAddrStorage};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use crate::engine::{Buf, RUNNING, interrupted};

thread_local! {
    /// Operations of this thread whose memory the kernel may still touch.
    pub(super) static FLIGHTS: Cell<usize> = const { Cell::new(0) };
}

/// What one operation lends to the kernel.
struct Flight<M> {
    memory: M,
    _aloft: Aloft,
}

/// Counts a flight for as long as its memory lives; holds the descriptor open meanwhile.
struct Aloft(#[expect(dead_code, reason = "held for its drop")] Option<Rc<Socket>>);

impl Aloft {
    fn new(socket: Option<Rc<Socket>>) -> Self {
        FLIGHTS.set(FLIGHTS.get() + 1);
        Self(socket)
    }
}

impl Drop for Aloft {
    fn drop(&mut self) {
        FLIGHTS.set(FLIGHTS.get() - 1);
    }
}

/// Ends a flight: the kernel's answer, and the memory back.
struct Land<M>(PhantomData<M>);

impl<M> OneshotOutputTransform for Land<M> {
    type Output = (io::Result<usize>, M);
    type StoredData = Flight<M>;

    fn transform_oneshot_output(self, flight: Flight<M>, entry: cqueue::Entry) -> Self::Output {
        let answer = entry.result();
        let result = match usize::try_from(answer) {
            Ok(value) => Ok(value),
            Err(_) => Err(io::Error::from_raw_os_error(-answer)),
        };
        (result, flight.memory)
    }
}

type Airborne<M> = InFlightOneshot<Flight<M>, Land<M>>;

/// Queues `entry`, which may point into the heap behind `memory` and names `socket`'s descriptor;
/// both are held until it completes.
fn launch<M: Unpin>(socket: Option<Rc<Socket>>, memory: M, entry: squeue::Entry) -> Airborne<M> {
    let flight = Flight { memory, _aloft: Aloft::new(socket) };
    UnsubmittedOneshot::new(flight, Land(PhantomData), entry).submit()
}

/// What a receive is likely to find.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Expect {
    /// Octets that have come already.
    Octets,
    /// None yet: it answers what leaves at the same time.
    Wait,
}

/// Has a receive wait before its first attempt, which would find nothing (IORING_RECVSEND_POLL_FIRST,
/// Linux 5.19, like the cancel by descriptor without which there is no ring). The io-uring crate gives
/// no way to say so.
fn poll_first(entry: &mut squeue::Entry) {
    const IOPRIO_AT: usize = 2;
    const IORING_RECVSEND_POLL_FIRST: u16 = 1;
    // SAFETY: an entry is the kernel's `struct io_uring_sqe` of 64 octets (`repr(C)`), aligned to 8; the
    // two octets at 2 are its `ioprio`, where a receive has its flags.
    unsafe {
        let flags = (&raw mut *entry).cast::<u8>().add(IOPRIO_AT).cast::<u16>();
        flags.write(IORING_RECVSEND_POLL_FIRST);
    }
}

fn is_cancelled(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR))
}

/// A descriptor and what is known of its operations.
#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    /// Set by `interrupt`, taken by the receive or accept that answers for it.
    interrupted: Cell<bool>,
    /// A receive, accept or connect is in the ring.
    waiting: Cell<bool>,
    /// A send is in the ring. A cancel by descriptor could hit it instead of the receive beside it,
    /// so that is put off until the send has landed.
    sending: Cell<bool>,
    /// Whom `interrupt` wakes where the cancel is put off.
    put_off: RefCell<Option<Waker>>,
}

impl Socket {
    fn new(fd: OwnedFd) -> Rc<Self> {
        let (interrupted, waiting) = (Cell::new(false), Cell::new(false));
        let (sending, put_off) = (Cell::new(false), RefCell::default());
        Rc::new(Self { fd, interrupted, waiting, sending, put_off })
    }

    fn target(&self) -> Fd {
        Fd(self.fd.as_raw_fd())
    }

    fn shutdown(&self) {
        // ENOTCONN: the peer was faster.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
    }

    /// Cancels the operation that waits on this descriptor, if one does and it is alone.
    ///
    /// The queue keeps order: a cancel never meets an operation that was queued after it, so an
    /// operation that completes in the meantime is the only other outcome, and its answer stands.
    fn cancel_waiting(&self) {
        if self.waiting.get() && !self.sending.get() && RUNNING.get().is_some() {
            let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(self.target())).build();
            drop(UnsubmittedOneshot::new((), Forget, entry).submit());
        }
    }

    /// Has `interrupt` wake this task.
    fn wake_when_interrupted(&self, cx: &Context<'_>) {
        match &mut *self.put_off.borrow_mut() {
            Some(task) => task.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Turns the answer to a waiting operation into the caller's, and accounts for the interrupt.
    fn landed<T>(&self, result: io::Result<T>) -> io::Result<T> {
        self.waiting.set(false);
        match result {
            Err(error) if is_cancelled(&error) => {
                self.interrupted.set(false);
                Err(interrupted())
            }
            other => other,
        }
    }
}

/// For operations whose answer nobody needs.
pub(super) struct Forget;

impl OneshotOutputTransform for Forget {
    type Output = ();
    type StoredData = ();

    fn transform_oneshot_output(self, (): (), _: cqueue::Entry) {}
}

#[derive(Clone, Debug)]
pub(in crate::engine) struct Handle(Weak<Socket>);

impl Handle {
    pub(in crate::engine) fn interrupt(&self) {
        if let Some(socket) = self.0.upgrade() {
            socket.interrupted.set(true);
            socket.cancel_waiting();
            if let Some(task) = socket.put_off.take() {
                task.wake();
            }
        }
    }

    pub(in crate::engine) fn shutdown(&self) {
        if let Some(socket) = self.0.upgrade() {
            socket.shutdown();
        }
    }
}

#[derive(Debug)]
pub(in crate::engine) struct Conn {
    socket: Rc<Socket>,
}

impl Conn {
    pub(in crate::engine) fn new(fd: OwnedFd) -> Self {
        Self { socket: Socket::new(fd) }
    }

    pub(in crate::engine) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }

    pub(in crate::engine) fn handle(&self) -> Handle {
        Handle(Rc::downgrade(&self.socket))
    }

    pub(in crate::engine) async fn recv(&mut self, mut buf: Buf) -> (io::Result<usize>, Buf) {
        if self.socket.interrupted.take() {
            buf.clear();
            return (Err(interrupted()), buf);
        }
        let flight = self.launch_recv(buf, Expect::Octets);
        self.land_recv(flight).await
    }

    pub(in crate::engine) async fn send_all(&mut self, buf: Buf) -> (io::Result<()>, Buf) {
        let flight = self.launch_send(buf, 0);
        self.land_send(flight).await
    }

    pub(in crate::engine) async fn send_recv(
        &mut self,
        out: Buf,
        mut into: Buf,
    ) -> (io::Result<()>, Buf, io::Result<usize>, Buf) {
        let send = self.launch_send(out, 0);
        if self.socket.interrupted.take() {
            into.clear();
            let (sent, out) = self.land_send(send).await;
            return (sent, out, Err(interrupted()), into);
        }
        let recv = self.launch_recv(into, Expect::Wait);
        let mut send = pin!(self.land_send(send));
        let mut recv = pin!(self.land_recv(recv));
        let mut sent = None;
        // A send ends at once nearly always, and there is nothing to do then: nobody is woken for it.
        // One that fails has broken the connection, which ends the receive as well.
        let (received, into) = poll_fn(|cx| {
            if sent.is_none() && self.socket.interrupted.get() {
                if let Poll::Ready(landed) = send.as_mut().poll(cx) {
                    sent = Some(landed);
                    self.socket.cancel_waiting();
                }
            } else if sent.is_none() {
                self.socket.wake_when_interrupted(cx);
            }
            recv.as_mut().poll(cx)
        })
        .await;
        let (sent, out) = match sent {
            Some(landed) => landed,
            None => send.await,
        };
        (sent, out, received, into)
    }

    /// Waits for operations whose futures were dropped; the descriptor closes with the last owner.
    pub(in crate::engine) async fn close(self) {
        let socket = Rc::downgrade(&self.socket);
        drop(self);
        while socket.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn launch_recv(&self, mut buf: Buf, expect: Expect) -> Airborne<Buf> {
        buf.clear();
        let bytes = buf.vec_mut();
        let room = u32::try_from(bytes.capacity()).unwrap_or(u32::MAX);
        let mut entry = opcode::Recv::new(self.socket.target(), bytes.as_mut_ptr(), room).build();
        if expect == Expect::Wait {
            poll_first(&mut entry);
        }
        self.socket.waiting.set(true);
        launch(Some(self.socket.clone()), buf, entry)
    }

    async fn land_recv(&self, flight: Airborne<Buf>) -> (io::Result<usize>, Buf) {
        let (result, mut buf) = flight.await;
        if let Ok(count) = result {
            // SAFETY: the kernel wrote `count` octets to the start of the vector, no more than the
            // capacity it was told.
            unsafe { buf.vec_mut().set_len(count) };
        }
        (self.socket.landed(result), buf)
    }

    fn launch_send(&self, buf: Buf, sent: usize) -> Airborne<Buf> {
        let rest = &buf[sent..];
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        // MSG_WAITALL: the kernel itself goes on after a short send.
        let entry = opcode::Send::new(self.socket.target(), rest.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        self.socket.sending.set(true);
        launch(Some(self.socket.clone()), buf, entry)
    }

    async fn land_send(&self, mut flight: Airborne<Buf>) -> (io::Result<()>, Buf) {
        let mut sent = 0;
        let (result, buf) = loop {
            let (result, buf) = flight.await;
            match result {
                Ok(count) if sent + count == buf.len() => break (Ok(()), buf),
                Ok(0) => break (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(count) => sent += count,
                Err(error) => break (Err(error), buf),
            }
            flight = self.launch_send(buf, sent);
        };
        self.socket.sending.set(false);
        (result, buf)
    }
}

impl Drop for Conn {
    /// An operation whose future was dropped still holds the descriptor: end it, or the peer
    /// would never see the close.
    fn drop(&mut self) {
        if Rc::strong_count(&self.socket) > 1 {
            self.socket.shutdown();
        }
    }
}

/// Connects a blocking socket; on time-out the attempt is cancelled and awaited.
pub(in crate::engine) async fn connect(fd: OwnedFd, to: SockAddr, limit: Duration) -> io::Result<Conn> {
    let socket = Socket::new(fd);
    let to = Box::new(to);
    let entry = opcode::Connect::new(socket.target(), to.as_ptr().cast(), to.len()).build();
    let mut flight = launch(Some(socket.clone()), to, entry);
    socket.waiting.set(true);
    let landed = match tokio::time::timeout(limit, &mut flight).await {
        Ok((result, _)) => socket.landed(result),
        Err(_) => {
            socket.cancel_waiting();
            socket.landed(flight.await.0)
        }
    };
    match landed {
        Ok(_) => Ok(Conn { socket }),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error),
    }
}

/// Room for the caller's address, reused by one accept after the other.
struct Caller {
    storage: SockAddrStorage,
    length: libc::socklen_t,
}

pub(in crate::engine) struct Acceptor {
    socket: Rc<Socket>,
    caller: Option<Box<Caller>>,
}

impl Acceptor {
    pub(in crate::engine) fn new(fd: OwnedFd) -> Self {
        Self { socket: Socket::new(fd), caller: None }
    }

    pub(in crate::engine) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }

    pub(in crate::engine) fn handle(&self) -> Handle {
        Handle(Rc::downgrade(&self.socket))
    }

    pub(in crate::engine) async fn accept(&mut self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        if self.socket.interrupted.take() {
            return Err(interrupted());
        }
        let flight = self.launch_accept();
        self.land_accept(flight).await
    }

    /// Like `accept`, but does not wait: the cancel is queued right behind it.
    pub(in crate::engine) async fn accept_waiting(&mut self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        let flight = self.launch_accept();
        self.socket.cancel_waiting();
        match self.land_accept(flight).await {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            other => other,
        }
    }

    fn launch_accept(&mut self) -> Airborne<Box<Caller>> {
        let mut caller = self
            .caller
            .take()
            .unwrap_or_else(|| Box::new(Caller { storage: SockAddrStorage::zeroed(), length: 0 }));
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
        flight: Airborne<Box<Caller>>,
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

/// Absolute timeouts of the ring (IORING_OP_TIMEOUT on CLOCK_MONOTONIC).
#[derive(Debug, Default)]
pub(in crate::engine) struct Alarm {
    /// Where the kernel reads the time; with the kernel while the alarm is set.
    time: Option<Box<Timespec>>,
}

impl Alarm {
    pub(in crate::engine) async fn until(&mut self, at: Duration) -> io::Result<()> {
        let mut time = self.time.take().unwrap_or_default();
        *time = Timespec::new().sec(at.as_secs()).nsec(at.subsec_nanos());
        let entry = opcode::Timeout::new(&raw const *time).flags(TimeoutFlags::ABS).build();
        let (result, time) = launch(None, time, entry).await;
        self.time = Some(time);
        match result {
            // How a timeout says that it has come.
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            other => other.map(drop),
        }
    }
}

pub(in crate::engine) async fn sync_data(fd: RawFd) -> io::Result<()> {
    let entry = opcode::Fsync::new(Fd(fd)).flags(FsyncFlags::DATASYNC).build();
    launch(None, (), entry).await.0.map(drop)
}
