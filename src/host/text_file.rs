//! Text files that people write.

use std::fs;
use std::io;
use std::path::Path;

/// What Windows editors and spreadsheets put in front of UTF-8, where it has no meaning (Unicode 16, 2.6).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The octets of a text file, without a byte order mark in front.
///
/// # Errors
/// Those of [`fs::read`].
pub fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = fs::read(path)?;
    if octets.starts_with(BYTE_ORDER_MARK) {
        octets.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_taken_off_in_front_alone_and_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (written, read) in [
            ("\u{feff}ann@x\n", "ann@x\n"),
            ("\u{feff}\u{feff}x", "\u{feff}x"),
            ("x\u{feff}", "x\u{feff}"),
            ("\u{feff}", ""),
            ("", ""),
        ] {
            fs::write(file.path(), written).unwrap();
            assert_eq!(read_text(file.path()).unwrap(), read.as_bytes(), "{written:?}");
        }
        fs::write(file.path(), b"\xef\xbb").unwrap();
        assert_eq!(read_text(file.path()).unwrap(), b"\xef\xbb");
    }
}
