//! Connections over the ring.
//!
//! INVARIANT: a buffer belongs to the kernel from the launch of an operation until it lands, and holds then as
//! many octets as the kernel says that it wrote.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use io_uring::{opcode, squeue};
use socket2::SockAddr;

use super::flight::{Airborne, launch};
use super::socket::{UringHandle, UringSocket};
use crate::engine::buffer::Buf;
use crate::engine::kind::interrupted;

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
    const { assert!(size_of::<squeue::Entry>() == 64, "an entry is the kernel's io_uring_sqe") };
    // SAFETY: an entry is the kernel's `struct io_uring_sqe` of 64 octets (`repr(C)`), aligned to 8; the
    // two octets at 2 are its `ioprio`, where a receive has its flags.
    unsafe {
        let flags = (&raw mut *entry).cast::<u8>().add(IOPRIO_AT).cast::<u16>();
        flags.write(IORING_RECVSEND_POLL_FIRST);
    }
}

#[derive(Debug)]
pub(in crate::engine) struct UringConn {
    socket: Rc<UringSocket>,
}

impl UringConn {
    pub(in crate::engine) fn new(fd: OwnedFd) -> Self {
        Self { socket: UringSocket::new(fd) }
    }

    pub(in crate::engine) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }

    pub(in crate::engine) fn handle(&self) -> UringHandle {
        UringHandle(Rc::downgrade(&self.socket))
    }

    /// Receives behind the octets that `buf` holds.
    pub(in crate::engine) async fn recv(&mut self, buf: Buf) -> (io::Result<usize>, Buf) {
        if self.socket.interrupted.take() {
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
        into: Buf,
    ) -> (io::Result<()>, Buf, io::Result<usize>, Buf) {
        let send = self.launch_send(out, 0);
        if self.socket.interrupted.take() {
            let (sent, out) = self.land_send(send).await;
            return (sent, out, Err(interrupted()), into);
        }
        let recv = self.launch_recv(into, Expect::Wait);
        let mut send = pin!(self.land_send(send));
        let mut recv = pin!(self.land_recv(recv));
        let mut sent = None;
        // A send nearly always ends at once, and nothing is to be done then: no task is woken for it.
        // A send that fails has broken the connection, which ends the receive too.
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
        let room = buf.vec_mut().spare_capacity_mut();
        let length = u32::try_from(room.len()).unwrap_or(u32::MAX);
        let start = room.as_mut_ptr().cast();
        let mut entry = opcode::Recv::new(self.socket.target(), start, length).build();
        if expect == Expect::Wait {
            poll_first(&mut entry);
        }
        self.socket.waiting.set(true);
        launch(Some(self.socket.clone()), buf, entry)
    }

    async fn land_recv(&self, flight: Airborne<Buf>) -> (io::Result<usize>, Buf) {
        let (result, mut buf) = flight.await;
        if let Ok(count) = result {
            let (held, room) = (buf.len(), buf.capacity() - buf.len());
            assert!(count <= room, "the kernel wrote no more than it was given room for");
            // SAFETY: the kernel wrote `count` octets behind those that the vector holds, no more than
            // the spare capacity that it was told; the vector was not touched meanwhile.
            unsafe { buf.vec_mut().set_len(held + count) };
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
            debug_assert!(sent < buf.len(), "a send was for octets that were left");
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

impl Drop for UringConn {
    /// An operation whose future was dropped still holds the descriptor: end it, or the peer
    /// would never see the close.
    fn drop(&mut self) {
        if Rc::strong_count(&self.socket) > 1 {
            self.socket.shutdown();
        }
    }
}

/// Connects a blocking socket; on time-out the attempt is cancelled and awaited.
pub(in crate::engine) async fn connect(
    fd: OwnedFd,
    to: SockAddr,
    limit: Duration,
) -> io::Result<UringConn> {
    let socket = UringSocket::new(fd);
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
        Ok(_) => Ok(UringConn { socket }),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error),
    }
}
