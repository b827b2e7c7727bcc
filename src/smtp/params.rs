//! Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11). One row of `ROWS` is one parameter.

mod word;

use super::{
    deviation::Deviations, envelope::BodyKind, extension::Extensions, syntax::Syntax,
    xtext::is_xtext,
};
use crate::limits::{AUTH_PARAM_BYTES_MAX, ENVID_BYTES_MAX, ORCPT_BYTES_MAX};
use word::{SPACE, TAB, is, split_word};

/// What the parameters of one command said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Params {
    /// `SIZE=`; what does not fit 64 bits is taken as the largest number.
    pub size: Option<u64>,
    pub body: BodyKind,
    pub smtputf8: bool,
    pub hold: Option<Hold>,
    /// How they stray from the grammar, where syntax is lenient.
    pub odd: Deviations,
}

/// How long the client wants a message held before it is let go (RFC 4865).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hold {
    /// Seconds.
    For(u32),
    Until(Moment),
}

/// A date and time in UTC, to the second: `2026-05-04T12:30:00`. Earlier ones are smaller.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment([u8; 19]);

impl Moment {
    pub const FIRST: Self = Self(*b"0000-01-01T00:00:00");
    pub const LAST: Self = Self(*b"9999-12-31T23:59:59");

    /// Reads `YYYY-MM-DDTHH:MM:SS[.fraction]Z` (RFC 3339, in UTC); the fraction is dropped.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (seconds, rest) = text.split_first_chunk::<19>()?;
        let fraction = rest.strip_suffix(b"Z")?;
        let digits = fraction.strip_prefix(b".").unwrap_or(b"0");
        let shape = seconds.iter().zip(b"dddd-dd-ddTdd:dd:dd").all(|(have, want)| match want {
            b'd' => have.is_ascii_digit(),
            _ => have == want,
        });
        let number = |at: usize| (seconds[at] - b'0') * 10 + (seconds[at + 1] - b'0');
        let good = shape
            && (fraction.is_empty() || fraction.starts_with(b"."))
            && !digits.is_empty()
            && digits.iter().all(u8::is_ascii_digit)
            && (1..=12).contains(&number(5))
            && (1..=31).contains(&number(8))
            && number(11) < 24
            && number(14) < 60
            // A leap second is 60.
            && number(17) <= 60;
        good.then_some(Self(*seconds))
    }

    /// As it is written on the wire, but for the `Z`.
    pub fn text(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParamFault {
    /// 555: unknown, or not offered to this client.
    #[error("the parameter is not recognised or not offered")]
    Unknown,
    /// 501.
    #[error("the parameter is malformed, has a bad value, or is given twice")]
    Malformed,
}

/// The command that a parameter belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum On {
    Mail,
    Rcpt,
}

struct ParamRow {
    keyword: &'static str,
    on: On,
    /// Extension that brings the parameter; without it the parameter is unknown.
    brought_by: Extensions,
    repeats: Repeats,
    read: Read,
}

/// What becomes of a parameter that is given again.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Repeats {
    Never,
    /// The last one counts, where syntax is lenient: Postfix does that.
    Leniently,
    /// It has one meaning only, and is let pass.
    Harmlessly,
}

/// Takes a value, with the extensions on offer, into the parameters.
type Read = fn(Option<&[u8]>, Extensions, &mut Params) -> Result<(), ParamFault>;

