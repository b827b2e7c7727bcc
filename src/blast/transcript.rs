//! The dialogue of the first sessions, as lines on stderr: `C:` stands before what we send, `S:` before
//! what the server sends. Message octets are counted and not shown; passwords are hidden.

use std::fmt::Write as _;
use std::ops::Range;

use crate::notice::notice;
use crate::printable::printable_octets;

/// Of a line of a dialogue that is shown; the rest is counted.
const TRANSCRIPT_LINE_BYTES: usize = 200;

/// The transcript of one session.
pub(super) struct Transcript {
    /// What each line begins with; empty where one session alone is shown.
    label: String,
    /// Where message octets stand in what is sent next. INVARIANT: in order, and none overlaps another.
    body: Vec<Range<usize>>,
    /// Message octets that were sent and are not reported yet.
    octets: usize,
    /// The line of the server whose end has not arrived.
    partial: Vec<u8>,
}

impl Transcript {
    /// The transcript of session `number`, from 1 on, among the `of` sessions that are shown.
    pub(super) fn new(number: u64, of: u64) -> Self {
        let label = if of > 1 { format!("#{number} ") } else { String::new() };
        Self { label, body: Vec::new(), octets: 0, partial: Vec::new() }
    }

    /// Takes note that message octets stand at `place` in what is sent next.
    pub(super) fn body(&mut self, place: Range<usize>) {
        debug_assert!(self.body.last().is_none_or(|last| last.end <= place.start), "out of order");
        self.body.push(place);
    }

    /// Shows `out`, which is about to be sent. It is `secret` if it holds credentials.
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

    /// Shows the whole lines of what the server has sent, and keeps the rest for the next call.
    pub(super) fn received(&mut self, octets: &[u8]) {
        let mut text = String::new();
        self.partial.extend_from_slice(octets);
        let end = memchr::memrchr(b'\n', &self.partial).map_or(0, |at| at + 1);
        let rest = self.partial.split_off(end);
        let whole = std::mem::replace(&mut self.partial, rest);
        for line in lines(&whole) {
            self.line(&mut text, 'S', &shown(line));
        }
        show(&text);
    }

    /// Shows what a handshake of TLS agreed on.
    pub(super) fn secured(&mut self, what: &str) {
        let mut text = String::new();
        self.line(&mut text, 'C', &format!("(under {what} from here)"));
        show(&text);
    }

    /// Shows why the session ended without a QUIT.
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

    /// Appends one line of `side`, `C` or `S`, after a line for message octets not reported yet.
    fn line(&mut self, text: &mut String, side: char, said: &str) {
        // Writing to a string does not fail.
        if self.octets > 0 {
            let _ = writeln!(text, "{}C: ({} octets of the message)", self.label, self.octets);
            self.octets = 0;
        }
        let _ = writeln!(text, "{}{side}: {said}", self.label);
    }
}

fn show(text: &str) {
    if !text.is_empty() {
        notice!("{}", text.trim_end_matches('\n'));
    }
}

fn lines(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    octets.split_inclusive(|octet| *octet == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

/// A line as it may be shown on a terminal: shortened, and without control characters.
fn shown(line: &[u8]) -> String {
    let cut = &line[..line.len().min(TRANSCRIPT_LINE_BYTES)];
    let mut text = printable_octets(cut);
    if cut.len() < line.len() {
        let _ = write!(text, " ({} octets more)", line.len() - cut.len());
    }
    text
}

/// Hides what logs us in. Of AUTH the mechanism remains; of an answer to a challenge nothing.
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
        let (mut transcript, mut text) = (Transcript::new(2, 3), String::new());
        transcript.octets = 70_000;
        transcript.commands(&mut text, b".\r\nMAIL FROM:<a>\r\n", false);
        let expected = "#2 C: (70000 octets of the message)\n#2 C: .\n#2 C: MAIL FROM:<a>\n";
        assert_eq!((text.as_str(), transcript.octets), (expected, 0));
        assert_eq!(shown(b"250 \x1b[31mred"), "250 ?[31mred");
        let long = shown(&[b'x'; TRANSCRIPT_LINE_BYTES + 5]);
        assert!(long.ends_with("x (5 octets more)"), "{long}");
    }
}
