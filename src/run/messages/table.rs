//! The different messages of a run, and their envelopes.

use super::format::{MessagesHead, u16_at, u32_at, u64_at};
use crate::smtp::blank::{BLANK_BYTES_MAX, Blank, Fill, Filling, fill};

/// Octets of a message in the file.
pub(super) const MESSAGE_BYTES: usize = 12;
const BLANK_BYTES: usize = 8;

/// A forward-path without angle brackets, and what of it differs by message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PathPattern {
    pub octets: Box<[u8]>,
    /// In the order of their places.
    pub blanks: Box<[Blank]>,
}

/// The recipients of one envelope, in the order of RCPT.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SentEnvelope {
    pub recipients: Box<[PathPattern]>,
}

/// One of the different messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SentMessage {
    /// Which of the envelopes it has.
    pub envelope: u32,
    /// Octets before dot-stuffing.
    pub size: u64,
}

/// All of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SentTable {
    /// INVARIANT: each has one of `envelopes`.
    pub messages: Vec<SentMessage>,
    pub envelopes: Vec<SentEnvelope>,
}

impl PathPattern {
    /// The path of one message, in `room`.
    pub fn write(&self, filling: Filling, room: &mut Vec<u8>) {
        room.clear();
        room.extend_from_slice(&self.octets);
        fill(&self.blanks, room, 0, filling);
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.octets.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.blanks.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.octets);
        for blank in &self.blanks {
            let (kind, salt) = match blank.fill {
                Fill::Number => (0, 0),
                Fill::Random { salt } => (1, salt),
            };
            out.extend_from_slice(&(blank.at as u16).to_le_bytes());
            out.extend_from_slice(&[blank.width as u8, kind]);
            out.extend_from_slice(&salt.to_le_bytes());
        }
    }

    fn decode(rest: &mut &[u8]) -> Option<Self> {
        let (octets, count) = (u16_at(take(rest, 2)?, 0), u16_at(take(rest, 2)?, 0));
        let octets = take(rest, octets.into())?;
        let blank = |bytes: &[u8]| {
            let (at, width) = (usize::from(u16_at(bytes, 0)), usize::from(bytes[2]));
            let fill = match bytes[3] {
                0 => Fill::Number,
                1 => Fill::Random { salt: u32_at(bytes, 4) },
                _ => return None,
            };
            let fits = at + width <= octets.len() && (1..=BLANK_BYTES_MAX).contains(&width);
            fits.then_some(Blank { at, width, fill })
        };
        let blanks = take(rest, usize::from(count) * BLANK_BYTES)?.chunks_exact(BLANK_BYTES);
        Some(Self { octets: octets.into(), blanks: blanks.map(blank).collect::<Option<_>>()? })
    }
}

impl SentEnvelope {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.recipients.len() as u16).to_le_bytes());
        self.recipients.iter().for_each(|path| path.encode(out));
    }

    /// Takes one envelope off `rest`; `None` if that does not begin with one.
    pub(super) fn decode(rest: &mut &[u8]) -> Option<Self> {
        let count = u16_at(take(rest, 2)?, 0);
        let recipients = (0..count).map(|_| PathPattern::decode(rest));
        Some(Self { recipients: recipients.collect::<Option<_>>()? })
    }
}

impl SentMessage {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.envelope.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
    }

    pub(super) fn decode(octets: &[u8]) -> Self {
        Self { envelope: u32_at(octets, 0), size: u64_at(octets, 4) }
    }
}

impl SentTable {
    /// The message that number `seq` of `core` is, and its recipients.
    pub fn of(&self, head: &MessagesHead, core: u16, seq: u64) -> (SentMessage, &[PathPattern]) {
        let message = self.messages[head.index(core, seq) as usize];
        (message, &self.envelopes[message.envelope as usize].recipients)
    }
}

impl MessagesHead {
    /// What the places that differ are filled with in message `seq` of `core`.
    pub fn filling(&self, core: u16, seq: u64) -> Filling {
        Filling { number: self.number(core, seq).wrapping_add(1), seed: self.seed }
    }
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(bytes)?;
    *rest = tail;
    Some(head)
}
