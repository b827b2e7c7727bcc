//! Message content on the wire of DATA, both ways: dot transparency and the end of data
//! (RFC 5321 §4.5.2).
//!
//! Only CRLF ends a line (§2.3.8). The end is `CRLF . CRLF`, or `. CRLF` as the first three octets;
//! nothing else is, however the octets are cut, or two servers in a row disagree on where a message
//! ends and a client can smuggle one inside another.

use crate::scan;

/// What [`Unstuffer::step`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// Message octets; never empty.
    Text(&'a [u8]),
    /// The end of data. What is left of the input is not part of the message.
    End,
}

/// Takes the dots out that a client put in, and finds the end of data.
///
/// ```text
///                 .            CR           LF
///   LineStart --------> Dot --------> DotCr -----> End
///     ^   |              |              |
///     |   | other        | other        | other: the CR was content
///     |   v              v              v
///     |  Text <----------+      Cr <----+
///     |   | CR                  ^ |
///     |   +---------------------+ |
///     +-------------- LF ---------+
/// ```
///
/// A dot at the start of a line is never content: it is either stuffing or the end. So a dot is
/// dropped when it is met, and the only octet ever withheld is the CR behind it.
#[derive(Debug, Default)]
pub struct Unstuffer {
    state: State,
}

/// Where the next octet stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// At the start of the message or behind CRLF.
    #[default]
    LineStart,
    /// Inside a line, not behind a CR.
    Text,
    /// Inside a line, behind a CR.
    Cr,
    /// Behind a dot at the start of a line.
    Dot,
    /// Behind such a dot and a CR, which is withheld.
    DotCr,
}

impl Unstuffer {
    /// Takes the next piece from `input` and moves it on. `None`: all input is taken.
    #[inline]
    pub fn step<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        loop {
            let (&octet, rest) = input.split_first()?;
            match (self.state, octet) {
                (State::LineStart, b'.') => {
                    self.state = State::Dot;
                    *input = rest;
                }
                (State::Dot, b'\r') => {
                    self.state = State::DotCr;
                    *input = rest;
                }
                (State::Dot, _) => self.state = State::Text,
                (State::DotCr, b'\n') => {
                    self.state = State::LineStart;
                    *input = rest;
                    return Some(Piece::End);
                }
                (State::DotCr, _) => {
                    self.state = State::Cr;
                    return Some(Piece::Text(b"\r"));
                }
                (State::LineStart | State::Text | State::Cr, _) => {
                    return Some(Piece::Text(self.text(input)));
                }
            }
        }
    }

    /// Takes all octets up to the next line that starts with a dot.
    fn text<'a>(&mut self, input: &mut &'a [u8]) -> &'a [u8] {
        let after_cr = self.state == State::Cr;
        let end = dotted_line(input, after_cr).unwrap_or(input.len());
        let (text, rest) = input.split_at(end);
        *input = rest;
        self.state = match text {
            [.., b'\r', b'\n'] => State::LineStart,
            [b'\n'] if after_cr => State::LineStart,
            [.., b'\r'] => State::Cr,
            _ => State::Text,
        };
        text
    }
}

/// Place of the first dot behind a CRLF.
#[inline]
fn dotted_line(octets: &[u8], after_cr: bool) -> Option<usize> {
    let mut from = 0;
    loop {
        let lf = from + scan::find_lf_dot(&octets[from..])?;
        let led_by_cr = if lf == 0 { after_cr } else { octets[lf - 1] == b'\r' };
        if led_by_cr {
            return Some(lf + 1);
        }
        from = lf + 1;
    }
}

/// Appends `body` with a dot before each dot that starts a line. The end of data is not written.
pub fn stuff(body: &[u8], out: &mut Vec<u8>) {
    let mut rest = body;
    if rest.first() == Some(&b'.') {
        out.push(b'.');
    }
    while let Some(dot) = dotted_line(rest, false) {
        out.extend_from_slice(&rest[..dot]);
        out.extend_from_slice(b"..");
        rest = &rest[dot + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends all that a client sends after the 354: `body` stuffed, and the end of data. A body that
/// does not end in CRLF gets one, as DATA cannot carry it otherwise (RFC 5321 §4.1.1.4).
pub fn write_data(body: &[u8], out: &mut Vec<u8>) {
    stuff(body, out);
    if !body.is_empty() && !body.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
}
