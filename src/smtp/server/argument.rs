//! What no argument may hold.

/// Whether an argument holds what no argument may (RFC 5321 §4.1.2): controls, or octets of 0x80 and
/// more where no extension lets them in.
pub(super) fn has_bad_octets(argument: &[u8]) -> bool {
    argument.iter().any(|b| !matches!(b, b' '..=b'~'))
}
