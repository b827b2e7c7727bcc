//! Paths, mailboxes, domains and address literals (RFC 5321 §4.1.2, §4.1.3; RFC 6531 §3.3).
//!
//! Two leniencies, both common in test networks: a domain may hold underscores, and an empty label
//! is refused but label lengths are not counted.

use core::net::Ipv6Addr;

use crate::limits::{DOMAIN_BYTES_MAX, LOCAL_PART_BYTES_MAX, PATH_BYTES_MAX};

/// A path as it is kept: without brackets and without source route, whose hosts RFC 5321 §4.1.1.3
/// wants recognised and ignored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Path<'a> {
    /// Empty for the null reverse-path.
    pub mailbox: &'a [u8],
    /// The whole of it as sent, source route included, without brackets.
    pub text: &'a [u8],
    /// Holds octets of 0x80 and more; valid UTF-8 is for the caller to ask.
    pub non_ascii: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathFault {
    #[error("the address is not of the form <local-part@domain>")]
    Syntax,
    #[error("the address is too long: at most 64 octets before the @ and 255 after it")]
    TooLong,
}

/// Which paths besides `<mailbox>` are good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// `<>` is good.
    Reverse,
    /// `<Postmaster>` is good, in any case (RFC 5321 §4.1.1.3).
    Forward,
}

/// Reads a path from the start of `text`; answers it and what follows its `>`.
///
/// # Errors
/// [`PathFault`] tells why there is no path.
pub fn parse_path(text: &[u8], direction: Direction) -> Result<(Path<'_>, &[u8]), PathFault> {
    let Some((b'<', inner)) = text.split_first() else {
        return Err(PathFault::Syntax);
    };
    if direction == Direction::Reverse && inner.first() == Some(&b'>') {
        return Ok((Path { mailbox: b"", text: b"", non_ascii: false }, &inner[1..]));
    }
    let route = source_route(inner)?;
    let start = &inner[route..];
    let length = match bare_postmaster(start) {
        Some(length) if direction == Direction::Forward && route == 0 => length,
        _ => mailbox(start)?,
    };
    if start.get(length) != Some(&b'>') {
        return Err(PathFault::Syntax);
    }
    if route + length + 2 > PATH_BYTES_MAX {
        return Err(PathFault::TooLong);
    }
    let text = &inner[..route + length];
    let path = Path { mailbox: &start[..length], text, non_ascii: !text.is_ascii() };
    Ok((path, &start[length + 1..]))
}

/// Whether `name` is a domain or an address literal and nothing else: what HELO and EHLO take
/// (RFC 5321 §4.1.1.1). U-labels are not taken there (RFC 6531 §3.7.1).
pub fn is_host(name: &[u8]) -> bool {
    name.is_ascii() && domain(name) == Ok(name.len())
}

/// Whether `name` is a domain in ASCII and nothing else.
pub fn is_domain(name: &[u8]) -> bool {
    name.len() <= DOMAIN_BYTES_MAX && name.is_ascii() && domain_name(name) == Ok(name.len())
}

/// The domain or address literal of a mailbox, without blanks before it and a dot behind it; empty where there is
/// none, as in `Postmaster`. No `@` can stand in it (RFC 5321 §4.1.2), so the last one leads it.
pub fn domain_of(mailbox: &[u8]) -> &[u8] {
    if mailbox.ends_with(b"\"") {
        return b"";
    }
    let domain = memchr::memrchr(b'@', mailbox).map_or(&b""[..], |at| &mailbox[at + 1..]);
    domain.strip_suffix(b".").unwrap_or(domain).trim_ascii_start()
}

/// Whether `text` is a mailbox, `local-part@domain`, and nothing else.
pub fn is_mailbox(text: &[u8]) -> bool {
    mailbox(text) == Ok(text.len())
}

/// Octets of `@a,@b:` at the start of `text`, or 0.
pub(super) fn source_route(text: &[u8]) -> Result<usize, PathFault> {
    if text.first() != Some(&b'@') {
        return Ok(0);
    }
    let mut at = 0;
    loop {
        if text.get(at) != Some(&b'@') {
            return Err(PathFault::Syntax);
        }
        at += 1 + domain(&text[at + 1..])?;
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b':') => return Ok(at + 1),
            _ => return Err(PathFault::Syntax),
        }
    }
}

fn bare_postmaster(text: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"postmaster";
    let name = text.get(..NAME.len())?;
    (name.eq_ignore_ascii_case(NAME) && text.get(NAME.len()) == Some(&b'>')).then_some(NAME.len())
}

/// Octets of the mailbox at the start of `text`.
fn mailbox(text: &[u8]) -> Result<usize, PathFault> {
    let local = match text.first() {
        Some(b'"') => quoted_string(text)?,
        _ => dotted(text, ATEXT)?.0,
    };
    if text.get(local) != Some(&b'@') {
        return Err(PathFault::Syntax);
    }
    if local > LOCAL_PART_BYTES_MAX {
        return Err(PathFault::TooLong);
    }
    Ok(local + 1 + domain(&text[local + 1..])?)
}

