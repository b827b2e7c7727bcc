//! Every message of a spool, front to back, core by core.

use std::collections::HashMap;
use std::io::Write;

use super::assembler::Assembler;
use super::current::Current;
use super::directory::SegmentDirectory;
use super::message::{CopyError, Message};
use super::survey::Survey;
use super::walk::RecordsEnd;
use crate::spool::error::SpoolError;
use crate::spool::format::{Mark, SegmentHeader};

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
    /// The first record whose payload a power cut may have taken.
    pub(in crate::spool) torn_at: Option<u64>,
    pub(in crate::spool) end: RecordsEnd,
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
    /// Octets of the segments before it.
    walked_bytes: u64,
    /// `None` unless somebody wants to know.
    ends: Option<Vec<SegmentEnd>>,
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl<'a> Messages<'a> {
    /// `cores` are read side by side, of which this is one.
    pub(super) fn new(
        directory: &'a SegmentDirectory,
        segments: &'a [(u16, u32)],
        cores: usize,
    ) -> Self {
        let log = Assembler::new(directory, cores);
        Self { log, segments, next_segment: 0, current: None, walked_bytes: 0, ends: None }
    }

    /// All messages of the spool, core by core.
    pub(super) fn all(directory: &'a SegmentDirectory) -> Self {
        let mut messages = Self::new(directory, directory.segments(), 1);
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
        self.walked_bytes + self.current.as_ref().map_or(0, |current| current.walk.at())
    }

    /// Runs to the end. Returns how each segment ended, too.
    pub(in crate::spool) fn into_ends(mut self) -> Result<(Survey, Vec<SegmentEnd>), SpoolError> {
        self.log.strict = true;
        self.ends = Some(Vec::new());
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
        let mut ends = self.ends.take().unwrap_or_default();
        for end in &mut ends {
            let of = |map: &HashMap<_, u64>| map.get(&(end.core, end.number)).copied().unwrap_or(0);
            let (last, needed) = (of(&claimed), of(&needed));
            end.alive = end.alive.max(last);
            end.dead = end.dead.saturating_sub(needed + end.used.saturating_sub(end.alive));
        }
        Ok((self.log.survey, ends))
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
                Ok((place, met)) => {
                    let Some(header) = self.log.take_in(place, &met) else { continue };
                    let envelope = current.walk.envelope();
                    let message = self.log.assemble(place, &header, envelope)?;
                    current.walk.drop_envelope();
                    if message.is_some() {
                        return Ok(message);
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
            self.log.begin_core();
        }
        self.next_segment += 1;
        match self.log.open(core, number)? {
            Ok(current) => self.current = Some(current),
            Err(end) => self.note_end(SegmentEnd {
                core,
                number,
                header: None,
                used: 0,
                alive: 0,
                dead: 0,
                last_seq: 0,
                torn_at: None,
                end,
            }),
        }
        Ok(true)
    }

    fn end_segment(&mut self, end: RecordsEnd) -> Result<(), SpoolError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        self.log.close(&mut current, end)?;
        let Current { core, number, walk, last_seq, alive, fragments: dead, torn_at } = current;
        let header = Some((*walk.header(), walk.mark()));
        let used = walk.at();
        self.log.set_walked(number, used);
        self.walked_bytes += used;
        self.note_end(SegmentEnd {
            core,
            number,
            header,
            used,
            alive,
            dead,
            last_seq,
            torn_at,
            end,
        });
        Ok(())
    }

    fn note_end(&mut self, end: SegmentEnd) {
        if let Some(ends) = &mut self.ends {
            ends.push(end);
        }
    }
}
