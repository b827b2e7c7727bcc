//! Octets that some receivers take for an end of data. A message ends at CRLF . CRLF, or at . CRLF right
//! after the 354, and nowhere else (RFC 5321 §4.1.1.4); a receiver that sees an end elsewhere takes the
//! rest of the message for commands, which is how mail is smuggled.

const PREFIXES: [&str; 15] = [
    "", "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n\r", "\r\0\n", "\r\n\0", "\r\n ", "\n\n",
    "\u{85}", "\u{2028}", "\x0b", "\x0c",
];

const DOTS: [&str; 6] = [".", "..", ". ", ".\t", "\u{ff0e}", "\u{3002}"];

const SUFFIXES: [&str; 14] = [
    "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\0\n", "\0\r\n", "\n\n", "\r\r", "\r\n\n", "\u{85}",
    "\u{2028}", "\x0b", "\x0c",
];

/// A would-be end of data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WouldBeEnd {
    pub prefix: &'static str,
    pub dot: &'static str,
    pub suffix: &'static str,
    /// Right after the 354, rather than after some text.
    pub first: bool,
}

/// All of them, also the few that are one.
pub fn endings() -> impl Iterator<Item = WouldBeEnd> {
    [false, true].into_iter().flat_map(|first| {
        PREFIXES.into_iter().flat_map(move |prefix| {
            DOTS.into_iter().flat_map(move |dot| {
                SUFFIXES.into_iter().map(move |suffix| WouldBeEnd { prefix, dot, suffix, first })
            })
        })
    })
}

impl WouldBeEnd {
    /// Whether this is an end of data after all.
    pub fn ends(&self) -> bool {
        let line_start = self.prefix.ends_with("\r\n") || (self.first && self.prefix.is_empty());
        line_start && self.dot == "." && self.suffix.starts_with("\r\n")
    }

    /// Its octets, after some text unless it is the first.
    pub fn text(&self) -> String {
        let lead = if self.first { "" } else { "hi" };
        format!("{lead}{}{}{}", self.prefix, self.dot, self.suffix)
    }
}
