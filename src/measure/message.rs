//! One message, as a core records it when it has ended.

use super::kind::Outcome;

/// Whether arrivals have an intended start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// The next message starts when the last one is answered: no intended start, so no response
    /// time and no send lag.
    Closed,
    /// Arrivals are scheduled; late work is never dropped.
    Open,
}

/// One finished message transaction.
#[derive(Clone, Copy, Debug)]
pub struct MessageSample {
    pub outcome: Outcome,
    /// Octets of the message before dot-stuffing.
    pub bytes: u64,
    pub recipients: u32,
    /// When it was due, or in a closed loop when its first octet was sent; since the start of the run.
    /// It decides whether the message is in the figures.
    pub start_ns: u64,
    /// First octet of the transaction sent to the last octet of its final reply.
    pub service_ns: u64,
    /// `Some` in an open loop, `None` in a closed one.
    pub open: Option<OpenLoop>,
}

/// Times that count from the intended start.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoop {
    /// Intended start to the last octet of the final reply.
    pub response_ns: u64,
    /// Intended start to the first octet handed to the kernel.
    pub send_lag_ns: u64,
    /// The part of the send lag while a session was free for it: the generator's own share.
    pub own_lag_ns: u64,
}
