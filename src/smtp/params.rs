//! Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11). One row of [`ROWS`] is one parameter.

use crate::limits::AUTH_PARAM_BYTES_MAX;

use super::{envelope::BodyKind, extension::Extensions};

/// What the parameters of one command said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Params {
    /// `SIZE=`; what does not fit 64 bits is taken as the largest number.
    pub size: Option<u64>,
    pub body: BodyKind,
    pub smtputf8: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParamFault {
    /// 555: unknown, or not offered to this client.
    #[error("the parameter is not recognised or not offered")]
    Unknown,
    /// 501.
    #[error("the parameter is malformed, has a bad value, or stands there twice")]
    Malformed,
}

/// The command that a parameter belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum On {
    Mail,
    Rcpt,
}

struct Row {
    keyword: &'static [u8],
    on: On,
    /// Extension that brings the parameter; without it the parameter is unknown.
    brought_by: Extensions,
    /// Whether a repetition with the same meaning is let pass.
    repeatable: bool,
    read: Read,
}

/// Takes a value, with the extensions on offer, into the parameters.
type Read = fn(Option<&[u8]>, Extensions, &mut Params) -> Result<(), ParamFault>;

const ROWS: [Row; 4] = [
    Row {
        keyword: b"SIZE",
        on: On::Mail,
        brought_by: Extensions::SIZE,
        repeatable: false,
        read: read_size,
    },
    Row {
        keyword: b"BODY",
        on: On::Mail,
        brought_by: Extensions::EIGHT_BIT_MIME,
        repeatable: false,
        read: read_body,
    },
    // CPython's smtplib sends this one twice.
    Row {
        keyword: b"SMTPUTF8",
        on: On::Mail,
        brought_by: Extensions::SMTPUTF8,
        repeatable: true,
        read: read_smtputf8,
    },
    Row {
        keyword: b"AUTH",
        on: On::Mail,
        brought_by: Extensions::AUTH,
        repeatable: false,
        read: read_auth,
    },
];

/// Reads `text`, the parameters of one command without the space that leads them.
///
/// # Errors
/// The first [`ParamFault`] met.
pub fn parse_params(text: &[u8], on: On, offered: Extensions) -> Result<Params, ParamFault> {
    let mut params = Params::default();
    let mut seen = 0u32;
    for word in text.split(|&b| b == b' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = split_word(word)?;
        let known = |row: &Row| row.on == on && row.keyword.eq_ignore_ascii_case(keyword);
        let index = ROWS.iter().position(known).ok_or(ParamFault::Unknown)?;
        let row = &ROWS[index];
        if !offered.contains(row.brought_by) {
            return Err(ParamFault::Unknown);
        }
        (row.read)(value, offered, &mut params)?;
        let bit = 1 << index;
        if seen & bit != 0 && !row.repeatable {
            return Err(ParamFault::Malformed);
        }
        seen |= bit;
    }
    Ok(params)
}

