//! Paths, hosts and address literals (RFC 5321 §4.1.2, §4.1.3; RFC 6531 §3.3).

use ringpost::limits::{DOMAIN_BYTES_MAX, LOCAL_PART_BYTES_MAX, PATH_BYTES_MAX};

use super::{Said, is_number, octet_fault};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Syntax,
    Long,
}

impl Fault {
    pub(super) fn said(self, argument: &[u8], otherwise: Said) -> Said {
        match self {
            Self::Syntax => octet_fault(argument).unwrap_or(otherwise),
            Self::Long => otherwise,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) mailbox: &'a [u8],
    /// With its source route.
    pub(super) whole: &'a [u8],
}

/// `FROM:<...> params`; spaces before the path are let pass.
pub(super) fn path_and_params<'a>(
    argument: &'a [u8],
    lead: &[u8],
    reverse: bool,
) -> Result<(Found<'a>, &'a [u8]), Fault> {
    if argument.len() < lead.len() || !argument[..lead.len()].eq_ignore_ascii_case(lead) {
        return Err(Fault::Syntax);
    }
    let mut rest = &argument[lead.len()..];
    while rest.starts_with(b" ") {
        rest = &rest[1..];
    }
    if !rest.starts_with(b"<") {
        return Err(Fault::Syntax);
    }
    let inner = &rest[1..];
    let (route, octets) = path(inner, reverse)?;
    if inner.get(octets) != Some(&b'>') {
        return Err(Fault::Syntax);
    }
    if octets + 2 > PATH_BYTES_MAX {
        return Err(Fault::Long);
    }
    let found = Found { mailbox: &inner[route..octets], whole: &inner[..octets] };
    let mut params = &inner[octets + 1..];
    if !params.is_empty() && !params.starts_with(b" ") {
        return Err(Fault::Syntax);
    }
    while params.starts_with(b" ") {
        params = &params[1..];
    }
    Ok((found, params))
}

/// Octets of the source route, and of route and mailbox.
fn path(inner: &[u8], reverse: bool) -> Result<(usize, usize), Fault> {
    if reverse && inner.starts_with(b">") {
        return Ok((0, 0));
    }
    let route = source_route(inner)?;
    let mut at = route;
    let postmaster = &inner[..inner.len().min(11)];
    if !reverse && route == 0 && postmaster.eq_ignore_ascii_case(b"postmaster>") {
        return Ok((0, 10));
    }
    at += local_part(&inner[at..])?;
    if inner.get(at) != Some(&b'@') {
        return Err(Fault::Syntax);
    }
    if at - route > LOCAL_PART_BYTES_MAX {
        return Err(Fault::Long);
    }
    at += 1;
    at += host(&inner[at..])?;
    Ok((route, at))
}

pub(super) fn local_part(text: &[u8]) -> Result<usize, Fault> {
    if !text.starts_with(b"\"") {
        let special = b"!#$%&'*+-/=?^_`{|}~";
        return dotted(text, |b| b.is_ascii_alphanumeric() || b >= 128 || special.contains(&b));
    }
    let mut at = 1;
    while let Some(&octet) = text.get(at) {
        match octet {
            b'"' => return Ok(at + 1),
            b'\\' => {
                if !text.get(at + 1).is_some_and(|b| (32..127).contains(b)) {
                    return Err(Fault::Syntax);
                }
                at += 2;
            }
            0..32 | 127 => return Err(Fault::Syntax),
            _ => at += 1,
        }
    }
    Err(Fault::Syntax)
}

/// Octets of `@a,@b:` at the start of `inner`, or 0.
pub(super) fn source_route(inner: &[u8]) -> Result<usize, Fault> {
    let mut at = 0;
    if inner.starts_with(b"@") {
        loop {
            if inner.get(at) != Some(&b'@') {
                return Err(Fault::Syntax);
            }
            at += 1;
            at += host(&inner[at..])?;
            at += 1;
            match inner.get(at - 1) {
                Some(b',') => {}
                Some(b':') => break,
                _ => return Err(Fault::Syntax),
            }
        }
    }
    Ok(at)
}

/// Octets of words with single dots between them; a dot with no word behind it is not part.
fn dotted(text: &[u8], part: impl Fn(u8) -> bool) -> Result<usize, Fault> {
    let mut end = 0;
    loop {
        let word = text[end..].iter().take_while(|&&b| part(b)).count();
        if word == 0 {
            return Err(Fault::Syntax);
        }
        end += word;
        if text.get(end) != Some(&b'.') {
            return Ok(end);
        }
        end += 1;
    }
}

/// Octets of the domain or address literal at the start of `text`.
pub(super) fn host(text: &[u8]) -> Result<usize, Fault> {
    let octets = if text.starts_with(b"[") { literal(text)? } else { domain(text)? };
    if octets > DOMAIN_BYTES_MAX { Err(Fault::Long) } else { Ok(octets) }
}

fn domain(text: &[u8]) -> Result<usize, Fault> {
    let part = |b: u8| b.is_ascii_alphanumeric() || b >= 128 || b == b'-' || b == b'_';
    let octets = dotted(text, part)?;
    for label in text[..octets].split(|&b| b == b'.') {
        if label.starts_with(b"-") || label.ends_with(b"-") {
            return Err(Fault::Syntax);
        }
    }
    Ok(octets)
}

fn literal(text: &[u8]) -> Result<usize, Fault> {
    let close = text.iter().position(|&b| b == b']').ok_or(Fault::Syntax)?;
    let inner = str::from_utf8(&text[1..close]).map_err(|_| Fault::Syntax)?;
    let good = match inner.split_once(':') {
        None => {
            let snum =
                |part: &str| is_number(part.as_bytes(), 3) && part.parse::<u16>().unwrap() <= 255;
            inner.split('.').count() == 4 && inner.split('.').all(snum)
        }
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => {
            address.parse::<std::net::Ipv6Addr>().is_ok()
        }
        Some((tag, content)) => {
            !tag.is_empty()
                && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !tag.ends_with('-')
                && !content.is_empty()
                && content.bytes().all(|b| b.is_ascii_graphic() && !b"[\\]".contains(&b))
        }
    };
    if good { Ok(close + 1) } else { Err(Fault::Syntax) }
}
