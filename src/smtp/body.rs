//! Message content on the wire of DATA, both ways: dot transparency and the end of data
//! (RFC 5321 §4.5.2).
//!
//! Only CRLF ends a line (§2.3.8). The end is `CRLF . CRLF`, or `. CRLF` as the first three octets;
//! nothing else is, however the octets are cut, or two servers in a row disagree on where a message
//! ends and a client can smuggle one inside another.

use crate::scan;

/// What [`Unstuffer::step`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unstuffed<'a> {
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
/// dropped when it is met, and the only octet ever withheld is the CR after it.
#[derive(Debug, Default)]
pub struct Unstuffer {
    state: State,
}

/// Where the next octet stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// At the start of the message or after CRLF.
    #[default]
    LineStart,
    /// Inside a line, not after a CR.
    Text,
    /// Inside a line, after a CR.
    Cr,
    /// Behind a dot at the start of a line.
    Dot,
    /// Behind such a dot and a CR, which is withheld.
    DotCr,
}

impl State {
    /// Where the octet after `text` stands, whose dots are content.
    fn behind(self, text: &[u8]) -> Self {
        match text {
            [] => self,
            [.., b'\r', b'\n'] => Self::LineStart,
            [b'\n'] if self == Self::Cr => Self::LineStart,
            [.., b'\r'] => Self::Cr,
            _ => Self::Text,
        }
    }
}

impl Unstuffer {
    /// Takes the next piece from `input` and moves it on. `None`: all input is taken.
    #[inline]
    pub fn step<'a>(&mut self, input: &mut &'a [u8]) -> Option<Unstuffed<'a>> {
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
                    return Some(Unstuffed::End);
                }
                (State::DotCr, _) => {
                    self.state = State::Cr;
                    return Some(Unstuffed::Text(b"\r"));
                }
                (State::LineStart | State::Text | State::Cr, _) => {
                    return Some(Unstuffed::Text(self.text(input)));
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
        self.state = self.state.behind(text);
        text
    }
}

/// Place of the first dot after a CRLF.
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

/// Puts the dots in that the other end takes out, for content that comes in pieces.
#[derive(Debug, Default)]
pub struct Stuffer {
    /// `LineStart`, `Text` or `Cr`.
    state: State,
}

impl Stuffer {
    /// Appends `piece` with a dot before each dot that starts a line.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if self.state == State::LineStart && piece.first() == Some(&b'.') {
            out.push(b'.');
        }
        let mut rest = piece;
        let mut after_cr = self.state == State::Cr;
        while let Some(dot) = dotted_line(rest, after_cr) {
            out.extend_from_slice(&rest[..dot]);
            out.extend_from_slice(b"..");
            rest = &rest[dot + 1..];
            after_cr = false;
        }
        out.extend_from_slice(rest);
        self.state = self.state.behind(piece);
    }

    /// Ends the last line, where it is not: DATA cannot carry the content otherwise (RFC 5321
    /// §4.1.1.4). The end of data is not written.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.state != State::LineStart {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends `body` with a dot before each dot that starts a line. The end of data is not written.
pub fn stuff(body: &[u8], out: &mut Vec<u8>) {
    Stuffer::default().push(body, out);
}

