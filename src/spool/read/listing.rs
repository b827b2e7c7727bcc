//! The messages of all cores in the order of their times, forwards or backwards.

use std::io::Write;

use super::assembler::Assembler;
use super::current::{Current, Met};
use super::directory::SegmentDirectory;
use super::message::{CopyError, Message};
use super::messages::{self, Messages};
use super::survey::Survey;
use crate::spool::envelope::StoredEnvelope;
use crate::spool::error::{Doubt, SpoolError};
use crate::spool::format::RecordKind;

/// Messages that a reader which goes backwards holds at once: it walks forward over so many, and gives
/// them from the last to the first.
const SPOOL_BACKWARD_MESSAGES: usize = 256;

/// Octets of memory for the envelopes of messages that wait for their turn, of all cores. What does not fit is read
/// again.
const ENVELOPES_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// Every whole message of a spool by the time at which it was sealed; see
/// [`Reader::oldest_first`](super::Reader::oldest_first) and
/// [`Reader::newest_first`](super::Reader::newest_first).
///
/// Each core's log is in that order already. This merges them.
pub struct Listing<'a> {
    cores: Vec<CoreListing<'a>>,
    /// The core of the latest message.
    latest: Option<usize>,
    newest_first: bool,
    directory: &'a SegmentDirectory,
}

/// One core's messages, and the message that waits for its turn.
struct CoreListing<'a> {
    log: Log<'a>,
    head: Option<WaitingMessage>,
    ended: bool,
    /// Octets of memory for the envelopes of messages that wait.
    room_bytes: usize,
}

/// A message that waits for its turn.
struct WaitingMessage {
    message: Message,
    /// Of its envelope there is only the time, because the envelope is large.
    bare: bool,
}

impl WaitingMessage {
    /// Takes the memory of the envelope from `room_bytes`.
    fn new(mut message: Message, room_bytes: &mut usize) -> Self {
        let left = room_bytes.checked_sub(message.envelope.memory_bytes());
        match left {
            Some(left) => *room_bytes = left,
            None => {
                let sealed_ns = message.envelope.sealed_ns;
                message.envelope = StoredEnvelope { sealed_ns, ..StoredEnvelope::default() };
            }
        }
        Self { message, bare: left.is_none() }
    }

    /// The whole message; `None` if the ring has recycled it meanwhile.
    fn whole(self, directory: &SegmentDirectory) -> Result<Option<Message>, SpoolError> {
        let Self { mut message, bare } = self;
        if bare {
            let record = match directory.record(message.place) {
                Err(SpoolError::Damaged { what: Doubt::Recycled, .. }) => None,
                record => record?,
            };
            let read = record
                .and_then(|(header, envelope)| StoredEnvelope::decode(&envelope, header.flags));
            let same = read.filter(|read| read.sealed_ns == message.envelope.sealed_ns);
            let Some(envelope) = same else { return Ok(None) };
            message.envelope = envelope;
        }
        Ok(Some(message))
    }
}

enum Log<'a> {
    Forwards(Messages<'a>),
    Backwards(Backwards<'a>),
}

impl Iterator for Listing<'_> {
    type Item = Result<Message, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for source in &mut self.cores {
                if let Err(error) = source.fetch() {
                    return Some(Err(error));
                }
            }
            let waiting = self.cores.iter().enumerate().filter_map(|(core, source)| {
                source.head.as_ref().map(|head| (head.message.envelope.sealed_ns, core))
            });
            let (_, core) = if self.newest_first { waiting.max() } else { waiting.min() }?;
            self.latest = Some(core);
            let whole = self.cores[core].head.take()?.whole(self.directory).transpose();
            if whole.is_some() {
                return whole;
            }
        }
    }
}

impl<'a> Listing<'a> {
    pub(super) fn oldest_first(directory: &'a SegmentDirectory) -> Self {
        let count = directory.cores().count();
        let forwards = |segments| Log::Forwards(Messages::new(directory, segments, count));
        let cores = directory.cores().map(|of| CoreListing::new(forwards(of), count)).collect();
        Self { cores, latest: None, newest_first: false, directory }
    }

    pub(super) fn newest_first(directory: &'a SegmentDirectory) -> Self {
        let count = directory.cores().count();
        let backwards = |segments| Log::Backwards(Backwards::new(directory, segments, count));
        let cores = directory.cores().map(|of| CoreListing::new(backwards(of), count)).collect();
        Self { cores, latest: None, newest_first: true, directory }
    }

    /// Writes at most `max_bytes` of the octets of the message that `next` returned last, exactly as the
    /// client sent them, dots unstuffed. Cheaper than
    /// [`Reader::copy_body`](super::Reader::copy_body), since the octets are in memory.
    pub fn copy_body(
        &mut self,
        message: &Message,
        max_bytes: u64,
        out: &mut dyn Write,
    ) -> Result<(), CopyError> {
        let Some(source) = self.latest.and_then(|core| self.cores.get_mut(core)) else {
            return Ok(());
        };
        match &mut source.log {
            Log::Forwards(log) => log.copy_body(message, max_bytes, out),
            Log::Backwards(log) => log.copy_body(message, max_bytes, out),
        }
    }

