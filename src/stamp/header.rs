//! The header block of a message: its fields, its end, and its checksum.

use super::body_crc;

/// The fields of a header block, each with its folded lines and its line end. They end before the empty line.
#[derive(Clone, Debug)]
pub struct HeaderFields<'m> {
    rest: &'m [u8],
}

impl<'m> HeaderFields<'m> {
    /// The fields of a message, or of what follows a field of it.
    pub fn new(message: &'m [u8]) -> Self {
        Self { rest: message }
    }

    /// What follows the field that was returned last.
    pub fn rest(&self) -> &'m [u8] {
        self.rest
    }
}

impl<'m> Iterator for HeaderFields<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        if self.rest.is_empty() || self.rest.starts_with(b"\r\n") || self.rest[0] == b'\n' {
            return None;
        }
        let (field, rest) = self.rest.split_at(field_end(self.rest));
        self.rest = rest;
        Some(field)
    }
}

/// Octets of the first header field, with its folded lines and CRLF.
fn field_end(header: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', header)
        .map(|newline| newline + 1)
        .find(|&next| !matches!(header.get(next), Some(b' ' | b'\t')))
        .unwrap_or(header.len())
}

/// Where the body begins: after the empty line that ends the header.
pub fn header_end(message: &[u8]) -> usize {
    match message.starts_with(b"\r\n") {
        true => 2,
        false => memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 4),
    }
}

/// The checksum of header fields that a mail system may fold in other places: CRC-32C of what [`relax`]
/// makes of them.
pub fn header_crc(fields: &[u8]) -> u32 {
    let mut relaxed = Vec::with_capacity(fields.len());
    relax(fields, &mut relaxed, |_, _| {});
    body_crc(&relaxed)
}

/// Appends header fields in the form in which DKIM signs them (RFC 6376 §3.4.2, relaxed): names in lower case,
/// unfolded, white space in a row as one space, none around the colon and none at the end. Stops at an empty
/// line. Says of each octet that is kept where it stood, and where it stands in `out`.
pub fn relax(fields: &[u8], out: &mut Vec<u8>, mut kept: impl FnMut(usize, usize)) {
    let mut start = 0;
    for field in HeaderFields::new(fields) {
        let colon = memchr::memchr(b':', field).unwrap_or(field.len());
        let mut gap = false;
        let mut line_start = out.len();
        for (n, &octet) in field.iter().enumerate() {
            if matches!(octet, b' ' | b'\t' | b'\r' | b'\n') {
                gap = true;
                continue;
            }
            if std::mem::take(&mut gap) && out.len() > line_start && n != colon {
                out.push(b' ');
            }
            kept(start + n, out.len());
            out.push(if n < colon { octet.to_ascii_lowercase() } else { octet });
            if n == colon {
                line_start = out.len();
            }
        }
        out.extend_from_slice(b"\r\n");
        start += field.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn relaxed(fields: &str) -> String {
        let mut out = Vec::new();
        relax(fields.as_bytes(), &mut out, |from, to| assert!(to <= from + 1));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_end_with_their_folded_lines_and_before_the_empty_line() {
        let message = b"A: 1\r\nB: 2\r\n\t3\r\n 4\r\nC:\r\n\r\nD: in the body\r\n";
        let fields: Vec<_> = HeaderFields::new(message).collect();
        assert_eq!(fields, [&b"A: 1\r\n"[..], b"B: 2\r\n\t3\r\n 4\r\n", b"C:\r\n"]);
        assert_eq!(&message[header_end(message)..], b"D: in the body\r\n");
        assert_eq!(HeaderFields::new(b"\r\nA: b\r\n").count(), 0);
        assert_eq!((header_end(b"\r\nA"), header_end(b"A: b\r\n")), (2, 6));
    }

    #[test]
    fn a_header_is_relaxed_as_dkim_does() {
        // The example of RFC 6376 §3.4.5.
        assert_eq!(relaxed("A: X\r\nB : Y\t\r\n\tZ  \r\n"), "a:X\r\nb:Y Z\r\n");
        assert_eq!(relaxed("Subject:\r\n a  b:C \r\n"), "subject:a b:C\r\n");
        assert_eq!(relaxed("no colon\r\nX:\r\n\r\nY: z\r\n"), "no colon\r\nx:\r\n");
        assert_eq!(relaxed(""), "");
    }

    proptest! {
        #[test]
        fn folding_changes_no_checksum_and_any_other_octet_does(
            words in prop::collection::vec("[!-9;-~]{1,9}", 1..20),
            folds in any::<u32>(), at in any::<prop::sample::Index>(),
        ) {
            let plain = format!("X-Test: {}\r\n", words.join(" "));
            let mut folded = "x-TEST:".to_owned();
            for (n, word) in words.iter().enumerate() {
                folded += if folds >> n & 1 == 1 { "\r\n\t " } else { " " };
                folded += word;
            }
            folded += "\r\n";
            prop_assert_eq!(header_crc(plain.as_bytes()), header_crc(folded.as_bytes()));
            let mut other = plain.clone().into_bytes();
            let at = "X-Test: ".len() + at.index(words.join(" ").len());
            other[at] = if other[at] == b'+' { b'-' } else { b'+' };
            prop_assert_ne!(header_crc(plain.as_bytes()), header_crc(&other));
        }
    }
}
