//! Puts the messages together from the records of each core's log, front to back.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use super::chain::{BodyPart, Chain, Fragment};
use super::directory::{SegmentDirectory, WalkStop};
use super::message::{CopyError, Message};
use super::survey::{Damage, Survey};
use super::walk::{Opened, RecordsEnd, Walk, WalkStep};
use crate::spool::envelope::StoredEnvelope;
use crate::spool::error::{Doubt, SpoolError};
use crate::spool::file;
use crate::spool::format::{
    Mark, Place, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader, file_name,
};

/// Pieces that are read from the disk and remembered: those of open messages where one segment goes over
/// into another, of which there are few.
const TAKEN_MAX: usize = 500_000;

/// How the records of one segment ended, for the recovery.
pub(in crate::spool) struct SegmentEnd {
    pub(in crate::spool) core: u16,
    pub(in crate::spool) number: u32,
    /// `None` if it is not sound.
    pub(in crate::spool) header: Option<(SegmentHeader, Mark)>,
    /// Octets up to which everything is sound; 0 without a sound header.
    pub(in crate::spool) used: u64,
    /// Octets up to which records belong to messages; at least those of the header.
    pub(in crate::spool) alive: u64,
    /// Octets below that of fragments that no message needs.
    pub(in crate::spool) dead: u64,
    pub(in crate::spool) last_seq: u64,
    pub(in crate::spool) end: RecordsEnd,
}

/// Makes messages from the records of one core, and counts them.
pub(super) struct Assembler<'a> {
    directory: &'a SegmentDirectory,
    /// Fragments that no seal has claimed yet, by segment and offset.
    fragments: HashMap<(u32, u32), Fragment>,
    /// For each segment of the present core, up to where its records were met.
    walked: HashMap<u32, u64>,
    /// Places of pieces that were read from the disk, each of which one message may claim.
    taken: HashSet<(u32, u32)>,
    /// Segments in which a piece was missed, by core and number, and where their records stop.
    stops: HashMap<(u16, u32), Option<WalkStop>>,
    /// Of each segment, where its last fragment ends to which a seal leads, also where the start of the message
    /// has been recycled. `None` unless somebody wants to know.
    claimed: Option<HashMap<(u16, u32), u64>>,
    /// A segment that cannot be opened is an error; otherwise it is told, and the others are read.
    strict: bool,
    pub(super) survey: Survey,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(directory: &'a SegmentDirectory) -> Self {
        Self {
            directory,
            fragments: HashMap::new(),
            walked: HashMap::new(),
            taken: HashSet::new(),
            stops: HashMap::new(),
            claimed: None,
            strict: false,
            survey: Survey::default(),
        }
    }

    pub(super) fn add_fragment(&mut self, place: Place, fragment: Fragment) {
        self.fragments.insert((place.segment, place.offset), fragment);
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
                let file = file_name(place.core, place.segment);
                let offset = place.offset.into();
                self.survey
                    .note(Damage { file, offset, what, records_beyond: 0 }, what == Doubt::Torn);
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
        let new = self.taken.len() < TAKEN_MAX && self.taken.insert((piece.segment, piece.offset));
        if !new {
            return Ok(Err(Doubt::Chain));
        }
        let segment = (piece.core, piece.segment);
        let stop = match self.stops.get(&segment) {
            Some(known) => *known,
            None if !self.directory.lists(piece) => None,
            None => *self.stops.entry(segment).insert_entry(self.directory.stop(segment)?).get(),
        };
        let stop = stop.filter(|stop| stop.at <= piece.offset.into());
        // Readers do not believe what follows a torn place, and the next sink removes it.
        if stop.is_some_and(|stop| stop.torn) {
            return Ok(Err(Doubt::Torn));
        }
        // The sink may have written it after we left its segment.
        let fragment = self.directory.fragment(piece)?;
        let lost = stop.is_some() && fragment.as_ref().err() == Some(&Doubt::Chain);
        Ok(if lost { Err(Doubt::Torn) } else { fragment })
    }

    /// The log of a core ends here: fragments that no seal has claimed are orphans.
    pub(super) fn drop_fragments(&mut self) {
        self.survey.orphaned_fragments += self.fragments.len() as u64;
        self.fragments.clear();
        self.walked.clear();
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
            Opened::Walk(walk) => {
                self.survey.segments += 1;
                self.survey.core(core).segments += 1;
                self.survey.file_bytes += file::metadata(&path).map_or(0, |there| there.len());
                let alive = SEGMENT_HEADER_BYTES as u64;
                let (last_seq, fragments) = (0, 0);
                Ok(Ok(Current { core, number, walk: *walk, last_seq, alive, fragments }))
            }
            Opened::End(end) => {
                if let RecordsEnd::Damaged(what) | RecordsEnd::Torn(what) = end {
                    let file = file_name(core, number);
                    let damage = Damage { file, offset: 0, what, records_beyond: 0 };
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
                let damage = Damage {
                    file: file_name(current.core, current.number),
                    offset: current.walk.at(),
                    what,
                    records_beyond: current.walk.count_beyond()?,
                };
                self.survey.note(damage, matches!(end, RecordsEnd::Torn(_)));
            }
        }
        Ok(())
    }
}

