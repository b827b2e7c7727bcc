//! What became of one message.

use crate::measure::Outcome;

/// Octets of a fate in the file.
pub(super) const FATE_BYTES: usize = 16;
/// The message is in the figures of the run.
const MEASURED: u8 = 128;

/// What became of one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageFate {
    /// As in its stamp.
    pub seq: u64,
    pub outcome: Outcome,
    /// Whether it is in the figures of the run; messages of the warm-up and the cool-down are not.
    pub is_measured: bool,
    /// Of several targets the one that it was sent to, from 0 on.
    pub target: u8,
    /// Recipients for which it was accepted; 0 unless the outcome is that.
    pub accepted: u16,
    /// When its last reply came or it was given up, nanoseconds since the start of the run.
    pub ended_ns: u64,
}

/// In the order of their numbers in the file.
const OUTCOMES: [Outcome; 4] =
    [Outcome::Accepted, Outcome::Refused4xx, Outcome::Refused5xx, Outcome::Unanswered];

impl MessageFate {
    /// For a block whose lowest number is `first`; `None` where that is too far below.
    pub(super) fn encode(&self, first: u64) -> Option<[u8; FATE_BYTES]> {
        let seq = u32::try_from(self.seq.checked_sub(first)?).ok()?;
        let outcome = OUTCOMES.iter().position(|outcome| *outcome == self.outcome)? as u8;
        let mut octets = [0; FATE_BYTES];
        octets[..4].copy_from_slice(&seq.to_le_bytes());
        octets[4] = outcome | if self.is_measured { MEASURED } else { 0 };
        octets[5] = self.target;
        octets[6..8].copy_from_slice(&self.accepted.to_le_bytes());
        octets[8..].copy_from_slice(&self.ended_ns.to_le_bytes());
        Some(octets)
    }

    pub(super) fn decode(octets: &[u8; FATE_BYTES], first: u64) -> Option<Self> {
        let [a, b, c, d, flags, target, low, high, ended @ ..] = *octets;
        Some(Self {
            seq: first.checked_add(u64::from(u32::from_le_bytes([a, b, c, d])))?,
            outcome: *OUTCOMES.get(usize::from(flags & !MEASURED))?,
            is_measured: flags & MEASURED != 0,
            target,
            accepted: u16::from_le_bytes([low, high]),
            ended_ns: u64::from_le_bytes(ended),
        })
    }
}
