//! Base64 as AUTH has it (RFC 4954 §4).

use base64::{Engine, prelude::BASE64_STANDARD};

/// Appends `octets` in base64.
pub fn write_base64(out: &mut Vec<u8>, octets: &[u8]) {
    let start = out.len();
    out.resize(start + octets.len().div_ceil(3) * 4, 0);
    // The room is exact.
    let _ = BASE64_STANDARD.encode_slice(octets, &mut out[start..]);
}

/// Reads base64 as RFC 4954 §4 wants it: nothing outside of the alphabet, padding at the end only.
pub fn read_base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_strictly() {
        for text in ["", "AA==", "AAA=", "AAAA", "+/+/"] {
            let octets = read_base64(text.as_bytes()).unwrap();
            let mut back = Vec::new();
            write_base64(&mut back, &octets);
            assert_eq!(back, text.as_bytes());
        }
        for bad in ["=", "A", "AA", "AA=", "=AAA", "AAA=BBB=", "AA A=", "AB==", "A-_A", "AAAA\0"] {
            assert_eq!(read_base64(bad.as_bytes()), None, "{bad}");
        }
    }
}
