//! The envelope of one message: who sent it, to whom, with which parameters (RFC 5321 §2.3.1).

use super::deviation::Deviations;
use crate::limits::ENVELOPE_BYTES_MAX;

/// Octets of envelope memory that a session keeps between messages; more is given back, so that one
/// huge recipient list does not stay for the life of the session.
const ENVELOPE_KEPT_BYTES: usize = 16 * 1024;

/// What the client said about the octets to come (`BODY=`, RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BodyKind {
    #[default]
    SevenBit,
    EightBit,
    Binary,
}

/// All text of an envelope lies in one arena that is reused from message to message, so that a
/// session in steady state does not allocate.
///
/// INVARIANT: spans lie inside `text`, in the order reverse path, then recipients.
#[derive(Debug, Default)]
pub struct Envelope {
    text: Vec<u8>,
    reverse: OctetRange,
    recipients: Vec<OctetRange>,
    pub(super) body: BodyKind,
    pub(super) smtputf8: bool,
    pub(super) declared_bytes: Option<u64>,
    /// Of the commands that were taken, and of the message where it has ended.
    pub(super) deviations: Deviations,
}

/// A path and the raw parameters right after it.
#[derive(Clone, Copy, Debug, Default)]
struct OctetRange {
    start: u32,
    path_bytes: u16,
    params_bytes: u16,
}

impl OctetRange {
    fn read(self, text: &[u8]) -> (&[u8], &[u8]) {
        let text = &text[self.start as usize..];
        let (path, rest) = text.split_at(usize::from(self.path_bytes));
        (path, &rest[..usize::from(self.params_bytes)])
    }
}

impl Envelope {
    /// Reverse path without brackets and source route; empty for the null reverse-path.
    pub fn reverse_path(&self) -> &[u8] {
        self.reverse.read(&self.text).0
    }

    /// Parameters of MAIL as sent, without the space before them.
    pub fn reverse_params(&self) -> &[u8] {
        self.reverse.read(&self.text).1
    }

    /// Forward paths (without brackets and source route) with their raw parameters, in the order of
    /// their RCPT commands, duplicates included.
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.recipients.iter().map(|span| span.read(&self.text))
    }

    pub fn recipient_count(&self) -> usize {
        self.recipients.len()
    }

    pub fn body(&self) -> BodyKind {
        self.body
    }

    pub fn smtputf8(&self) -> bool {
        self.smtputf8
    }

    /// `SIZE=`: octets the client expects to send (RFC 1870 §6).
    pub fn declared_bytes(&self) -> Option<u64> {
        self.declared_bytes
    }

    /// Begins an envelope; it must be empty.
    pub(super) fn set_reverse(&mut self, path: &[u8], params: &[u8]) {
        debug_assert!(self.is_empty());
        self.reverse = self.push(path, params);
    }

    /// Adds a recipient, or answers `false` when the arena is full.
    #[must_use]
    pub(super) fn add_recipient(&mut self, path: &[u8], params: &[u8]) -> bool {
        if self.text.len() + path.len() + params.len() > ENVELOPE_BYTES_MAX {
            return false;
        }
        let span = self.push(path, params);
        self.recipients.push(span);
        true
    }

    fn push(&mut self, path: &[u8], params: &[u8]) -> OctetRange {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(path);
        self.text.extend_from_slice(params);
        // Both come from one command line, whose bound fits 16 bits (limits.rs).
        OctetRange { start, path_bytes: path.len() as u16, params_bytes: params.len() as u16 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.recipients.is_empty()
    }

    /// Empties the envelope. A huge one gives its memory back, all others keep it.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.recipients.clear();
        self.text.shrink_to(ENVELOPE_KEPT_BYTES);
        self.recipients.shrink_to(ENVELOPE_KEPT_BYTES / size_of::<OctetRange>());
        self.reverse = OctetRange::default();
        self.body = BodyKind::default();
        self.smtputf8 = false;
        self.declared_bytes = None;
        self.deviations = Deviations::empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_a_cleared_envelope_is_empty() {
        let mut envelope = Envelope::default();
        for _ in 0..2 {
            assert!(envelope.is_empty() && envelope.reverse_path().is_empty());
            envelope.set_reverse(b"a@b", b"SIZE=1 BODY=7BIT");
            assert!(envelope.add_recipient(b"c@d", b""));
            assert!(envelope.add_recipient(b"c@d", b"X=1"));
            assert_eq!(envelope.reverse_path(), b"a@b");
            assert_eq!(envelope.reverse_params(), b"SIZE=1 BODY=7BIT");
            let all: Vec<_> = envelope.recipients().collect();
            assert_eq!(all, [(&b"c@d"[..], &b""[..]), (b"c@d", b"X=1")]);
            envelope.clear();
        }
    }

    #[test]
    fn a_full_arena_takes_no_more_and_a_huge_one_shrinks() {
        let mut envelope = Envelope::default();
        envelope.set_reverse(b"", b"");
        let path = [b'x'; 300];
        while envelope.add_recipient(&path, b"") {}
        assert_eq!(envelope.recipient_count(), ENVELOPE_BYTES_MAX / 300);
        envelope.clear();
        assert!(envelope.text.capacity() <= ENVELOPE_KEPT_BYTES);
    }
}
