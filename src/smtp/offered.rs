//! What a server says it can do, as the client reads it (RFC 5321 §4.1.1.1).

use super::extension::Extensions;

/// The answer to EHLO or LHLO.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offered {
    pub extensions: Extensions,
    /// RFC 1870: octets that a message may have; 0 is "no fixed limit".
    pub size: u64,
}

impl Offered {
    /// Reads one line of the answer, without its code; what is not known is passed over, as is the
    /// first line's domain.
    pub fn read_line(&mut self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else {
            return;
        };
        let mut words = text.split_ascii_whitespace();
        let Some(extension) = words.next().and_then(Extensions::from_keyword) else {
            return;
        };
        self.extensions = self.extensions.with(extension);
        if extension == Extensions::SIZE {
            self.size = words.next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        }
    }

    #[inline]
    pub fn has(&self, extension: Extensions) -> bool {
        self.extensions.contains(extension)
    }
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
        let three = Extensions::PIPELINING.with(Extensions::SIZE).with(Extensions::EIGHT_BIT_MIME);
        assert_eq!(offered, Offered { extensions: three, size: 1000 });
    }

    #[test]
    fn size_without_a_number_is_no_limit() {
        let mut offered = Offered::default();
        offered.read_line(b"SIZE");
        assert!(offered.has(Extensions::SIZE) && offered.size == 0);
    }
}
