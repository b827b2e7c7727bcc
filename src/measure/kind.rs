//! Phases, outcomes and errors, which everything is counted by. Names are for files and reports; counting
//! uses an index.

use std::io;

use serde::{Deserialize, Serialize};

/// A part of an SMTP session whose latency and replies are recorded separately.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// First SYN to the connected socket.
    Connect,
    /// Connected socket, or the end of the handshake of implicit TLS, to the 220 line.
    Banner,
    /// EHLO, HELO or LHLO to the last line of its reply.
    Hello,
    /// STARTTLS to its reply.
    #[serde(rename = "starttls")]
    StartTls,
    /// The first octet of a full TLS handshake to its end, as the client sees it.
    Tls,
    /// The same of a handshake that resumed an earlier session.
    TlsResumed,
    /// AUTH to the reply that decides it, whatever challenges lie between.
    Auth,
    Mail,
    /// One RCPT command.
    Rcpt,
    /// DATA to its 354, or a BDAT chunk that is not the last.
    Data,
    /// Last octet of the message (the final dot, or the last BDAT chunk) to its reply: the server
    /// takes responsibility here, so this is where its disk shows.
    EndOfData,
    Rset,
    Quit,
    /// MAIL to the last reply of the transaction, whatever the answer was.
    Message,
    /// First SYN to the close of the connection.
    Session,
}

impl Phase {
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::Banner,
        Self::Hello,
        Self::StartTls,
        Self::Tls,
        Self::TlsResumed,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::EndOfData,
        Self::Rset,
        Self::Quit,
        Self::Message,
        Self::Session,
    ];
    pub const COUNT: usize = Self::ALL.len();

    /// The name in `run.json` and the tag in `run.hlog`. Never holds a comma or a space, which would
    /// break the log's lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Banner => "banner",
            Self::Hello => "hello",
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::TlsResumed => "tls_resumed",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::EndOfData => "end_of_data",
            Self::Rset => "rset",
            Self::Quit => "quit",
            Self::Message => "message",
            Self::Session => "session",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

/// How a message or one command ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A 2xx reply; of a message, to the end of its data.
    Accepted,
    /// A reply from 400 to 499, of a message anywhere in its transaction.
    #[serde(rename = "refused_4xx")]
    Refused4xx,
    /// Any other negative reply.
    #[serde(rename = "refused_5xx")]
    Refused5xx,
    /// No reply: timeout, lost connection, or the run ended first.
    Unanswered,
}

impl Outcome {
    /// All but `Accepted`, the common case, which is not counted apart.
    pub const APART: [Self; 3] = [Self::Refused4xx, Self::Refused5xx, Self::Unanswered];

    /// The outcome of a reply that is neither a success (2xx) nor a request to go on (3xx).
    pub const fn of_refusal(code: u16) -> Self {
        match code {
            400..500 => Self::Refused4xx,
            _ => Self::Refused5xx,
        }
    }

