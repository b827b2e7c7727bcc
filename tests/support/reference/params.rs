//! Parameters of MAIL and RCPT, each read as its own RFC words it.

use ringpost::limits::{AUTH_PARAM_BYTES_MAX, ENVID_BYTES_MAX, ORCPT_BYTES_MAX};
use ringpost::smtp::extension::Extensions;

use super::{BAD_ARGUMENT, NOT_OFFERED, Odd, Quirk, Reference, Said, is_number, octet_fault};

/// What the parameters of one command ask for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) size: u128,
    pub(super) utf8: bool,
    pub(super) binary: bool,
    pub(super) hold: Option<Hold>,
    pub(super) odd: Odd,
}

/// RFC 4865.
pub(super) enum Hold {
    For(u32),
    /// To the second, without the `Z`.
    Until(String),
}

/// Which extension brings a parameter.
fn brought_by(keyword: &[u8], mail: bool) -> Option<Extensions> {
    Some(match (keyword, mail) {
        (b"SIZE", true) => Extensions::SIZE,
        (b"BODY", true) => Extensions::EIGHT_BIT_MIME,
        (b"SMTPUTF8", true) => Extensions::SMTPUTF8,
        (b"RET" | b"ENVID", true) | (b"NOTIFY" | b"ORCPT", false) => Extensions::DSN,
        (b"BY", true) => Extensions::DELIVERBY,
        (b"HOLDFOR" | b"HOLDUNTIL", true) => Extensions::FUTURERELEASE,
        (b"MT-PRIORITY", true) => Extensions::MT_PRIORITY,
        (b"REQUIRETLS", true) => Extensions::REQUIRETLS,
        (b"AUTH", true) => Extensions::AUTH,
        _ => return None,
    })
}

impl Reference<'_> {
    /// Reads `params` of MAIL or RCPT from left to right; the first fault is the answer.
    pub(super) fn params(&self, params: &[u8], mail: bool) -> Result<Asked, Said> {
        let mut asked = Asked::default();
        let mut seen = Vec::new();
        let spaces: Vec<u8> = match self.lenient() {
            true => params.iter().map(|&b| if b == b'\t' { b' ' } else { b }).collect(),
            false => params.to_vec(),
        };
        if self.lenient() && (spaces != params || spaces.windows(2).any(|two| two == b"  ")) {
            asked.odd.insert("extra-whitespace");
        }
        for word in spaces.split(|&b| b == b' ').filter(|word| !word.is_empty()) {
            let bad = octet_fault(&spaces).unwrap_or(BAD_ARGUMENT);
            let (keyword, value) = keyword_and_value(word).ok_or(bad)?;
            let extension = brought_by(&keyword, mail).ok_or(NOT_OFFERED)?;
            if !(self.extended || self.lenient()) || !self.offers(extension) {
                return Err(NOT_OFFERED);
            }
            let upper = value.map(<[u8]>::to_ascii_uppercase);
            if keyword == b"BODY" && upper.as_deref() == Some(b"BINARYMIME") {
                if !self.offers(Extensions::BINARYMIME) {
                    return Err(NOT_OFFERED);
                }
                asked.binary = true;
            } else if !self.value(&keyword, value, &mut asked) {
                return Err(bad);
            }
            // Python's smtplib says SMTPUTF8 twice.
            let twice = seen.contains(&keyword) && keyword != b"SMTPUTF8";
            let last_counts = [&b"SIZE"[..], b"BODY", b"AUTH"].contains(&&keyword[..]);
            if twice && self.lenient() && last_counts {
                asked.odd.insert("repeated-parameter");
            } else if twice && !(keyword == b"RET" && self.is(Quirk::RetTwice)) {
                return Err(bad);
            }
            seen.push(keyword);
        }
        Ok(asked)
    }

    /// Whether the value is good; if so it is taken.
    fn value(&self, keyword: &[u8], value: Option<&[u8]>, asked: &mut Asked) -> bool {
        let upper = value.unwrap_or_default().to_ascii_uppercase();
        match (keyword, value) {
            (b"SMTPUTF8", None) => asked.utf8 = true,
            // RFC 8689 §2: it has no value.
            (b"REQUIRETLS", None) => {}
            (b"SMTPUTF8" | b"REQUIRETLS", Some(_)) | (_, None) => return false,
            (b"SIZE", Some(digits)) => {
                if !is_number(digits, 20) {
                    return false;
                }
                asked.size = str::from_utf8(digits).unwrap().parse().unwrap();
            }
            (b"BODY", _) => {
                asked.binary = false;
                return matches!(&upper[..], b"7BIT" | b"8BITMIME");
            }
            (b"RET", _) => return matches!(&upper[..], b"FULL" | b"HDRS"),
            (b"ENVID", Some(id)) => return id.len() <= ENVID_BYTES_MAX && is_xtext(id),
            (b"NOTIFY", _) => return self.notify(&upper),
            (b"ORCPT", Some(recipient)) => return self.original_recipient(recipient),
            (b"BY", _) => return self.deliver_by(&upper),
            (b"MT-PRIORITY", Some(priority)) => return self.priority(priority),
            (b"AUTH", Some(mailbox)) => {
                let short = mailbox.len() <= AUTH_PARAM_BYTES_MAX;
                return mailbox == b"<>" || (short && is_xtext(mailbox));
            }
            (b"HOLDFOR", Some(digits)) => {
                if !is_number(digits, 9) || digits[0] == b'0' {
                    return false;
                }
                let seconds = str::from_utf8(digits).unwrap().parse().unwrap();
                return self.hold(Hold::For(seconds), asked);
            }
            (b"HOLDUNTIL", Some(text)) => {
                let moment = str::from_utf8(text).ok().and_then(moment);
                return moment.is_some_and(|moment| self.hold(Hold::Until(moment), asked));
            }
            _ => return false,
        }
        true
    }

    /// One of the two, once (RFC 4865 §4.2).
    fn hold(&self, hold: Hold, asked: &mut Asked) -> bool {
        let first = asked.hold.replace(hold).is_none();
        first || self.is(Quirk::HoldsTwice)
    }

    /// RFC 3461 §4.1.
    fn notify(&self, upper: &[u8]) -> bool {
        let mut words = upper.split(|&b| b == b',');
        let alone = upper == b"NEVER";
        alone
            || words.all(|word| {
                matches!(word, b"SUCCESS" | b"FAILURE" | b"DELAY")
                    || (word == b"NEVER" && self.is(Quirk::NeverWithOthers))
            })
    }

    /// RFC 3461 §4.2, and RFC 6533 §3 for the type `utf-8`.
    fn original_recipient(&self, value: &[u8]) -> bool {
        let Some(at) = value.iter().position(|&b| b == b';') else { return false };
        let (kind, address) = (&value[..at], &value[at + 1..]);
        let utf8 = kind.eq_ignore_ascii_case(b"utf-8") && self.offers(Extensions::SMTPUTF8);
        let good = if utf8 { str::from_utf8(address).is_ok() } else { is_xtext(address) };
        let atom = |b: &u8| b.is_ascii_graphic() && !b"()<>[]:;@\\,.\"".contains(b);
        value.len() <= ORCPT_BYTES_MAX
            && !kind.is_empty()
            && kind.iter().all(atom)
            && !address.is_empty()
            && good
    }

    /// RFC 2852 §4: a time that is over cannot be the reason for a return.
    fn deliver_by(&self, upper: &[u8]) -> bool {
        let Some((time, mode)) = str::from_utf8(upper).ok().and_then(|text| text.split_once(';'))
        else {
            return false;
        };
        let digits = time.strip_prefix(['+', '-']).unwrap_or(time);
        if !is_number(digits.as_bytes(), 9) {
            return false;
        }
        let seconds: i64 = time.parse().unwrap();
        match mode {
            "N" | "NT" => true,
            "R" | "RT" => seconds > 0 || self.is(Quirk::ReturnsAtOnce),
            _ => false,
        }
    }

    /// RFC 6710 §3.
    fn priority(&self, value: &[u8]) -> bool {
        let digit = value.strip_prefix(b"-").unwrap_or(value);
        let minus_zero = value == b"-0" && !self.is(Quirk::MinusZero);
        digit.len() == 1 && digit[0].is_ascii_digit() && !minus_zero
    }

    /// Whether the listener holds a message that long.
    pub(super) fn holds(&self, hold: &Hold) -> bool {
        let limits = self.policy.commands.hold;
        match hold {
            Hold::For(seconds) => *seconds <= limits.seconds_max,
            Hold::Until(moment) => {
                let moment = moment.as_bytes();
                limits.earliest.text() <= moment && moment <= limits.latest.text()
            }
        }
    }
}

