//! The dialogue of the first sessions, as lines on stderr: `C:` is what we say, `S:` the server. Message
//! octets are counted instead of shown, and what logs us in is hidden.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::ops::Range;

use crate::limits::TRACE_LINE_BYTES;
use crate::notice::without_controls;

pub(super) struct Trace {
    /// Before each line, where more than one session is shown.
    label: String,
    /// Where message octets stand in what is about to be sent.
    body: Vec<Range<usize>>,
    /// Message octets that were sent and not told yet.
    octets: usize,
    /// A line of the server whose end has not come.
    heard: Vec<u8>,
}

impl Trace {
    /// Of the session with this number, among so many.
    pub(super) fn new(number: u64, of: u64) -> Self {
        let label = if of > 1 { format!("#{number} ") } else { String::new() };
        Self { label, body: Vec::new(), octets: 0, heard: Vec::new() }
    }

    /// Message octets stand there in what is sent next.
    pub(super) fn body(&mut self, place: Range<usize>) {
        self.body.push(place);
    }

    /// `out` goes out. In it is what logs us in, where it is `secret`.
    pub(super) fn sent(&mut self, out: &[u8], secret: bool) {
        let mut text = String::new();
        let mut done = 0;
        for place in std::mem::take(&mut self.body) {
            self.commands(&mut text, &out[done..place.start], secret);
            self.octets += place.len();
            done = place.end;
        }
        self.commands(&mut text, &out[done..], secret);
        show(&text);
    }

    /// The server has said this.
    pub(super) fn received(&mut self, octets: &[u8]) {
        let mut text = String::new();
        self.heard.extend_from_slice(octets);
        let whole = memchr::memrchr(b'\n', &self.heard).map_or(0, |at| at + 1);
        let rest = self.heard.split_off(whole);
        let heard = std::mem::replace(&mut self.heard, rest);
        for line in lines(&heard) {
            self.line(&mut text, 'S', &shown(line));
        }
        show(&text);
    }

    /// The session has ended otherwise than by QUIT.
    pub(super) fn ended(&mut self, why: &str) {
        let mut text = String::new();
        self.line(&mut text, 'S', &format!("({why})"));
        show(&text);
    }

    fn commands(&mut self, text: &mut String, octets: &[u8], secret: bool) {
        for line in lines(octets) {
            let said = if secret { without_secret(&shown(line)) } else { shown(line) };
            self.line(text, 'C', &said);
        }
    }

    fn line(&mut self, text: &mut String, who: char, said: &str) {
        // Writing to a string does not fail.
        if self.octets > 0 {
            let _ = writeln!(text, "{}C: ({} octets of the message)", self.label, self.octets);
            self.octets = 0;
        }
        let _ = writeln!(text, "{}{who}: {said}", self.label);
    }
}

/// That nobody can read it must not end the run.
fn show(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn lines(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    octets.split_inclusive(|octet| *octet == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

/// As it may be shown on a terminal.
fn shown(line: &[u8]) -> String {
    let cut = &line[..line.len().min(TRACE_LINE_BYTES)];
    let text = String::from_utf8_lossy(cut);
    let mut text = without_controls(&text);
    if cut.len() < line.len() {
        let _ = write!(text, " ({} octets more)", line.len() - cut.len());
    }
    text
}

/// Of AUTH the mechanism remains, and of an answer nothing.
fn without_secret(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(auth @ "AUTH"), Some(mechanism), Some(_)) => format!("{auth} {mechanism} ***"),
        (Some("AUTH"), ..) => line.to_owned(),
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logs_us_in_is_hidden() {
        assert_eq!(without_secret("AUTH PLAIN AGEAYg=="), "AUTH PLAIN ***");
        assert_eq!(without_secret("AUTH LOGIN"), "AUTH LOGIN");
        assert_eq!(without_secret("c2VjcmV0"), "***");
    }

    #[test]
    fn message_octets_are_counted_across_pieces_and_lines_are_safe_to_show() {
        let (mut trace, mut text) = (Trace::new(2, 3), String::new());
        trace.octets = 70_000;
        trace.commands(&mut text, b".\r\nMAIL FROM:<a>\r\n", false);
        let expected = "#2 C: (70000 octets of the message)\n#2 C: .\n#2 C: MAIL FROM:<a>\n";
        assert_eq!((text.as_str(), trace.octets), (expected, 0));
        assert_eq!(shown(b"250 \x1b[31mred"), "250 ?[31mred");
        let long = shown(&[b'x'; TRACE_LINE_BYTES + 5]);
        assert!(long.ends_with("x (5 octets more)"), "{long}");
    }
}