/// Octets of a quoted string with its quotes, at the start of `text`.
pub(super) fn quoted_string(text: &[u8]) -> Result<usize, PathFault> {
    let mut at = 1;
    loop {
        at += match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') if matches!(text.get(at + 1), Some(32..=126)) => 2,
            Some(&b) if b != b'\\' && (b >= 0x80 || matches!(b, 32..=126)) => 1,
            _ => return Err(PathFault::Syntax),
        };
    }
}

/// Octets of the domain or address literal at the start of `text`.
pub(super) fn domain(text: &[u8]) -> Result<usize, PathFault> {
    let length = match text.first() {
        Some(b'[') => address_literal(text)?,
        _ => domain_name(text)?,
    };
    if length > DOMAIN_BYTES_MAX {
        return Err(PathFault::TooLong);
    }
    Ok(length)
}

fn domain_name(text: &[u8]) -> Result<usize, PathFault> {
    let (length, seen) = dotted(text, LABEL)?;
    // A label starts and ends with a letter or digit. Hyphens are rare enough to look afterwards.
    if seen & HYPHEN != 0 && has_hyphen_at_edge(&text[..length]) {
        return Err(PathFault::Syntax);
    }
    Ok(length)
}

#[cold]
fn has_hyphen_at_edge(name: &[u8]) -> bool {
    name.split(|&b| b == b'.').any(|label| label.starts_with(b"-") || label.ends_with(b"-"))
}

/// Octets of `word *("." word)` at the start of `text`, where words are of `class`, and all classes that
/// they and the octet behind them have.
#[inline]
fn dotted(text: &[u8], class: u8) -> Result<(usize, u8), PathFault> {
    let mut word_start = 0;
    let mut at = 0;
    let mut seen = 0;
    while let Some(&octet) = text.get(at) {
        let of_octet = CLASS[usize::from(octet)];
        seen |= of_octet;
        if of_octet & class == 0 {
            if octet != b'.' || at == word_start {
                break;
            }
            word_start = at + 1;
        }
        at += 1;
    }
    if at == word_start { Err(PathFault::Syntax) } else { Ok((at, seen)) }
}

/// Whether a local part may hold `octet` without quotes, besides dots.
pub(super) fn is_atext(octet: u8) -> bool {
    CLASS[usize::from(octet)] & ATEXT != 0
}

/// Octets of `[...]` at the start of `text`.
fn address_literal(text: &[u8]) -> Result<usize, PathFault> {
    let end = memchr::memchr(b']', text).ok_or(PathFault::Syntax)?;
    let inner = &text[1..end];
    let good = match memchr::memchr(b':', inner) {
        None => is_ipv4(inner),
        Some(colon) => is_tagged(&inner[..colon], &inner[colon + 1..]),
    };
    if good { Ok(end + 1) } else { Err(PathFault::Syntax) }
}

fn is_tagged(tag: &[u8], content: &[u8]) -> bool {
    if tag.eq_ignore_ascii_case(b"IPv6") {
        return str::from_utf8(content).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    }
    // General-address-literal: Ldh-str ":" 1*dcontent.
    !tag.is_empty()
        && tag.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && !tag.ends_with(b"-")
        && !content.is_empty()
        && content.iter().all(|b| matches!(b, 33..=90 | 94..=126))
}

/// `Snum 3("." Snum)`, where an Snum may have leading zeros.
fn is_ipv4(text: &[u8]) -> bool {
    let number = |part: &[u8]| {
        (1..=3).contains(&part.len())
            && part.iter().all(u8::is_ascii_digit)
            && part.iter().fold(0u16, |n, b| n * 10 + u16::from(b - b'0')) <= 255
    };
    let mut parts = text.split(|&b| b == b'.');
    let four = (0..4).all(|_| parts.next().is_some_and(number));
    four && parts.next().is_none()
}

