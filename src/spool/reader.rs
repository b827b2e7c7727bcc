//! Reads a spool: every message in order, or one by its name. Works beside a running sink.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::envelope::Envelope;
use super::error::{Doubt, SpoolError};
use super::format::{Kind, Place, RECORD_HEADER_BYTES, RecordHeader};
use super::marker::check_marker;
use super::segment::{file_name, parse_file_name};
use super::survey::{Damage, Survey};
use super::walk::{End, Opened, Step, Walk};

/// A spool directory as it was when it was opened.
pub struct Reader {
    dir: PathBuf,
    /// In the order of core and number.
    segments: Vec<(u16, u32)>,
}

/// A whole message: where its pieces are, and what is known of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    pub place: Place,
    /// Octets of the body.
    pub bytes: u64,
    pub envelope: Envelope,
    /// First to last.
    parts: Vec<Part>,
}

/// The body octets of one record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Part {
    place: Place,
    bytes: u32,
}

#[cfg(test)]
impl Message {
    /// A message without a body, for tests of what goes by the envelope.
    pub(super) fn of_envelope(place: Place, envelope: Envelope) -> Self {
        Self { place, bytes: 0, envelope, parts: Vec::new() }
    }
}

/// Why a body could not be copied out.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The receiving side failed.
    #[error(transparent)]
    Out(io::Error),
}

impl Reader {
    /// Opens a spool directory for reading; needs no lock.
    pub fn open(dir: &Path) -> Result<Self, SpoolError> {
        check_marker(dir)?;
        Ok(Self { dir: dir.to_owned(), segments: list_segments(dir)? })
    }

    /// Without looking at the marker, for the one who holds its lock.
    pub(super) fn open_locked(dir: &Path) -> Result<Self, SpoolError> {
        Ok(Self { dir: dir.to_owned(), segments: list_segments(dir)? })
    }

