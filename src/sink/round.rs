//! One round of a session: what it did, and what follows it.

/// What to do when the protocol has given all its events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    Receive,
    /// The reply queue is full and input is left.
    SendFirst,
    /// The client asks for mail that waits.
    Answer,
    /// TLS begins after the queued replies.
    Secure,
    /// Nothing is said any more: a fault that was asked for.
    Hold,
    /// The roles are swapped after the queued replies.
    Turn,
    Close,
    /// The peer is gone.
    Gone,
}

/// What a round did that changes the deadline of the peer.
#[derive(Clone, Copy, Default)]
pub(super) struct Round {
    pub(super) octets: usize,
    pub(super) replied: bool,
    /// A message began, ended or was given up.
    pub(super) turned: bool,
}
