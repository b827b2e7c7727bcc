//! The client's side of a dialogue, for a log: command lines without secrets, and without the content of
//! messages.

use crate::smtp::command::{self, Verb};

/// What a client asks for that a server without it cannot give.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum ClientWant {
    Starttls,
    /// A TLS record came where a command was due.
    ImplicitTls,
    /// An HTTP request came as the first line.
    Http,
    /// A PROXY header came from a peer that need not send one.
    ProxyHeader,
    /// EHLO came, and QUIT after it: the client did not find what it insists on, of which neither STARTTLS nor AUTH
    /// is to be had here.
    Extension,
    /// The same, and AUTH is to be had.
    Encryption,
    /// The same, and STARTTLS is to be had.
    Login,
    /// The session ended with a line, or a message, whose lines end with LF and that has no end.
    LineEnd,
}

/// How a PROXY header of version 2 begins.
pub(super) const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What stands for a secret.
const MASK: &str = "***";

/// Lines that were heard and not taken yet.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    pub(super) lines: Vec<String>,
    /// AUTH was said, and no known command since: what comes may be a password, also after a refusal.
    after_auth: bool,
}

impl Hearing {
    pub(super) fn line(&mut self, line: &[u8], in_auth: bool) {
        let text = String::from_utf8_lossy(line).into_owned();
        let mut words = text.split_ascii_whitespace();
        let is_auth = words.next().is_some_and(|word| word.eq_ignore_ascii_case("AUTH"));
        let (verb, _) = command::split(line);
        if in_auth || (self.after_auth && !is_auth && verb == Verb::Unknown) {
            return self.lines.push(MASK.to_owned());
        }
        self.after_auth = is_auth;
        if !is_auth {
            return self.lines.push(text);
        }
        let mut shown = "AUTH".to_owned();
        if let Some(mechanism) = words.next() {
            shown.push(' ');
            shown.push_str(mechanism);
        }
        if words.next().is_some() {
            shown.push(' ');
            shown.push_str(MASK);
        }
        self.lines.push(shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_auth_are_never_shown() {
        let mut hearing = Hearing::default();
        for (line, in_auth) in [
            (&b"EHLO x"[..], false),
            (b"AUTH PLAIN AGEAc2VjcmV0", false),
            (b"auth  login c2VjcmV0", false),
            (b"c2VjcmV0", true),
            (b"AUTH", false),
            (b"c2VjcmV0", false),
            (b"MAIL FROM:<a@b> AUTH=<>", false),
            (b"nosuch command", false),
        ] {
            hearing.line(line, in_auth);
        }
        let shown = [
            "EHLO x",
            "AUTH PLAIN ***",
            "AUTH login ***",
            "***",
            "AUTH",
            "***",
            "MAIL FROM:<a@b> AUTH=<>",
            "nosuch command",
        ];
        assert_eq!(hearing.lines, shown);
    }
}
