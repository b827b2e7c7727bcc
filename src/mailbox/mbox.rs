//! mbox with mboxrd quoting: a reader that unquotes it gets back what was written, octet for octet.

use std::io::{self, Write};

use jiff::tz::TimeZone;

use super::received::format_time;
use crate::spool::Message;

/// What a line must begin with, after any number of `>`, so that it gets one `>` more.
const SEPARATOR: &[u8] = b"From ";

/// Writes one message with its separators: a `From ` line, the message in which each line that begins with
/// `>`s and `From ` gets one more `>`, and an empty line. [`Mbox::finish`] ends it.
pub(super) struct Mbox<W> {
    out: W,
    newline: &'static [u8],
    /// What was seen of the present line.
    line: Line,
    /// The latest octet.
    last: Option<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    /// Any number of `>`.
    Start,
    /// And so many octets of [`SEPARATOR`], which are not written yet.
    Separator(usize),
    Rest,
}

impl<W: Write> Mbox<W> {
    /// The lines of the message end with `newline`.
    pub(super) fn new(message: &Message, newline: &'static [u8], mut out: W) -> io::Result<Self> {
        out.write_all(&from_line(message, newline))?;
        Ok(Self { out, newline, line: Line::Start, last: None })
    }

    /// A last line without an end gets one, since mbox knows no other.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if let Line::Separator(held) = self.line {
            self.out.write_all(&SEPARATOR[..held])?;
        }
        if self.last != Some(b'\n') {
            self.out.write_all(self.newline)?;
        }
        self.out.write_all(self.newline)
    }

    /// Takes an octet of the start of a line, and tells whether it belongs to a separator so far.
    fn separates(&mut self, octet: u8, before: &[u8]) -> io::Result<bool> {
        let held = match self.line {
            Line::Separator(held) => held,
            Line::Start | Line::Rest => 0,
        };
        if octet == SEPARATOR[held] {
            self.out.write_all(before)?;
            self.line = Line::Separator(held + 1);
            if held + 1 == SEPARATOR.len() {
                self.out.write_all(b">")?;
                self.out.write_all(SEPARATOR)?;
                self.line = Line::Rest;
            }
            return Ok(true);
        }
        self.out.write_all(&SEPARATOR[..held])?;
        self.line = Line::Rest;
        Ok(false)
    }
}

impl<W: Write> Write for Mbox<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let (mut written, mut at) = (0, 0);
        while let Some(&octet) = octets.get(at) {
            match self.line {
                Line::Rest => {
                    let end = memchr::memchr(b'\n', &octets[at..]);
                    at = end.map_or(octets.len(), |end| at + end + 1);
                    if end.is_some() {
                        self.line = Line::Start;
                    }
                }
                Line::Start if octet == b'>' => at += 1,
                Line::Start | Line::Separator(_) => {
                    if self.separates(octet, &octets[written..at])? {
                        at += 1;
                        written = at;
                    }
                }
            }
        }
        self.out.write_all(&octets[written..])?;
        self.last = octets.last().copied().or(self.last);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// `From address date`, with the date in UTC as asctime writes it (RFC 4155). The sender of mail with the
/// null reverse path is MAILER-DAEMON.
fn from_line(message: &Message, newline: &[u8]) -> Vec<u8> {
    let sender = message.envelope.reverse_path.as_slice();
    let mut out = b"From ".to_vec();
    if sender.is_empty() {
        out.extend_from_slice(b"MAILER-DAEMON");
    }
    // A space, as a quoted local part may hold, would end the address for every reader.
    out.extend(sender.iter().map(|&b| if b <= b' ' || b == 0x7f { b'_' } else { b }));
    out.push(b' ');
    let date = format_time(message.envelope.received_ns, &TimeZone::UTC, "%a %b %e %H:%M:%S %Y");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(newline);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{Place, StoredEnvelope};

    fn message(sender: &str) -> Message {
        let envelope = StoredEnvelope {
            received_ns: 1_699_000_000_000_000_000,
            reverse_path: sender.as_bytes().to_vec(),
            ..StoredEnvelope::default()
        };
        Message::of_envelope(Place::default(), envelope)
    }

    /// What is written of octets that come in two pieces.
    fn written(sender: &str, octets: &str, cut: usize) -> String {
        let mut out = Vec::new();
        let mut mbox = Mbox::new(&message(sender), b"\n", &mut out).unwrap();
        let (head, tail) = octets.as_bytes().split_at(cut);
        mbox.write_all(head).and_then(|()| mbox.write_all(tail)).unwrap();
        mbox.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_that_look_like_separators_are_quoted_and_others_are_not() {
        let lead = "From a@b Fri Nov  3 08:26:40 2023\n";
        for (octets, quoted) in [
            ("From x\n", ">From x\n\n"),
            ("a\n\nFrom x\n>From y\n>>From z\n", "a\n\n>From x\n>>From y\n>>>From z\n\n"),
            (
                "From: x\na From b\n From c\n>x From d\n",
                "From: x\na From b\n From c\n>x From d\n\n",
            ),
            ("From From \n", ">From From \n\n"),
            ("> From x\nFrom", "> From x\nFrom\n\n"),
            ("Fro\nF\n>From\nFFrom \n", "Fro\nF\n>From\nFFrom \n\n"),
            ("", "\n\n"),
        ] {
            for cut in 0..=octets.len() {
                assert_eq!(written("a@b", octets, cut), format!("{lead}{quoted}"), "{octets:?}");
            }
        }
    }

    #[test]
    fn the_separator_names_one_sender_without_spaces() {
        assert!(written("", "x\n", 0).starts_with("From MAILER-DAEMON Fri Nov  3 "));
        assert!(written("\"a b\"@c", "x\n", 0).starts_with("From \"a_b\"@c Fri Nov  3 "));
    }
}
