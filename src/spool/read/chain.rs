//! Follows the pieces of a message, from the seal back through its fragments.

use crate::limits::OPEN_PIECES_MAX;
use crate::spool::error::Doubt;
use crate::spool::format::{ALIGNMENT, Place, RECORD_HEADER_BYTES, RecordHeader};

/// The body octets of one record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BodyPart {
    pub(super) place: Place,
    pub(super) bytes: u32,
}

impl BodyPart {
    /// Where the next record begins, if this one is a fragment; a seal goes further.
    pub(super) fn end_of_body(self) -> u64 {
        let end = u64::from(self.place.offset) + RECORD_HEADER_BYTES as u64 + u64::from(self.bytes);
        end.next_multiple_of(ALIGNMENT as u64)
    }
}

/// A fragment that no seal has claimed yet.
#[derive(Clone, Copy)]
pub(super) struct Fragment {
    draft: u32,
    total_bytes: u64,
    body_bytes: u32,
    back: Option<Place>,
}

impl From<&RecordHeader> for Fragment {
    fn from(header: &RecordHeader) -> Self {
        Self {
            draft: header.draft,
            total_bytes: header.total_bytes,
            body_bytes: header.body_bytes,
            back: header.back(),
        }
    }
}

/// The pieces of a message, followed from its seal backwards.
pub(super) struct Chain {
    draft: u32,
    /// Body octets that the pieces still to come must hold.
    missing: u64,
    /// The piece that was found last; those before it in the message stand before it in the log.
    last: Place,
    pub(super) back: Option<Place>,
    /// Last to first.
    parts: Vec<BodyPart>,
}

impl Chain {
    pub(super) fn new(place: Place, seal: &RecordHeader) -> Result<Self, Doubt> {
        let missing = seal.total_bytes.checked_sub(seal.body_bytes.into()).ok_or(Doubt::Length)?;
        let parts = vec![BodyPart { place, bytes: seal.body_bytes }];
        Ok(Self { draft: seal.draft, missing, last: place, back: seal.back(), parts })
    }

    pub(super) fn add(&mut self, place: Place, fragment: Fragment) -> Result<BodyPart, Doubt> {
        // Every fragment holds at least one octet, so `missing` falls with each, and the chain ends.
        let (at, last) = [place, self.last].map(|place| (place.segment, place.offset)).into();
        let fits = at < last
            && fragment.draft == self.draft
            && fragment.total_bytes == self.missing
            && fragment.body_bytes > 0
            && u64::from(fragment.body_bytes) <= self.missing;
        if !fits {
            return Err(Doubt::Chain);
        }
        if self.parts.len() > OPEN_PIECES_MAX {
            return Err(Doubt::Pieces);
        }
        self.missing -= u64::from(fragment.body_bytes);
        (self.last, self.back) = (place, fragment.back);
        let part = BodyPart { place, bytes: fragment.body_bytes };
        self.parts.push(part);
        Ok(part)
    }

    /// The pieces, first to last.
    pub(super) fn finish(mut self) -> Result<Vec<BodyPart>, Doubt> {
        if self.missing != 0 {
            return Err(Doubt::Chain);
        }
        self.parts.reverse();
        Ok(self.parts)
    }
}
