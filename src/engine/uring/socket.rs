//! A descriptor, what is known of its operations in the ring, and how they are interrupted.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};

use io_uring::types::{CancelBuilder, Fd};
use rustix::net::Shutdown;

use super::cancel::cancel;
use crate::engine::kind::{interrupted, running};

fn is_cancelled(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR))
}

/// A descriptor and what is known of its operations.
#[derive(Debug)]
pub(super) struct UringSocket {
    pub(super) fd: OwnedFd,
    /// Set by `interrupt`, taken by the receive or accept that answers for it.
    pub(super) interrupted: Cell<bool>,
    /// A receive, accept or connect is in the ring.
    pub(super) waiting: Cell<bool>,
    /// A send is in the ring. A cancel by descriptor could hit it instead of the receive beside it,
    /// so that is put off until the send has landed.
    pub(super) sending: Cell<bool>,
    /// The task that `interrupt` wakes while the cancel is put off.
    put_off: RefCell<Option<Waker>>,
}

impl UringSocket {
    pub(super) fn new(fd: OwnedFd) -> Rc<Self> {
        let (interrupted, waiting) = (Cell::new(false), Cell::new(false));
        let (sending, put_off) = (Cell::new(false), RefCell::default());
        Rc::new(Self { fd, interrupted, waiting, sending, put_off })
    }

    pub(super) fn target(&self) -> Fd {
        Fd(self.fd.as_raw_fd())
    }

    pub(super) fn shutdown(&self) {
        // ENOTCONN: the peer was faster.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
    }

    /// Cancels the operation that waits on this descriptor, if one does and it is alone.
    ///
    /// The queue keeps order: a cancel never meets an operation that was queued after it, so an
    /// operation that completes in the meantime is the only other outcome, and its answer stands.
    pub(super) fn cancel_waiting(&self) {
        if self.waiting.get() && !self.sending.get() && running().is_some() {
            drop(cancel(CancelBuilder::fd(self.target())));
        }
    }

    /// Has `interrupt` wake this task.
    pub(super) fn wake_when_interrupted(&self, cx: &Context<'_>) {
        match &mut *self.put_off.borrow_mut() {
            Some(task) => task.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Turns the kernel's answer to a waiting operation into the caller's; a cancelled one takes the
    /// interrupt's flag.
    pub(super) fn landed<T>(&self, result: io::Result<T>) -> io::Result<T> {
        debug_assert!(self.waiting.get(), "what lands was in the ring");
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

#[derive(Clone, Debug)]
pub(in crate::engine) struct UringHandle(pub(super) Weak<UringSocket>);

impl UringHandle {
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
