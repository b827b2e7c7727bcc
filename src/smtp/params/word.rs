//! One parameter in a line of them (RFC 5321 §4.1.1.11).

use super::ParamFault;

/// A keyword, its value, and what is behind them.
type SplitWord<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

/// `esmtp-keyword ["=" esmtp-value]` at the start of `text`, up to a blank, and what is behind it.
#[inline]
pub(super) fn split_word(text: &[u8], blank: u8) -> Result<SplitWord<'_>, ParamFault> {
    let (keyword, rest) = text.split_at(span(text, KEYWORD));
    let (value, behind) = match rest {
        [b'=', rest @ ..] => {
            let (value, behind) = rest.split_at(span(rest, VALUE));
            (Some(value), behind)
        }
        _ => (None, rest),
    };
    let good = keyword.first().is_some_and(|first| *first != b'-')
        && value.is_none_or(|value| !value.is_empty())
        && behind.first().is_none_or(|octet| is(*octet, blank));
    if good { Ok((keyword, value, behind)) } else { Err(ParamFault::Malformed) }
}

/// Octets of `class` at the start of `text`.
#[inline]
fn span(text: &[u8], class: u8) -> usize {
    text.iter().position(|octet| !is(*octet, class)).unwrap_or(text.len())
}

#[inline]
pub(super) fn is(octet: u8, class: u8) -> bool {
    CLASS[usize::from(octet)] & class != 0
}

/// What a keyword may hold; it does not begin with a hyphen.
const KEYWORD: u8 = 1;
/// What a value may hold. RFC 6531 §3.3 lets it be UTF-8.
const VALUE: u8 = 2;
pub(super) const SPACE: u8 = 4;
pub(super) const TAB: u8 = 8;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let b = octet as u8;
        if b.is_ascii_alphanumeric() || b == b'-' {
            class[octet] |= KEYWORD;
        }
        if matches!(b, 33..=60 | 62..=126 | 0x80..) {
            class[octet] |= VALUE;
        }
        octet += 1;
    }
    class[b' ' as usize] = SPACE;
    class[b'\t' as usize] = TAB;
    class
};
