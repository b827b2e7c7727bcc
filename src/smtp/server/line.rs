//! Command lines out of input that is cut anywhere.

use crate::limits::{AUTH_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX, COMMAND_NOISE_BYTES_MAX};
use crate::scan;

/// Octets of command-line memory that a session keeps between cut lines.
const COMMAND_LINE_KEPT_BYTES: usize = 512;

/// What [`LineReader::take`] found. Which it is depends on the octets alone, not on how they arrive.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum TakenLine<'a> {
    /// A line, without its CRLF, that lies whole in the input.
    Line(&'a [u8]),
    /// A line, without its CRLF, that arrived in pieces: to be had from [`LineReader::held`].
    Held,
    /// The end of a line that is longer than its kind may be; nothing of it is kept.
    TooLong(LineKind),
    /// More than [`COMMAND_NOISE_BYTES_MAX`] without a CRLF.
    Noise,
}

/// What a line is, as far as its length goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LineKind {
    /// At most [`COMMAND_LINE_BYTES_MAX`].
    Command,
    /// An AUTH command or an answer to its challenges: at most [`AUTH_LINE_BYTES_MAX`].
    Auth,
}

impl LineKind {
    fn bytes_max(self) -> usize {
        match self {
            Self::Command => COMMAND_LINE_BYTES_MAX,
            Self::Auth => AUTH_LINE_BYTES_MAX,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct LineReader {
    /// The start of a line whose end has not arrived.
    held: Vec<u8>,
    overlong: Option<Overlong>,
}

/// A line that is being thrown away.
#[derive(Debug)]
struct Overlong {
    octets: usize,
    after_cr: bool,
    kind: LineKind,
}

impl LineReader {
    /// Takes one line from `input` and moves it on. `None`: all input taken, no whole line yet.
    /// `expected` is what the next line is, unless it begins with AUTH.
    #[inline]
    pub(super) fn take<'a>(
        &mut self,
        input: &mut &'a [u8],
        expected: LineKind,
    ) -> Option<TakenLine<'a>> {
        if self.overlong.is_some() || !self.held.is_empty() {
            return self.resume(input, expected);
        }
        match scan::find_crlf(input, false) {
            Some(end) if end <= COMMAND_LINE_BYTES_MAX => {
                let (line, rest) = input.split_at(end);
                *input = rest;
                Some(TakenLine::Line(&line[..end - 2]))
            }
            Some(_) => self.resume(input, expected),
            None if input.is_empty() => None,
            None => self.resume(input, expected),
        }
    }

    /// The general case: octets of this line were seen before, or it is too long.
    #[cold]
    fn resume<'a>(&mut self, input: &mut &'a [u8], expected: LineKind) -> Option<TakenLine<'a>> {
        let (before, after_cr, kind) = match &self.overlong {
            Some(overlong) => (overlong.octets, overlong.after_cr, overlong.kind),
            None => {
                let kind = if self.begins_auth(input) { LineKind::Auth } else { expected };
                (self.held.len(), self.held.last() == Some(&b'\r'), kind)
            }
        };
        let end = scan::find_crlf(input, after_cr);
        let (piece, rest) = input.split_at(end.unwrap_or(input.len()));
        *input = rest;
        let octets = before + piece.len();
        if octets > COMMAND_NOISE_BYTES_MAX {
            self.forget();
            return Some(TakenLine::Noise);
        }
        if octets > kind.bytes_max() {
            self.forget();
            let after_cr = piece.last().map_or(after_cr, |&b| b == b'\r');
            self.overlong = end.is_none().then_some(Overlong { octets, after_cr, kind });
            return end.map(|_| TakenLine::TooLong(kind));
        }
        self.held.extend_from_slice(piece);
        end.map(|_| {
            self.held.truncate(octets - 2);
            TakenLine::Held
        })
    }

    /// Whether the line that begins with what is held and `input` after it is an AUTH command.
    fn begins_auth(&self, input: &[u8]) -> bool {
        let mut octets = self.held.iter().chain(input);
        let mut is = |b: u8| octets.next().is_some_and(|octet| octet.eq_ignore_ascii_case(&b));
        b"AUTH ".iter().all(|&b| is(b))
    }

    /// The line that [`TakenLine::Held`] spoke of; give it back when done.
    pub(super) fn held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    pub(super) fn give_back(&mut self, mut held: Vec<u8>) {
        held.clear();
        held.shrink_to(COMMAND_LINE_KEPT_BYTES);
        self.held = held;
    }

    fn forget(&mut self) {
        let held = self.held();
        self.give_back(held);
        self.overlong = None;
    }

    /// Whether a line has begun whose end has not arrived.
    pub(super) fn is_open(&self) -> bool {
        self.overlong.is_some() || !self.held.is_empty()
    }

    /// The start of a line whose end has not arrived; empty if it is too long to be kept.
    pub(super) fn unfinished(&self) -> &[u8] {
        &self.held
    }

    /// Whether what is held and `input` after it start with `prefix`.
    pub(super) fn starts_with(&self, input: &[u8], prefix: &[u8]) -> bool {
        let mut octets = self.held.iter().chain(input);
        prefix.iter().all(|b| octets.next() == Some(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader answers to `wire` cut into pieces of `step` octets.
    fn read(wire: &[u8], step: usize) -> Vec<String> {
        let mut reader = LineReader::default();
        let mut seen = Vec::new();
        for mut piece in wire.chunks(step) {
            while let Some(taken) = reader.take(&mut piece, LineKind::Command) {
                let line = match taken {
                    TakenLine::Line(line) => line.to_vec(),
                    TakenLine::Held => reader.held(),
                    TakenLine::TooLong(LineKind::Command) => b"(too long)".to_vec(),
                    TakenLine::TooLong(LineKind::Auth) => b"(too long for AUTH)".to_vec(),
                    TakenLine::Noise => b"(noise)".to_vec(),
                };
                seen.push(String::from_utf8_lossy(&line).into_owned());
            }
        }
        seen
    }

    #[test]
    fn lines_end_at_crlf_alone_however_they_are_cut() {
        let wire = b"NOOP\r\n\r\na\nb\rc\r\r\nlast\r\nopen\r";
        for step in 1..=wire.len() {
            assert_eq!(read(wire, step), ["NOOP", "", "a\nb\rc\r", "last"], "step {step}");
        }
    }

    #[test]
    fn bounds_are_exact_however_lines_are_cut() {
        let cases = [
            (COMMAND_LINE_BYTES_MAX, None),
            (COMMAND_LINE_BYTES_MAX + 1, Some("(too long)")),
            (COMMAND_NOISE_BYTES_MAX, Some("(too long)")),
        ];
        for (octets, expected) in cases {
            let line = "x".repeat(octets - 2);
            let wire = format!("{line}\r\nNOOP\r\n");
            for step in [1, 7, 4095, 4096, 4097, 65_537, wire.len()] {
                let expected = [expected.unwrap_or(&line), "NOOP"];
                assert_eq!(read(wire.as_bytes(), step), expected, "{octets} octets by {step}");
            }
        }
        for (octets, expected) in
            [(AUTH_LINE_BYTES_MAX, None), (AUTH_LINE_BYTES_MAX + 1, Some("(too long for AUTH)"))]
        {
            let line = format!("auTH {}", "x".repeat(octets - 7));
            let wire = format!("{line}\r\nNOOP\r\n");
            for step in [1, 7, 4095, 4096, 4097, 12_287, 12_288, wire.len()] {
                let expected = [expected.unwrap_or(&line), "NOOP"];
                assert_eq!(read(wire.as_bytes(), step), expected, "{octets} octets by {step}");
            }
        }
        let wire = format!("{}\r\n", "x".repeat(COMMAND_NOISE_BYTES_MAX - 1));
        for step in [1, 7, 65_535, 65_536, wire.len()] {
            assert_eq!(read(wire.as_bytes(), step)[0], "(noise)", "by {step}");
        }
    }
}