/// Appends all that a client sends after the 354: `body` stuffed, and the end of data. A body that
/// does not end in CRLF gets one, as DATA cannot carry it otherwise (RFC 5321 §4.1.1.4).
pub fn write_data(body: &[u8], out: &mut Vec<u8>) {
    let mut stuffer = Stuffer::default();
    stuffer.push(body, out);
    stuffer.finish(out);
    out.extend_from_slice(b".\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The whole of RFC 5321 §4.5.2 octet by octet, with all it has seen in hand. Answers the
    /// message and the octets consumed when the end is met.
    fn slow_unstuff(wire: &[u8]) -> (Vec<u8>, Option<usize>) {
        let mut message = Vec::new();
        let mut line_start = 0;
        for at in 0..wire.len() {
            let line = &wire[line_start..=at];
            if line == b".\r\n" {
                return (message, Some(at + 1));
            }
            if line.ends_with(b"\r\n") {
                message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                line_start = at + 1;
            }
        }
        let line = &wire[line_start..];
        let open = match line {
            b"." | b".\r" => &[],
            _ => line.strip_prefix(b".").unwrap_or(line),
        };
        message.extend_from_slice(open);
        (message, None)
    }

    /// The machine under test on `wire` cut at `cuts`, which are sorted.
    fn unstuff(wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<usize>) {
        let mut unstuffer = Unstuffer::default();
        let mut message = Vec::new();
        let edges: Vec<_> = [0].iter().chain(cuts).chain([&wire.len()]).copied().collect();
        for pair in edges.windows(2) {
            let mut input = &wire[pair[0]..pair[1]];
            while let Some(piece) = unstuffer.step(&mut input) {
                match piece {
                    Unstuffed::Text(text) => {
                        assert!(!text.is_empty());
                        message.extend_from_slice(text);
                    }
                    Unstuffed::End => return (message, Some(pair[1] - input.len())),
                }
            }
            assert!(input.is_empty());
        }
        (message, None)
    }

    /// Ends of data that DESIGN.md pins, as octets consumed.
    const ENDS: [(&[u8], usize); 10] = [
        (b".\r\n", 3),
        (b"hi\r\n.\r\n", 7),
        (b"hi\r\n..\r\n.\r\n", 11),
        (b"hi\r\n.\r\r\nX\r\n.\r\n", 14),
        (b"hi\n.\nX\r\n.\r\n", 11),
        (b"hi\n.\r\nX\r\n.\r\n", 12),
        (b"hi\r\n.\nX\r\n.\r\n", 12),
        (b"hi\r.\r\nX\r\n.\r\n", 12),
        (b"hi\r\r\n.\r\n", 8),
        (b"hi\r\n.\r.\r\nX\r\n.\r\n", 15),
    ];

    /// Smuggling vectors: none of these is an end of data.
    const NOT_ENDS: [&[u8]; 27] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\n",
        b"\n.\r",
        b"\r.\r\n",
        b"\r\n.\r",
        b".\n",
        b".\r",
        b"\r\n.\r\r\n",
        b"\r\r\n.\r\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n.\r\0\n",
        b"\r\0\n.\r\n",
        b"\r\n..\r\n",
        b"\r\n. \r\n",
        b"\r\n.\t\r\n",
        b"\x85.\x85",
        b"\r\n\xe2\x80\xa8.\xe2\x80\xa8",
        b"\x0b.\x0b",
        b"\x0c.\x0c",
        b"\r\n\xe3\x80\x82\r\n",
        b"\r\n\xef\xbc\x8e\r\n",
        b"\r\0\n\0.\0\r\0\n\0",
        b"\0\r\0\n\0.\0\r\0\n",
    ];

    #[test]
    fn data_ends_at_crlf_dot_crlf_alone_at_every_cut() {
        for (wire, end) in ENDS {
            let mut wire = wire.to_vec();
            wire.extend_from_slice(b"NOOP\r\n");
            assert_eq!(slow_unstuff(&wire).1, Some(end), "{wire:?}");
            let expected = slow_unstuff(&wire);
            let every: Vec<_> = (1..wire.len()).collect();
            assert_eq!(unstuff(&wire, &every), expected, "{wire:?} octet by octet");
            for first in 0..=wire.len() {
                for second in first..=wire.len() {
                    assert_eq!(unstuff(&wire, &[first, second]), expected, "{wire:?}");
                }
            }
        }
    }

    #[test]
    fn smuggling_vectors_end_nothing_at_every_cut() {
        for vector in NOT_ENDS {
            for (lead, tail) in [(&b""[..], &b""[..]), (b"hi", b"X"), (b"hi\r\n", b"X\r\n")] {
                let wire = [lead, vector, tail].concat();
                assert_eq!(slow_unstuff(&wire).1, None, "{wire:?}");
                for cut in 0..=wire.len() {
                    assert_eq!(unstuff(&wire, &[cut]), slow_unstuff(&wire), "{wire:?} at {cut}");
                }
            }
        }
    }

    #[test]
    fn one_leading_dot_is_deleted_and_nothing_else_is_changed() {
        let wire = b".a\r\n..\r\n...b\r\n.\r\r\n.\n.c\r\n\xff\0\r\n.\r\n";
        let message = b"a\r\n.\r\n..b\r\n\r\r\n\n.c\r\n\xff\0\r\n";
        assert_eq!(unstuff(wire, &[]), (message.to_vec(), Some(wire.len())));
    }

    #[test]
    fn write_data_completes_the_last_line() {
        for (body, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b"hi", b"hi\r\n.\r\n"),
            (b"hi\r\n", b"hi\r\n.\r\n"),
            (b".\r\n.x\n.y", b"..\r\n..x\n.y\r\n.\r\n"),
        ] {
            let mut out = Vec::new();
            write_data(body, &mut out);
            assert_eq!(out, wire);
        }
    }

    /// Octets that matter here, and few others.
    fn soup() -> impl Strategy<Value = Vec<u8>> {
        const WORDS: [&[u8]; 7] = [
            b"\r\n",
            b"\r",
            b"\n",
            b".",
            b"\r\n.",
            b"x",
            b"long enough to leave the short path of a vector search",
        ];
        let word = prop::sample::select(&WORDS[..]);
        prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn the_machine_agrees_with_its_slow_twin_however_it_is_cut(
            wire in soup(), cuts in prop::collection::vec(0usize..400, 0..8)
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(wire.len())).collect();
            cuts.sort_unstable();
            let every: Vec<_> = (0..wire.len()).collect();
            prop_assert_eq!(unstuff(&wire, &cuts), slow_unstuff(&wire));
            prop_assert_eq!(unstuff(&wire, &every), slow_unstuff(&wire));
        }

        #[test]
        fn what_is_stuffed_is_unstuffed(body in soup()) {
            let mut wire = Vec::new();
            write_data(&body, &mut wire);
            let mut expected = body;
            if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            let length = wire.len();
            wire.extend_from_slice(b"QUIT\r\n");
            prop_assert_eq!(unstuff(&wire, &[]), (expected, Some(length)));
        }
    }
}
