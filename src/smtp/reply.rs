//! Replies, both ways: what a server writes and what a client reads (RFC 5321 §4.2).

use crate::limits::{REPLY_LINE_BYTES_MAX, REPLY_LINES_MAX};

/// An enhanced status code, `class.subject.detail` (RFC 3463). RFC 2034 wants one on each 2xx, 4xx
/// and 5xx reply except the greeting and the answer to HELO and EHLO.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EnhancedCode {
    pub class: u8,
    pub subject: u16,
    pub detail: u16,
}

impl EnhancedCode {
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads `2.1.5` from the start of a reply's text; the class must be 2, 4 or 5.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let word = text.split(|&b| b == b' ').next()?;
        let mut numbers = word.split(|&b| b == b'.');
        let class = number(numbers.next()?)?;
        let subject = number(numbers.next()?)?;
        let detail = number(numbers.next()?)?;
        if numbers.next().is_some() || !matches!(class, 2 | 4 | 5) {
            return None;
        }
        Some(Self::new(class as u8, subject, detail))
    }
}

impl std::fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One to three digits (RFC 3463 §2).
fn number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 3 {
        return None;
    }
    digits.iter().try_fold(0u16, |n, b| b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0')))
}

/// A reply whose text is known when the program is built; nearly all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply {
    pub code: u16,
    /// `None` on the greeting, on 3xx, and on answers to HELO and EHLO (RFC 2034 §4).
    pub enhanced: Option<EnhancedCode>,
    pub text: &'static str,
}

impl Reply {
    /// A reply with an enhanced code, whose class is the first digit of `code`.
    pub const fn new(code: u16, subject: u16, detail: u16, text: &'static str) -> Self {
        Self { code, enhanced: Some(EnhancedCode::new((code / 100) as u8, subject, detail)), text }
    }

    /// A reply that carries no enhanced code.
    pub const fn plain(code: u16, text: &'static str) -> Self {
        Self { code, enhanced: None, text }
    }

    /// The first digit of the code, in ASCII.
    pub const fn first_digit(&self) -> u8 {
        b'0' + (self.code / 100) as u8
    }

    /// Appends the reply as one line. `enhanced` says whether ENHANCEDSTATUSCODES is on.
    pub fn write(&self, out: &mut Vec<u8>, enhanced: bool) {
        write_line(out, self.code, true, self.enhanced.filter(|_| enhanced), self.text.as_bytes());
    }
}

/// Appends one reply line: `code SP text` when it is the last, else `code - text`.
///
/// Octets that a reply may not hold (RFC 5321 §4.2: HT and 0x20 to 0x7E) become `?`, and the line is
/// cut at 512 octets, so that nothing a client sent can forge a reply when it is echoed.
pub fn write_line(
    out: &mut Vec<u8>,
    code: u16,
    last: bool,
    enhanced: Option<EnhancedCode>,
    text: &[u8],
) {
    debug_assert!((200..600).contains(&code));
    let start = out.len();
    out.extend_from_slice(&[
        b'0' + (code / 100) as u8,
        b'0' + (code / 10 % 10) as u8,
        b'0' + (code % 10) as u8,
        if last { b' ' } else { b'-' },
    ]);
    if let Some(e) = enhanced {
        for (n, end) in [(u16::from(e.class), b'.'), (e.subject, b'.'), (e.detail, b' ')] {
            super::command::write_decimal(out, u64::from(n));
            out.push(end);
        }
    }
    let room = REPLY_LINE_BYTES_MAX - 2 - (out.len() - start);
    let text = &text[..text.len().min(room)];
    out.extend(text.iter().map(|&b| if matches!(b, b'\t' | 0x20..=0x7e) { b } else { b'?' }));
    out.extend_from_slice(b"\r\n");
}

/// One line of a reply as the client reads it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Line<'a> {
    pub code: u16,
    /// Whether the reply ends here (`code SP`), or more lines follow (`code -`).
    pub last: bool,
    /// Text after the code and its separator, without CRLF.
    pub text: &'a [u8],
}

/// What a server can do wrong in a reply.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum ReplyFault {
    /// Not `[2-5][0-9][0-9]` and a space, a hyphen or the end of the line (RFC 5321 §4.2).
    #[error("a reply line does not start with a reply code")]
    Code,
    /// Lines of one reply carry different codes (RFC 5321 §4.2.1).
    #[error("the lines of a multi-line reply carry different codes")]
    CodeChanged,
    /// No line end in sight.
    #[error("a reply line is too long")]
    LineTooLong,
    /// The reply has no end in sight.
    #[error("a reply has too many lines")]
    TooManyLines,
}

/// Octets of a reply line that the reader takes before it gives up; twice what RFC 5321 allows,
/// since servers exceed it.
const READ_LINE_BYTES_MAX: usize = 2 * REPLY_LINE_BYTES_MAX;

/// Reads reply lines from octets cut anywhere. Lines end at LF; a CR before it is dropped (servers
/// that send a bare LF exist, and a client has no cause to fail them).
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
    /// Whether `partial` was handed out as a line and is to be cleared.
    taken: bool,
    /// Code and line count of the multi-line reply being read.
    open: Option<(u16, usize)>,
}