/// `atext`, widened by RFC 6531.
const ATEXT: u8 = 1;
/// What a label of a domain may hold.
const LABEL: u8 = 2;
const HYPHEN: u8 = 4;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let b = octet as u8;
        let letter = b.is_ascii_alphanumeric() || b >= 0x80;
        let symbol = matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        );
        if letter || symbol {
            class[octet] |= ATEXT;
        }
        if letter || b == b'-' || b == b'_' {
            class[octet] |= LABEL;
        }
        if b == b'-' {
            class[octet] |= HYPHEN;
        }
        octet += 1;
    }
    class
};

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, direction: Direction) -> Result<&str, PathFault> {
        let (path, rest) = parse_path(text.as_bytes(), direction)?;
        assert!(rest.is_empty(), "{text}");
        Ok(str::from_utf8(path.mailbox).unwrap())
    }

    #[test]
    fn good_paths_are_taken_without_brackets_and_route() {
        let same = [
            "a@b",
            "a.b+c@mail.example",
            "!#$%&'*+-/=?^_`{|}~@x.example",
            "\"quoted . \\\" \\\\ part\"@b.example",
            "\"\"@b",
            "a@[192.0.2.1]",
            "a@[010.0.0.1]",
            "a@[IPv6:2001:db8::1]",
            "a@[ipv6:::ffff:192.0.2.1]",
            "a@[x-tag:any+thing]",
            "a@1.2-3.x",
            "a@under_score.example",
            "用户@例子.example",
            "\"π\"@b",
        ];
        for mailbox in same {
            for direction in [Direction::Reverse, Direction::Forward] {
                assert_eq!(parse(&format!("<{mailbox}>"), direction), Ok(mailbox));
            }
        }
        assert_eq!(parse("<@a,@[192.0.2.1],@b.c:u@d>", Direction::Forward), Ok("u@d"));
        assert_eq!(parse("<>", Direction::Reverse), Ok(""));
        assert_eq!(parse("<pOstmaster>", Direction::Forward), Ok("pOstmaster"));
    }

    #[test]
    fn bad_paths_are_refused() {
        let bad = [
            "",
            "a@b",
            "<a@b",
            "<a>",
            "<@b>",
            "<a@>",
            "<a b@c>",
            "<.a@b>",
            "<a.@b>",
            "<a..b@c>",
            "<a@b.>",
            "<a@.b>",
            "<a@b..c>",
            "<a@-b>",
            "<a@b->",
            "<a@b.-c>",
            "<a@b c>",
            "<a@b\r>",
            "<\"a@b>",
            "<\"a\"b@c>",
            "<\"\n\"@c>",
            "<\"\\\n\"@c>",
            "<\"\\é\"@c>",
            "<a@[]>",
            "<a@[1.2.3]>",
            "<a@[1.2.3.4.5]>",
            "<a@[256.1.1.1]>",
            "<a@[1.2.3.1234]>",
            "<a@[IPv6:xyz]>",
            "<a@[IPv6:]>",
            "<a@[:x]>",
            "<a@[x-:y]>",
            "<a@[x:]>",
            "<a@[x:y z]>",
            "<a@[1.2.3.4>",
            "<a@[1.2.3.4]x>",
            "<@a u@d>",
            "<@a:>",
            "<@a,u@d>",
            "<@a,:u@d>",
            "<@:u@d>",
            "<<a@b>>",
        ];
        for text in bad {
            for direction in [Direction::Reverse, Direction::Forward] {
                let fault = parse_path(text.as_bytes(), direction).map(|_| ());
                assert_eq!(fault, Err(PathFault::Syntax), "{text:?}");
            }
        }
        assert_eq!(parse("<>", Direction::Forward), Err(PathFault::Syntax));
        assert_eq!(parse("<postmaster>", Direction::Reverse), Err(PathFault::Syntax));
        assert_eq!(parse("<@a:postmaster>", Direction::Forward), Err(PathFault::Syntax));
    }

    #[test]
    fn a_domain_is_told_from_quotes_and_from_the_dot_behind_it() {
        for (mailbox, domain) in [
            ("a@b.example", "b.example"),
            ("a@b@c", "c"),
            ("a@b.", "b"),
            ("a @ b", "b"),
            ("\"x@y\"@z", "z"),
            ("\"x@y\"", ""),
            ("root", ""),
            ("", ""),
        ] {
            assert_eq!(domain_of(mailbox.as_bytes()), domain.as_bytes(), "{mailbox}");
        }
    }

    #[test]
    fn lengths_are_bounded_exactly() {
        let mailbox = |local: usize, domain: usize| {
            let labels = "d".repeat(domain);
            parse(&format!("<{}@{labels}>", "l".repeat(local)), Direction::Forward).map(str::len)
        };
        assert_eq!(mailbox(64, 255), Ok(320));
        assert_eq!(mailbox(65, 1), Err(PathFault::TooLong));
        assert_eq!(mailbox(1, 256), Err(PathFault::TooLong));
        let routed = |hosts: usize| {
            let route = vec!["@h"; hosts].join(",");
            parse(&format!("<{route}:u@d>"), Direction::Forward).map(str::len)
        };
        // Three octets a host, and `<`, `u@d`, `>` besides.
        assert_eq!(routed((PATH_BYTES_MAX - 5) / 3), Ok(3));
        assert_eq!(routed((PATH_BYTES_MAX - 5) / 3 + 1), Err(PathFault::TooLong));
    }

    #[test]
    fn hosts_are_domains_or_literals_and_nothing_else() {
        for good in ["a", "client.example", "my_host", "[127.0.0.1]", "[IPv6:::1]"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in ["", "a b", "::1", "127.0.0.1]", "[127.0.0.1", "a.", "é.example", "a@b"] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
