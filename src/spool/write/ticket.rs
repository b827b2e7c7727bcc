//! What a writer promises of a sealed message, and when.

use crate::spool::format::Place;

/// Number of a sealed message among all that one writer has sealed, from 1 on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub(super) u64);

/// A message that is in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// Where readers find it: its name.
    pub place: Place,
    /// What to ask [`Writer::fate`](super::Writer::fate) about before it is acknowledged.
    pub ticket: Ticket,
}

/// Whether a sealed message may be acknowledged. `Kept` and `Lost` are final.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TicketFate {
    /// Not known yet: a sync has to cover it first.
    Waiting,
    /// It is as durable as was promised.
    Kept,
    /// The segment that holds a part of it was given up before that; it was taken out of the log.
    Lost,
}
