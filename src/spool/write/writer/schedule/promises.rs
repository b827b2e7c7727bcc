//! What the spool has promised, and whether it keeps it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::spool::format::{Place, SEGMENT_HEADER_BYTES, file_name};
use crate::spool::read::Reader;
use crate::spool::write::ticket::Ticket;

/// A message that was sealed.
pub(super) struct SealedMessage {
    pub(super) place: Place,
    pub(super) ticket: Ticket,
    pub(super) body: Vec<u8>,
    pub(super) first_segment: u32,
    /// Segments before its last that hold pieces of it.
    pub(super) pieces: HashSet<u32>,
    /// Offset of the end of its last record.
    pub(super) end: usize,
    /// The writer's failures when it was sealed.
    pub(super) failures: u32,
}

impl SealedMessage {
    fn is_in(&self, segment: u32) -> bool {
        self.place.segment == segment || self.pieces.contains(&segment)
    }
}

/// What a survey may say of messages that got no 250.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Doubts {
    None,
    /// The power was cut: ends are torn.
    AfterCut,
    /// After it the spool was opened. A segment that was torn at its start is in quarantine, and its pieces
    /// are missed.
    AfterRecovery,
}

#[derive(Default)]
pub(super) struct Promises {
    /// Those that got 250, by name, and that the ring still has.
    acknowledged: HashMap<Place, SealedMessage>,
    /// Octets of each segment, after its header, that must not change while the segment is there.
    kept: HashMap<u32, Vec<u8>>,
    /// Those that got 250 and that the ring may have recycled by then.
    pub(super) unpromised: HashSet<Place>,
    /// Segments whose files somebody has cut or removed: there is no promise for what is in them.
    pub(super) spoilt: HashSet<u32>,
}

pub(super) fn path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(file_name(0, segment))
}

impl Promises {
    /// The message gets its 250. `used` are the octets of each segment that it may have pieces in.
    pub(super) fn acknowledge(
        &mut self,
        dir: &Path,
        message: SealedMessage,
        used: &[(u32, usize)],
    ) {
        if used.iter().any(|(segment, _)| self.spoilt.contains(segment)) {
            return;
        }
        let place = message.place;
        let reader = Reader::open(dir).unwrap();
        let found = reader.get(place).and_then(|found| reader.body(&found));
        let found = found.unwrap_or_else(|error| panic!("{place} gets 250: {error}"));
        assert!(found == message.body, "{place} gets 250, and other octets are there");
        for &(segment, end) in used {
            let octets = fs::read(path(dir, segment)).unwrap();
            let octets = octets[SEGMENT_HEADER_BYTES..end].to_vec();
            let kept = self.kept.entry(segment).or_default();
            if octets.len() > kept.len() {
                *kept = octets;
            }
        }
        self.acknowledged.insert(place, message);
    }

    /// Looks at every octet that must not change. Returns the segments that are gone.
    pub(super) fn check(&mut self, dir: &Path) -> Vec<u32> {
        let mut gone = Vec::new();
        for (&segment, kept) in &self.kept {
            match fs::read(path(dir, segment)) {
                Err(_) => gone.push(segment),
                Ok(octets) => {
                    let there = octets.get(SEGMENT_HEADER_BYTES..SEGMENT_HEADER_BYTES + kept.len());
                    assert!(
                        there == Some(kept),
                        "octets that were acknowledged have changed in segment {segment}"
                    );
                }
            }
        }
        gone.iter().for_each(|segment| self.forget(*segment));
        gone
    }

    /// The segment is not there any more, or there is no promise for it.
    fn forget(&mut self, segment: u32) {
        self.kept.remove(&segment);
        self.acknowledged.retain(|_, message| !message.is_in(segment));
    }

    pub(super) fn spoil(&mut self, segment: u32) {
        self.spoilt.insert(segment);
        self.forget(segment);
    }

    /// Reads the whole spool: those that got 250 are there, and beside them none but those of `waiting`.
    pub(super) fn check_listing(&self, dir: &Path, doubts: Doubts, waiting: &HashSet<Place>) {
        let may_be_torn = doubts != Doubts::None;
        let reader = Reader::open(dir).unwrap();
        let mut messages = reader.messages();
        let mut listed = HashSet::new();
        while let Some(message) = messages.next() {
            let message = message.unwrap();
            let place = message.place;
            listed.insert(place);
            let Some(known) = self.acknowledged.get(&place) else {
                let other = self.spoilt.iter().any(|spoilt| *spoilt <= place.segment);
                assert!(
                    waiting.contains(&place)
                        || self.unpromised.contains(&place)
                        || other
                        || may_be_torn,
                    "{place} is listed, and was refused"
                );
                continue;
            };
            let mut body = Vec::new();
            messages.copy_body(&message, u64::MAX, &mut body).unwrap();
            assert!(body == known.body, "{place} has other octets than got 250");
        }
        let missing = self.acknowledged.keys().find(|place| !listed.contains(*place));
        assert!(missing.is_none(), "{} got 250 and is not listed", missing.unwrap());
        if self.spoilt.is_empty() {
            let survey = messages.survey();
            let may_be_damaged = doubts == Doubts::AfterRecovery;
            assert!(may_be_damaged || survey.is_sound(), "{survey}");
            assert!(may_be_torn || survey.torn.is_empty(), "{survey}");
        }
    }
}
