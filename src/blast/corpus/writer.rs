//! Renders single messages.

use std::sync::Arc;

use super::rendered::{BlankedCrc, MessageSums, Rendered, joined_crc};
use crate::blast::content::ContentError;
use crate::blast::content::mail::Mail;
use crate::blast::content::template::{RenderedText, Template, TemplateValues};
use crate::smtp::blank::{Blank, Fill};
use crate::smtp::body;
use crate::stamp::{STAMP_BYTES, Stamp, body_crc, header_end, relax};

/// Octets of a text line without CRLF (RFC 5322 §2.1.1).
pub(super) const LINE_BYTES: usize = 78;
/// On average one line in so many begins with a dot, so that dot-stuffing has work.
const DOTTED_LINES: usize = 16;
/// Digits of the number in a Message-ID, which makes it unique.
const ID_DIGITS: usize = 12;

pub(super) struct MessageWriter<'a> {
    pub(super) run: u64,
    pub(super) helo: &'a str,
    pub(super) headers: &'a [Template],
    /// Sent with BDAT, as it is.
    pub(super) raw: bool,
    /// Raises a size that is too small for the header instead of refusing it: where sizes are drawn
    /// from an unbounded distribution, the user did not ask for the small one.
    pub(super) stretch: bool,
    /// Neither our headers nor the stamp.
    pub(super) bare: bool,
}

impl MessageWriter<'_> {
    /// A message of exactly `size` octets. Of our own headers as many are put in as there is room for;
    /// those of the user must fit.
    pub(super) fn written(
        &self,
        size: u64,
        scene: &mut TemplateValues<'_>,
        random: &mut fastrand::Rng,
    ) -> Result<Rendered, ContentError> {
        let given = self.given_headers(scene);
        let stamp = if self.bare { 0 } else { STAMP_BYTES };
        // An empty line ends a header, and another one is the smallest body.
        let ends = if self.bare && given.octets.is_empty() { 2 } else { 4 };
        let least = stamp + given.octets.len() + ends;
        let size = if self.stretch { size.max(least as u64) } else { size };
        if size < least as u64 {
            return Err(ContentError::TooSmall { size, least: least as u64 });
        }
        let size = size as usize;
        let mut header = RenderedText::default();
        for line in self.own_headers(scene).take_while(|_| !self.bare) {
            if header.octets.len() + line.octets.len() + least > size {
                break;
            }
            header.push(&line);
        }
        header.push(&given);
        if ends == 4 {
            header.octets.extend_from_slice(b"\r\n");
        }
        let mut text = Vec::with_capacity(size);
        write_text(&mut text, size - stamp - header.octets.len(), random);
        let message = self.message(&header, &RenderedText { octets: text, blanks: Vec::new() });
        debug_assert_eq!(message.size, size as u64, "a message has the size that it was asked for");
        Ok(message)
    }

    /// The user's message. The stamp and the headers from options come before its own header.
    pub(super) fn given(&self, body: &Template, scene: &mut TemplateValues<'_>) -> Rendered {
        let mut header = self.given_headers(scene);
        let mut message = body.render(scene);
        let text = split_header(&mut message);
        header.push(&message);
        self.message(&header, &text)
    }

    /// An existing message, after the stamp and the headers from options.
    pub(super) fn kept(&self, mail: &Mail, scene: &mut TemplateValues<'_>) -> Rendered {
        let header =
            SummedHeader::new(self.given_headers(scene), (mail.header_crc, mail.header_bytes));
        let own = self.begun(mail.body_size, mail.body_crc, &header);
        let message = self.sealed(own, MessageSums { body: None, header: header.sum });
        Rendered {
            size: message.size + mail.size,
            eight_bit: message.eight_bit || !mail.octets.is_ascii(),
            mail: Some(Arc::clone(&mail.octets)),
            ..message
        }
    }

    fn message(&self, header: &RenderedText, text: &RenderedText) -> Rendered {
        let header = SummedHeader::new(header.clone(), NO_MORE);
        let mut whole = self.begun(text.octets.len() as u64, body_crc(&text.octets), &header);
        whole.push(text);
        let body = BlankedCrc::new(&text.octets, &text.blanks, NO_MORE);
        self.sealed(whole, MessageSums { body, header: header.sum })
    }

    /// The stamp and the header of a message whose body has this size and checksum.
    fn begun(&self, size: u64, crc: u32, header: &SummedHeader) -> RenderedText {
        let mut begun = RenderedText::default();
        if !self.bare {
            let hcrc = Some(header.crc);
            Stamp { run: self.run, size, crc, hcrc, ..Stamp::default() }.write(&mut begun.octets);
        }
        begun.push(&header.text);
        begun
    }

    /// A message in the form in which it is sent.
    fn sealed(&self, raw: RenderedText, sums: MessageSums) -> Rendered {
        let size = raw.octets.len() as u64;
        let eight_bit = !raw.octets.is_ascii();
        let sent = if self.raw { raw } else { stuffed(&raw) };
        Rendered {
            own: sent.octets.into_boxed_slice(),
            mail: None,
            size,
            eight_bit,
            stamped: !self.bare,
            blanks: sent.blanks.into_boxed_slice(),
            sums,
            envelope: 0,
        }
    }

    fn given_headers(&self, scene: &mut TemplateValues<'_>) -> RenderedText {
        let mut lines = RenderedText::default();
        for header in self.headers {
            lines.push(&header.render(scene));
            lines.octets.extend_from_slice(b"\r\n");
        }
        lines
    }

    /// Our header lines that the user does not replace, the most important first.
    fn own_headers(&self, scene: &TemplateValues<'_>) -> impl Iterator<Item = RenderedText> {
        let line = |lead: &str, inner: &RenderedText, tail: &str| {
            let mut line = RenderedText { octets: lead.into(), blanks: Vec::new() };
            line.push(inner);
            line.octets.extend_from_slice(tail.as_bytes());
            line.octets.extend_from_slice(b"\r\n");
            line
        };
        let number = RenderedText {
            octets: vec![b'0'; ID_DIGITS],
            blanks: vec![Blank { at: 0, width: ID_DIGITS, fill: Fill::Number }],
        };
        let none = RenderedText::default();
        let lines = [
            line(&format!("Message-ID: <{:016x}.", self.run), &number, &format!("@{}>", self.helo)),
            line("From: <", scene.from, ">"),
            line(&format!("Date: {}", scene.date), &none, ""),
            line("To: <", scene.recipient, ">"),
            line("Subject: a message to measure with", &none, ""),
            line("MIME-Version: 1.0", &none, ""),
            line("Content-Type: text/plain; charset=us-ascii", &none, ""),
            line("Content-Transfer-Encoding: 7bit", &none, ""),
        ];
        let given: Vec<Vec<u8>> = self.headers.iter().map(|h| name(&h.literals())).collect();
        lines.into_iter().filter(move |line| !given.contains(&name(&line.octets)))
    }
}

