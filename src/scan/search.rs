//! Where the next CRLF and the next line-leading dot are.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Built once: making a searcher costs as much as searching a short message.
static LF_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n."));

/// Place of the first LF that a dot follows.
#[inline]
pub fn find_lf_dot(octets: &[u8]) -> Option<usize> {
    LF_DOT.find(octets)
}

/// Place right after the first CRLF. `after_cr` says whether the octet before the slice was a CR.
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
    use crate::scan::naive::{self, soup};

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
    }
}
