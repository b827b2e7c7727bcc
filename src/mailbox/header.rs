//! Reads the header block of a message, as far as listing and selection need it.

use std::io::{self, Write};
use std::sync::LazyLock;

use mail_parser::{HeaderName, MessageParser};

use super::encoded_words;
use crate::scan::HeaderCut;
use crate::spool::{CopyError, Listing, Message, Reader};
use crate::stamp::Stamp;

/// Octets of a message in which its subject and stamp are looked for when messages are listed. Header
/// blocks above it are rare, and what is asked for stands near the top.
const HEADER_SEARCH_BYTES: usize = 64 * 1024;

/// Parses the Subject field alone, since nothing else is shown.
static SUBJECTS: LazyLock<MessageParser> =
    LazyLock::new(|| MessageParser::new().header_text(HeaderName::Subject).default_header_ignore());

/// The start of the message that `listing` returned last, long enough for any sane header block.
pub(super) fn start(listing: &mut Listing<'_>, message: &Message) -> Result<Vec<u8>, CopyError> {
    let mut start = Vec::new();
    listing.copy_body(message, HEADER_SEARCH_BYTES as u64, &mut start)?;
    Ok(start)
}

/// The octets in which subject and stamp are looked for, of the start of a message.
pub(super) fn search_area(start: &[u8]) -> &[u8] {
    &start[..start.len().min(HEADER_SEARCH_BYTES)]
}

/// The Subject of a message that was found by its name, decoded.
pub fn subject_in(reader: &Reader, message: &Message) -> Result<Option<String>, CopyError> {
    let mut start = Vec::new();
    reader.copy_start(message, HEADER_SEARCH_BYTES as u64, &mut start)?;
    Ok(subject(&start))
}

/// Writes the header block of a message and the empty line after it; the whole message if it has no empty line.
pub fn copy_header_block(
    reader: &Reader,
    message: &Message,
    out: &mut dyn Write,
) -> Result<(), CopyError> {
    let mut block = HeaderBlock { cut: HeaderCut::default(), out };
    match reader.copy_body(message, &mut block) {
        Err(CopyError::Out(error)) if error.kind() == io::ErrorKind::WriteZero => Ok(()),
        copied => copied,
    }
}

/// Takes the octets of a message, and refuses what comes after the header block.
struct HeaderBlock<'o> {
    cut: HeaderCut,
    out: &'o mut dyn Write,
}

