//! An envelope on its way out, as octets rendered before they are needed.

use super::blank::{Blank, Filling, fill};
use super::command::{RCPT_LEAD, write_decimal, write_rcpt};
use super::extension::Extensions;
use super::offered::Offered;

/// The envelope of one message, rendered before it is needed.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Reverse-path without angle brackets.
    pub from: &'a [u8],
    /// What of it is different for each message.
    pub from_blanks: &'a [Blank],
    pub recipients: &'a Recipients,
    /// Octets of the message as BDAT counts them; also goes into SIZE= where that is offered.
    pub size: u64,
    /// Whether the message holds octets above 127: BODY=8BITMIME where that is offered.
    pub eight_bit: bool,
    pub params: &'a MailParams,
    /// What the blanks of both paths are filled with.
    pub filling: Filling,
}

/// What the user wants MAIL to say besides what the message itself calls for.
#[derive(Clone, Debug, Default)]
pub struct MailParams {
    /// Each led by a space.
    text: Vec<u8>,
    /// Extensions whose parameters the user gave: those are not written a second time.
    given: Extensions,
    /// Whether an address of the envelope is not ASCII.
    smtputf8: bool,
}

impl MailParams {
    pub const NONE: Self = Self { text: Vec::new(), given: Extensions::empty(), smtputf8: false };

    pub fn new(words: &[String], smtputf8: bool) -> Self {
        let mut params = Self { text: render_params(words), given: Extensions::empty(), smtputf8 };
        for word in words {
            let keyword = word.split('=').next().unwrap_or_default().to_ascii_uppercase();
            params.given = params.given.union(match &*keyword {
                "SIZE" => Extensions::SIZE,
                "BODY" => Extensions::EIGHT_BIT_MIME,
                "SMTPUTF8" => Extensions::SMTPUTF8,
                _ => Extensions::empty(),
            });
        }
        params
    }

    /// The same, but SIZE= is never written for the message.
    #[must_use]
    pub fn without_size(self) -> Self {
        Self { given: self.given.union(Extensions::SIZE), ..self }
    }

    #[inline]
    fn wants(&self, extension: Extensions, offered: &Offered) -> bool {
        offered.has(extension) && !self.given.contains(extension)
    }
}

/// Parameters as a command carries them, each led by a space.
pub fn render_params(words: &[String]) -> Vec<u8> {
    words.iter().flat_map(|word| [" ", word]).collect::<String>().into_bytes()
}

/// RCPT commands, rendered once and sent for many messages.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recipients {
    lines: Vec<u8>,
    /// End of each line in `lines`, and of the path in it.
    ends: Vec<usize>,
    path_ends: Vec<usize>,
    /// In the order of `lines`, whose octets they count.
    blanks: Vec<Blank>,
}

impl Recipients {
    /// Adds one forward-path, given without angle brackets.
    pub fn push(&mut self, path: &[u8]) {
        self.push_with(path, b"");
    }

    /// Adds one forward-path with its parameters, each led by a space.
    pub fn push_with(&mut self, path: &[u8], params: &[u8]) {
        self.push_blank(path, &[], params);
    }

    /// The same for a path with blanks, which count its octets.
    pub fn push_blank(&mut self, path: &[u8], blanks: &[Blank], params: &[u8]) {
        let start = self.lines.len() + RCPT_LEAD.len();
        self.blanks.extend(blanks.iter().map(|blank| Blank { at: start + blank.at, ..*blank }));
        write_rcpt(&mut self.lines, path, params);
        self.ends.push(self.lines.len());
        self.path_ends.push(start + path.len());
    }

    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Each forward-path without angle brackets, and its blanks, which count its octets.
    pub fn paths(&self) -> impl Iterator<Item = (&[u8], impl Iterator<Item = Blank>)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.path_ends).map(|(line, &end)| {
            let start = line + RCPT_LEAD.len();
            let blanks = self.blanks.iter().filter(move |blank| (start..end).contains(&blank.at));
            let blanks = blanks.map(move |blank| Blank { at: blank.at - start, ..*blank });
            (&self.lines[start..end], blanks)
        })
    }

    /// Octets of all commands.
    pub fn bytes(&self) -> usize {
        self.lines.len()
    }

    /// Writes all commands.
    #[inline]
    pub fn write_all(&self, out: &mut Vec<u8>, filling: Filling) {
        let start = out.len();
        out.extend_from_slice(&self.lines);
        fill(&self.blanks, &mut out[start..], 0, filling);
    }

    /// Writes one command.
    #[inline]
    pub fn write_one(&self, index: usize, out: &mut Vec<u8>, filling: Filling) {
        let line = index.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[index];
        let first = self.blanks.partition_point(|blank| blank.at < line.start);
        let last = self.blanks.partition_point(|blank| blank.at < line.end);
        let start = out.len();
        out.extend_from_slice(&self.lines[line.clone()]);
        fill(&self.blanks[first..last], &mut out[start..], line.start, filling);
    }
}

