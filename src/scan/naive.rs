//! Slow twins: what the scanners mean, octet by octet.

use proptest::prelude::*;

use super::census::Marks;

pub(crate) fn find_lf_dot(octets: &[u8]) -> Option<usize> {
    octets.windows(2).position(|pair| pair == b"\n.")
}

pub(crate) fn find_crlf(octets: &[u8], after_cr: bool) -> Option<usize> {
    let mut previous = if after_cr { b'\r' } else { b'x' };
    for (at, &octet) in octets.iter().enumerate() {
        if previous == b'\r' && octet == b'\n' {
            return Some(at + 1);
        }
        previous = octet;
    }
    None
}

pub(crate) fn census(octets: &[u8]) -> Marks {
    let mut marks = Marks::default();
    for (at, &octet) in octets.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| octets[at]);
        let behind = octets.get(at + 1).copied();
        marks.bare_cr |= octet == b'\r' && behind != Some(b'\n');
        marks.bare_lf |= octet == b'\n' && before != Some(b'\r');
        marks.nul |= octet == 0;
        marks.eight_bit |= octet >= 0x80;
    }
    marks
}

/// Octets that matter to a scanner, and few others.
pub(crate) fn soup() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        3 => Just(b'\r'), 3 => Just(b'\n'), 3 => Just(b'.'), 1 => Just(0u8), 1 => Just(0x80u8),
        6 => b'a'..=b'c'
    ];
    prop::collection::vec(octet, 0..400)
}
