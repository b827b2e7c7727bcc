//! What a writer promises of a sealed message, and when.

use crate::spool::format::Place;

/// The number of a sealed message among all that its writer has sealed, from 1 on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub(super) u64);

/// A message that is in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// Where readers find it. This is its name.
    pub place: Place,
    /// What to ask [`Writer::fate`](super::Writer::fate) about before it is acknowledged.
    pub ticket: Ticket,
}

/// Whether a sealed message may be acknowledged. `Kept` and `Lost` are final.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TicketFate {
    /// Not known yet: a sync has to cover the message first.
    Waiting,
    /// The message is as durable as was promised.
    Kept,
    /// A segment that may hold a part of the message was given up before that, and the message was taken out
    /// of the log.
    Lost,
}