    /// The outcome of a reply.
    pub const fn of_reply(code: u16) -> Self {
        match code {
            200..400 => Self::Accepted,
            _ => Self::of_refusal(code),
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused4xx => "refused_4xx",
            Self::Refused5xx => "refused_5xx",
            Self::Unanswered => "unanswered",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        let known = [Self::Accepted].into_iter().chain(Self::APART);
        known.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// What went wrong on the way to a reply. A negative reply is not an error: the server answered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Nothing listens there (ECONNREFUSED, or a missing Unix socket).
    Refused,
    /// No route to the target (EHOSTUNREACH, ENETUNREACH).
    Unreachable,
    /// The peer reset the connection, or closed it while we wrote.
    Reset,
    /// The peer closed where a reply was due.
    Closed,
    /// No reply in time.
    Timeout,
    /// A reply that the grammar does not allow, or one that nothing asked for.
    Protocol,
    /// The server refused the login, or did not prove its own identity.
    Auth,
    /// The server answered the connection, EHLO or AUTH with a refusal of the session: 421, 554 and the like.
    TurnedAway,
    /// The certificate of the server is not one to trust: of another name, of an unknown issuer, out of date.
    TlsVerify,
    /// The server ended a TLS handshake or session with an alert.
    TlsAlert,
    /// The TLS handshake was not done in time.
    TlsTimeout,
    /// What the server sent in a TLS handshake or session is wrong in any other way.
    Tls,
    /// No local port is left (EADDRNOTAVAIL); the fault of the generator's machine.
    Ports,
    /// No descriptor is left (EMFILE, ENFILE); the fault of the generator's machine.
    Descriptors,
    Other,
}

impl ErrorKind {
    pub const ALL: [Self; 15] = [
        Self::Refused,
        Self::Unreachable,
        Self::Reset,
        Self::Closed,
        Self::Timeout,
        Self::Protocol,
        Self::Auth,
        Self::TurnedAway,
        Self::TlsVerify,
        Self::TlsAlert,
        Self::TlsTimeout,
        Self::Tls,
        Self::Ports,
        Self::Descriptors,
        Self::Other,
    ];
    pub const COUNT: usize = Self::ALL.len();

    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Auth => "auth",
            Self::TurnedAway => "turned_away",
            Self::TlsVerify => "tls_verify",
            Self::TlsAlert => "tls_alert",
            Self::TlsTimeout => "tls_timeout",
            Self::Tls => "tls",
            Self::Ports => "ports",
            Self::Descriptors => "descriptors",
            Self::Other => "other",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it came with a reply of the server.
    pub const fn has_reply(self) -> bool {
        matches!(self, Self::Auth | Self::TurnedAway)
    }

    /// Whether the generator's own machine ran out of something, so that the server is not to blame.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Ports | Self::Descriptors)
    }
}

impl From<&io::Error> for ErrorKind {
    fn from(error: &io::Error) -> Self {
        if let Some(libc::EMFILE | libc::ENFILE) = error.raw_os_error() {
            return Self::Descriptors;
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::InvalidData => Self::Protocol,
            io::ErrorKind::AddrNotAvailable => Self::Ports,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_own_index_under_its_own_name() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
            assert_eq!(Phase::from_name(phase.name()), Some(phase));
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
            assert!(!phase.name().contains([',', ' ', '\r', '\n']));
        }
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(ErrorKind::from_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn an_outcome_is_told_from_the_code_and_goes_by_its_name() {
        for (code, outcome) in [
            (250, Outcome::Accepted),
            (354, Outcome::Accepted),
            (451, Outcome::Refused4xx),
            (550, Outcome::Refused5xx),
            (199, Outcome::Refused5xx),
        ] {
            assert_eq!(Outcome::of_reply(code), outcome, "{code}");
            assert_eq!(Outcome::from_name(outcome.name()), Some(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
        assert_eq!(Outcome::of_refusal(250), Outcome::Refused5xx, "a verdict is not overruled");
    }

    #[test]
    fn an_errno_is_filed_under_whose_fault_it_is() {
        let of = |errno| ErrorKind::from(&io::Error::from_raw_os_error(errno));
        assert_eq!(of(libc::ECONNREFUSED), ErrorKind::Refused);
        assert_eq!(of(libc::ECONNRESET), ErrorKind::Reset);
        assert_eq!(of(libc::EPIPE), ErrorKind::Reset);
        assert_eq!(of(libc::ETIMEDOUT), ErrorKind::Timeout);
        assert_eq!(of(libc::EHOSTUNREACH), ErrorKind::Unreachable);
        assert_eq!(of(libc::EADDRNOTAVAIL), ErrorKind::Ports);
        assert_eq!(of(libc::EMFILE), ErrorKind::Descriptors);
        assert!(of(libc::EMFILE).is_ours());
        assert_eq!(of(libc::EINVAL), ErrorKind::Other);
    }
}