const ROWS: [ParamRow; 13] = [
    ParamRow {
        keyword: "SIZE",
        on: On::Mail,
        brought_by: Extensions::SIZE,
        repeats: Repeats::Leniently,
        read: read_size,
    },
    ParamRow {
        keyword: "BODY",
        on: On::Mail,
        brought_by: Extensions::EIGHT_BIT_MIME,
        repeats: Repeats::Leniently,
        read: read_body,
    },
    // CPython's smtplib sends this one twice.
    ParamRow {
        keyword: "SMTPUTF8",
        on: On::Mail,
        brought_by: Extensions::SMTPUTF8,
        repeats: Repeats::Harmlessly,
        read: read_smtputf8,
    },
    ParamRow {
        keyword: "RET",
        on: On::Mail,
        brought_by: Extensions::DSN,
        repeats: Repeats::Never,
        read: read_ret,
    },
    ParamRow {
        keyword: "ENVID",
        on: On::Mail,
        brought_by: Extensions::DSN,
        repeats: Repeats::Never,
        read: read_envid,
    },
    ParamRow {
        keyword: "NOTIFY",
        on: On::Rcpt,
        brought_by: Extensions::DSN,
        repeats: Repeats::Never,
        read: read_notify,
    },
    ParamRow {
        keyword: "ORCPT",
        on: On::Rcpt,
        brought_by: Extensions::DSN,
        repeats: Repeats::Never,
        read: read_orcpt,
    },
    ParamRow {
        keyword: "BY",
        on: On::Mail,
        brought_by: Extensions::DELIVERBY,
        repeats: Repeats::Never,
        read: read_by,
    },
    ParamRow {
        keyword: "HOLDFOR",
        on: On::Mail,
        brought_by: Extensions::FUTURERELEASE,
        repeats: Repeats::Never,
        read: read_hold_for,
    },
    ParamRow {
        keyword: "HOLDUNTIL",
        on: On::Mail,
        brought_by: Extensions::FUTURERELEASE,
        repeats: Repeats::Never,
        read: read_hold_until,
    },
    ParamRow {
        keyword: "MT-PRIORITY",
        on: On::Mail,
        brought_by: Extensions::MT_PRIORITY,
        repeats: Repeats::Never,
        read: read_priority,
    },
    ParamRow {
        keyword: "REQUIRETLS",
        on: On::Mail,
        brought_by: Extensions::REQUIRETLS,
        repeats: Repeats::Never,
        read: read_requiretls,
    },
    ParamRow {
        keyword: "AUTH",
        on: On::Mail,
        brought_by: Extensions::AUTH,
        repeats: Repeats::Leniently,
        read: read_auth,
    },
];

/// The parameters in `text`, parted by spaces and tabs.
pub fn param_words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// Reads `text`, the parameters of one command without the space that leads them. Where syntax is
/// lenient tabs part them as spaces do.
///
/// # Errors
/// The first [`ParamFault`] met.
#[inline]
pub fn parse_params(
    text: &[u8],
    on: On,
    offered: Extensions,
    syntax: Syntax,
) -> Result<Params, ParamFault> {
    // Most RCPT commands have none.
    if text.is_empty() { Ok(Params::default()) } else { parse_some(text, on, offered, syntax) }
}

fn parse_some(
    text: &[u8],
    on: On,
    offered: Extensions,
    syntax: Syntax,
) -> Result<Params, ParamFault> {
    let lenient = syntax == Syntax::Lenient;
    let blank = if lenient { SPACE | TAB } else { SPACE };
    let mut params = Params::default();
    let mut odd = Deviations::empty();
    let mut seen = 0u32;
    let mut rest = text;
    while let Some(&first) = rest.first() {
        if is(first, blank) {
            odd |= Deviations::EXTRA_WHITESPACE;
            rest = &rest[1..];
            continue;
        }
        let (keyword, value, behind) = split_word(rest, blank)?;
        if let Some((separator, behind)) = behind.split_first() {
            if is(*separator, TAB) {
                odd |= Deviations::EXTRA_WHITESPACE;
            }
            rest = behind;
        } else {
            rest = behind;
        }
        let known =
            |row: &ParamRow| row.on == on && row.keyword.as_bytes().eq_ignore_ascii_case(keyword);
        let index = ROWS.iter().position(known).ok_or(ParamFault::Unknown)?;
        let row = &ROWS[index];
        if !offered.contains(row.brought_by) {
            return Err(ParamFault::Unknown);
        }
        (row.read)(value, offered, &mut params)?;
        let bit = 1 << index;
        if seen & bit != 0 && row.repeats != Repeats::Harmlessly {
            if row.repeats == Repeats::Never || !lenient {
                return Err(ParamFault::Malformed);
            }
            odd |= Deviations::REPEATED_PARAMETER;
        }
        seen |= bit;
    }
    if lenient {
        params.odd = odd;
    }
    Ok(params)
}

