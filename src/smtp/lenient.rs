//! Commands as servers in use read them: what strays from the grammar and can be understood is taken, and
//! each deviation named. What the grammar allows is read by [`super::command`], and this file is
//! asked about the rest.

use core::net::Ipv6Addr;

use super::command::{self, PathArgument, Verb, trim_end};
use super::deviation::Deviations;
use super::path::{self, Direction, Path, PathFault, is_host};
use crate::limits::{LOCAL_PART_BYTES_MAX, PATH_BYTES_MAX};

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
    if let Ok((path, rest)) = path::parse_path(text, direction)
        && rest.first().is_none_or(is_blank)
    {
        return Ok((path, rest));
    }
    let (word, rest) = text.split_at(end_of_word(text).ok_or(PathFault::Syntax)?);
    let text = unwrap(word, seen)?;
    let route = path::source_route(text).unwrap_or(0);
    let mailbox = &text[route..];
    if text.len() + "<>".len() > PATH_BYTES_MAX {
        seen.insert(Deviations::PATH_TOO_LONG);
    }
    if !mailbox.is_empty() {
        read_mailbox(mailbox, direction, seen)?;
        // Postmaster alone needs no domain, and a route to it is none.
        if route > 0 && !mailbox.contains(&b'@') {
            seen.insert(Deviations::NO_DOMAIN);
        }
    } else if direction == Direction::Forward || !word.contains(&b'>') {
        return Err(PathFault::Syntax);
    } else if route > 0 {
        seen.insert(Deviations::NO_LOCAL_PART);
    }
    Ok((Path { mailbox, text, non_ascii: !text.is_ascii() }, rest))
}

/// Octets up to the first blank outside quotes and angle brackets. `None` where one of them stays open.
fn end_of_word(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut open, mut at) = (false, 0u32, 0);
    while let Some(octet) = text.get(at) {
        match octet {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'<' => open += 1,
            b'>' => open = open.saturating_sub(1),
            _ if open == 0 && is_blank(octet) => break,
            _ => {}
        }
        at += 1;
    }
    (!quoted && open == 0).then_some(at.min(text.len()))
}

/// Takes off what stands around an address: brackets, comments, a name, blanks.
fn unwrap<'a>(word: &'a [u8], seen: &mut Deviations) -> Result<&'a [u8], PathFault> {
    let word = strip(word, seen);
    let inner = match word {
        [b'<', inner @ .., b'>'] => strip(inner, seen),
        [b'<', ..] => return Err(PathFault::Syntax),
        // A closing bracket alone, or a name before an opening one.
        [.., b'>'] => return Ok(strip(unname(word, seen), seen)),
        _ => {
            seen.insert(Deviations::PATH_WITHOUT_BRACKETS);
            return Ok(word);
        }
    };
    match inner {
        [b'<', address @ .., b'>'] => {
            seen.insert(Deviations::STRAY_BRACKETS);
            Ok(strip(address, seen))
        }
        [.., b'>'] => Ok(strip(unname(inner, seen), seen)),
        _ => Ok(inner),
    }
}

/// The address of `name <address>`, or of `address>`.
fn unname<'a>(text: &'a [u8], seen: &mut Deviations) -> &'a [u8] {
    let text = text.strip_suffix(b">").unwrap_or(text);
    let (mut quoted, mut at) = (false, 0);
    while let Some(octet) = text.get(at) {
        match octet {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            b'<' if !quoted => {
                seen.insert(Deviations::DISPLAY_NAME);
                return &text[at + 1..];
            }
            _ => {}
        }
        at += 1;
    }
    seen.insert(Deviations::STRAY_BRACKETS);
    text
}

/// Takes off blanks, and comments without comments in them, at both ends.
fn strip<'a>(text: &'a [u8], seen: &mut Deviations) -> &'a [u8] {
    let mut rest = text;
    loop {
        let bare = trim_start(trim_end(rest));
        if bare.len() < rest.len() {
            seen.insert(Deviations::EXTRA_WHITESPACE);
        }
        let without = match bare {
            [b'(', comment @ ..] => memchr::memchr(b')', comment).map(|end| &comment[end + 1..]),
            [comment @ .., b')'] => memchr::memrchr(b'(', comment).map(|start| &bare[..start]),
            _ => None,
        };
        let Some(without) = without else { return bare };
        seen.insert(Deviations::COMMENT);
        rest = without;
    }
}

/// Whether `text` is an address as it is taken here, and nothing else.
pub(super) fn is_mailbox(text: &[u8]) -> bool {
    read_mailbox(text, Direction::Reverse, &mut Deviations::empty()).is_ok()
}

/// Judges an address that is not empty.
fn read_mailbox(text: &[u8], direction: Direction, seen: &mut Deviations) -> Result<(), PathFault> {
    let local = match text {
        [b'"', ..] => path::quoted_string(text)?,
        _ => memchr::memrchr(b'@', text).unwrap_or(text.len()),
    };
    let (before, behind) = text.split_at(local);
    let (local, domain) = (trim_end(before), trim_start(behind));
    let domain = match domain {
        [b'@', domain @ ..] => {
            let bare = trim_start(domain);
            let blanks = text.len() - local.len() - 1 - bare.len();
            seen.set(
                Deviations::EXTRA_WHITESPACE,
                blanks > 0 || seen.contains(Deviations::EXTRA_WHITESPACE),
            );
            Some(bare)
        }
        [] => None,
        _ => return Err(PathFault::Syntax),
    };
    match domain {
        Some(domain) => read_domain(domain, seen)?,
        None if direction == Direction::Forward && local.eq_ignore_ascii_case(b"postmaster") => {}
        None => seen.insert(Deviations::NO_DOMAIN),
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
            b'@' | b':' | b']' => seen.insert(Deviations::SPECIAL_IN_LOCAL_PART),
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
mod tests;
