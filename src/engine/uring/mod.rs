//! The io_uring engine: single-shot operations on plain descriptors through tokio-uring's ring.
//!
//! INVARIANT: memory that the kernel may write to or read from is owned by the operation's
//! `Flight` from submission to completion. tokio-uring holds the flight while the operation runs,
//! whether or not its future is still awaited. [`ring`] makes the ring outlive every flight, because
//! tokio-uring, when it is dropped, frees abandoned flights before it has cancelled them.

mod accept;
mod alarm;
mod cancel;
mod conn;
mod flight;
mod ring;
mod socket;
mod sync;

pub(super) use accept::UringAcceptor;
pub(super) use alarm::UringAlarm;
pub(super) use conn::{UringConn, connect};
pub(super) use ring::{probe, run};
pub(super) use socket::UringHandle;
pub(super) use sync::sync_data;