/// The keyword in capitals. `esmtp-param` of RFC 5321 §4.1.2, widened by RFC 6531 §3.3.
fn keyword_and_value(word: &[u8]) -> Option<(Vec<u8>, Option<&[u8]>)> {
    let mut halves = word.splitn(2, |&b| b == b'=');
    let keyword = halves.next()?;
    let value = halves.next();
    let good_value = |value: &[u8]| {
        !value.is_empty() && value.iter().all(|&b| b > b' ' && b != b'=' && b != 127)
    };
    let good = keyword.first()?.is_ascii_alphanumeric()
        && keyword.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && value.is_none_or(good_value);
    good.then(|| (keyword.to_ascii_uppercase(), value))
}

/// RFC 3461 §4: hexadecimal digits are capitals.
fn is_xtext(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'+' => {
                let digit =
                    |n: usize| text.get(at + n).is_some_and(|b| b"0123456789ABCDEF".contains(b));
                if !digit(1) || !digit(2) {
                    return false;
                }
                at += 3;
            }
            b'=' => return false,
            33..=126 => at += 1,
            _ => return false,
        }
    }
    true
}

/// A date and time of RFC 3339 in UTC, without its fraction and its `Z`.
fn moment(text: &str) -> Option<String> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let part = |text: &str, digits: usize, range: std::ops::RangeInclusive<u32>| {
        let good = text.len() == digits && is_number(text.as_bytes(), digits);
        good && range.contains(&text.parse().unwrap())
    };
    let days: Vec<_> = date.split('-').collect();
    let hours: Vec<_> = time.split(':').collect();
    let ([year, month, day], [hour, minute, second]) = (&days[..], &hours[..]) else { return None };
    let good = part(year, 4, 0..=9999)
        && part(month, 2, 1..=12)
        && part(day, 2, 1..=31)
        && part(hour, 2, 0..=23)
        && part(minute, 2, 0..=59)
        && part(second, 2, 0..=60)
        && is_number(fraction.as_bytes(), usize::MAX);
    good.then(|| format!("{date}T{time}"))
}
