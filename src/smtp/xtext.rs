//! xtext: how parameters carry octets that they may not hold (RFC 3461 §4).

/// The octets that `text` stands for. `None`: an octet that xtext does not have, or a `+` without two
/// hexadecimal digits. Digits of either case are let pass.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (octet, behind) = take(rest)?;
        octets.push(octet);
        rest = behind;
    }
    Some(octets)
}

/// Whether `text` is xtext to the letter: its hexadecimal digits are capitals.
pub fn is_xtext(text: &[u8]) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let Some((_, behind)) = take(rest) else { return false };
        let spelled = &rest[..rest.len() - behind.len()];
        if spelled.len() > 1 && spelled.iter().any(u8::is_ascii_lowercase) {
            return false;
        }
        rest = behind;
    }
    true
}

/// The octet that the front of `text` stands for, and what follows it.
fn take(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'+', high, low, behind @ ..] => Some((hex(*high)? << 4 | hex(*low)?, behind)),
        [b'+' | b'=', ..] => None,
        [octet @ b'!'..=b'~', behind @ ..] => Some((*octet, behind)),
        _ => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_pairs_stand_for_octets() {
        assert_eq!(decode(b"").unwrap(), b"");
        assert_eq!(decode(b"a@b.example").unwrap(), b"a@b.example");
        assert_eq!(decode(b"a+2Bb+3D+20+c3+A4").unwrap(), "a+b= ä".as_bytes());
    }

    #[test]
    fn the_letter_of_xtext_has_capitals() {
        for good in [&b""[..], b"a@b.example", b"abc+2Bdef+3D", b"+C3+A4"] {
            assert!(is_xtext(good), "{}", good.escape_ascii());
        }
        for bad in [&b"+2b"[..], b"+aB", b"x+3dy"] {
            assert!(!is_xtext(bad) && decode(bad).is_some(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn what_xtext_cannot_hold_is_refused() {
        for bad in [&b"a b"[..], b"a=b", b"+", b"+2", b"+2G", b"+-1", b"\xc3\xa4", b"\x7f", b"\0"] {
            assert_eq!(decode(bad), None, "{}", bad.escape_ascii());
            assert!(!is_xtext(bad), "{}", bad.escape_ascii());
        }
    }
}