    /// Every whole message, in the order of core, segment and offset.
    pub fn messages(&self) -> Messages<'_> {
        Messages {
            reader: self,
            next_segment: 0,
            walk: None,
            fragments: HashMap::new(),
            stops: HashMap::new(),
            survey: Survey::default(),
            ends: Vec::new(),
        }
    }

    /// The message whose sealing record is at `place`.
    pub fn get(&self, place: Place) -> Result<Message, SpoolError> {
        let (header, envelope) = match self.record(place) {
            Ok(Some(record)) => record,
            Ok(None) | Err(SpoolError::Damaged { what: Doubt::Recycled, .. }) => {
                return Err(SpoolError::NoMessage { place });
            }
            Err(error) => return Err(error),
        };
        if header.kind == Kind::Fragment {
            return Err(SpoolError::NoMessage { place });
        }
        let damaged = |what| SpoolError::Damaged { place, what };
        let mut chain = Chain::new(place, &header);
        while let Some(back) = chain.back {
            let fragment = self.fragment(back)?.map_err(damaged)?;
            chain.add(back, fragment).map_err(damaged)?;
        }
        let parts = chain.finish().map_err(damaged)?;
        let envelope = Envelope::decode(&envelope, header.flags);
        let envelope = envelope.ok_or_else(|| damaged(Doubt::Envelope))?;
        Ok(Message { place, bytes: header.total_bytes, envelope, parts })
    }

    /// Writes the message's octets, exactly as the client sent them, dots unstuffed.
    pub fn copy_body(&self, message: &Message, out: &mut dyn Write) -> Result<(), CopyError> {
        for part in &message.parts {
            let damaged = |what| SpoolError::Damaged { place: message.place, what };
            let path = self.path(part.place.core, part.place.segment);
            let mut walk = match Walk::open(&path, part.place.core, part.place.segment)? {
                Opened::Walk(walk) => walk,
                Opened::End(End::Damaged(what) | End::Torn(what)) => {
                    return Err(damaged(what).into());
                }
                Opened::End(_) => return Err(damaged(Doubt::Recycled).into()),
            };
            let at = u64::from(part.place.offset) + RECORD_HEADER_BYTES as u64;
            let copied = walk.copy(at, part.bytes.into(), |chunk| {
                out.write_all(chunk).map_err(CopyError::Out)
            })?;
            if copied != u64::from(part.bytes) || !walk.same_life()? {
                return Err(damaged(Doubt::Recycled).into());
            }
        }
        Ok(())
    }

    /// The message's octets in memory.
    pub fn body(&self, message: &Message) -> Result<Vec<u8>, SpoolError> {
        let mut body = Vec::with_capacity(message.bytes as usize);
        match self.copy_body(message, &mut body) {
            Ok(()) => Ok(body),
            Err(CopyError::Spool(error)) => Err(error),
            Err(CopyError::Out(error)) => unreachable!("a vector takes all octets: {error}"),
        }
    }

    /// The record at `place` and its envelope; `None` when there is nothing, and the doubt
    /// [`Doubt::Recycled`] when its segment is gone.
    fn record(&self, place: Place) -> Result<Option<(RecordHeader, Vec<u8>)>, SpoolError> {
        let damaged = |what| SpoolError::Damaged { place, what };
        let path = self.path(place.core, place.segment);
        let mut walk = match Walk::open(&path, place.core, place.segment)? {
            Opened::Walk(walk) => walk,
            Opened::End(End::Damaged(what) | End::Torn(what)) => return Err(damaged(what)),
            Opened::End(_) => return Err(damaged(Doubt::Recycled)),
        };
        if place.offset < RECORD_HEADER_BYTES as u32 || !place.offset.is_multiple_of(8) {
            return Ok(None);
        }
        walk.seek(place.offset);
        match walk.step()? {
            Step::Record(_, header) => Ok(Some((header, walk.envelope().to_vec()))),
            Step::End(End::Recycled) => Err(damaged(Doubt::Recycled)),
            // An offset inside a record looks just like a damaged header.
            Step::End(End::Damaged(what) | End::Torn(what)) if what != Doubt::RecordHeader => {
                Err(damaged(what))
            }
            Step::End(_) => Ok(None),
        }
    }

    /// The fragment at `place`, which a later record links to, or why it cannot be had.
    fn fragment(&self, place: Place) -> Result<Result<Fragment, Doubt>, SpoolError> {
        match self.record(place) {
            Ok(Some((header, _))) if header.kind == Kind::Fragment => {
                Ok(Ok(Fragment::from(&header)))
            }
            Err(SpoolError::Damaged { what: Doubt::Recycled, .. }) if self.was_there(place) => {
                Ok(Err(Doubt::Recycled))
            }
            Ok(_) | Err(SpoolError::Damaged { .. }) => Ok(Err(Doubt::Chain)),
            Err(error) => Err(error),
        }
    }

    /// Whether a segment that is not there now has been there in its time: it was listed when we began,
    /// or is older than all that were. Otherwise somebody took it out of the middle.
    fn was_there(&self, place: Place) -> bool {
        let mut segments = self.segments.iter().filter(|(core, _)| *core == place.core).peekable();
        let older = segments.peek().is_some_and(|(_, lowest)| place.segment < *lowest);
        older || segments.any(|(_, number)| *number == place.segment)
    }

    fn path(&self, core: u16, number: u32) -> PathBuf {
        self.dir.join(file_name(core, number))
    }
}

pub(super) fn list_segments(dir: &Path) -> Result<Vec<(u16, u32)>, SpoolError> {
    let failed = |cause| SpoolError::io("list the spool", dir, cause);
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        segments.extend(name.to_str().and_then(parse_file_name));
    }
    segments.sort_unstable();
    Ok(segments)
}

/// A fragment that no seal has claimed yet.
#[derive(Clone, Copy)]
struct Fragment {
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
struct Chain {
    draft: u32,
    /// Body octets that the pieces still to come must hold.
    missing: u64,
    back: Option<Place>,
    /// Last to first.
    parts: Vec<Part>,
}

impl Chain {
    fn new(place: Place, seal: &RecordHeader) -> Self {
        Self {
            draft: seal.draft,
            missing: seal.total_bytes.saturating_sub(seal.body_bytes.into()),
            back: seal.back(),
            parts: vec![Part { place, bytes: seal.body_bytes }],
        }
    }

