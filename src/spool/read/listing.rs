//! The messages of all cores in the order of their times, forwards or backwards.

use std::io::Write;

use super::chain::Fragment;
use super::directory::SegmentDirectory;
use super::message::{CopyError, Message};
use super::messages::{self, Assembler, Current, Messages};
use super::survey::Survey;
use crate::spool::error::SpoolError;
use crate::spool::format::RecordKind;

/// Messages that a reader which goes backwards holds at once: it walks forward over so many, and gives
/// them from the last to the first.
const SPOOL_BACKWARD_MESSAGES: usize = 256;

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
    head: Option<Message>,
    ended: bool,
}

enum Log<'a> {
    Forwards(Messages<'a>),
    Backwards(Backwards<'a>),
}

impl Iterator for Listing<'_> {
    type Item = Result<Message, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        for source in &mut self.cores {
            if let Err(error) = source.fetch() {
                return Some(Err(error));
            }
        }
        let waiting = self.cores.iter().enumerate().filter_map(|(core, source)| {
            source.head.as_ref().map(|head| (head.envelope.sealed_ns, core))
        });
        let (_, core) = if self.newest_first { waiting.max() } else { waiting.min() }?;
        self.latest = Some(core);
        self.cores[core].head.take().map(Ok)
    }
}

impl<'a> Listing<'a> {
    pub(super) fn oldest_first(directory: &'a SegmentDirectory) -> Self {
        let forwards =
            |segments| CoreListing::new(Log::Forwards(Messages::new(directory, segments)));
        let cores = directory.cores().map(forwards).collect();
        Self { cores, latest: None, newest_first: false, directory }
    }

    pub(super) fn newest_first(directory: &'a SegmentDirectory) -> Self {
        let backwards =
            |segments| CoreListing::new(Log::Backwards(Backwards::new(directory, segments)));
        let cores = directory.cores().map(backwards).collect();
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
    fn new(log: Log<'a>) -> Self {
        Self { log, head: None, ended: false }
    }

    /// Reads the next message, if there is one. Call it only when that message is wanted: until then the
    /// octets of the message before it are in memory.
    fn fetch(&mut self) -> Result<(), SpoolError> {
        if self.head.is_none() && !self.ended {
            self.head = match &mut self.log {
                Log::Forwards(log) => log.next(),
                Log::Backwards(log) => log.next(),
            }
            .transpose()?;
            self.ended = self.head.is_none();
        }
        Ok(())
    }
}

/// One core's messages from the last to the first.
///
/// A segment can only be walked forwards. So it is walked once for the places of its messages. Then
/// stretches of it are walked again, each forwards, the last stretch first.
struct Backwards<'a> {
    directory: &'a SegmentDirectory,
    log: Assembler<'a>,
    /// Not yet opened.
    segments: &'a [(u16, u32)],
    current: Option<Current>,
    /// Offsets of the singles and seals of the present segment that were not walked again yet.
    offsets: Vec<u32>,
    /// The present stretch, first to last.
    stretch: Vec<Message>,
}

impl Iterator for Backwards<'_> {
    type Item = Result<Message, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(message) = self.stretch.pop() {
                return Some(Ok(message));
            }
            let moved = if self.offsets.is_empty() {
                let ((core, number), before) = self.segments.split_last()?;
                self.segments = before;
                self.open(*core, *number)
            } else {
                self.walk_stretch()
            };
            if let Err(error) = moved {
                return Some(Err(error));
            }
        }
    }
}

impl<'a> Backwards<'a> {
    fn new(directory: &'a SegmentDirectory, segments: &'a [(u16, u32)]) -> Self {
        Self {
            directory,
            log: Assembler::new(directory),
            segments,
            current: None,
            offsets: Vec::new(),
            stretch: Vec::new(),
        }
    }

    fn open(&mut self, core: u16, number: u32) -> Result<(), SpoolError> {
        self.log.drop_fragments();
        self.log.forget_after(number);
        let Ok(mut current) = self.log.open(core, number)? else { return Ok(()) };
        let end = loop {
            match current.step()? {
                Ok((place, header)) if header.kind == RecordKind::Fragment => {
                    self.log.add_fragment(place, Fragment::from(&header));
                }
                Ok((place, _)) => self.offsets.push(place.offset),
                Err(end) => break end,
            }
        };
        self.log.close(&mut current, end)?;
        self.current = Some(current);
        Ok(())
    }

    fn walk_stretch(&mut self) -> Result<(), SpoolError> {
        let start = self.offsets.len().saturating_sub(SPOOL_BACKWARD_MESSAGES);
        let stretch = self.offsets.split_off(start);
        let (Some(current), Some(first), Some(last)) =
            (&mut self.current, stretch.first(), stretch.last())
        else {
            return Ok(());
        };
        current.walk.seek(*first);
        // The walk ends early if the file was recycled meanwhile: the rest is gone.
        while let Ok((place, header)) = current.step()? {
            if header.kind != RecordKind::Fragment {
                let envelope = current.walk.envelope();
                self.stretch.extend(self.log.assemble(place, &header, envelope)?);
            }
            if place.offset >= *last {
                return Ok(());
            }
        }
        self.offsets.clear();
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
