//! Makes messages from the records of one core's log, in bounded memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::chain::{BodyPart, Chain, Fragment};
use super::current::{Current, Met};
use super::directory::{SegmentDirectory, WalkStop};
use super::message::Message;
use super::survey::{Damage, Survey};
use super::walk::{Opened, RecordsEnd, Spoilt, Walk};
use crate::spool::envelope::StoredEnvelope;
use crate::spool::error::{Doubt, SpoolError};
use crate::spool::file;
use crate::spool::format::{Place, RecordHeader, RecordKind, file_name};

/// Pieces whose seal was not met yet that readers of all cores keep in memory. One more, and the oldest of its core
/// is read from the disk when its seal comes.
const FRAGMENTS_MAX: usize = 400_000;

/// Pieces that are read from the disk and remembered: those of open messages where one segment goes over
/// into another, of which there are few, and those that were too many for the memory.
const TAKEN_MAX: usize = 1_000_000;

/// Octets of segments that are in memory at once, of all cores.
const WINDOWS_BYTES: usize = 16 * 1024 * 1024;

/// The least that a core has of both, however many there are.
const PIECES_MIN: usize = 4_096;

/// Makes messages from the records of one core, and counts them.
pub(super) struct Assembler<'a> {
    pub(super) directory: &'a SegmentDirectory,
    /// The cores that are read side by side.
    cores: usize,
    /// Fragments that no seal has claimed yet, by segment and offset.
    ///
    /// INVARIANT: at most this core's share of [`FRAGMENTS_MAX`].
    fragments: BTreeMap<(u32, u32), Fragment>,
    /// The last of the fragments for which there was no room. Up to it a fragment may lie on the disk alone.
    left_out: Option<(u32, u32)>,
    /// Fragments that a power cut may have taken, and after which there are sound records.
    ///
    /// INVARIANT: at most this core's share of [`FRAGMENTS_MAX`].
    torn: HashSet<(u32, u32)>,
    /// For each segment of the present core, up to where its records were met.
    walked: HashMap<u32, u64>,
    /// Places of pieces that were read from the disk, each of which one message may claim.
    taken: HashSet<(u32, u32)>,
    /// Segments in which a piece was missed, by core and number, and where their records stop.
    stops: HashMap<(u16, u32), Option<WalkStop>>,
    /// The same of segments in quarantine in which a piece may be.
    quarantined: HashMap<(u16, u32), Option<WalkStop>>,
    /// Of each segment, where its last fragment ends to which a seal leads, also where the start of the message
    /// has been recycled. `None` unless somebody wants to know.
    pub(super) claimed: Option<HashMap<(u16, u32), u64>>,
    /// A segment that cannot be opened is an error; otherwise it is told, and the others are read.
    pub(super) strict: bool,
    pub(super) survey: Survey,
}

impl<'a> Assembler<'a> {
    /// `cores` are read side by side, and share the memory for their pieces.
    pub(super) fn new(directory: &'a SegmentDirectory, cores: usize) -> Self {
        Self {
            directory,
            cores: cores.max(1),
            fragments: BTreeMap::new(),
            left_out: None,
            torn: HashSet::new(),
            walked: HashMap::new(),
            taken: HashSet::new(),
            stops: HashMap::new(),
            quarantined: HashMap::new(),
            claimed: None,
            strict: false,
            survey: Survey::default(),
        }
    }

    pub(super) fn add_fragment(&mut self, place: Place, fragment: Fragment) {
        self.fragments.insert((place.segment, place.offset), fragment);
        if self.fragments.len() > self.share(FRAGMENTS_MAX)
            && let Some((oldest, _)) = self.fragments.pop_first()
        {
            self.survey.orphaned_fragments += 1;
            self.left_out = self.left_out.max(Some(oldest));
        }
    }

    /// Keeps a fragment, or notes what cannot be believed. Returns the header of a sound record that ends a
    /// message.
    pub(super) fn take_in(&mut self, place: Place, met: &Met) -> Option<RecordHeader> {
        match met {
            Met::Record(header) if header.kind == RecordKind::Fragment => {
                self.add_fragment(place, Fragment::from(header));
                None
            }
            Met::Record(header) => Some(*header),
            Met::Spoilt(spoilt) => {
                self.note_spoilt(place, spoilt);
                if spoilt.tears_a_chain() {
                    self.add_torn_fragment(place);
                }
                None
            }
        }
    }