impl ReplyReader {
    /// Takes one line from `input` and moves it on. `None`: all input taken, no whole line yet.
    ///
    /// # Errors
    /// The reader is of no further use after a [`ReplyFault`].
    #[inline]
    pub fn step<'s, 'a: 's>(
        &'s mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Line<'s>>, ReplyFault> {
        if self.taken {
            self.partial.clear();
            self.taken = false;
        }
        let Some(end) = memchr::memchr(b'\n', input) else {
            if self.partial.len() + input.len() > READ_LINE_BYTES_MAX {
                return Err(ReplyFault::LineTooLong);
            }
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        };
        if self.partial.len() + end > READ_LINE_BYTES_MAX {
            return Err(ReplyFault::LineTooLong);
        }
        let (head, rest) = input.split_at(end + 1);
        *input = rest;
        let raw = if self.partial.is_empty() {
            head
        } else {
            self.partial.extend_from_slice(head);
            self.taken = true;
            &self.partial
        };
        let raw = &raw[..raw.len() - 1];
        let line = parse_line(raw.strip_suffix(b"\r").unwrap_or(raw))?;
        let count = match self.open {
            Some((code, _)) if code != line.code => return Err(ReplyFault::CodeChanged),
            Some((_, count)) => count + 1,
            None => 1,
        };
        if count > REPLY_LINES_MAX {
            return Err(ReplyFault::TooManyLines);
        }
        self.open = (!line.last).then_some((line.code, count));
        Ok(Some(line))
    }
}

/// Takes any second digit. RFC 5321 §4.2 lets servers use 0 to 5 alone, and §4.2.1 has a client go by the
/// first digit where it does not know the others.
#[inline]
fn parse_line(raw: &[u8]) -> Result<Line<'_>, ReplyFault> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', text @ ..] = raw else {
        return Err(ReplyFault::Code);
    };
    let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    match text {
        [] => Ok(Line { code, last: true, text }),
        [b' ', text @ ..] => Ok(Line { code, last: true, text }),
        [b'-', text @ ..] => Ok(Line { code, last: false, text }),
        _ => Err(ReplyFault::Code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of `wire` when it arrives in pieces of `step` octets.
    fn read(wire: &[u8], step: usize) -> Result<Vec<(u16, bool, Vec<u8>)>, ReplyFault> {
        let mut reader = ReplyReader::default();
        let mut lines = Vec::new();
        for mut piece in wire.chunks(step) {
            while let Some(line) = reader.step(&mut piece)? {
                lines.push((line.code, line.last, line.text.to_vec()));
            }
        }
        Ok(lines)
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let mut wire = Vec::new();
        write_line(&mut wire, 250, false, None, b"sink.example");
        write_line(&mut wire, 250, true, None, b"SIZE 10");
        Reply::new(550, 5, 2, "no").write(&mut wire, true);
        Reply::new(550, 5, 2, "no").write(&mut wire, false);
        Reply::plain(354, "go").write(&mut wire, true);
        let whole = read(&wire, wire.len()).unwrap();
        assert_eq!(whole[2], (550, true, b"5.5.2 no".to_vec()));
        assert_eq!(whole[3], (550, true, b"no".to_vec()));
        assert_eq!(whole[4], (354, true, b"go".to_vec()));
        for step in 1..wire.len() {
            assert_eq!(read(&wire, step).unwrap(), whole, "cut every {step} octets");
        }
    }

    #[test]
    fn bare_code_and_bare_lf_are_read() {
        assert_eq!(
            read(b"250\r\n221 bye\n", 3).unwrap(),
            vec![(250, true, vec![]), (221, true, b"bye".to_vec())]
        );
    }

    #[test]
    fn any_second_digit_is_read() {
        for code in 200..600 {
            let wire = format!("{code}-a\r\n{code} b\r\n");
            let lines = read(wire.as_bytes(), 5).unwrap();
            assert_eq!((lines.len(), lines[1].0), (2, code));
        }
    }

    #[test]
    fn broken_replies_are_named() {
        assert_eq!(read(b"hello\r\n", 9), Err(ReplyFault::Code));
        assert_eq!(read(b"25a x\r\n", 9), Err(ReplyFault::Code));
        assert_eq!(read(b"150 x\r\n", 9), Err(ReplyFault::Code));
        assert_eq!(read(b"2500 x\r\n", 9), Err(ReplyFault::Code));
        assert_eq!(read(b"650 x\r\n", 9), Err(ReplyFault::Code));
        assert_eq!(read(b"250-a\r\n251 b\r\n", 99), Err(ReplyFault::CodeChanged));
        assert_eq!(read(&vec![b'2'; 5000], 100), Err(ReplyFault::LineTooLong));
        assert_eq!(read(&b"250-x\r\n".repeat(300), 4096), Err(ReplyFault::TooManyLines));
    }

    #[test]
    fn echoed_octets_cannot_forge_a_reply() {
        let mut out = Vec::new();
        write_line(&mut out, 250, true, None, b"x\r\n250 forged\x00\xff");
        assert_eq!(out, b"250 x??250 forged??\r\n");
        out.clear();
        write_line(&mut out, 250, true, Some(EnhancedCode::new(2, 0, 0)), &[b'a'; 900]);
        assert_eq!(out.len(), REPLY_LINE_BYTES_MAX);
    }

    #[test]
    fn enhanced_codes_parse() {
        assert_eq!(EnhancedCode::parse(b"2.1.5 Ok"), Some(EnhancedCode::new(2, 1, 5)));
        for bad in [&b"Ok"[..], b"3.0.0 x", b"2.1 x", b"2.1.5.1 x", b"2..5 x", b"2.1.1000 x", b""] {
            assert_eq!(EnhancedCode::parse(bad), None, "{bad:?}");
        }
    }
}
