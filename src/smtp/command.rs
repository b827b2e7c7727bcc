//! Commands, both ways: what a client writes and what a server reads (RFC 5321 §4.1).

/// Writes `MAIL FROM:<path>` and its parameters (each led by a space), with CRLF.
///
/// `path` is without angle brackets and may be empty (the null reverse-path, RFC 5321 §4.5.5).
pub fn write_mail(out: &mut Vec<u8>, path: &[u8], params: &[u8]) {
    write_path(out, b"MAIL FROM:<", path, params);
}

/// Writes `RCPT TO:<path>` and its parameters (each led by a space), with CRLF.
pub fn write_rcpt(out: &mut Vec<u8>, path: &[u8], params: &[u8]) {
    write_path(out, b"RCPT TO:<", path, params);
}

/// Writes `BDAT n` or `BDAT n LAST` (RFC 3030 §2), with CRLF; the chunk follows at once.
pub fn write_bdat(out: &mut Vec<u8>, chunk_bytes: u64, last: bool) {
    out.extend_from_slice(b"BDAT ");
    write_decimal(out, chunk_bytes);
    out.extend_from_slice(if last { b" LAST\r\n" } else { b"\r\n" });
}

/// Writes a greeting command: `EHLO name`, `HELO name` or `LHLO name`, with CRLF.
pub fn write_hello(out: &mut Vec<u8>, verb: &[u8], name: &[u8]) {
    out.extend_from_slice(verb);
    out.push(b' ');
    out.extend_from_slice(name);
    out.extend_from_slice(b"\r\n");
}

fn write_path(out: &mut Vec<u8>, lead: &[u8], path: &[u8], params: &[u8]) {
    debug_assert!(!path.iter().chain(params).any(|b| matches!(b, b'\r' | b'\n' | 0)));
    out.extend_from_slice(lead);
    out.extend_from_slice(path);
    out.push(b'>');
    out.extend_from_slice(params);
    out.extend_from_slice(b"\r\n");
}

/// Writes `value` in decimal without leading zeros.
pub fn write_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_commands_as_rfc_5321_spells_them() {
        let mut out = Vec::new();
        write_hello(&mut out, b"EHLO", b"client.example");
        write_mail(&mut out, b"", b" SIZE=10");
        write_rcpt(&mut out, b"a@b.example", b"");
        write_bdat(&mut out, u64::MAX, false);
        write_bdat(&mut out, 0, true);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "EHLO client.example\r\nMAIL FROM:<> SIZE=10\r\nRCPT TO:<a@b.example>\r\n\
             BDAT 18446744073709551615\r\nBDAT 0 LAST\r\n"
        );
    }
}