/// Keywords of the parameters that `on` may carry, given the extensions on offer.
pub fn param_keywords(on: On, offered: Extensions) -> impl Iterator<Item = &'static str> {
    ROWS.iter()
        .filter(move |row| row.on == on && offered.contains(row.brought_by))
        .map(|row| row.keyword)
}

/// `1*20DIGIT` (RFC 1870 §6).
fn read_size(
    value: Option<&[u8]>,
    _offered: Extensions,
    params: &mut Params,
) -> Result<(), ParamFault> {
    let digits = value.ok_or(ParamFault::Malformed)?;
    if digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParamFault::Malformed);
    }
    let add = |n: u64, b: &u8| n.saturating_mul(10).saturating_add(u64::from(b - b'0'));
    params.size = Some(digits.iter().fold(0, add));
    Ok(())
}

/// `7BIT`, `8BITMIME` (RFC 6152 §2) or `BINARYMIME` (RFC 3030 §3).
fn read_body(
    value: Option<&[u8]>,
    offered: Extensions,
    params: &mut Params,
) -> Result<(), ParamFault> {
    let value = value.ok_or(ParamFault::Malformed)?;
    let is = |name: &[u8]| value.eq_ignore_ascii_case(name);
    params.body = if is(b"7BIT") {
        BodyKind::SevenBit
    } else if is(b"8BITMIME") {
        BodyKind::EightBit
    } else if is(b"BINARYMIME") && offered.contains(Extensions::BINARYMIME) {
        BodyKind::Binary
    } else if is(b"BINARYMIME") {
        return Err(ParamFault::Unknown);
    } else {
        return Err(ParamFault::Malformed);
    };
    Ok(())
}

/// Takes no value (RFC 6531 §3.4).
fn read_smtputf8(
    value: Option<&[u8]>,
    _offered: Extensions,
    params: &mut Params,
) -> Result<(), ParamFault> {
    params.smtputf8 = true;
    sound(value.is_none())
}

/// Takes no value (RFC 8689 §2).
fn read_requiretls(
    value: Option<&[u8]>,
    _offered: Extensions,
    _params: &mut Params,
) -> Result<(), ParamFault> {
    sound(value.is_none())
}

/// `FULL` or `HDRS` (RFC 3461 §4.3).
fn read_ret(
    value: Option<&[u8]>,
    _offered: Extensions,
    _params: &mut Params,
) -> Result<(), ParamFault> {
    let value = value.unwrap_or_default();
    sound(value.eq_ignore_ascii_case(b"FULL") || value.eq_ignore_ascii_case(b"HDRS"))
}

/// xtext (RFC 3461 §4.4).
fn read_envid(
    value: Option<&[u8]>,
    _offered: Extensions,
    _params: &mut Params,
) -> Result<(), ParamFault> {
    sound(value.is_some_and(|value| value.len() <= ENVID_BYTES_MAX && is_xtext(value)))
}

/// `NEVER`, or one or more of the others (RFC 3461 §4.1).
fn read_notify(
    value: Option<&[u8]>,
    _offered: Extensions,
    _params: &mut Params,
) -> Result<(), ParamFault> {
    const EVENTS: [&[u8]; 3] = [b"SUCCESS", b"FAILURE", b"DELAY"];
    let value = value.unwrap_or_default();
    let is_event = |word: &[u8]| EVENTS.iter().any(|event| word.eq_ignore_ascii_case(event));
    sound(value.eq_ignore_ascii_case(b"NEVER") || value.split(|&b| b == b',').all(is_event))
}