/// `esmtp-keyword ["=" esmtp-value]`.
fn split_word(word: &[u8]) -> Result<(&[u8], Option<&[u8]>), ParamFault> {
    let (keyword, value) = match memchr::memchr(b'=', word) {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    };
    let keyword_octet = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    // RFC 6531 §3.3 lets values hold UTF-8.
    let value_octet = |b: &u8| matches!(b, 33..=60 | 62..=126 | 0x80..);
    let good = keyword.first().is_some_and(u8::is_ascii_alphanumeric)
        && keyword.iter().all(keyword_octet)
        && value.is_none_or(|value| !value.is_empty() && value.iter().all(value_octet));
    if good { Ok((keyword, value)) } else { Err(ParamFault::Malformed) }
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
    if value.is_some() {
        return Err(ParamFault::Malformed);
    }
    params.smtputf8 = true;
    Ok(())
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

/// `*(xchar / "+" 2HEXDIGIT)`, in capitals (RFC 3461 §4).
fn is_xtext(text: &[u8]) -> bool {
    let mut octets = text.iter();
    let hex = |b: Option<&u8>| matches!(b, Some(b'0'..=b'9' | b'A'..=b'F'));
    while let Some(&octet) = octets.next() {
        let good = match octet {
            b'+' => hex(octets.next()) && hex(octets.next()),
            octet => matches!(octet, b'!'..=b'~') && octet != b'=',
        };
        if !good {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Params, ParamFault> {
        parse_params(text.as_bytes(), On::Mail, Extensions::ALL)
    }

    #[test]
    fn good_parameters_are_read_in_any_case_and_order() {
        let params = parse("smtputf8 body=8bitmime SIZE=1000").unwrap();
        let expected = Params { size: Some(1000), body: BodyKind::EightBit, smtputf8: true };
        assert_eq!(params, expected);
        assert_eq!(parse(""), Ok(Params::default()));
        assert_eq!(parse("BODY=BINARYMIME").unwrap().body, BodyKind::Binary);
        assert_eq!(parse("BODY=7BIT").unwrap().body, BodyKind::SevenBit);
        assert_eq!(parse("SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        assert_eq!(parse("SIZE=00000000000000000007").unwrap().size, Some(7));
    }

    #[test]
    fn bad_values_and_repetitions_are_malformed() {
        let bad = [
            "SIZE",
            "SIZE=",
            "SIZE=x",
            "SIZE=-1",
            "SIZE=000000000000000000001",
            "SIZE=1 SIZE=1",
            "BODY",
            "BODY=",
            "BODY=9BIT",
            "BODY=7BIT BODY=7BIT",
            "SMTPUTF8=1",
            "=1",
            "-X=1",
            "X_Y=1",
            "X=a=b",
            "X=\x01",
        ];
        for text in bad {
            assert_eq!(parse(text), Err(ParamFault::Malformed), "{text}");
        }
        assert!(parse("SMTPUTF8 SMTPUTF8").unwrap().smtputf8, "smtplib says it twice");
    }

    #[test]
    fn auth_names_a_mailbox_in_xtext_or_nobody() {
        let long = format!("AUTH={}", "x".repeat(AUTH_PARAM_BYTES_MAX));
        for good in ["AUTH=<>", "AUTH=e+3Dmc2@example.com", "auth=a@b", &long] {
            assert_eq!(parse(good), Ok(Params::default()), "{good}");
        }
        let longer = format!("{long}x");
        for bad in [
            "AUTH",
            "AUTH=",
            "AUTH=a+3dc",
            "AUTH=a+",
            "AUTH=a+3",
            "AUTH=é",
            "AUTH=<> AUTH=<>",
            &longer,
        ] {
            assert_eq!(parse(bad), Err(ParamFault::Malformed), "{bad}");
        }
        let without = Extensions::ALL.without(Extensions::AUTH);
        assert_eq!(parse_params(b"AUTH=<>", On::Mail, without), Err(ParamFault::Unknown));
    }

    #[test]
    fn what_is_not_offered_is_unknown() {
        for text in ["XFOO", "XFOO=1", "RET=FULL"] {
            assert_eq!(parse(text), Err(ParamFault::Unknown), "{text}");
        }
        let offered = Extensions::ALL
            .without(Extensions::SIZE)
            .without(Extensions::SMTPUTF8)
            .without(Extensions::BINARYMIME);
        for text in ["SIZE=1", "SMTPUTF8", "BODY=BINARYMIME"] {
            let fault = parse_params(text.as_bytes(), On::Mail, offered);
            assert_eq!(fault, Err(ParamFault::Unknown), "{text}");
        }
        let fault = parse_params(b"SIZE=1", On::Rcpt, Extensions::ALL);
        assert_eq!(fault, Err(ParamFault::Unknown), "SIZE is not for RCPT");
    }
}
