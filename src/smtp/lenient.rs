//! Commands as servers in use read them: what strays from the grammar and can be understood is taken, and
//! each deviation named. What the grammar allows is read by [`super::command`], and this file is
//! asked about the rest.

use core::net::Ipv6Addr;

use super::command::{self, PathArgument, Verb, trim_end};
use super::deviation::Deviations;
use super::path::{self, Direction, Path, PathFault, is_host};
use crate::limits::LOCAL_PART_BYTES_MAX;

/// As [`command::split`], with blanks before the verb, tabs, and several blanks after the verb.
#[inline]
pub fn split<'l>(
    line: &'l [u8],
    (verb, argument): (Verb, &'l [u8]),
) -> (Verb, &'l [u8], Deviations) {
    match argument {
        [b' ' | b'\t', ..] => split_blanks(line),
        _ if verb == Verb::Unknown => split_blanks(line),
        _ => (verb, argument, Deviations::empty()),
    }
}

#[cold]
fn split_blanks(line: &[u8]) -> (Verb, &[u8], Deviations) {
    let line = trim_start(trim_end(line));
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let (verb, _) = command::split(&line[..end]);
    (verb, trim_start(&line[end..]), Deviations::EXTRA_WHITESPACE)
}

/// What is odd in the argument of HELO, EHLO or LHLO; `None` where it cannot be taken: it is empty, or
/// has a control.
pub fn read_hello(name: &[u8]) -> Option<Deviations> {
    if is_host(name) && !is_untagged_ipv6(name) {
        return Some(Deviations::empty());
    }
    let control = match str::from_utf8(name) {
        Ok(text) => text.chars().any(char::is_control),
        Err(_) => name.iter().any(u8::is_ascii_control),
    };
    (!name.is_empty() && !control).then_some(Deviations::HELLO_NOT_A_DOMAIN)
}

/// `[2001:db8::1]`, with a zone or without: what comes before the first colon passes for the tag of another kind of literal.
fn is_untagged_ipv6(name: &[u8]) -> bool {
    let inner = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let address = inner.and_then(|inner| inner.split(|&b| b == b'%').next());
    let text = address.and_then(|address| str::from_utf8(address).ok());
    text.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// As [`command::parse_mail`], for an argument that is refused there.
///
/// # Errors
/// [`PathFault`] tells what is wrong with the path.
#[cold]
pub fn parse_mail(argument: &[u8]) -> Result<(PathArgument<'_>, Deviations), PathFault> {
    parse_argument(argument, b"FROM:", Direction::Reverse)
}

/// As [`command::parse_rcpt`], for an argument that is refused there.
///
/// # Errors
/// [`PathFault`] tells what is wrong with the path.
#[cold]
pub fn parse_rcpt(argument: &[u8]) -> Result<(PathArgument<'_>, Deviations), PathFault> {
    parse_argument(argument, b"TO:", Direction::Forward)
}

fn parse_argument<'a>(
    argument: &'a [u8],
    lead: &[u8],
    direction: Direction,
) -> Result<(PathArgument<'a>, Deviations), PathFault> {
    let (head, rest) = argument.split_at_checked(lead.len()).ok_or(PathFault::Syntax)?;
    if !head.eq_ignore_ascii_case(lead) {
        return Err(PathFault::Syntax);
    }
    let start = trim_start(rest);
    let mut seen = Deviations::empty();
    let (path, rest) = parse_path(start, direction, &mut seen)?;
    let params = trim_start(rest);
    if !rest.is_empty() && params.len() == rest.len() {
        // The path ends inside a word.
        return Err(PathFault::Syntax);
    }
    let one_space = rest.is_empty() || (rest[0] == b' ' && params.len() + 1 == rest.len());
    let extra_blanks = start.len() < argument.len() - lead.len() || !one_space;
    Ok((PathArgument { path, params, extra_blanks }, seen))
}