    /// What was found so far. Complete when the iterator has ended.
    pub fn survey(&self) -> Survey {
        let strangers = self.directory.strangers().to_vec();
        let mut sums = Survey { strangers, ..Survey::default() };
        for source in &self.cores {
            sums.add(match &source.log {
                Log::Forwards(log) => log.survey(),
                Log::Backwards(log) => &log.log.survey,
            });
        }
        sums
    }

    /// Octets of segment files that were walked so far, of [`Reader::file_bytes`](super::Reader::file_bytes).
    pub fn bytes_walked(&self) -> u64 {
        let walked = |source: &CoreListing<'_>| match &source.log {
            Log::Forwards(log) => log.bytes_walked(),
            Log::Backwards(log) => log.log.survey.file_bytes,
        };
        self.cores.iter().map(walked).sum()
    }
}

impl<'a> CoreListing<'a> {
    fn new(log: Log<'a>, cores: usize) -> Self {
        Self { log, head: None, ended: false, room_bytes: ENVELOPES_WAITING_BYTES / cores }
    }

    /// Reads the next message, if there is one. Call it only when that message is wanted: until then the
    /// octets of the message before it are in memory.
    fn fetch(&mut self) -> Result<(), SpoolError> {
        if self.head.is_none() && !self.ended {
            self.head = match &mut self.log {
                Log::Forwards(log) => {
                    let mut room_bytes = self.room_bytes;
                    log.next().transpose()?.map(|next| WaitingMessage::new(next, &mut room_bytes))
                }
                Log::Backwards(log) => log.next(self.room_bytes)?,
            };
            self.ended = self.head.is_none();
        }
        Ok(())
    }
}

/// One core's messages from the last to the first.
///
/// A segment can only be walked forwards. So it is walked once for the places where stretches of it begin. Then
/// the stretches are walked again, each forwards, the last stretch first.
struct Backwards<'a> {
    directory: &'a SegmentDirectory,
    log: Assembler<'a>,
    /// Not yet opened.
    segments: &'a [(u16, u32)],
    current: Option<Current>,
    /// Offsets of the first single or seal of each stretch of the present segment that was not walked again yet.
    starts: Vec<u32>,
    /// Where the last of these stretches ends.
    until: u64,
    /// The present stretch, first to last.
    stretch: Vec<WaitingMessage>,
}

impl<'a> Backwards<'a> {
    fn new(directory: &'a SegmentDirectory, segments: &'a [(u16, u32)], cores: usize) -> Self {
        Self {
            directory,
            log: Assembler::new(directory, cores),
            segments,
            current: None,
            starts: Vec::new(),
            until: 0,
            stretch: Vec::new(),
        }
    }

    /// The envelopes of a stretch take at most `room_bytes` of memory.
    fn next(&mut self, room_bytes: usize) -> Result<Option<WaitingMessage>, SpoolError> {
        loop {
            if let Some(message) = self.stretch.pop() {
                return Ok(Some(message));
            }
            if let Some(start) = self.starts.pop() {
                self.walk_stretch(start, room_bytes)?;
                continue;
            }
            let Some(((core, number), before)) = self.segments.split_last() else {
                return Ok(None);
            };
            self.segments = before;
            self.open(*core, *number)?;
        }
    }

    fn open(&mut self, core: u16, number: u32) -> Result<(), SpoolError> {
        self.log.drop_fragments();
        self.log.forget_after(number);
        let Ok(mut current) = self.log.open(core, number)? else { return Ok(()) };
        let mut met = 0_usize;
        let end = loop {
            match current.step()? {
                Ok((place, found)) => {
                    if self.log.take_in(place, &found).is_none() {
                        continue;
                    }
                    if met.is_multiple_of(SPOOL_BACKWARD_MESSAGES) {
                        self.starts.push(place.offset);
                    }
                    met += 1;
                }
                Err(end) => break end,
            }
        };
        self.until = current.walk.at();
        self.log.close(&mut current, end)?;
        self.current = Some(current);
        Ok(())
    }

    fn walk_stretch(&mut self, start: u32, mut room_bytes: usize) -> Result<(), SpoolError> {
        let until = std::mem::replace(&mut self.until, start.into());
        let Some(current) = &mut self.current else { return Ok(()) };
        current.walk.seek(start);
        while current.walk.at() < until {
            // The walk ends early if the file was recycled meanwhile: the rest is gone.
            let Ok((place, met)) = current.step()? else {
                self.starts.clear();
                return Ok(());
            };
            if let Met::Record(header) = met
                && header.kind != RecordKind::Fragment
            {
                let envelope = current.walk.envelope();
                let message = self.log.assemble(place, &header, envelope)?;
                current.walk.drop_envelope();
                self.stretch.extend(message.map(|next| WaitingMessage::new(next, &mut room_bytes)));
            }
        }
        Ok(())
    }

    fn copy_body(
        &mut self,
        message: &Message,
        max_bytes: u64,
        out: &mut dyn Write,
    ) -> Result<(), CopyError> {
        messages::copy_body(self.directory, self.current.as_mut(), message, max_bytes, out)
    }
}