/// The segment that is being walked.
pub(super) struct Current {
    pub(super) core: u16,
    pub(super) number: u32,
    pub(super) walk: Walk,
    pub(super) last_seq: u64,
    /// Where the latest record ends that is no fragment.
    alive: u64,
    /// Octets of all fragments.
    fragments: u64,
}

impl Current {
    /// The next record and its place, or how the records end.
    pub(super) fn step(&mut self) -> Result<Result<(Place, RecordHeader), RecordsEnd>, SpoolError> {
        loop {
            match self.walk.step()? {
                WalkStep::Record(offset, header) => {
                    self.last_seq = header.seq;
                    if header.kind == RecordKind::Fragment {
                        self.fragments += header.stride();
                    } else {
                        self.alive = self.walk.at();
                    }
                    let place = Place { core: self.core, segment: self.number, offset };
                    return Ok(Ok((place, header)));
                }
                WalkStep::End(end) => {
                    if let Some(end) = self.walk.confirm(end)? {
                        return Ok(Err(end));
                    }
                }
            }
        }
    }

    fn holds(&self, place: Place) -> bool {
        (self.core, self.number) == (place.core, place.segment)
    }
}

/// Copies at most `max_bytes` of a message; uses `current`, the open segment, for the pieces in it.
pub(super) fn copy_body(
    directory: &SegmentDirectory,
    current: Option<&mut Current>,
    message: &Message,
    max_bytes: u64,
    out: &mut dyn Write,
) -> Result<(), CopyError> {
    let mut current = current;
    let mut left = max_bytes;
    for part in &message.parts {
        let bytes = left.min(part.bytes.into());
        left -= bytes;
        match &mut current {
            _ if bytes == 0 => {}
            Some(open) if open.holds(part.place) => {
                directory.copy_part(&mut open.walk, message.place, part.place, bytes, out)?;
            }
            _ => {
                let mut walk = directory.walk(part.place)?;
                directory.copy_part(&mut walk, message.place, part.place, bytes, out)?;
            }
        }
    }
    Ok(())
}

