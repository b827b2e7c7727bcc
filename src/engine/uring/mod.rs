//! The io_uring engine: single-shot operations on plain descriptors through tokio-uring's ring.
//!
//! Invariant: memory that the kernel may write to or read from is owned by the operation's
//! `Flight` from submission to completion. tokio-uring holds the flight while the operation runs,
//! whether or not somebody still awaits it; [`ring`] sees to it that the ring outlives every flight,
//! because tokio-uring itself frees abandoned ones before it has cancelled them when it is dropped.

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