    /// Notes a record that cannot be believed. If it is the end of a message, that message is lost.
    pub(super) fn note_spoilt(&mut self, place: Place, spoilt: &Spoilt) {
        let damage = if spoilt.header.kind == RecordKind::Fragment {
            let file = file_name(place.core, place.segment);
            Damage::new(file, place.offset.into(), spoilt.what)
        } else {
            Damage::of_message(place, spoilt.what)
        };
        self.survey.note(damage, spoilt.torn);
    }

    /// Notes a piece that a power cut may have taken: the message that needs it is torn, not damaged.
    pub(super) fn add_torn_fragment(&mut self, place: Place) {
        if self.torn.len() < self.share(FRAGMENTS_MAX) {
            self.torn.insert((place.segment, place.offset));
        }
    }

    fn share(&self, of_all: usize) -> usize {
        (of_all / self.cores).max(PIECES_MIN)
    }

    fn was_left_out(&self, piece: Place) -> bool {
        self.left_out.is_some_and(|last| (piece.segment, piece.offset) <= last)
    }

    /// The message whose last record this is; `None` if it is not whole, which is counted.
    pub(super) fn assemble(
        &mut self,
        place: Place,
        header: &RecordHeader,
        envelope: &[u8],
    ) -> Result<Option<Message>, SpoolError> {
        let built = self.parts(place, header)?.and_then(|parts| {
            let envelope = StoredEnvelope::decode(envelope, header.flags).ok_or(Doubt::Envelope)?;
            Ok(Message { place, bytes: header.total_bytes, envelope, parts })
        });
        let times = built.as_ref().map(|m| (m.envelope.received_ns, m.envelope.sealed_ns));
        self.count(place, header.total_bytes, times.map_err(|doubt| *doubt));
        Ok(built.ok())
    }

    /// Counts a message by its first and last time, or counts why it is not whole.
    pub(super) fn count(&mut self, place: Place, bytes: u64, times: Result<(u64, u64), Doubt>) {
        match times {
            Ok((received, sealed)) => {
                self.survey.count_message(place.core, bytes, received, sealed);
            }
            Err(Doubt::Recycled) => self.survey.recycled_messages += 1,
            Err(what) => {
                self.survey.note(Damage::of_message(place, what), what == Doubt::Torn);
            }
        }
    }

    /// Where the body's pieces are, first to last.
    pub(super) fn parts(
        &mut self,
        place: Place,
        header: &RecordHeader,
    ) -> Result<Result<Vec<BodyPart>, Doubt>, SpoolError> {
        let mut chain = match Chain::new(place, header) {
            Ok(chain) => chain,
            Err(doubt) => return Ok(Err(doubt)),
        };
        while let Some(back) = chain.back {
            let fragment = match self.fragments.remove(&(back.segment, back.offset)) {
                Some(fragment) => Ok(fragment),
                None if self.torn.contains(&(back.segment, back.offset)) => Err(Doubt::Torn),
                None if self.was_left_out(back) => {
                    let orphans = &mut self.survey.orphaned_fragments;
                    *orphans = orphans.saturating_sub(1);
                    self.missed(back)?
                }
                None if self.was_met(back, place) => Err(Doubt::Chain),
                None => self.missed(back)?,
            };
            match fragment.and_then(|fragment| chain.add(back, fragment)) {
                Ok(part) => self.note_claimed(part),
                Err(doubt) => return Ok(Err(doubt)),
            }
        }
        Ok(chain.finish())
    }

    fn note_claimed(&mut self, part: BodyPart) {
        if let Some(claimed) = &mut self.claimed {
            let end = claimed.entry((part.place.core, part.place.segment)).or_default();
            *end = part.end_of_body().max(*end);
        }
    }

    /// Whether the walk has passed the place of a piece. Then the piece was claimed by another message: a
    /// writer makes each piece for one, and who let many claim it would have it read again for each.
    fn was_met(&self, piece: Place, seal: Place) -> bool {
        let end = self.walked.get(&piece.segment);
        piece.segment == seal.segment || end.is_some_and(|end| u64::from(piece.offset) < *end)
    }

    /// Notes that all records of a segment up to `end` were met.
    pub(super) fn set_walked(&mut self, number: u32, end: u64) {
        self.walked.insert(number, end);
    }

    /// Forgets the pieces that no segment up to `number` can claim.
    pub(super) fn forget_after(&mut self, number: u32) {
        self.taken.retain(|(segment, _)| *segment <= number);
    }

