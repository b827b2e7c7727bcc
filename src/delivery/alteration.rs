//! What a server changed in a message, as far as checksums tell.

use bitflags::bitflags;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use super::content::StoredContent;
use crate::stamp::{HeaderFields, STAMP_BYTES, Stamp, body_crc, header_crc};

bitflags! {
    /// What changed. A header field that a server adds is no change.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct Alteration: u8 {
        /// Line ends of the body, or of its last line alone.
        const LINE_ENDS = 1;
        /// Header fields are folded in other places.
        const FOLDED = 2;
        /// The body is in base64 or quoted-printable, and the same when it is decoded.
        const RECODED = 4;
        /// The body is shorter.
        const TRUNCATED = 8;
        /// The body differs in another way.
        const BODY = 16;
        /// A header field differs or is missing.
        const HEADER = 32;
    }
}

impl Alteration {
    /// Each change and its name in reports.
    pub const NAMES: [(Self, &'static str); 6] = [
        (Self::LINE_ENDS, "line_ends"),
        (Self::FOLDED, "header_folded"),
        (Self::RECODED, "recoded"),
        (Self::TRUNCATED, "truncated"),
        (Self::BODY, "body"),
        (Self::HEADER, "header"),
    ];
}

/// Header fields that servers add. They are left out first where the checksum of a header is wrong.
const ADDED: [&str; 13] = [
    "received:",
    "return-path:",
    "delivered-to:",
    "x-original-to:",
    "dkim-signature:",
    "authentication-results:",
    "received-spf:",
    "arc-",
    "x-spam",
    "x-virus",
    "x-spamd",
    "x-amavis",
    "list-",
];
/// Other fields of a header up to which each pair is tried.
const TRIED_FIELDS_MAX: usize = 40;
/// Octets of a body up to which it is looked at more closely than by its checksum.
const TRIED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What changed in a message with this stamp. `after` are the header fields after the stamp and what follows;
/// `sent_bytes` are the octets of the message as it was sent. Of some messages only the header was kept.
pub(super) fn alteration(
    content: &StoredContent,
    stamp: &Stamp,
    after: &[u8],
    (sent_bytes, headers_only): (Option<u64>, bool),
) -> Alteration {
    let mut fields = HeaderFields::new(after);
    let all: Vec<&[u8]> = fields.by_ref().collect();
    let rest = fields.rest();
    let empty_line = if rest.starts_with(b"\r\n") { 2 } else { usize::from(!rest.is_empty()) };
    let body_at = content.octets.len() - rest.len() + empty_line;
    let mut found = Alteration::empty();
    if !headers_only {
        found |= of_body(content, body_at, stamp, &all);
    }
    let Some(hcrc) = stamp.hcrc else { return found };
    let recoded = found.contains(Alteration::RECODED);
    match own_fields(&all, hcrc, recoded) {
        None if found.contains(Alteration::TRUNCATED) && empty_line == 0 => {}
        None => found |= Alteration::HEADER,
        Some(own_bytes) if !recoded => {
            let lead = content.octets.len() - after.len();
            let stamp_bytes = stamp_field_bytes(&content.octets[..lead]);
            let sent =
                sent_bytes.and_then(|sent| sent.checked_sub(stamp.size + STAMP_BYTES as u64));
            // The empty line belongs to what was sent, unless that was a header alone.
            let own_bytes = own_bytes as u64;
            let same = sent
                .is_none_or(|sent| sent == own_bytes + 2 || stamp.size == 0 && sent == own_bytes);
            if !same || stamp_bytes != STAMP_BYTES {
                found |= Alteration::FOLDED;
            }
        }
        Some(_) => {}
    }
    found
}

/// Octets of the field that ends `header`, which is the stamp.
fn stamp_field_bytes(header: &[u8]) -> usize {
    HeaderFields::new(header).last().map_or(0, <[u8]>::len)
}

fn of_body(content: &StoredContent, at: usize, stamp: &Stamp, fields: &[&[u8]]) -> Alteration {
    let (bytes, crc) = content.sum_from(at);
    if (bytes, crc) == (stamp.size, stamp.crc) {
        return Alteration::empty();
    }
    let body = &content.octets[at..];
    let tried = content.is_whole() && body.len() <= TRIED_BYTES_MAX;
    if tried && with_other_line_ends(body, stamp) {
        Alteration::LINE_ENDS
    } else if tried && is_recoded(body, stamp, fields) {
        Alteration::RECODED
    } else if bytes < stamp.size {
        Alteration::TRUNCATED
    } else {
        Alteration::BODY
    }
}

fn is_sent(body: &[u8], stamp: &Stamp) -> bool {
    body.len() as u64 == stamp.size && body_crc(body) == stamp.crc
}

/// Whether a body is what was sent but for white space at its end.
fn is_sent_but_for_end(body: &[u8], stamp: &Stamp) -> bool {
    let (line, trimmed) = (b"\r\n", body.trim_ascii_end());
    let ends = (0..4).map(|lines| [trimmed, &line.repeat(lines)].concat());
    is_sent(body, stamp) || ends.into_iter().any(|body| is_sent(&body, stamp))
}

/// Whether a body is what was sent when all its line ends are CRLF, or all LF.
fn with_other_line_ends(body: &[u8], stamp: &Stamp) -> bool {
    let mut unix = Vec::with_capacity(body.len());
    let mut octets = body.iter().peekable();
    while let Some(&octet) = octets.next() {
        match octet {
            b'\r' => {
                octets.next_if_eq(&&b'\n');
                unix.push(b'\n');
            }
            other => unix.push(other),
        }
    }
    let mut internet = Vec::with_capacity(body.len());
    for &octet in &unix {
        if octet == b'\n' {
            internet.push(b'\r');
        }
        internet.push(octet);
    }
    [body, &internet, &unix].into_iter().any(|body| is_sent_but_for_end(body, stamp))
}

/// Whether a body is what was sent when it is decoded.
fn is_recoded(body: &[u8], stamp: &Stamp, fields: &[&[u8]]) -> bool {
    let encoding = fields.iter().rev().find(|field| is_named(field, "content-transfer-encoding:"));
    let Some(encoding) = encoding.map(|field| field.to_ascii_lowercase()) else { return false };
    let has = |word: &[u8]| memchr::memmem::find(&encoding, word).is_some();
    let decoded = match (has(b"quoted-printable"), has(b"base64")) {
        (true, _) => quoted_printable_decode(body),
        (_, true) => base64_decode(body),
        _ => None,
    };
    decoded.is_some_and(|decoded| with_other_line_ends(&decoded, stamp))
}

fn is_named(field: &[u8], name: &str) -> bool {
    field.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
}

/// The octets of the fields that were sent, where they are all there: of all fields after the stamp those
/// that are left when what a server added is left out. A server that recodes a body changes the field that says
/// how it is coded.
fn own_fields(all: &[&[u8]], hcrc: u32, recoded: bool) -> Option<usize> {
    let is_own = |fields: &[&[u8]]| header_crc(&fields.concat()) == hcrc;
    let bytes = |fields: &[&[u8]]| fields.iter().map(|field| field.len()).sum();
    if is_own(all) {
        return Some(bytes(all));
    }
    let is_added = |field: &&&[u8]| ADDED.iter().any(|name| is_named(field, name));
    let rest: Vec<&[u8]> = all.iter().filter(|field| !is_added(field)).copied().collect();
    if is_own(&rest) {
        return Some(bytes(&rest));
    }
    if recoded && let Some(own) = before_recoding(&rest, hcrc) {
        return Some(own);
    }
    if rest.len() > TRIED_FIELDS_MAX {
        return None;
    }
    for one in 0..rest.len() {
        for other in one..rest.len() {
            let left: Vec<&[u8]> = rest
                .iter()
                .enumerate()
                .filter(|(n, _)| *n != one && *n != other)
                .map(|(_, field)| *field)
                .collect();
            if is_own(&left) {
                return Some(bytes(&left));
            }
        }
    }
    None
}

/// The same where the server changed how a body is coded, and may have added the fields of MIME.
fn before_recoding(fields: &[&[u8]], hcrc: u32) -> Option<usize> {
    const NAMES: [&str; 3] = ["content-transfer-encoding:", "mime-version:", "content-type:"];
    let without = |left_out: &[&str]| -> Vec<&[u8]> {
        let is_left_out = |field: &&&[u8]| left_out.iter().any(|name| is_named(field, name));
        fields.iter().filter(|field| !is_left_out(field)).copied().collect()
    };
    for count in 1..=NAMES.len() {
        let left = without(&NAMES[..count]);
        if header_crc(&left.concat()) == hcrc {
            return Some(left.iter().map(|field| field.len()).sum());
        }
    }
    let encoding = fields.iter().position(|field| is_named(field, NAMES[0]))?;
    let before: [&[u8]; 2] =
        [b"Content-Transfer-Encoding: 8bit\r\n", b"Content-Transfer-Encoding: 7bit\r\n"];
    before.into_iter().find_map(|field| {
        let mut same = fields.to_vec();
        same[encoding] = field;
        (header_crc(&same.concat()) == hcrc).then(|| same.iter().map(|field| field.len()).sum())
    })
}
