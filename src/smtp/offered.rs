//! What a server says it can do, as the client reads it (RFC 5321 §4.1.1.1).

use super::auth::{Mechanism, Mechanisms};
use super::extension::Extensions;

/// The answer to EHLO or LHLO.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offered {
    pub extensions: Extensions,
    /// RFC 1870: octets that a message may have; 0 is "no fixed limit".
    pub size: u64,
    /// Mechanisms of AUTH (RFC 4954) that are known here.
    pub mechanisms: Mechanisms,
}

impl Offered {
    /// Reads one line of the answer, without its code; what is not known is passed over, as is the
    /// first line's domain.
    pub fn read_line(&mut self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else {
            return;
        };
        // Old servers put an equals sign after AUTH.
        let mut words = text.split(|c: char| c.is_ascii_whitespace() || c == '=');
        let Some(extension) = words.next().and_then(Extensions::from_keyword) else {
            return;
        };
        self.extensions = self.extensions.union(extension);
        if extension == Extensions::SIZE {
            self.size = words.next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        } else if extension == Extensions::AUTH {
            for mechanism in words.filter_map(Mechanism::from_name) {
                self.mechanisms = self.mechanisms.with(mechanism);
            }
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
        let three =
            Extensions::PIPELINING.union(Extensions::SIZE).union(Extensions::EIGHT_BIT_MIME);
        let expected = Offered { extensions: three, size: 1000, ..Offered::default() };
        assert_eq!(offered, expected);
    }

    #[test]
    fn mechanisms_are_gathered_from_both_forms_of_the_line() {
        let mut offered = Offered::default();
        for line in ["AUTH plain GSSAPI", "AUTH=LOGIN PLAIN"] {
            offered.read_line(line.as_bytes());
        }
        let two = [Mechanism::Plain, Mechanism::Login].into_iter().collect();
        assert!(offered.has(Extensions::AUTH));
        assert_eq!(offered.mechanisms, two);
    }

    #[test]
    fn size_without_a_number_is_no_limit() {
        let mut offered = Offered::default();
        offered.read_line(b"SIZE");
        assert!(offered.has(Extensions::SIZE) && offered.size == 0);
    }
}