    /// Reads a piece that the walk has not met.
    fn missed(&mut self, piece: Place) -> Result<Result<Fragment, Doubt>, SpoolError> {
        if self.taken.len() >= self.share(TAKEN_MAX) {
            return Ok(Err(Doubt::Pieces));
        }
        if !self.taken.insert((piece.segment, piece.offset)) {
            return Ok(Err(Doubt::Chain));
        }
        let segment = (piece.core, piece.segment);
        let stop = match self.stops.get(&segment) {
            Some(known) => *known,
            None if !self.directory.lists(piece) => None,
            None => *self.stops.entry(segment).insert_entry(self.directory.stop(segment)?).get(),
        };
        let stop = stop.filter(|stop| stop.at <= piece.offset.into());
        // Readers do not believe what follows a torn end, and the next sink removes it.
        if stop.and_then(|stop| stop.torn_end).is_some_and(|end| end <= piece.offset.into()) {
            return Ok(Err(Doubt::Torn));
        }
        // The sink may have written it after we left its segment.
        let fragment = self.directory.fragment(piece)?;
        let missing = fragment.as_ref().err() == Some(&Doubt::Chain);
        let lost = missing && (stop.is_some() || self.was_torn(piece)?);
        Ok(if lost { Err(Doubt::Torn) } else { fragment })
    }

    /// Whether the segment of a piece is in quarantine, because it was torn there or before.
    fn was_torn(&mut self, piece: Place) -> Result<bool, SpoolError> {
        let segment = (piece.core, piece.segment);
        let stop = match self.quarantined.get(&segment) {
            Some(known) => *known,
            None => {
                let stop = self.directory.stop_in_quarantine(segment)?;
                *self.quarantined.entry(segment).insert_entry(stop).get()
            }
        };
        Ok(stop.and_then(|stop| stop.torn_end).is_some_and(|end| end <= piece.offset.into()))
    }

    /// The log of a core ends here: fragments that no seal has claimed are orphans.
    pub(super) fn drop_fragments(&mut self) {
        self.survey.orphaned_fragments += self.fragments.len() as u64;
        self.fragments.clear();
        self.torn.clear();
        self.left_out = None;
        self.walked.clear();
    }

    /// The log of another core begins.
    pub(super) fn begin_core(&mut self) {
        self.drop_fragments();
        // The places of two cores look alike.
        self.taken.clear();
    }

    /// Opens a segment and counts it. Without a sound header it is how the segment ends.
    pub(super) fn open(
        &mut self,
        core: u16,
        number: u32,
    ) -> Result<Result<Current, RecordsEnd>, SpoolError> {
        let path = self.directory.path(core, number);
        let opened = match Walk::open(&path, core, number) {
            Err(SpoolError::Io { cause, .. }) if !self.strict => {
                Opened::End(RecordsEnd::Damaged(Doubt::Unreadable(cause.kind())))
            }
            opened => opened?,
        };
        match opened {
            Opened::Walk(mut walk) => {
                walk.narrow(WINDOWS_BYTES / self.cores);
                self.survey.segments += 1;
                self.survey.core(core).segments += 1;
                self.survey.file_bytes += file::metadata(&path).map_or(0, |there| there.len());
                Ok(Ok(Current::new(core, number, *walk)))
            }
            Opened::End(end) => {
                if let RecordsEnd::Damaged(what) | RecordsEnd::Torn(what) = end {
                    let damage = Damage::new(file_name(core, number), 0, what);
                    self.survey.note(damage, matches!(end, RecordsEnd::Torn(_)));
                }
                Ok(Err(end))
            }
        }
    }

    /// Notes how a segment's records ended.
    pub(super) fn close(
        &mut self,
        current: &mut Current,
        end: RecordsEnd,
    ) -> Result<(), SpoolError> {
        match end {
            RecordsEnd::Clean | RecordsEnd::Recycled => {}
            RecordsEnd::Open => self.survey.open_records += 1,
            RecordsEnd::Damaged(what) | RecordsEnd::Torn(what) => {
                let (core, number) = (current.core, current.number);
                let bytes_missing = current.walk.bytes_cut_off();
                let next = if bytes_missing > 0 {
                    self.directory.first_seq_after((core, number))?
                } else {
                    None
                };
                let records_missing =
                    next.and_then(|next| next.checked_sub(current.last_seq)?.checked_sub(1));
                let damage = Damage {
                    records_beyond: current.walk.count_beyond()?,
                    bytes_missing,
                    records_missing,
                    ..Damage::new(file_name(core, number), current.walk.at(), what)
                };
                self.survey.note(damage, matches!(end, RecordsEnd::Torn(_)));
            }
        }
        Ok(())
    }
}