    fn add(&mut self, place: Place, fragment: Fragment) -> Result<(), Doubt> {
        // Every fragment holds something, so the missing octets fall and a loop cannot be.
        let fits = fragment.draft == self.draft
            && fragment.total_bytes == self.missing
            && fragment.body_bytes > 0
            && u64::from(fragment.body_bytes) <= self.missing;
        if !fits {
            return Err(Doubt::Chain);
        }
        self.missing -= u64::from(fragment.body_bytes);
        self.back = fragment.back;
        self.parts.push(Part { place, bytes: fragment.body_bytes });
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Part>, Doubt> {
        if self.missing != 0 {
            return Err(Doubt::Chain);
        }
        self.parts.reverse();
        Ok(self.parts)
    }
}

/// How one segment ended, for the recovery.
pub(super) struct SegmentEnd {
    pub(super) core: u16,
    pub(super) number: u32,
    pub(super) created_ns: u64,
    /// Octets up to which all is sound; 0 without a readable header.
    pub(super) used: u64,
    pub(super) last_seq: u64,
    pub(super) end: End,
}

/// Every whole message of a spool. What else there is, the survey counts.
pub struct Messages<'a> {
    reader: &'a Reader,
    next_segment: usize,
    walk: Option<Current>,
    /// Of the present core, by segment and offset.
    fragments: HashMap<(u32, u32), Fragment>,
    /// Segments of the present core that stopped where a power cut may have taken the rest.
    stops: HashMap<u32, Stop>,
    survey: Survey,
    ends: Vec<SegmentEnd>,
}

/// Where the walk through a segment ended above the mark. A lost record can look like an end that
/// nothing was ever written behind; then it is not torn.
#[derive(Clone, Copy)]
struct Stop {
    at: u64,
    torn: bool,
}

struct Current {
    core: u16,
    number: u32,
    walk: Walk,
    last_seq: u64,
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl Messages<'_> {
    /// What was found so far; all there is once the iterator has ended.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Runs to the end and gives the sums.
    pub fn into_survey(mut self) -> Result<Survey, SpoolError> {
        while self.advance()?.is_some() {}
        Ok(self.survey)
    }

    /// Runs to the end and tells of each segment as well.
    pub(super) fn into_ends(mut self) -> Result<(Survey, Vec<SegmentEnd>), SpoolError> {
        while self.advance()?.is_some() {}
        Ok((self.survey, self.ends))
    }

    fn advance(&mut self) -> Result<Option<Message>, SpoolError> {
        loop {
            let Some(current) = &mut self.walk else {
                if !self.open_next()? {
                    return Ok(None);
                }
                continue;
            };
            match current.walk.step()? {
                Step::Record(offset, header) => {
                    current.last_seq = header.seq;
                    let place = Place { core: current.core, segment: current.number, offset };
                    if let Some(message) = self.take_record(place, &header)? {
                        return Ok(Some(message));
                    }
                }
                Step::End(end) => {
                    if let Some(end) = current.walk.confirm(end)? {
                        self.end_segment(end)?;
                    }
                }
            }
        }
    }

    fn open_next(&mut self) -> Result<bool, SpoolError> {
        let segments = &self.reader.segments;
        let Some(&(core, number)) = segments.get(self.next_segment) else {
            self.drop_fragments();
            return Ok(false);
        };
        if self.next_segment == 0 || segments[self.next_segment - 1].0 != core {
            self.drop_fragments();
        }
        self.next_segment += 1;
        let path = self.reader.path(core, number);
        match Walk::open(&path, core, number)? {
            Opened::Walk(walk) => {
                self.survey.segments += 1;
                self.survey.core(core).segments += 1;
                self.survey.file_bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
                self.walk = Some(Current { core, number, walk, last_seq: 0 });
            }
            Opened::End(end) => {
                let at_start = |what| Damage {
                    file: file_name(core, number),
                    offset: 0,
                    what,
                    records_beyond: 0,
                };
                match end {
                    End::Damaged(what) => self.survey.damage.push(at_start(what)),
                    End::Torn(what) => self.survey.torn.push(at_start(what)),
                    End::Clean | End::Open | End::Recycled => {}
                }
                if matches!(end, End::Torn(_) | End::Clean) {
                    let torn = matches!(end, End::Torn(_));
                    self.stops.insert(number, Stop { at: 0, torn });
                }
                self.ends.push(SegmentEnd {
                    core,
                    number,
                    created_ns: 0,
                    used: 0,
                    last_seq: 0,
                    end,
                });
            }
        }
        Ok(true)
    }

