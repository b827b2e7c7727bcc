//! Commands as servers in use read them: the words of the manual, carried out on copies of the octets.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ringpost::limits::{LOCAL_PART_BYTES_MAX, PATH_BYTES_MAX};

use super::path::{Fault, host, path_and_params, source_route};

/// The names of what was odd.
pub(super) type Odd = BTreeSet<&'static str>;

const BLANKS: &str = "extra-whitespace";

fn is_blank(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Takes blanks off both ends, and says so.
fn trimmed(text: &[u8], odd: &mut Odd) -> Vec<u8> {
    let mut inner = text.to_vec();
    while inner.last().is_some_and(is_blank) {
        inner.pop();
    }
    while inner.first().is_some_and(is_blank) {
        inner.remove(0);
    }
    if inner.len() < text.len() {
        odd.insert(BLANKS);
    }
    inner
}

/// Verb and argument of a line without blanks at its end, and whether blanks part them as they may not.
pub(super) fn verb_and_argument(line: &[u8]) -> (Vec<u8>, Vec<u8>, bool) {
    let lead = line.iter().take_while(|b| is_blank(b)).count();
    let word = line[lead..].iter().take_while(|b| !is_blank(b)).count();
    let behind = &line[lead + word..];
    let blanks = behind.iter().take_while(|b| is_blank(b)).count();
    let one_space = blanks == 1 && behind[0] == b' ';
    let odd = lead > 0 || (blanks > 0 && !one_space);
    (line[lead..lead + word].to_ascii_uppercase(), behind[blanks..].to_vec(), odd)
}

/// Whether a name of a client is taken, and whether it is odd.
pub(super) fn hello(name: &[u8]) -> Option<bool> {
    let inner = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let bare = inner.map(|inner| inner.split(|&b| b == b'%').next().unwrap().to_vec());
    let untagged = bare.and_then(|bare| String::from_utf8(bare).ok());
    let untagged = untagged.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok());
    if name.is_ascii() && host(name) == Ok(name.len()) && !untagged {
        return Some(false);
    }
    let control = match str::from_utf8(name) {
        Ok(text) => text.chars().any(char::is_control),
        Err(_) => name.iter().any(|&b| b < 32 || b == 127),
    };
    (!control).then_some(true)
}

/// The argument of MAIL or RCPT.
pub(super) struct Argument {
    pub(super) mailbox: Vec<u8>,
    /// With its source route.
    pub(super) whole: Vec<u8>,
    pub(super) params: Vec<u8>,
}

pub(super) fn argument(
    argument: &[u8],
    lead: &[u8],
    reverse: bool,
    odd: &mut Odd,
) -> Result<Argument, Fault> {
    if argument.len() < lead.len() || !argument[..lead.len()].eq_ignore_ascii_case(lead) {
        return Err(Fault::Syntax);
    }
    let rest = &argument[lead.len()..];
    let word = rest.iter().skip_while(|b| is_blank(b)).copied().collect::<Vec<_>>();
    if word.len() < rest.len() {
        odd.insert(BLANKS);
    }
    let end = word_end(&word)?;
    let params = &word[end..];
    let bare: Vec<u8> = params.iter().skip_while(|b| is_blank(b)).copied().collect();
    if !params.is_empty() && (params[0] != b' ' || bare.len() + 1 != params.len()) {
        odd.insert(BLANKS);
    }
    let word = &word[..end];
    let strict = [lead, word].concat();
    if let Ok((found, _)) = path_and_params(&strict, lead, reverse) {
        let (mailbox, whole) = (found.mailbox.to_vec(), found.whole.to_vec());
        return Ok(Argument { mailbox, whole, params: bare });
    }
    let whole = address(word, odd)?;
    let route = source_route(&whole).unwrap_or(0);
    let mailbox = whole[route..].to_vec();
    if mailbox.is_empty() {
        // Nobody, if there are brackets around nothing.
        if !reverse || !word.contains(&b'>') {
            return Err(Fault::Syntax);
        }
        if route > 0 {
            odd.insert("no-local-part");
        }
    } else {
        judge(&mailbox, reverse, odd)?;
        if route > 0 && mailbox.iter().all(|&b| b != b'@') {
            odd.insert("no-domain");
        }
    }
    if whole.len() + 2 > PATH_BYTES_MAX {
        odd.insert("path-too-long");
    }
    Ok(Argument { mailbox, whole, params: bare })
}

/// Each octet with whether it stands for itself: not behind a backslash, and not in quotes.
fn marked(text: &[u8]) -> Vec<(u8, bool)> {
    let (mut quoted, mut escaped) = (false, false);
    let mark = |&octet: &u8| {
        let plain = !quoted && !escaped;
        if escaped {
            escaped = false;
        } else if octet == b'\\' {
            escaped = true;
        } else if octet == b'"' {
            quoted = !quoted;
        }
        (octet, plain && octet != b'"' && octet != b'\\')
    };
    text.iter().map(mark).collect()
}