impl Outgoing<'_> {
    /// Writes the MAIL command with the parameters that the server offered to understand.
    #[inline]
    pub fn write_mail(&self, out: &mut Vec<u8>, offered: &Offered) {
        debug_assert!(!self.from.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
        out.extend_from_slice(b"MAIL FROM:<");
        let start = out.len();
        out.extend_from_slice(self.from);
        fill(self.from_blanks, &mut out[start..], 0, self.filling);
        out.push(b'>');
        if self.params.wants(Extensions::SIZE, offered) {
            out.extend_from_slice(b" SIZE=");
            write_decimal(out, self.size);
        }
        if self.eight_bit && self.params.wants(Extensions::EIGHT_BIT_MIME, offered) {
            out.extend_from_slice(b" BODY=8BITMIME");
        }
        if self.params.smtputf8 && self.params.wants(Extensions::SMTPUTF8, offered) {
            out.extend_from_slice(b" SMTPUTF8");
        }
        out.extend_from_slice(&self.params.text);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::blank::Fill;

    #[test]
    fn parameters_go_only_to_servers_that_offer_them() {
        let recipients = Recipients::default();
        let params = MailParams::new(&[], true);
        let mail = Outgoing {
            from: b"a@b.example",
            from_blanks: &[],
            recipients: &recipients,
            size: 12,
            eight_bit: true,
            params: &params,
            filling: Filling::default(),
        };
        let mut plain = Vec::new();
        mail.write_mail(&mut plain, &Offered::default());
        assert_eq!(plain, b"MAIL FROM:<a@b.example>\r\n");
        let offered = Offered { extensions: Extensions::ALL, ..Offered::default() };
        let mut full = Vec::new();
        mail.write_mail(&mut full, &offered);
        assert_eq!(full, b"MAIL FROM:<a@b.example> SIZE=12 BODY=8BITMIME SMTPUTF8\r\n");
        let words = ["size=9", "BODY=7BIT", "SMTPUTF8", "RET=HDRS"].map(str::to_owned);
        let params = MailParams::new(&words, true);
        let mut own = Vec::new();
        Outgoing { params: &params, ..mail }.write_mail(&mut own, &offered);
        assert_eq!(own, b"MAIL FROM:<a@b.example> size=9 BODY=7BIT SMTPUTF8 RET=HDRS\r\n");
    }

    #[test]
    fn recipients_are_kept_line_by_line_and_filled_in_alike() {
        let blank = |at| Blank { at, width: 3, fill: Fill::Number };
        let mut recipients = Recipients::default();
        recipients.push(b"a@b.example");
        recipients.push_blank(b"c...@b.example", &[blank(1)], b" NOTIFY=NEVER");
        recipients.push_blank(b"...d...@b.example", &[blank(0), blank(4)], b"");
        assert_eq!(recipients.count(), 3);
        let filling = Filling { number: 42, seed: 0 };
        let mut lines = Vec::new();
        (0..3).for_each(|index| recipients.write_one(index, &mut lines, filling));
        let expected: &[u8] = b"RCPT TO:<a@b.example>\r\n\
            RCPT TO:<c042@b.example> NOTIFY=NEVER\r\n\
            RCPT TO:<042d042@b.example>\r\n";
        assert_eq!(lines, expected);
        let mut whole = Vec::new();
        recipients.write_all(&mut whole, filling);
        assert_eq!((whole.len(), &whole), (recipients.bytes(), &lines));
        let paths: Vec<_> =
            recipients.paths().map(|(path, blanks)| (path, blanks.collect::<Vec<_>>())).collect();
        let expected: [(&[u8], Vec<Blank>); 3] = [
            (b"a@b.example", vec![]),
            (b"c...@b.example", vec![blank(1)]),
            (b"...d...@b.example", vec![blank(0), blank(4)]),
        ];
        assert_eq!(paths, expected);
    }
}