    fn end_segment(&mut self, end: End) -> Result<(), SpoolError> {
        let Some(Current { core, number, mut walk, last_seq }) = self.walk.take() else {
            return Ok(());
        };
        let mut damage = |what| {
            let file = file_name(core, number);
            let records_beyond = walk.count_beyond()?;
            Ok::<_, SpoolError>(Damage { file, offset: walk.at(), what, records_beyond })
        };
        match end {
            End::Clean | End::Recycled => {}
            End::Open => self.survey.open_records += 1,
            End::Torn(what) => self.survey.torn.push(damage(what)?),
            End::Damaged(what) => self.survey.damage.push(damage(what)?),
        }
        if walk.is_above_mark() {
            let torn = matches!(end, End::Torn(_));
            self.stops.insert(number, Stop { at: walk.at(), torn });
        }
        let created_ns = walk.header().created_ns;
        self.ends.push(SegmentEnd { core, number, created_ns, used: walk.at(), last_seq, end });
        Ok(())
    }

    fn take_record(
        &mut self,
        place: Place,
        header: &RecordHeader,
    ) -> Result<Option<Message>, SpoolError> {
        if header.kind == Kind::Fragment {
            self.fragments.insert((place.segment, place.offset), Fragment::from(header));
            return Ok(None);
        }
        let built = self.chain(place, header)?.and_then(|parts| {
            let envelope = self.walk.as_ref().map_or(&[][..], |current| current.walk.envelope());
            let envelope = Envelope::decode(envelope, header.flags).ok_or(Doubt::Envelope)?;
            Ok(Message { place, bytes: header.total_bytes, envelope, parts })
        });
        match built {
            Ok(message) => {
                let Envelope { received_ns, sealed_ns, .. } = message.envelope;
                self.survey.count_message(place.core, message.bytes, received_ns, sealed_ns);
                return Ok(Some(message));
            }
            Err(Doubt::Recycled) => self.survey.recycled_messages += 1,
            Err(what) => {
                let file = file_name(place.core, place.segment);
                let offset = place.offset.into();
                let damage = Damage { file, offset, what, records_beyond: 0 };
                let list = if what == Doubt::Torn {
                    &mut self.survey.torn
                } else {
                    &mut self.survey.damage
                };
                list.push(damage);
            }
        }
        Ok(None)
    }

    fn chain(
        &mut self,
        place: Place,
        header: &RecordHeader,
    ) -> Result<Result<Vec<Part>, Doubt>, SpoolError> {
        let mut chain = Chain::new(place, header);
        while let Some(back) = chain.back {
            let stop = self.stops.get(&back.segment).filter(|stop| stop.at <= back.offset.into());
            let fragment = match self.fragments.remove(&(back.segment, back.offset)) {
                Some(fragment) => Ok(fragment),
                // What stands behind a torn place is not believed, nor left there by the next sink.
                None if stop.is_some_and(|stop| stop.torn) => Err(Doubt::Torn),
                // The sink may have written it after we had left its segment.
                None => self.reader.fragment(back)?,
            };
            if stop.is_some() && fragment.err() == Some(Doubt::Chain) {
                return Ok(Err(Doubt::Torn));
            }
            if let Err(doubt) = fragment.and_then(|fragment| chain.add(back, fragment)) {
                return Ok(Err(doubt));
            }
        }
        Ok(chain.finish())
    }

    fn drop_fragments(&mut self) {
        self.survey.orphaned_fragments += self.fragments.len() as u64;
        self.fragments.clear();
        self.stops.clear();
    }
}