/// Every whole message of a spool, in the order of core, segment and offset. The survey counts everything
/// else.
pub struct Messages<'a> {
    log: Assembler<'a>,
    segments: &'a [(u16, u32)],
    next_segment: usize,
    current: Option<Current>,
    ends: Vec<SegmentEnd>,
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl<'a> Messages<'a> {
    pub(super) fn new(directory: &'a SegmentDirectory, segments: &'a [(u16, u32)]) -> Self {
        let log = Assembler::new(directory);
        Self { log, segments, next_segment: 0, current: None, ends: Vec::new() }
    }

    /// All messages of the spool.
    pub(super) fn all(directory: &'a SegmentDirectory) -> Self {
        let mut messages = Self::new(directory, directory.segments());
        messages.log.survey.strangers = directory.strangers().to_vec();
        messages
    }

    /// What was found so far. Complete when the iterator has ended.
    pub fn survey(&self) -> &Survey {
        &self.log.survey
    }

    /// Writes at most `max_bytes` of a message's octets, exactly as the client sent them, dots
    /// unstuffed. Cheap for the message that `next` returned last: its octets are in memory.
    pub fn copy_body(
        &mut self,
        message: &Message,
        max_bytes: u64,
        out: &mut dyn Write,
    ) -> Result<(), CopyError> {
        copy_body(self.log.directory, self.current.as_mut(), message, max_bytes, out)
    }

    /// Octets of segment files that were walked so far.
    pub(super) fn bytes_walked(&self) -> u64 {
        let ended: u64 = self.ends.iter().map(|end| end.used).sum();
        ended + self.current.as_ref().map_or(0, |current| current.walk.at())
    }

    /// Runs to the end. Returns how each segment ended, too.
    pub(in crate::spool) fn into_ends(mut self) -> Result<(Survey, Vec<SegmentEnd>), SpoolError> {
        self.log.strict = true;
        self.log.claimed = Some(HashMap::new());
        // Of each segment, the octets of fragments of whole messages.
        let mut needed: HashMap<_, u64> = HashMap::new();
        while let Some(message) = self.advance()? {
            for part in message.parts.iter().filter(|part| part.place != message.place) {
                let known = needed.entry((part.place.core, part.place.segment)).or_default();
                *known += part.end_of_body() - u64::from(part.place.offset);
            }
        }
        let claimed = self.log.claimed.take().unwrap_or_default();
        for end in &mut self.ends {
            let of = |map: &HashMap<_, u64>| map.get(&(end.core, end.number)).copied().unwrap_or(0);
            let (last, needed) = (of(&claimed), of(&needed));
            end.alive = end.alive.max(last);
            end.dead = end.dead.saturating_sub(needed + end.used.saturating_sub(end.alive));
        }
        Ok((self.log.survey, self.ends))
    }

    fn advance(&mut self) -> Result<Option<Message>, SpoolError> {
        loop {
            let Some(current) = &mut self.current else {
                if !self.open_next()? {
                    return Ok(None);
                }
                continue;
            };
            match current.step()? {
                Ok((place, header)) if header.kind == RecordKind::Fragment => {
                    self.log.add_fragment(place, Fragment::from(&header));
                }
                Ok((place, header)) => {
                    let envelope = current.walk.envelope();
                    if let Some(message) = self.log.assemble(place, &header, envelope)? {
                        return Ok(Some(message));
                    }
                }
                Err(end) => self.end_segment(end)?,
            }
        }
    }

    fn open_next(&mut self) -> Result<bool, SpoolError> {
        let Some(&(core, number)) = self.segments.get(self.next_segment) else {
            self.log.drop_fragments();
            return Ok(false);
        };
        if self.next_segment == 0 || self.segments[self.next_segment - 1].0 != core {
            self.log.drop_fragments();
        }
        self.next_segment += 1;
        match self.log.open(core, number)? {
            Ok(current) => self.current = Some(current),
            Err(end) => {
                let (header, used, alive, dead, last_seq) = (None, 0, 0, 0, 0);
                let nothing = SegmentEnd { core, number, header, used, alive, dead, last_seq, end };
                self.ends.push(nothing);
            }
        }
        Ok(true)
    }

    fn end_segment(&mut self, end: RecordsEnd) -> Result<(), SpoolError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        self.log.close(&mut current, end)?;
        let Current { core, number, walk, last_seq, alive, fragments: dead } = current;
        let header = Some((*walk.header(), walk.mark()));
        let used = walk.at();
        self.log.set_walked(number, used);
        self.ends.push(SegmentEnd { core, number, header, used, alive, dead, last_seq, end });
        Ok(())
    }
}
