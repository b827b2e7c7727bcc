//! Commands, both ways: what a client writes and what a server reads (RFC 5321 §4.1).

use super::path::{Direction, Path, PathFault, parse_path};

/// Verbs that a server knows, in any case of letters (RFC 5321 §2.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// RFC 4954.
    Auth,
    /// RFC 2645.
    Atrn,
    Bdat,
    Data,
    Ehlo,
    /// RFC 1985.
    Etrn,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Saml,
    Send,
    Soml,
    /// RFC 3207.
    StartTls,
    Vrfy,
    Xclient,
    /// TURN: known and not implemented.
    Unimplemented,
    Unknown,
}

/// Splits a command line, without CRLF, into its verb and the argument after one space. White
/// space at the end of the line is let pass (RFC 5321 §4.1.1).
#[inline]
pub fn split(line: &[u8]) -> (Verb, &[u8]) {
    let line = trim_end(line);
    let (word, argument) = match line.get(4) {
        None => (line, &line[line.len()..]),
        Some(b' ') => (&line[..4], &line[5..]),
        Some(_) => match memchr::memchr(b' ', line) {
            Some(space) => (&line[..space], &line[space + 1..]),
            None => (line, &line[line.len()..]),
        },
    };
    (verb(word), argument)
}

#[inline]
fn verb(word: &[u8]) -> Verb {
    let &[a, b, c, d] = word else {
        return match word.len() {
            7 if word.eq_ignore_ascii_case(b"XCLIENT") => Verb::Xclient,
            8 if word.eq_ignore_ascii_case(b"STARTTLS") => Verb::StartTls,
            _ => Verb::Unknown,
        };
    };
    // Clearing bit 0x20 makes letters upper case. No other octet becomes a letter by it: those that
    // differ from one in that bit alone are the lower-case letters.
    match &(u32::from_be_bytes([a, b, c, d]) & 0xdfdf_dfdf).to_be_bytes() {
        b"ATRN" => Verb::Atrn,
        b"AUTH" => Verb::Auth,
        b"BDAT" => Verb::Bdat,
        b"DATA" => Verb::Data,
        b"EHLO" => Verb::Ehlo,
        b"ETRN" => Verb::Etrn,
        b"EXPN" => Verb::Expn,
        b"HELO" => Verb::Helo,
        b"HELP" => Verb::Help,
        b"LHLO" => Verb::Lhlo,
        b"MAIL" => Verb::Mail,
        b"NOOP" => Verb::Noop,
        b"QUIT" => Verb::Quit,
        b"RCPT" => Verb::Rcpt,
        b"RSET" => Verb::Rset,
        b"SAML" => Verb::Saml,
        b"SEND" => Verb::Send,
        b"SOML" => Verb::Soml,
        b"VRFY" => Verb::Vrfy,
        b"TURN" => Verb::Unimplemented,
        _ => Verb::Unknown,
    }
}

#[inline]
pub(super) fn trim_end(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

/// The argument of MAIL or RCPT.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PathArgument<'a> {
    pub path: Path<'a>,
    /// Parameters as sent, without the space that leads them.
    pub params: &'a [u8],
    /// Blanks stand behind the colon, or more than one before the parameters. Those among the parameters
    /// are for [`parse_params`](super::params::parse_params) to see.
    pub extra_blanks: bool,
}

/// Reads the argument of MAIL: `FROM:<reverse-path> [parameters]`.
///
/// # Errors
/// [`PathFault`] tells what is wrong with the path.
pub fn parse_mail(argument: &[u8]) -> Result<PathArgument<'_>, PathFault> {
    parse_path_argument(argument, b"FROM:", Direction::Reverse)
}

/// Reads the argument of RCPT: `TO:<forward-path> [parameters]`.
///
/// # Errors
/// [`PathFault`] tells what is wrong with the path.
pub fn parse_rcpt(argument: &[u8]) -> Result<PathArgument<'_>, PathFault> {
    parse_path_argument(argument, b"TO:", Direction::Forward)
}

/// White space after the colon is not permitted (RFC 5321 §3.3), but common, and accepted.
#[inline]
fn parse_path_argument<'a>(
    argument: &'a [u8],
    lead: &[u8],
    direction: Direction,
) -> Result<PathArgument<'a>, PathFault> {
    let (head, rest) = argument.split_at_checked(lead.len()).ok_or(PathFault::Syntax)?;
    if !head.eq_ignore_ascii_case(lead) {
        return Err(PathFault::Syntax);
    }
    let start = trim_start(rest);
    let blanks = rest.len() - start.len();
    let (path, rest) = parse_path(start, direction)?;
    let behind = match rest {
        [] => rest,
        [b' ', behind @ ..] => behind,
        _ => return Err(PathFault::Syntax),
    };
    let params = trim_start(behind);
    let blanks = blanks + (behind.len() - params.len());
    Ok(PathArgument { path, params, extra_blanks: blanks > 0 })
}

#[inline]
fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

/// Reads the argument of BDAT: `chunk-size [SP "LAST"]` (RFC 3030 §2). `None`: the size of what
/// follows is unknown, and with it where the next command starts.
#[inline]
pub fn parse_bdat(argument: &[u8]) -> Option<(u64, bool)> {
    let digits = argument.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = argument.split_at(digits);
    if number.is_empty() {
        return None;
    }
    let size = number.iter().try_fold(0u64, |n, b| {
        n.checked_mul(10).and_then(|n| n.checked_add(u64::from(b - b'0')))
    })?;
    match rest {
        [] => Some((size, false)),
        [b' ', word @ ..] if trim_start(word).eq_ignore_ascii_case(b"LAST") => Some((size, true)),
        _ => None,
    }
}

