//! The envelope of one message: who sent it, to whom, with which parameters (RFC 5321 §2.3.1).

use super::deviation::Deviations;
use super::envelope_memory::EnvelopeMemory;
use crate::limits::{ENVELOPE_BYTES_MAX, ENVELOPE_REST_BYTES_MAX, ENVELOPE_VALUE_HEAD_BYTES};

/// Octets that a session keeps between messages, so that common envelopes are not allocated for each. They are not
/// taken from the memory of open envelopes: what idle sessions keep is in nobody's way, and they keep little.
const ENVELOPE_KEPT_BYTES: usize = 2 * 1024;

/// The least octets of text, and recipients, for which memory is taken.
const TEXT_BYTES_MIN: usize = 256;
const RECIPIENTS_MIN: usize = 4;

/// Octets that paths and parameters may take in a stored envelope.
const ENVELOPE_STORED_BYTES_MAX: usize = ENVELOPE_BYTES_MAX - ENVELOPE_REST_BYTES_MAX;

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
    memory: EnvelopeMemory,
    /// Octets that were taken from `memory`. INVARIANT: at least what `text` and `recipients` hold, but 0 while the
    /// envelope is closed.
    taken_bytes: usize,
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

    /// Takes its memory from there from now on.
    pub(super) fn set_memory(&mut self, memory: EnvelopeMemory) {
        assert_eq!(self.taken_bytes, 0, "an envelope that has begun keeps its memory");
        self.memory = memory;
    }

    /// Sees to it that there is memory for a path and its parameters of `bytes` octets in all. `false`: the sessions
    /// of this core together have no more.
    #[must_use]
    #[inline]
    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        let fits = self.taken_bytes > 0
            && self.text.capacity() - self.text.len() >= bytes
            && self.recipients.len() < self.recipients.capacity();
        fits || self.grow(bytes)
    }

    /// Takes memory for what a new envelope keeps from the last, and grows by an eighth, so that little is taken in
    /// vain.
    #[inline(never)]
    fn grow(&mut self, bytes: usize) -> bool {
        let grown = |len: usize, wanted: usize, capacity: usize, least: usize| match wanted {
            wanted if wanted <= capacity => capacity,
            wanted => wanted.max(len + len / 8).max(least),
        };
        let (len, capacity) = (self.text.len(), self.text.capacity());
        let text_bytes = grown(len, len + bytes, capacity, TEXT_BYTES_MIN);
        let (len, capacity) = (self.recipients.len(), self.recipients.capacity());
        let recipients = grown(len, len + 1, capacity, RECIPIENTS_MIN);
        let wanted = text_bytes + recipients * size_of::<OctetRange>();
        if !self.memory.take(wanted.saturating_sub(self.taken_bytes)) {
            return false;
        }
        self.taken_bytes = wanted.max(self.taken_bytes);
        self.text.reserve_exact(text_bytes - self.text.len());
        self.recipients.reserve_exact(recipients - self.recipients.len());
        true
    }

    /// Begins an envelope; it must be empty.
    pub(super) fn set_reverse(&mut self, path: &[u8], params: &[u8]) {
        debug_assert!(self.is_empty());
        self.reverse = self.push(path, params);
    }

    /// Adds a recipient, or answers `false` where the envelope would be more than can be stored: a message whose
    /// recipients were taken fits into the spool. [`Envelope::reserve`] has
    /// seen to its memory.
    #[must_use]
    pub(super) fn add_recipient(&mut self, path: &[u8], params: &[u8]) -> bool {
        // Sender and recipients, this one too, have a path and perhaps parameters.
        let values = 2 * (self.recipients.len() + 2);
        let text_bytes = self.text.len() + path.len() + params.len();
        if text_bytes + values * ENVELOPE_VALUE_HEAD_BYTES > ENVELOPE_STORED_BYTES_MAX {
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

    /// Empties the envelope and gives back what was taken. A large one is freed, all others are kept.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.recipients.clear();
        if self.taken_bytes > ENVELOPE_KEPT_BYTES {
            self.text.shrink_to(ENVELOPE_KEPT_BYTES / 2);
            self.recipients.shrink_to(ENVELOPE_KEPT_BYTES / 2 / size_of::<OctetRange>());
        }
        self.memory.give_back(std::mem::take(&mut self.taken_bytes));
        self.reverse = OctetRange::default();
        self.body = BodyKind::default();
        self.smtputf8 = false;
        self.declared_bytes = None;
        self.deviations = Deviations::empty();
    }
}

