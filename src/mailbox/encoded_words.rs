//! Encoded words (RFC 2047) that were cut inside a character. §5 forbids that, and many mailers do it: then
//! no word can be decoded alone.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{self, GeneralPurpose};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

/// Takes what mailers write: padding or none.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One `=?charset?encoding?text?=`.
#[derive(Clone, Copy)]
struct EncodedWord<'a> {
    charset: &'a [u8],
    encoding: u8,
    text: &'a [u8],
    /// Octets of all of it.
    length: usize,
}

/// The value of a field in which each row of encoded words of one charset, with nothing but white space
/// between them, is one word.
pub(super) fn join(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while at < value.len() {
        let Some(first) = EncodedWord::at(&value[at..]) else {
            out.push(value[at]);
            at += 1;
            continue;
        };
        let (octets, end) = row(value, at, first);
        match octets {
            Some(octets) if end > at + first.length => {
                out.extend_from_slice(b"=?");
                out.extend_from_slice(first.charset);
                out.extend_from_slice(b"?B?");
                out.extend_from_slice(general_purpose::STANDARD.encode(octets).as_bytes());
                out.extend_from_slice(b"?=");
            }
            _ => out.extend_from_slice(&value[at..end]),
        }
        at = end;
    }
    out
}

/// The octets of the words that belong to `first`, which stands at `at`, unless one of them cannot be read;
/// and where they end.
fn row(value: &[u8], at: usize, first: EncodedWord<'_>) -> (Option<Vec<u8>>, usize) {
    let mut octets = first.decode();
    let mut end = at + first.length;
    loop {
        let blanks = value[end..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        match EncodedWord::at(&value[end + blanks..]) {
            Some(word) if blanks > 0 && word.charset.eq_ignore_ascii_case(first.charset) => {
                octets = octets.zip(word.decode()).map(|(all, more)| [all, more].concat());
                end += blanks + word.length;
            }
            _ => return (octets, end),
        }
    }
}

impl<'a> EncodedWord<'a> {
    /// The word that `value` begins with.
    fn at(value: &'a [u8]) -> Option<Self> {
        let mut parts = value.strip_prefix(b"=?")?.splitn(4, |&b| b == b'?');
        let (charset, encoding, text, rest) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let &[encoding] = encoding else { return None };
        let is_word = !charset.is_empty()
            && rest.starts_with(b"=")
            && ![charset, text].concat().iter().any(u8::is_ascii_whitespace);
        let length = 2 + charset.len() + 3 + text.len() + 2;
        is_word.then_some(Self { charset, encoding: encoding.to_ascii_uppercase(), text, length })
    }

    fn decode(self) -> Option<Vec<u8>> {
        match self.encoding {
            b'B' => BASE64.decode(self.text).ok(),
            b'Q' => unquote(self.text),
            _ => None,
        }
    }
}

/// The encoding `Q` (RFC 2047 §4.2).
fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [octet, behind @ ..] = rest {
        rest = behind;
        octets.push(match (octet, behind) {
            (b'_', _) => b' ',
            (b'=', [high, low, after @ ..]) => {
                rest = after;
                let digit = |b: &u8| (*b as char).to_digit(16);
                (digit(high)? << 4 | digit(low)?) as u8
            }
            (b'=', _) => return None,
            _ => *octet,
        });
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(value: &str) -> String {
        String::from_utf8(join(value.as_bytes())).unwrap()
    }

    #[test]
    fn rows_of_one_charset_become_one_word_and_all_else_stays() {
        assert_eq!(joined("=?utf-8?B?5p0=?=\r\n =?UTF-8?b?sQ?="), "=?utf-8?B?5p2x?=");
        assert_eq!(joined("a =?utf-8?Q?=E6_?= =?utf-8?q?x=9d?= b"), "a =?utf-8?B?5iB4nQ==?= b");
        for same in [
            "",
            "plain = ? text =?",
            "=?utf-8?B?5p2x?=",
            "=?utf-8?B?5p2x?= and =?utf-8?B?5p2x?=",
            "=?utf-8?B?5p2x?= =?iso-8859-1?Q?=E4?=",
            "=?utf-8?B?5p2x?==?utf-8?B?5p2x?=",
            "=?utf-8?B?!?= =?utf-8?B?5p2x?=",
            "=?utf-8?Q?=?= =?utf-8?Q?=4?=",
            "=?utf-8?X?a?= =?utf-8?X?b?=",
            "=?utf 8?B?5p2x?= =??B?5p2x?=",
        ] {
            assert_eq!(joined(same), same);
        }
    }
}