/// Reads a path from the start of `text`; answers it and what follows it.
fn parse_path<'a>(
    text: &'a [u8],
    direction: Direction,
    seen: &mut Deviations,
) -> Result<(Path<'a>, &'a [u8]), PathFault> {
    if let Ok(read) = path::parse_path(text, direction) {
        return Ok(read);
    }
    let (inner, rest) = match text {
        [b'<', behind @ ..] => {
            let end = end_of_path(behind, |octet| *octet == b'>').ok_or(PathFault::Syntax)?;
            (&behind[..end], &behind[end + 1..])
        }
        _ => {
            seen.insert(Deviations::PATH_WITHOUT_BRACKETS);
            let end = end_of_path(text, is_blank).unwrap_or(text.len());
            text.split_at(end)
        }
    };
    let mailbox = trim_start(trim_end(inner));
    seen.set(
        Deviations::EXTRA_WHITESPACE,
        seen.contains(Deviations::EXTRA_WHITESPACE) || mailbox.len() < inner.len(),
    );
    if mailbox.is_empty() {
        let null = direction == Direction::Reverse && text.starts_with(b"<");
        return if null {
            Ok((Path { mailbox, text: mailbox, non_ascii: false }, rest))
        } else {
            Err(PathFault::Syntax)
        };
    }
    let start = path::source_route(mailbox).unwrap_or(0);
    read_mailbox(&mailbox[start..], direction, seen)?;
    let path = Path { mailbox: &mailbox[start..], text: mailbox, non_ascii: !mailbox.is_ascii() };
    Ok((path, rest))
}