impl Drop for Envelope {
    fn drop(&mut self) {
        self.memory.give_back(self.taken_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_a_cleared_envelope_is_empty() {
        let mut envelope = Envelope::default();
        for _ in 0..2 {
            assert!(envelope.reserve(9));
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
        while envelope.reserve(path.len()) && envelope.add_recipient(&path, b"") {}
        // A path of 300 octets and two heads for each, and two heads of the sender.
        assert_eq!(envelope.recipient_count(), (ENVELOPE_STORED_BYTES_MAX - 8) / 308);
        envelope.clear();
        assert!(envelope.text.capacity() <= ENVELOPE_KEPT_BYTES);
    }

    #[test]
    fn envelopes_take_little_more_than_their_octets_and_give_it_back() {
        const BYTES: usize = 4 * 1024 * 1024;
        let memory = EnvelopeMemory::new(BYTES);
        let params = [b'p'; 900];
        let mut open = Vec::new();
        // A wave of sessions with a thousand recipients each, until there is no more memory.
        let full = 'wave: loop {
            let mut envelope = Envelope::default();
            envelope.set_memory(memory.clone());
            if !envelope.reserve(3) {
                break envelope;
            }
            envelope.set_reverse(b"a@x", b"");
            for _ in 0..1000 {
                if !envelope.reserve(params.len() + 20) {
                    break 'wave envelope;
                }
                assert!(envelope.add_recipient(b"somebody@example.org", &params));
            }
            let sent = 1000 * (params.len() + "RCPT TO:<somebody@example.org> \r\n".len());
            assert!(envelope.taken_bytes <= sent * 6 / 5, "{} of {sent}", envelope.taken_bytes);
            open.push(envelope);
        };
        assert_eq!(open.len(), 4);
        let sum =
            |open: &[Envelope], of: fn(&Envelope) -> usize| open.iter().map(of).sum::<usize>();
        let taken = |open: &[Envelope]| sum(open, |one| one.taken_bytes);
        assert_eq!(memory.left() + taken(&open) + full.taken_bytes, BYTES);
        // What was taken so far stays good.
        assert!(full.recipient_count() > 0);
        drop(full);
        open.iter_mut().for_each(Envelope::clear);
        assert_eq!((taken(&open), memory.left()), (0, BYTES));
        let held = |one: &Envelope| {
            one.text.capacity() + one.recipients.capacity() * size_of::<OctetRange>()
        };
        assert!(sum(&open, held) <= open.len() * ENVELOPE_KEPT_BYTES);
        // What they keep counts again for the next message.
        assert!(open.iter_mut().all(|one| one.reserve(3)));
        assert_eq!((taken(&open), memory.left()), (sum(&open, held), BYTES - sum(&open, held)));
        drop(open);
        assert_eq!(memory.left(), BYTES);
    }

    #[test]
    fn what_idle_sessions_keep_is_not_lacked_by_others() {
        const BYTES: usize = 64 * 1024;
        let memory = EnvelopeMemory::new(BYTES);
        let mut idle = Vec::new();
        for recipients in 0..500 {
            let mut envelope = Envelope::default();
            envelope.set_memory(memory.clone());
            for message in 0..3 {
                assert!(envelope.reserve(30), "message {message} of session {recipients}");
                envelope.set_reverse(b"somebody@example.org", b"");
                for _ in 0..recipients {
                    assert!(envelope.reserve(40) && envelope.add_recipient(&[b'x'; 40], b""));
                }
                envelope.clear();
            }
            idle.push(envelope);
        }
        assert_eq!(memory.left(), BYTES);
    }
}