/// Where the first blank is outside of quotes and angle brackets, which all must close before.
fn word_end(text: &[u8]) -> Result<usize, Fault> {
    let marks = marked(text);
    for end in 0..=text.len() {
        let opened = |marks: &[(u8, bool)]| {
            marks.iter().fold(0u32, |open, mark| match mark {
                (b'<', true) => open + 1,
                (b'>', true) => open.saturating_sub(1),
                _ => open,
            })
        };
        let at_end = match marks.get(end) {
            Some((octet, plain)) => *plain && is_blank(octet),
            None => true,
        };
        if at_end && opened(&marks[..end]) == 0 {
            let mut quotes = 0;
            let mut at = 0;
            while at < end {
                match text[at] {
                    b'\\' => at += 1,
                    b'"' => quotes += 1,
                    _ => {}
                }
                at += 1;
            }
            return if quotes % 2 == 0 { Ok(end) } else { Err(Fault::Syntax) };
        }
    }
    Err(Fault::Syntax)
}

/// Blanks and comments taken off both ends.
fn bare(text: &[u8], odd: &mut Odd) -> Vec<u8> {
    let mut text = trimmed(text, odd);
    loop {
        let front = text.first() == Some(&b'(');
        let comment = if front {
            text.iter().position(|&b| b == b')').map(|end| 0..end + 1)
        } else if text.last() == Some(&b')') {
            text.iter().rposition(|&b| b == b'(').map(|start| start..text.len())
        } else {
            None
        };
        let Some(comment) = comment else { return text };
        odd.insert("comment");
        text.drain(comment);
        text = trimmed(&text, odd);
    }
}

/// The address in a word.
fn address(word: &[u8], odd: &mut Odd) -> Result<Vec<u8>, Fault> {
    let word = bare(word, odd);
    if word.len() < 2 || !word.starts_with(b"<") {
        if !word.ends_with(b">") {
            return if word.starts_with(b"<") {
                Err(Fault::Syntax)
            } else {
                odd.insert("path-without-brackets");
                Ok(word)
            };
        }
        return Ok(named(&word, odd));
    }
    if !word.ends_with(b">") {
        return Err(Fault::Syntax);
    }
    let inner = bare(&word[1..word.len() - 1], odd);
    if inner.len() >= 2 && inner.starts_with(b"<") && inner.ends_with(b">") {
        odd.insert("stray-brackets");
        return Ok(bare(&inner[1..inner.len() - 1], odd));
    }
    Ok(if inner.ends_with(b">") { named(&inner, odd) } else { inner })
}

/// What is behind the first opening bracket, or all where there is none; without the closing one.
fn named(text: &[u8], odd: &mut Odd) -> Vec<u8> {
    let text = &text[..text.len() - 1];
    let open = marked(text).iter().position(|mark| *mark == (b'<', true));
    odd.insert(if open.is_some() { "display-name" } else { "stray-brackets" });
    bare(&text[open.map_or(0, |at| at + 1)..], odd)
}

/// Judges an address that is not empty.
fn judge(text: &[u8], reverse: bool, odd: &mut Odd) -> Result<(), Fault> {
    let at = if text.starts_with(b"\"") {
        super::path::local_part(text)?
    } else {
        text.iter().rposition(|&b| b == b'@').unwrap_or(text.len())
    };
    let mut local = text[..at].to_vec();
    while local.last().is_some_and(is_blank) {
        local.pop();
        odd.insert(BLANKS);
    }
    let behind: Vec<u8> = text[at..].iter().skip_while(|b| is_blank(b)).copied().collect();
    if behind.len() < text.len() - at {
        odd.insert(BLANKS);
    }
    match behind.split_first() {
        None if !reverse && local.eq_ignore_ascii_case(b"postmaster") => {}
        None => drop(odd.insert("no-domain")),
        Some((b'@', domain)) => {
            let name: Vec<u8> = domain.iter().skip_while(|b| is_blank(b)).copied().collect();
            if name.len() < domain.len() {
                odd.insert(BLANKS);
            }
            let dotless = match name.strip_suffix(b".") {
                Some(dotless) if !dotless.starts_with(b"[") => {
                    odd.insert("trailing-dot-in-domain");
                    dotless
                }
                _ => &name,
            };
            if host(dotless)? != dotless.len() {
                return Err(Fault::Syntax);
            }
        }
        Some(_) => return Err(Fault::Syntax),
    }
    if local.len() > LOCAL_PART_BYTES_MAX {
        odd.insert("local-part-too-long");
    }
    if local.starts_with(b"\"") { Ok(()) } else { unquoted(&local, odd) }
}

fn unquoted(local: &[u8], odd: &mut Odd) -> Result<(), Fault> {
    if local.is_empty() {
        odd.insert("no-local-part");
    }
    let mut octets = local.iter().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => match octets.next() {
                Some((_, 32..127)) => drop(odd.insert("special-in-local-part")),
                _ => return Err(Fault::Syntax),
            },
            b'@' | b':' | b']' => drop(odd.insert("special-in-local-part")),
            b'.' => {
                let edge = at == 0 || at + 1 == local.len();
                if edge || local[at - 1] == b'.' {
                    odd.insert("dots-in-local-part");
                }
            }
            128.. => {}
            _ if octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(octet) => {}
            _ => return Err(Fault::Syntax),
        }
    }
    Ok(())
}