/// Place of the first octet outside quotes that ends a path.
fn end_of_path(text: &[u8], ends: impl Fn(&u8) -> bool) -> Option<usize> {
    let (mut quoted, mut at) = (false, 0);
    while let Some(octet) = text.get(at) {
        match octet {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            _ if !quoted && ends(octet) => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Judges an address that is not empty.
fn read_mailbox(text: &[u8], direction: Direction, seen: &mut Deviations) -> Result<(), PathFault> {
    let local = match text {
        [b'"', ..] => path::quoted_string(text)?,
        _ => memchr::memrchr(b'@', text).unwrap_or(text.len()),
    };
    let (local, domain) = text.split_at(local);
    match domain {
        [] if direction == Direction::Forward && local.eq_ignore_ascii_case(b"postmaster") => {}
        [] => seen.insert(Deviations::NO_DOMAIN),
        [b'@', domain @ ..] => read_domain(domain, seen)?,
        _ => return Err(PathFault::Syntax),
    }
    if local.len() > LOCAL_PART_BYTES_MAX {
        seen.insert(Deviations::LOCAL_PART_TOO_LONG);
    }
    if local.starts_with(b"\"") { Ok(()) } else { read_local_part(local, seen) }
}

/// A domain or an address literal, with one dot behind it or without.
fn read_domain(domain: &[u8], seen: &mut Deviations) -> Result<(), PathFault> {
    let bare = match domain {
        [bare @ .., b'.'] if !bare.starts_with(b"[") => {
            seen.insert(Deviations::TRAILING_DOT_IN_DOMAIN);
            bare
        }
        _ => domain,
    };
    if path::domain(bare)? == bare.len() { Ok(()) } else { Err(PathFault::Syntax) }
}

/// A local part without quotes.
fn read_local_part(local: &[u8], seen: &mut Deviations) -> Result<(), PathFault> {
    let mut at = 0;
    while let Some(&octet) = local.get(at) {
        match octet {
            b'@' | b':' => seen.insert(Deviations::SPECIAL_IN_LOCAL_PART),
            b'\\' if matches!(local.get(at + 1), Some(b' '..=b'~')) => {
                seen.insert(Deviations::SPECIAL_IN_LOCAL_PART);
                at += 1;
            }
            b'.' => {
                if at == 0 || at + 1 == local.len() || local[at - 1] == b'.' {
                    seen.insert(Deviations::DOTS_IN_LOCAL_PART);
                }
            }
            _ if path::is_atext(octet) => {}
            _ => return Err(PathFault::Syntax),
        }
        at += 1;
    }
    if local.is_empty() {
        seen.insert(Deviations::NO_LOCAL_PART);
    }
    Ok(())
}

fn is_blank(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

pub(super) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of what is odd in an argument.
    fn names((read, mut seen): (PathArgument<'_>, Deviations)) -> String {
        seen.set(
            Deviations::EXTRA_WHITESPACE,
            seen.contains(Deviations::EXTRA_WHITESPACE) || read.extra_blanks,
        );
        seen.join()
    }

    /// The address and the deviations of a RCPT, or nothing where it is refused.
    fn rcpt(argument: &str) -> Option<(&str, String)> {
        let read = parse_rcpt(argument.as_bytes()).ok()?;
        Some((str::from_utf8(read.0.path.mailbox).unwrap(), names(read)))
    }

    #[test]
    fn what_is_odd_is_taken_as_sent_and_named() {
        let long = format!("{}@x", "l".repeat(3000));
        for (path, mailbox, seen) in [
            ("<a@b>", "a@b", ""),
            ("<postmaster>", "postmaster", ""),
            ("<@h:u@d>", "u@d", ""),
            ("a@b", "a@b", "path-without-brackets"),
            ("\"a b\"@c", "\"a b\"@c", "path-without-brackets"),
            ("root", "root", "path-without-brackets,no-domain"),
            ("<root>", "root", "no-domain"),
            ("<\"a\">", "\"a\"", "no-domain"),
            ("<a.@b>", "a.@b", "dots-in-local-part"),
            ("<.a@b>", ".a@b", "dots-in-local-part"),
            ("<a..b@c>", "a..b@c", "dots-in-local-part"),
            ("<.@c>", ".@c", "dots-in-local-part"),
            ("<a@b.>", "a@b.", "trailing-dot-in-domain"),
            ("<@h:a..b@c.>", "a..b@c.", "trailing-dot-in-domain,dots-in-local-part"),
            ("< a@b >", "a@b", "extra-whitespace"),
            (" \t<a@b>", "a@b", "extra-whitespace"),
            ("<a@b@c>", "a@b@c", "special-in-local-part"),
            ("<mailto:a@b>", "mailto:a@b", "special-in-local-part"),
            ("<a\\>b@c>", "a\\>b@c", "special-in-local-part"),
            ("<@c>", "@c", "no-local-part"),
            (&format!("<{long}>"), &long, "local-part-too-long"),
        ] {
            let argument = format!("TO:{path}");
            assert_eq!(rcpt(&argument), Some((mailbox, seen.to_owned())), "{path}");
        }
    }

    #[test]
    fn what_nobody_understands_is_refused() {
        for path in [
            "",
            "<",
            "<>",
            "< >",
            ">",
            "<a@b",
            "<a@b>x",
            "<a@b>,<c@d>",
            "<a b@c>",
            "<a@b c>",
            "<a;b@c>",
            "<a,b@c>",
            "<a(b)c@d>",
            "<a[b@c>",
            "<a<b@c>",
            "<a>b@c>",
            "<a\"b\"@c>",
            "<\"a\"b@c>",
            "<a@>",
            "<a@.>",
            "<a@.b>",
            "<a@b..>",
            "<a@b..c>",
            "<a@-b>",
            "<a@b->",
            "<a@[1.2.3]>",
            "<a@[::1]>",
            "<a@[1.2.3.4].>",
            "<a\tb@c>",
            "<a\u{1}b@c>",
            "<\"a\tb\"@c>",
            "<a\u{7f}@c>",
            "<a\\",
            "<a\\>",
            "<a\\\t@b>",
            "<@h u@d>",
            "a@b>",
            "\"a b@c",
        ] {
            assert_eq!(rcpt(&format!("TO:{path}")), None, "{path:?}");
        }
        for argument in ["", "TO", "TO <a@b>", "TO :<a@b>", "FROM:<a@b>", "<a@b>"] {
            assert_eq!(rcpt(argument), None, "{argument:?}");
        }
        let wide = format!("TO:<a@{}>", "d".repeat(256));
        assert_eq!(parse_rcpt(wide.as_bytes()).err(), Some(PathFault::TooLong));
    }

    #[test]
    fn parameters_follow_blanks_of_any_kind_and_number() {
        for (text, params, seen) in [
            ("FROM:<a@b> SIZE=1 RET=FULL", "SIZE=1 RET=FULL", ""),
            ("FROM:<> SIZE=1", "SIZE=1", ""),
            ("FROM:a@b SIZE=1", "SIZE=1", "path-without-brackets"),
            ("FROM:<a@b>\tSIZE=1", "SIZE=1", "extra-whitespace"),
            ("FROM:<a@b> \tSIZE=1", "SIZE=1", "extra-whitespace"),
            ("FROM:<a@b>  SIZE=1", "SIZE=1", "extra-whitespace"),
            ("FROM: <a@b>", "", "extra-whitespace"),
            ("from:< >", "", "extra-whitespace"),
        ] {
            let read = parse_mail(text.as_bytes()).unwrap();
            assert_eq!((read.0.params, &*names(read)), (params.as_bytes(), seen), "{text}");
            // The grammar's own parser reads alike what it takes, tabs before parameters aside.
            if let Ok(strict) = command::parse_mail(text.as_bytes())
                && !text.contains('\t')
            {
                assert_eq!(strict, read.0, "{text}");
            }
        }
    }

    #[test]
    fn names_of_clients_may_be_anything_without_controls() {
        let odd = Some(Deviations::HELLO_NOT_A_DOMAIN);
        for name in ["client.example", "[127.0.0.1]", "[IPv6:::1]", "under_score"] {
            assert_eq!(read_hello(name.as_bytes()), Some(Deviations::empty()), "{name}");
        }
        for name in [
            "M\u{dc}LLER-PC",
            "[::1]",
            "[2001:db8::19]",
            "(null)",
            "host.example.",
            "two words",
            "-host",
            "host-",
            "a..b",
            "::1",
            "<a>",
            "[fe80::1%eth0]",
        ] {
            assert_eq!(read_hello(name.as_bytes()), odd, "{name}");
        }
        assert_eq!(read_hello(b"M\xdcLLER"), odd, "Latin-1");
        for name in [&b""[..], b"a\tb", b"a\x01b", b"a\x7fb", b"\xff\x1b", "a\u{9b}b".as_bytes()] {
            assert_eq!(read_hello(name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn verbs_stand_among_blanks() {
        for (line, verb, argument, odd) in [
            ("NOOP", Verb::Noop, "", false),
            ("MAIL FROM:<>", Verb::Mail, "FROM:<>", false),
            ("MAIL FROM:<>  ", Verb::Mail, "FROM:<>", false),
            ("MAIL\tFROM:<>", Verb::Mail, "FROM:<>", true),
            ("MAIL\tFROM:<a@b> SIZE=1", Verb::Mail, "FROM:<a@b> SIZE=1", true),
            (" \tMAIL  \t FROM:<>\t", Verb::Mail, "FROM:<>", true),
            ("  QUIT", Verb::Quit, "", true),
            ("NO OP", Verb::Unknown, "OP", true),
            ("", Verb::Unknown, "", true),
        ] {
            let (found, rest, seen) = split(line.as_bytes(), command::split(line.as_bytes()));
            assert_eq!((found, rest), (verb, argument.as_bytes()), "{line:?}");
            assert_eq!(seen.contains(Deviations::EXTRA_WHITESPACE), odd, "{line:?}");
        }
    }
}
