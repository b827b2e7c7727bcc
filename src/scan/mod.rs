//! Where is the next CRLF, the next line-leading dot, the next bare CR or LF, in a slice of octets.
//!
//! Searches stand on memchr. The census of content octets is a fold that the compiler turns into
//! vector code; `naive` holds a slow twin of everything here, which the tests believe.

mod census;
mod header;
#[cfg(test)]
mod naive;

pub use census::{Census, Marks};
pub use header::HeaderCut;

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Built once: making a searcher costs as much as searching a short message.
static LF_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n."));

/// Place of the first LF that has a dot behind it.
#[inline]
pub fn find_lf_dot(octets: &[u8]) -> Option<usize> {
    LF_DOT.find(octets)
}

/// Place right behind the first CRLF. `after_cr` says whether the octet before the slice was a CR.
///
/// Command lines are short and hold hardly ever a bare LF, so this looks for LF and then back.
#[inline]
pub fn find_crlf(octets: &[u8], after_cr: bool) -> Option<usize> {
    let mut from = 0;
    loop {
        let lf = from + memchr::memchr(b'\n', &octets[from..])?;
        let led_by_cr = if lf == 0 { after_cr } else { octets[lf - 1] == b'\r' };
        if led_by_cr {
            return Some(lf + 1);
        }
        from = lf + 1;
    }
}

/// Whether a command line without its CRLF holds a CR or an LF, neither of which can be part of a
/// CRLF there.
#[inline]
pub fn has_bare_newline(line: &[u8]) -> bool {
    memchr::memchr2(b'\r', b'\n', line).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Octets that matter to a scanner, and few others.
    fn soup() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![
            3 => Just(b'\r'), 3 => Just(b'\n'), 3 => Just(b'.'), 1 => Just(0u8), 1 => Just(0x80u8),
            6 => b'a'..=b'c'
        ];
        prop::collection::vec(octet, 0..400)
    }

    proptest! {
        #[test]
        fn searches_agree_with_their_slow_twins(octets in soup(), after_cr: bool) {
            prop_assert_eq!(find_lf_dot(&octets), naive::find_lf_dot(&octets));
            prop_assert_eq!(find_crlf(&octets, after_cr), naive::find_crlf(&octets, after_cr));
            prop_assert_eq!(
                has_bare_newline(&octets),
                octets.contains(&b'\r') || octets.contains(&b'\n')
            );
        }

        #[test]
        fn the_census_agrees_with_its_slow_twin_however_it_is_cut(
            octets in soup(), pad in 0usize..300, cuts in prop::collection::vec(0usize..700, 0..6)
        ) {
            let mut octets = octets;
            octets.splice(0..0, std::iter::repeat_n(b'x', pad));
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(octets.len())).collect();
            cuts.extend([0, octets.len()]);
            cuts.sort_unstable();
            let mut census = Census::default();
            for pair in cuts.windows(2) {
                census.feed(&octets[pair[0]..pair[1]]);
            }
            prop_assert_eq!(census.finish(), naive::census(&octets));
        }
    }

    #[test]
    fn a_mark_is_found_at_every_offset() {
        for len in 1..200 {
            for at in 0..len {
                for octet in [b'\r', b'\n', 0, 0xff] {
                    let mut octets = vec![b'x'; len];
                    octets[at] = octet;
                    let mut census = Census::default();
                    census.feed(&octets);
                    assert_eq!(census.finish(), naive::census(&octets), "{octet} at {at} of {len}");
                }
            }
        }
    }
}
