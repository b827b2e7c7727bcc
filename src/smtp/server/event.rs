//! What the server asks its caller to do, and what it may be told.

use crate::smtp::flags::Flags;

/// What the caller has to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// A message starts; [`Server::envelope`](super::Server::envelope) is complete.
    Begin,
    /// Message octets, dots unstuffed, in order; never empty.
    Body(&'a [u8]),
    /// The message is complete. It waits for [`Server::accept`](super::Server::accept), [`Server::end_accepted`](super::Server::end_accepted) or
    /// [`Server::refuse`](super::Server::refuse), one of which must be called before the next [`Server::step`](super::Server::step).
    End(Flags),
    /// The client asks for mail that waits: [`Server::request`](super::Server::request) says for which. It waits for
    /// [`Server::answer_etrn`](super::Server::answer_etrn) or [`Server::answer_atrn`](super::Server::answer_atrn), one of which must be called before the next
    /// [`Server::step`](super::Server::step).
    Request,
    /// The client wants TLS. It waits for [`Server::answer_starttls`](super::Server::answer_starttls), and after 220
    /// for [`Server::secured`](super::Server::secured).
    StartTls,
    /// What `Body` gave since `Begin` is to be forgotten. Without a `Begin`: a message was refused for the
    /// size of its first chunk.
    Discard,
    /// Send the replies, then close. No event follows.
    Close,
}

/// An [`Event`] that comes of a command or of the end of a message, so that it carries no octets. It is returned in a
/// register. An `Event` is not: each function that hands one on would copy it through memory, and wait for what was
/// just written there in smaller parts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CommandEvent {
    Begin,
    End(Flags),
    Request,
    StartTls,
    Discard,
}

const _: () = assert!(size_of::<Option<Option<CommandEvent>>>() <= size_of::<usize>());

impl From<CommandEvent> for Event<'_> {
    #[inline]
    fn from(event: CommandEvent) -> Self {
        match event {
            CommandEvent::Begin => Event::Begin,
            CommandEvent::End(flags) => Event::End(flags),
            CommandEvent::Request => Event::Request,
            CommandEvent::StartTls => Event::StartTls,
            CommandEvent::Discard => Event::Discard,
        }
    }
}

/// Why a caller ends a session on its own account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// The client was silent for too long (RFC 5321 §4.5.3.2.7).
    Timeout,
    ShuttingDown,
    /// No room for one more session.
    Overloaded,
    TooManyErrors,
    /// No more sessions for this address.
    PeerCrowd,
    /// The client did not wait for the greeting.
    EarlyTalker,
    /// Others need the room in which the session waits for the rest of a TLS record.
    RecordCrowd,
}