/// `addr-type ";" xtext` (RFC 3461 §4.2). The type `utf-8` may hold UTF-8 (RFC 6533 §3).
fn read_orcpt(
    value: Option<&[u8]>,
    offered: Extensions,
    _params: &mut Params,
) -> Result<(), ParamFault> {
    let value = value.unwrap_or_default();
    let Some(at) = memchr::memchr(b';', value) else { return Err(ParamFault::Malformed) };
    let (kind, address) = (&value[..at], &value[at + 1..]);
    let utf8 = kind.eq_ignore_ascii_case(b"utf-8") && offered.contains(Extensions::SMTPUTF8);
    let good = value.len() <= ORCPT_BYTES_MAX
        && !kind.is_empty()
        && kind.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(b))
        && !address.is_empty()
        && if utf8 { str::from_utf8(address).is_ok() } else { is_xtext(address) };
    sound(good)
}

/// `by-time ";" by-mode ["T"]` (RFC 2852 §4): seconds, of either sign when the mode is `N`.
fn read_by(
    value: Option<&[u8]>,
    _offered: Extensions,
    _params: &mut Params,
) -> Result<(), ParamFault> {
    let value = value.unwrap_or_default();
    let Some(at) = memchr::memchr(b';', value) else { return Err(ParamFault::Malformed) };
    let (time, mode) = (&value[..at], &value[at + 1..]);
    let (sign, digits) = match time {
        [sign @ (b'-' | b'+'), digits @ ..] => (*sign, digits),
        _ => (b'+', time),
    };
    let positive = sign == b'+' && digits.iter().any(|&b| b != b'0');
    let mode_good = match mode {
        [b'N' | b'n'] | [b'N' | b'n', b'T' | b't'] => true,
        [b'R' | b'r'] | [b'R' | b'r', b'T' | b't'] => positive,
        _ => false,
    };
    let time_good = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    sound(mode_good && time_good)
}

/// Seconds, `1*9DIGIT` without a leading zero (RFC 4865 §3).
fn read_hold_for(
    value: Option<&[u8]>,
    _offered: Extensions,
    params: &mut Params,
) -> Result<(), ParamFault> {
    let digits = value.unwrap_or_default();
    let shape = matches!(digits, [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    if !shape || digits.len() > 9 {
        return Err(ParamFault::Malformed);
    }
    let seconds = digits.iter().fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    sound(params.hold.replace(Hold::For(seconds)).is_none())
}

/// A date and time in UTC (RFC 4865 §3). Only one of the two holds may be given (§4.2).
fn read_hold_until(
    value: Option<&[u8]>,
    _offered: Extensions,
    params: &mut Params,
) -> Result<(), ParamFault> {
    let moment = value.and_then(Moment::parse).ok_or(ParamFault::Malformed)?;
    sound(params.hold.replace(Hold::Until(moment)).is_none())
}

/// -9 to 9 (RFC 6710 §3).
fn read_priority(
    value: Option<&[u8]>,
    _offered: Extensions,
    _params: &mut Params,
) -> Result<(), ParamFault> {
    sound(matches!(value, Some([b'0'..=b'9'] | [b'-', b'1'..=b'9'])))
}

fn sound(good: bool) -> Result<(), ParamFault> {
    if good { Ok(()) } else { Err(ParamFault::Malformed) }
}

/// `<>`, or a mailbox as xtext (RFC 4954 §5): who is said to have submitted the message. Checked, and
/// stored with the raw parameters; nothing follows from it.
fn read_auth(
    value: Option<&[u8]>,
    _offered: Extensions,
    _params: &mut Params,
) -> Result<(), ParamFault> {
    match value {
        Some(b"<>") => Ok(()),
        Some(text) if text.len() <= AUTH_PARAM_BYTES_MAX && is_xtext(text) => Ok(()),
        _ => Err(ParamFault::Malformed),
    }
}

#[cfg(test)]
mod tests;
