//! An envelope on its way out, as octets rendered before they are needed.

use super::command::{write_decimal, write_rcpt};
use super::extension::Extensions;
use super::offered::Offered;

/// The envelope of one message, rendered before it is needed.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Reverse-path without angle brackets.
    pub from: &'a [u8],
    pub recipients: &'a Recipients,
    /// Octets of the message as BDAT counts them; also goes into SIZE= where that is offered.
    pub size: u64,
    /// Whether the message holds octets above 127: BODY=8BITMIME where that is offered.
    pub eight_bit: bool,
}

/// RCPT commands, rendered once and sent for many messages.
#[derive(Clone, Debug, Default)]
pub struct Recipients {
    lines: Vec<u8>,
    /// End of each line in `lines`.
    ends: Vec<usize>,
}

impl Recipients {
    /// Adds one forward-path, given without angle brackets.
    pub fn push(&mut self, path: &[u8]) {
        write_rcpt(&mut self.lines, path, b"");
        self.ends.push(self.lines.len());
    }

    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// All commands, in one piece.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// One command.
    pub fn line(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.lines[start..self.ends[index]]
    }
}

impl Outgoing<'_> {
    /// Writes the MAIL command with the parameters that the server offered to understand.
    #[inline]
    pub fn write_mail(&self, out: &mut Vec<u8>, offered: &Offered) {
        debug_assert!(!self.from.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
        out.extend_from_slice(b"MAIL FROM:<");
        out.extend_from_slice(self.from);
        out.push(b'>');
        if offered.has(Extensions::SIZE) {
            out.extend_from_slice(b" SIZE=");
            write_decimal(out, self.size);
        }
        if self.eight_bit && offered.has(Extensions::EIGHT_BIT_MIME) {
            out.extend_from_slice(b" BODY=8BITMIME");
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_go_only_to_servers_that_offer_them() {
        let recipients = Recipients::default();
        let mail =
            Outgoing { from: b"a@b.example", recipients: &recipients, size: 12, eight_bit: true };
        let mut plain = Vec::new();
        mail.write_mail(&mut plain, &Offered::default());
        assert_eq!(plain, b"MAIL FROM:<a@b.example>\r\n");
        let offered = Offered { extensions: Extensions::ALL, ..Offered::default() };
        let mut full = Vec::new();
        mail.write_mail(&mut full, &offered);
        assert_eq!(full, b"MAIL FROM:<a@b.example> SIZE=12 BODY=8BITMIME\r\n");
    }

    #[test]
    fn recipients_are_kept_line_by_line() {
        let mut recipients = Recipients::default();
        recipients.push(b"a@b.example");
        recipients.push(b"cc@b.example");
        assert_eq!(recipients.count(), 2);
        assert_eq!(recipients.line(0), b"RCPT TO:<a@b.example>\r\n");
        assert_eq!(recipients.line(1), b"RCPT TO:<cc@b.example>\r\n");
        assert_eq!(recipients.lines().len(), recipients.line(0).len() + recipients.line(1).len());
    }
}
