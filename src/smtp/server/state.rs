//! What the server remembers of a session: how far the greeting, the input and the transaction are.

use super::content::{Chunk, Data, IncomingContent};
use super::request::Request;
use crate::smtp::auth::Exchange;

/// How far the client has introduced itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Greeting {
    /// Not one line has come: the time to notice that this is no SMTP client.
    Unheard,
    Awaited,
    Helo,
    /// EHLO or LHLO: extensions may be used.
    Ehlo,
}

/// What the next octet is part of.
#[derive(Debug)]
pub(super) enum ServerPhase {
    Command,
    /// A challenge of AUTH was sent, and its answer is due.
    Auth(Exchange),
    Data(Data),
    Chunk(Chunk),
    /// `End` was given; `accept` or `refuse` is due.
    Verdict,
    /// `Request` was given; its answer is due.
    Request(Request),
    /// The roles are turned round: no more is taken.
    Turned,
    /// `StartTls` was given; its answer is due, and after 220 the handshake.
    Encrypting,
    /// `Close` is the next event.
    Closing,
    Closed,
}

/// How far the mail transaction is.
///
/// INVARIANT: `Idle` and `Failed` have an empty envelope; `Chunks` has a recipient.
#[derive(Debug)]
pub(super) enum Transaction {
    Idle,
    /// MAIL was accepted. `refused` counts RCPT commands that were not.
    Mail {
        refused: u32,
    },
    /// A BDAT chunk was accepted.
    Chunks(IncomingContent),
    /// A BDAT chunk was refused that was not the last: those after it are refused too, until the
    /// last one or RSET. `recipients` is how many replies LMTP owes to the last.
    Failed {
        recipients: usize,
    },
}