/// Of nothing behind a text: its checksum and its octets.
const NO_MORE: (u32, u64) = (0, 0);

/// The header that follows the stamp, and its checksum.
struct SummedHeader {
    text: RenderedText,
    crc: u32,
    sum: Option<BlankedCrc>,
}

impl SummedHeader {
    /// `more` are the checksum and the octets, relaxed, of header fields behind this text.
    fn new(text: RenderedText, more: (u32, u64)) -> Self {
        let mut relaxed = Vec::with_capacity(text.octets.len());
        // No blank holds a white space or an upper-case letter, so each stays in one piece.
        let mut blanks = Vec::with_capacity(text.blanks.len());
        relax(&text.octets, &mut relaxed, |from, to| {
            if let Some(blank) = text.blanks.get(blanks.len()).filter(|blank| blank.at == from) {
                blanks.push(Blank { at: to, ..*blank });
            }
        });
        let crc = joined_crc(body_crc(&relaxed), more.0, more.1);
        let sum = BlankedCrc::new(&relaxed, &blanks, more);
        Self { text, crc, sum }
    }
}

/// The name of a header line, in lower case.
fn name(line: &[u8]) -> Vec<u8> {
    line.split(|&b| b == b':').next().unwrap_or_default().to_ascii_lowercase()
}

/// Splits the body off after the empty line that ends the header.
fn split_header(message: &mut RenderedText) -> RenderedText {
    let end = header_end(&message.octets);
    let blanks = message.blanks.iter().filter(|blank| blank.at >= end);
    let blanks = blanks.map(|blank| Blank { at: blank.at - end, ..*blank }).collect();
    message.blanks.retain(|blank| blank.at < end);
    RenderedText { octets: message.octets.split_off(end), blanks }
}

/// Dot-stuffed. No blank begins with a dot, so the pieces between them are stuffed one by one.
fn stuffed(raw: &RenderedText) -> RenderedText {
    let mut stuffed = RenderedText {
        octets: Vec::with_capacity(raw.octets.len() + raw.octets.len() / 64),
        blanks: Vec::with_capacity(raw.blanks.len()),
    };
    let mut done = 0;
    for blank in &raw.blanks {
        body::stuff(&raw.octets[done..blank.at], &mut stuffed.octets);
        done = blank.at;
        stuffed.blanks.push(Blank { at: stuffed.octets.len(), ..*blank });
    }
    body::stuff(&raw.octets[done..], &mut stuffed.octets);
    stuffed
}

/// Writes exactly `size` octets of text in lines, the last of which ends in CRLF too; `size` is at
/// least 2.
fn write_text(text: &mut Vec<u8>, size: usize, random: &mut fastrand::Rng) {
    const WORDS: [&str; 16] = [
        "ring", "post", "the", "of", "queue", "and", "letter", "to", "carried", "in", "measured",
        "is", "mailbox", "a", "deliver", "sooner",
    ];
    let end = text.len() + size;
    while text.len() < end {
        let left = end - text.len() - 2;
        // A single octet would be left, too few for a line end.
        let line = if left == LINE_BYTES + 1 { LINE_BYTES - 1 } else { left.min(LINE_BYTES) };
        let line_end = text.len() + line;
        if line > 0 && random.usize(..DOTTED_LINES) == 0 {
            text.push(b'.');
        }
        while text.len() < line_end {
            text.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
            text.push(b' ');
        }
        text.truncate(line_end);
        if text.last() == Some(&b' ') {
            text.pop();
            text.push(b'.');
        }
        text.extend_from_slice(b"\r\n");
    }
}