/// Writes `MAIL FROM:<path>` and its parameters (each led by a space), with CRLF.
///
/// `path` is without angle brackets and may be empty (the null reverse-path, RFC 5321 §4.5.5).
pub fn write_mail(out: &mut Vec<u8>, path: &[u8], params: &[u8]) {
    write_path(out, b"MAIL FROM:<", path, params);
}

/// What stands before the path in a RCPT command.
pub const RCPT_LEAD: &[u8] = b"RCPT TO:<";

/// Writes `RCPT TO:<path>` and its parameters (each led by a space), with CRLF.
pub fn write_rcpt(out: &mut Vec<u8>, path: &[u8], params: &[u8]) {
    write_path(out, RCPT_LEAD, path, params);
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

    #[test]
    fn verbs_are_known_in_any_case_and_nothing_near_them() {
        for (line, expected) in [
            ("NOOP", (Verb::Noop, "")),
            ("nOoP  x \t ", (Verb::Noop, " x")),
            ("MAIL FROM:<>", (Verb::Mail, "FROM:<>")),
            ("StartTLS", (Verb::StartTls, "")),
            ("TURN", (Verb::Unimplemented, "")),
            ("AUTH PLAIN AA", (Verb::Auth, "PLAIN AA")),
            ("", (Verb::Unknown, "")),
            (" NOOP", (Verb::Unknown, "NOOP")),
            ("NOOPX", (Verb::Unknown, "")),
            ("NOO", (Verb::Unknown, "")),
            ("NOOP\tx", (Verb::Unknown, "")),
            ("XFOO bar", (Verb::Unknown, "bar")),
            ("STARTTLSX y", (Verb::Unknown, "y")),
            ("M\u{1}IL x", (Verb::Unknown, "x")),
        ] {
            let (verb, argument) = split(line.as_bytes());
            assert_eq!((verb, str::from_utf8(argument).unwrap()), expected, "{line:?}");
        }
    }

    #[test]
    fn no_octet_but_a_letter_makes_a_verb() {
        for octet in 0..=255u8 {
            for at in 0..4 {
                let mut word = *b"NOOP";
                let letter = word[at];
                word[at] = octet;
                let same = octet.eq_ignore_ascii_case(&letter);
                assert_eq!(split(&word).0 == Verb::Noop, same, "{word:?}");
            }
        }
    }

    #[test]
    fn what_is_written_is_parsed() {
        let mut line = Vec::new();
        for path in ["", "a@b.example", "\"x y\"@[192.0.2.1]", "用@例.example"] {
            for params in ["", " SIZE=1 BODY=8BITMIME"] {
                line.clear();
                write_mail(&mut line, path.as_bytes(), params.as_bytes());
                let (verb, argument) = split(line.strip_suffix(b"\r\n").unwrap());
                let mail = parse_mail(argument).unwrap();
                assert_eq!((verb, mail.path.mailbox), (Verb::Mail, path.as_bytes()));
                assert_eq!(mail.params, params.trim_start().as_bytes());
                assert_eq!(mail.path.non_ascii, !path.is_ascii());
                if path.is_empty() {
                    continue;
                }
                line.clear();
                write_rcpt(&mut line, path.as_bytes(), params.as_bytes());
                let (verb, argument) = split(line.strip_suffix(b"\r\n").unwrap());
                let rcpt = parse_rcpt(argument).unwrap();
                assert_eq!((verb, rcpt.path.mailbox), (Verb::Rcpt, path.as_bytes()));
                assert_eq!(rcpt.params, params.trim_start().as_bytes());
            }
        }
        for (size, last) in [(0, true), (1, false), (u64::MAX, true)] {
            line.clear();
            write_bdat(&mut line, size, last);
            let (verb, argument) = split(line.strip_suffix(b"\r\n").unwrap());
            assert_eq!((verb, parse_bdat(argument)), (Verb::Bdat, Some((size, last))));
        }
        line.clear();
        write_hello(&mut line, b"EHLO", b"client.example");
        let expected = (Verb::Ehlo, &b"client.example"[..]);
        assert_eq!(split(line.strip_suffix(b"\r\n").unwrap()), expected);
    }

    #[test]
    fn chunk_sizes_that_lose_the_framing_are_refused() {
        assert_eq!(parse_bdat(b"5 last"), Some((5, true)));
        for bad in ["", " ", "x", "-1", "+1", "5 FOO", "5LAST", "5 LAST x", "LAST"] {
            assert_eq!(parse_bdat(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_bdat(b"18446744073709551616"), None, "beyond 64 bits");
    }

    #[test]
    fn path_arguments_are_lenient_about_white_space_alone() {
        for good in ["FROM:<a@b>", "from: <a@b>", "FROM:<a@b>  SIZE=1"] {
            assert_eq!(parse_mail(good.as_bytes()).unwrap().path.mailbox, b"a@b", "{good}");
        }
        for bad in ["", "FROM", "FROM:", "FROM <a@b>", "FROM:a@b", "FROM:<a@b>SIZE=1", "TO:<a@b>"] {
            assert_eq!(parse_mail(bad.as_bytes()), Err(PathFault::Syntax), "{bad}");
        }
    }
}