impl Write for HeaderBlock<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.cut == HeaderCut::Done {
            return Ok(0);
        }
        let block = self.cut.take(octets);
        self.out.write_all(block)?;
        Ok(block.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The Subject of the message that `listing` returned last, decoded.
pub fn subject_of(
    listing: &mut Listing<'_>,
    message: &Message,
) -> Result<Option<String>, CopyError> {
    Ok(subject(&start(listing, message)?))
}

/// The text of the Subject field, with encoded words decoded (RFC 2047). `message` may be cut after the
/// header block.
pub(super) fn subject(message: &[u8]) -> Option<String> {
    let joined = words_in_a_row(message).map(|value| [b"Subject:", &*value, b"\r\n"].concat());
    SUBJECTS.parse_headers(joined.as_deref().unwrap_or(message))?.subject().map(str::to_owned)
}

/// The value of the first Subject field where it has several encoded words, with those joined that may be
/// cut inside a character.
fn words_in_a_row(message: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"Subject:";
    let mut lines = header_block(message).split_inclusive(|&b| b == b'\n');
    let is_named =
        |line: &&[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let mut value = lines.find(is_named)?[NAME.len()..].to_vec();
    let folded = lines.take_while(|line| matches!(line.first(), Some(b' ' | b'\t')));
    folded.for_each(|line| value.extend_from_slice(line));
    let value = value.trim_ascii_end();
    let words = memchr::memmem::find_iter(value, b"=?").count();
    (words > 1).then(|| encoded_words::join(value))
}

/// The header block of a message and the empty line after it; the whole message if it has no empty line.
fn header_block(message: &[u8]) -> &[u8] {
    HeaderCut::default().take(message)
}

/// How many servers the message that `listing` returned last has passed: the count of its Received fields
/// (RFC 5321 §6.3).
pub fn hops_of(listing: &mut Listing<'_>, message: &Message) -> Result<usize, CopyError> {
    Ok(hops(&start(listing, message)?))
}

fn hops(message: &[u8]) -> usize {
    const FIELD: &[u8] = b"Received:";
    let lines = header_block(message).split(|&b| b == b'\n');
    let traces =
        |line: &&[u8]| line.get(..FIELD.len()).is_some_and(|name| name.eq_ignore_ascii_case(FIELD));
    lines.filter(traces).count()
}

/// The run whose generator stamped the message.
pub(super) fn run(message: &[u8]) -> Option<u64> {
    Stamp::find(message).map(|stamp| stamp.run)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn trace_fields_are_counted_in_the_header_only() {
        let message = b"Received: a\r\n\tb\r\nreceived: c\r\nX-Received: d\r\n\r\nReceived: e\r\n";
        assert_eq!(hops(message), 2);
        assert_eq!(hops(b""), 0);
    }

    /// The octets as two encoded words that are cut at `at`.
    fn cut(charset: &str, octets: &[u8], at: usize) -> [String; 2] {
        let quoted = |octets: &[u8]| -> String {
            octets.iter().map(|octet| format!("={octet:02X}")).collect()
        };
        let (head, tail) = octets.split_at(at);
        let based = STANDARD.encode(head);
        [
            format!(
                "Subject: =?{charset}?B?{based}?=\r\n\t=?{charset}?q?{}?=\r\n\r\n",
                quoted(tail)
            ),
            format!(
                "Subject: =?{charset}?Q?{}?=  =?{charset}?Q?{}?=\r\n\r\n",
                quoted(head),
                quoted(tail)
            ),
        ]
    }

    #[test]
    fn characters_may_be_cut_between_encoded_words() {
        for (charset, octets, text) in [
            ("utf-8", "\u{6771}\u{4eac} \u{1f4e7}".as_bytes(), "\u{6771}\u{4eac} \u{1f4e7}"),
            ("Shift_JIS", b"\x93\x8c\x8b\x9e", "\u{6771}\u{4eac}"),
            ("gb2312", b"\xb6\xab\xbe\xa9", "\u{4e1c}\u{4eac}"),
            ("iso-2022-jp", b"\x1b$BEl5~\x1b(B", "\u{6771}\u{4eac}"),
        ] {
            for at in 1..octets.len() {
                for message in cut(charset, octets, at) {
                    assert_eq!(subject(message.as_bytes()).as_deref(), Some(text), "{message}");
                }
            }
        }
    }

    #[test]
    fn subjects_are_decoded_unfolded_and_found_in_the_header_only() {
        for (message, found) in [
            (&b"Subject: plain\r\n\r\n"[..], Some("plain")),
            (b"From: x@y\r\nsubject: =?iso-8859-1?q?Z=FCrich?=\r\n\r\n", Some("Z\u{fc}rich")),
            (b"Subject: =?utf-8?b?5p2x?=\r\n =?utf-8?b?5Lqs?=\r\n\r\n", Some("\u{6771}\u{4eac}")),
            (b"Subject: =?iso-2022-jp?b?GyRCRWw1fhsoQg==?=\r\n", Some("\u{6771}\u{4eac}")),
            (b"Subject: folded\r\n line\r\n\r\n", Some("folded line")),
            (b"Subject: a field ends with its line", None),
            (b"Subject: \r\n\r\n", None),
            (b"X: y\r\n\r\nSubject: in the body\r\n", None),
            (b"\r\nSubject: in the body\r\n", None),
            (b"", None),
        ] {
            let text = message.escape_ascii();
            assert_eq!(subject(message).as_deref().filter(|s| !s.is_empty()), found, "{text}");
        }
    }
}
