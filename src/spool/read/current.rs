//! One segment while its records are met, and what was met in it so far.

use super::walk::{RecordsEnd, Spoilt, Walk, WalkStep};
use crate::spool::error::SpoolError;
use crate::spool::format::{Place, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES};

/// The segment that is being walked.
pub(super) struct Current {
    pub(super) core: u16,
    pub(super) number: u32,
    pub(super) walk: Walk,
    pub(super) last_seq: u64,
    /// Where the latest record ends that is no fragment.
    pub(super) alive: u64,
    /// Octets of all fragments.
    pub(super) fragments: u64,
    /// The first record whose payload a power cut may have taken.
    pub(super) torn_at: Option<u64>,
}

/// What stands at a place in a segment.
pub(super) enum Met {
    Record(RecordHeader),
    Spoilt(Spoilt),
}

impl Current {
    pub(super) fn new(core: u16, number: u32, walk: Walk) -> Self {
        let alive = SEGMENT_HEADER_BYTES as u64;
        Self { core, number, walk, last_seq: 0, alive, fragments: 0, torn_at: None }
    }

    /// The next record and its place, or how the records end.
    pub(super) fn step(&mut self) -> Result<Result<(Place, Met), RecordsEnd>, SpoolError> {
        loop {
            let (offset, header, met) = match self.walk.step()? {
                WalkStep::Record(offset, header) => (offset, header, Met::Record(header)),
                WalkStep::Spoilt(spoilt) => {
                    if spoilt.torn {
                        self.torn_at.get_or_insert(spoilt.offset.into());
                    }
                    (spoilt.offset, spoilt.header, Met::Spoilt(spoilt))
                }
                WalkStep::End(end) => {
                    let Some(end) = self.walk.confirm(end)? else { continue };
                    return Ok(Err(end));
                }
            };
            self.last_seq = header.seq;
            if header.kind == RecordKind::Fragment {
                self.fragments += header.stride();
            } else {
                self.alive = self.walk.at();
            }
            return Ok(Ok((Place { core: self.core, segment: self.number, offset }, met)));
        }
    }

    pub(super) fn holds(&self, place: Place) -> bool {
        (self.core, self.number) == (place.core, place.segment)
    }
}
