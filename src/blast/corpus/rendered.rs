//! One rendered message, and what is written into its copies.

use std::sync::Arc;

use crate::smtp::blank::{BLANK_BYTES_MAX, Blank, Filling, fill};
use crate::stamp::{STAMP_BYTES, body_crc, patch, patch_crc, patch_hcrc};

/// What identifies a message and differs between any two.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    pub core: u16,
    /// Number of the connection among those of the core, from 1.
    pub conn: u32,
    pub seq: u64,
    pub due_unix_ns: u64,
    /// For the blanks; the number is that of the message among those of all cores, from 1.
    pub filling: Filling,
}

/// One rendered message in the form in which it is sent.
#[derive(Debug)]
pub struct Rendered {
    /// The stamp comes first, where there is one. Dot-stuffed, or raw.
    pub(super) own: Box<[u8]>,
    /// The octets that follow, of an existing message that is sent again.
    pub(super) mail: Option<Arc<[u8]>>,
    /// Octets before dot-stuffing.
    pub size: u64,
    pub eight_bit: bool,
    pub(super) stamped: bool,
    /// What changes in `own`, besides the stamp.
    pub(super) blanks: Box<[Blank]>,
    pub(super) sums: MessageSums,
    /// Which of the corpus' envelopes it has.
    pub(super) envelope: u32,
}

impl Rendered {
    /// The octets to send, without the identity: the second part follows the first.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.own, self.mail.as_deref().unwrap_or_default()]
    }

    /// A copy of the octets to send.
    pub fn octets(&self) -> Vec<u8> {
        self.parts().concat()
    }

    /// Writes the identity into `copy`, which holds what begins at `start` of the octets to send. The
    /// stamp is in the first piece as a whole.
    #[inline]
    pub fn identify(&self, copy: &mut [u8], start: usize, identity: Identity) {
        if start == 0 && self.stamped {
            debug_assert!(copy.len() >= STAMP_BYTES, "the stamp is in the first piece");
            patch(copy, identity.core, identity.conn, identity.seq, identity.due_unix_ns);
            if let Some(body) = &self.sums.body {
                patch_crc(copy, body.of(identity.filling));
            }
            if let Some(header) = &self.sums.header {
                patch_hcrc(copy, header.of(identity.filling));
            }
        }
        fill(&self.blanks, copy, start, identity.filling);
    }
}

/// The checksums of a message that follow its blanks.
#[derive(Debug, Default)]
pub(super) struct MessageSums {
    pub(super) body: Option<BlankedCrc>,
    pub(super) header: Option<BlankedCrc>,
}

/// The checksum of a text with blanks, brought up to date without reading the text again.
///
/// A CRC is linear: what a blank changes in it is the checksum of the difference, moved on by the
/// octets that follow. That move is a matrix, which depends on how many follow and nothing else.
#[derive(Debug)]
pub(super) struct BlankedCrc {
    /// Of the text as rendered.
    crc: u32,
    parts: Box<[BlankCrc]>,
}

#[derive(Debug)]
struct BlankCrc {
    blank: Blank,
    /// Of the octets as rendered.
    crc: u32,
    /// What each bit of a checksum becomes after the octets that follow the blank.
    moved: [u32; 32],
}

/// CRC-32C with its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

impl BlankedCrc {
    /// For `text`, whose `blanks` count its octets, with `more` octets of the checksum `more_crc` behind it;
    /// `None` when it has no blanks.
    pub(super) fn new(text: &[u8], blanks: &[Blank], (more_crc, more): (u32, u64)) -> Option<Self> {
        let part = |blank: &Blank| {
            let end = blank.at + blank.width;
            let crc = body_crc(&text[blank.at..end]);
            let moved = moves((text.len() - end) as u64 + more);
            BlankCrc { blank: *blank, crc, moved }
        };
        let parts = blanks.iter().map(part).collect();
        let crc = joined_crc(body_crc(text), more_crc, more);
        (!blanks.is_empty()).then_some(Self { crc, parts })
    }

    #[inline]
    fn of(&self, filling: Filling) -> u32 {
        let mut room = [0; BLANK_BYTES_MAX];
        self.parts.iter().fold(self.crc, |crc, part| {
            let mut changed = part.crc ^ body_crc(part.blank.octets(filling, &mut room));
            let mut moved = crc;
            while changed != 0 {
                moved ^= part.moved[changed.trailing_zeros() as usize];
                changed &= changed - 1;
            }
            moved
        })
    }
}

/// The checksum of a text with the checksum `first`, and `bytes` octets with the checksum `second` behind it.
pub(super) fn joined_crc(first: u32, second: u32, bytes: u64) -> u32 {
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    crc_fast::checksum_combine(algorithm, first.into(), second.into(), bytes) as u32
}

/// What each bit of a checksum becomes after `follow` octets. The highest stands for 1 and each of the
/// others for x times the one above it, so that one of them tells all.
fn moves(follow: u64) -> [u32; 32] {
    let mut moved = [0; 32];
    let mut power = joined_crc(1 << 31, 0, follow);
    for bit in moved.iter_mut().rev() {
        *bit = power;
        power = power >> 1 ^ if power & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    moved
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::smtp::blank::Fill;

    proptest! {
        #[test]
        fn the_checksum_follows_the_blanks(
            mut body in prop::collection::vec(any::<u8>(), 100..400),
            places in prop::collection::vec((0usize..80, 1usize..20, any::<bool>()), 1..4),
            number in any::<u64>(), seed in any::<u64>(),
            more in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut at = 0;
            let mut blanks = Vec::new();
            for (salt, (gap, width, random)) in places.into_iter().enumerate() {
                let fill = match random {
                    true => Fill::Random { salt: salt as u32 },
                    false => Fill::Number,
                };
                if at + gap + width <= body.len() {
                    blanks.push(Blank { at: at + gap, width, fill });
                    at += gap + width;
                }
            }
            prop_assume!(!blanks.is_empty());
            let behind = (body_crc(&more), more.len() as u64);
            let sum = BlankedCrc::new(&body, &blanks, behind).unwrap();
            let filling = Filling { number, seed };
            fill(&blanks, &mut body, 0, filling);
            body.extend_from_slice(&more);
            prop_assert_eq!(sum.of(filling), body_crc(&body));
        }
    }
}
