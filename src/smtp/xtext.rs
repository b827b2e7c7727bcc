//! xtext: how parameters carry octets that they may not hold (RFC 3461 §4).

/// The octets that `text` stands for. `None`: an octet that xtext does not have, or a `+` without two
/// hexadecimal digits. Digits of either case are let pass.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, behind)) = rest.split_first() {
        rest = behind;
        octets.push(match octet {
            b'+' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                hex(digits[0])? << 4 | hex(digits[1])?
            }
            b'!'..=b'~' if octet != b'=' => octet,
            _ => return None,
        });
    }
    Some(octets)
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
    fn what_xtext_cannot_hold_is_refused() {
        for bad in [&b"a b"[..], b"a=b", b"+", b"+2", b"+2G", b"+-1", b"\xc3\xa4", b"\x7f", b"\0"] {
            assert_eq!(decode(bad), None, "{}", bad.escape_ascii());
        }
    }
}
