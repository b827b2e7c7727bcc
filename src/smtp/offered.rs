//! What a server says it can do, as the client reads it (RFC 5321 §4.1.1.1).

/// Extensions offered in the answer to EHLO or LHLO that change what the client does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offered {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 2034.
    pub enhanced_status_codes: bool,
    /// RFC 1870: octets that a message may have; 0 is "no fixed limit".
    pub size: Option<u64>,
}

impl Offered {
    /// Reads one line of the answer, without its code; what is not known is passed over, as is the
    /// first line's domain.
    pub fn read_line(&mut self, text: &[u8]) {
        let mut words = text.split(|&b| b == b' ').filter(|word| !word.is_empty());
        let Some(keyword) = words.next() else {
            return;
        };
        let known: [(&[u8], &mut bool); 5] = [
            (b"PIPELINING", &mut self.pipelining),
            (b"CHUNKING", &mut self.chunking),
            (b"8BITMIME", &mut self.eight_bit_mime),
            (b"SMTPUTF8", &mut self.smtputf8),
            (b"ENHANCEDSTATUSCODES", &mut self.enhanced_status_codes),
        ];
        for (name, flag) in known {
            *flag |= keyword.eq_ignore_ascii_case(name);
        }
        if keyword.eq_ignore_ascii_case(b"SIZE") {
            self.size = Some(words.next().map_or(0, decimal));
        }
    }
}

/// A decimal number; what is none counts as 0, which SIZE reads as "no fixed limit".
fn decimal(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|s| s.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_read_in_any_case_and_unknown_ones_passed_over() {
        let mut offered = Offered::default();
        for line in ["sink.example greets you", "PIPELINING", "size 1000", "X-NEW 1", "8bitMIME"] {
            offered.read_line(line.as_bytes());
        }
        let expected = Offered {
            pipelining: true,
            eight_bit_mime: true,
            size: Some(1000),
            ..Offered::default()
        };
        assert_eq!(offered, expected);
    }

    #[test]
    fn size_without_a_number_is_no_limit() {
        let mut offered = Offered::default();
        offered.read_line(b"SIZE");
        assert_eq!(offered.size, Some(0));
    }
}
