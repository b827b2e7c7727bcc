//! Why a target cannot be worked with, in words for the user.

use std::io;

use crate::measure::ErrorKind;
use crate::run::Verdict;

/// Why a run ended before its time: the target is out of reach, or cannot do what was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error("cannot reach {target}: {why}; {}", unreachable_cure(target, why))]
    Unreachable { target: String, why: String },
    #[error(
        "{target} takes connections and does not greet them; check whether it is overloaded, and {}",
        greeting_cure(target)
    )]
    NeverGreeted { target: String },
    /// There is a connection, and what came in place of the banner.
    #[error("{target} gives no greeting: {why}; check {}", greeting_cure(target))]
    NoGreeting { target: String, why: String },
    #[error("{target} broke off: {why}")]
    BrokeOff { target: String, why: String },
    #[error(
        "this machine has no {what} left for connections to {target} ({why}); ask for fewer \
         --connections, or for more messages on each"
    )]
    Exhausted { what: &'static str, target: String, why: String },
    #[error(
        "{target} cannot be trusted: {why}; name the CA that has signed its certificate with --tls-ca, give \
         the name that is in it with --tls-servername, or verify nobody with --tls-insecure"
    )]
    Untrusted { target: String, why: String },
    #[error("no TLS with {target}: {why}; {}", handshake_cure(why))]
    Handshake { target: String, why: String },
    #[error("{target} refuses to talk: {why}")]
    Refused { target: String, why: String },
    #[error("{target} does not offer {extension}; {cure}")]
    NotOffered { target: String, extension: &'static str, cure: &'static str },
    #[error(
        "{target} does not offer {wanted}; leave out --auth, or name a mechanism that is offered"
    )]
    NoMechanism { target: String, wanted: String },
    #[error("{target} refuses the login with {mechanism}: {why}; check --auth")]
    Login { target: String, mechanism: &'static str, why: String },
    #[error("this machine's timers do not work: {why}")]
    Clock { why: String },
    #[error("{target} went away: {why}; {after_s} s without a connection")]
    Gone { target: String, why: String, after_s: u64 },
}

impl Failure {
    /// Why a connection to `target` could not be made.
    pub(super) fn of_connect(target: String, error: &io::Error) -> Self {
        let why = error.to_string();
        match ErrorKind::from(error) {
            ErrorKind::Ports => Self::Exhausted { what: "local port", target, why },
            ErrorKind::Descriptors => Self::Exhausted { what: "file descriptor", target, why },
            _ => Self::Unreachable { target, why },
        }
    }

    /// Whether the target, at whatever rate, cannot do what is asked, or does not want to.
    pub(super) fn is_unfit(&self) -> bool {
        match self {
            Self::Untrusted { .. }
            | Self::NotOffered { .. }
            | Self::NoMechanism { .. }
            | Self::Login { .. } => true,
            Self::Unreachable { .. }
            | Self::NoGreeting { .. }
            | Self::NeverGreeted { .. }
            | Self::BrokeOff { .. }
            | Self::Exhausted { .. }
            | Self::Handshake { .. }
            | Self::Refused { .. }
            | Self::Clock { .. }
            | Self::Gone { .. } => false,
        }
    }

    /// The verdict of a run that ended with this failure.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Exhausted { .. } | Self::Clock { .. } => Verdict::GeneratorLimited,
            _ => Verdict::Unreachable,
        }
    }

    /// The same, of a target that has worked before, and not for so long.
    pub(super) fn after_success(self, after_s: u64) -> Self {
        match self {
            Self::Unreachable { target, why }
            | Self::NoGreeting { target, why }
            | Self::BrokeOff { target, why }
            | Self::Untrusted { target, why }
            | Self::Handshake { target, why }
            | Self::Refused { target, why }
            | Self::Login { target, why, .. } => Self::Gone { target, why, after_s },
            other => other,
        }
    }
}

/// What helps against an error of connecting.
fn unreachable_cure(target: &str, why: &str) -> &'static str {
    match target.contains("+unix:") && why.starts_with("Permission denied") {
        true => {
            "let this user write to the socket (ringpost-sink: --socket-mode 666), or run as its owner"
        }
        false => "check that a server listens there",
    }
}

/// What to check where a connection gets no greeting.
fn greeting_cure(target: &str) -> &'static str {
    match target.contains("mtps://") {
        true => "that an SMTP server listens there",
        false => {
            "that an SMTP server listens there, and not one that wants TLS from the first octet (smtps://HOST:PORT)"
        }
    }
}

/// What helps against a handshake that failed.
fn handshake_cure(why: &str) -> &'static str {
    if why.contains("spoke plain text") {
        return "it may want --tls starttls, on a target smtp://HOST:PORT";
    }
    if why.contains("no client certificate") {
        return "give one with --tls-client-cert and --tls-client-key";
    }
    "check that TLS is what it speaks there, and which versions and ciphers it takes"
}

/// What a server said, as it may be shown on a terminal.
pub(super) fn words(said: &[u8]) -> String {
    crate::printable::printable_octets(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_without_permission_has_a_server_and_needs_another_cure() {
        let said = |target: &str, why: &str| {
            let (target, why) = (target.to_owned(), why.to_owned());
            Failure::Unreachable { target, why }.to_string()
        };
        let denied = "Permission denied (os error 13)";
        assert!(said("lmtp+unix:/run/s", denied).contains("--socket-mode"));
        for (target, why) in
            [("smtp://a:25", denied), ("smtp+unix:/s", "No such file or directory")]
        {
            assert!(said(target, why).ends_with("check that a server listens there"), "{target}");
        }
    }

    #[test]
    fn a_port_that_says_nothing_in_plain_text_may_want_tls() {
        let why = || "the server closed the connection without a reply".to_owned();
        let silent = |target: &str| {
            let target = || target.to_owned();
            [
                Failure::NeverGreeted { target: target() },
                Failure::NoGreeting { target: target(), why: why() },
            ]
        };
        let hints = |target| {
            silent(target).map(|failure| failure.to_string().contains("smtps://HOST:PORT"))
        };
        assert_eq!(hints("smtp://a:465"), [true; 2]);
        assert_eq!(hints("lmtp+unix:/s"), [true; 2]);
        assert_eq!(hints("smtps://a:465"), [false; 2]);
    }

    #[test]
    fn what_this_machine_lacks_is_not_blamed_on_the_target() {
        let of = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            Failure::of_connect("smtp://a:1".to_owned(), &error)
        };
        for errno in [libc::EADDRNOTAVAIL, libc::EMFILE, libc::ENFILE] {
            let failure = of(errno).after_success(10);
            assert_eq!(failure.verdict(), Verdict::GeneratorLimited);
            assert!(!failure.to_string().contains("check that a server"), "{failure}");
        }
        for errno in [libc::ECONNREFUSED, libc::ETIMEDOUT, libc::EHOSTUNREACH] {
            assert_eq!(of(errno).verdict(), Verdict::Unreachable);
        }
    }

    #[test]
    fn what_no_other_rate_changes_is_told_from_what_load_may_do() {
        let (target, why) = ("smtp://a:1".to_owned(), String::new());
        let untrusted = Failure::Untrusted { target: target.clone(), why: why.clone() };
        assert!(untrusted.is_unfit(), "a certificate of another name stays one");
        assert!(!Failure::Handshake { target, why }.is_unfit(), "it may be late");
    }

    #[test]
    fn words_of_a_server_cannot_steer_a_terminal() {
        assert_eq!(words(b"5.7.1 \x1b[31mno\x07\r"), "5.7.1 ?[31mno??");
    }
}
