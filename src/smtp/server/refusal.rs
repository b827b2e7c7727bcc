//! The refusals of a session: what was refused, and with which codes.

use super::reply_counts::VerbClass;
use crate::smtp::command::Verb;
use crate::smtp::reply::EnhancedCode;

/// Kinds of refusals that a session tells apart between two calls of
/// [`Server::drain_refusals`](super::Server::drain_refusals). A client gets no more kinds in one round:
/// the session ends after 20 errors.
const KINDS_MAX: usize = 32;

/// What a refusal answers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum RefusalPhase {
    /// The connection: there was no greeting.
    Connect,
    /// HELO, EHLO and LHLO.
    Hello,
    /// AUTH, and the answers to its challenges.
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The end of a message.
    EndOfData,
    /// Any other command.
    Other,
    /// The session itself: the server ended it.
    Session,
}

impl RefusalPhase {
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::Hello,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::EndOfData,
        Self::Other,
        Self::Session,
    ];

    pub(super) fn of(class: VerbClass, verb: Verb) -> Self {
        match (class, verb) {
            (VerbClass::Connect, _) => Self::Connect,
            (VerbClass::Mail, _) => Self::Mail,
            (VerbClass::Rcpt, _) => Self::Rcpt,
            (VerbClass::Data, _) => Self::Data,
            (VerbClass::EndOfData, _) => Self::EndOfData,
            (VerbClass::Other, Verb::Ehlo | Verb::Helo | Verb::Lhlo) => Self::Hello,
            (VerbClass::Other, Verb::Auth) => Self::Auth,
            (VerbClass::Other, _) => Self::Other,
        }
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Hello => "hello",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::EndOfData => "end_of_data",
            Self::Other => "other",
            Self::Session => "session",
        }
    }

    /// What was refused, as a text names it after "to".
    pub const fn title(self) -> &'static str {
        match self {
            Self::Connect => "a connection",
            Self::Hello => "HELO or EHLO",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::EndOfData => "a message",
            Self::Other => "another command",
            Self::Session => "a session",
        }
    }
}

/// One kind of refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    pub phase: RefusalPhase,
    /// From 400 to 599.
    pub code: u16,
    /// `None` where the reply has none, as with `--no-ext ENHANCEDSTATUSCODES`.
    pub enhanced: Option<EnhancedCode>,
}

impl Refusal {
    /// Reads the codes of a rendered reply; `None` when it refuses nothing.
    pub fn read(phase: RefusalPhase, reply: &[u8]) -> Option<Self> {
        let &[a @ (b'4' | b'5'), b @ b'0'..=b'9', c @ b'0'..=b'9', _, ref text @ ..] = reply else {
            return None;
        };
        let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
        Some(Self { phase, code, enhanced: EnhancedCode::parse(text) })
    }
}

/// `550 5.1.1 to RCPT`.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, "{enhanced} ")?;
        }
        write!(f, "to {}", self.phase.title())
    }
}

/// Refusals that were not taken yet, each kind once, with how often it came.
///
/// INVARIANT: at most [`KINDS_MAX`] kinds.
#[derive(Debug, Default)]
pub(super) struct Refusals(pub(super) Vec<(Refusal, u32)>);

impl Refusals {
    #[cold]
    pub(super) fn note(&mut self, phase: RefusalPhase, reply: &[u8], times: usize) {
        let Some(refusal) = Refusal::read(phase, reply) else { return };
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == refusal) {
            *count += times as u32;
        } else if self.0.len() < KINDS_MAX {
            self.0.push((refusal, times as u32));
        }
        debug_assert!(self.0.len() <= KINDS_MAX, "the kinds of one round are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_a_reply_are_read() {
        let read = |reply: &[u8]| Refusal::read(RefusalPhase::Rcpt, reply);
        assert_eq!(read(b"550 5.1.1 No such user\r\n").unwrap().to_string(), "550 5.1.1 to RCPT");
        assert_eq!(read(b"452 Too many\r\n").unwrap().to_string(), "452 to RCPT");
        assert_eq!(read(b"553-one\r\n553 two\r\n").unwrap().code, 553);
        for good in [&b"250 2.1.5 Ok\r\n"[..], b"354 go\r\n", b"", b"55"] {
            assert_eq!(read(good), None, "{good:?}");
        }
    }

    #[test]
    fn kinds_are_bounded_and_times_are_not() {
        let mut refusals = Refusals::default();
        for detail in 0..2 * KINDS_MAX {
            let reply = format!("550 5.1.{detail} no\r\n");
            refusals.note(RefusalPhase::Rcpt, reply.as_bytes(), 1);
            refusals.note(RefusalPhase::Rcpt, b"550 5.1.0 no\r\n", 2);
        }
        assert_eq!(refusals.0.len(), KINDS_MAX);
        assert_eq!(refusals.0[0].1 as usize, 1 + 2 * 2 * KINDS_MAX);
    }
}
