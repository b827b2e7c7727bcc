//! Reads a spool: every message in order, or one by its name. Works beside a running sink.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::chain::{Chain, Fragment, Part};
use super::envelope::Envelope;
use super::error::{Doubt, SpoolError};
use super::format::{Kind, Place, RECORD_HEADER_BYTES, RecordHeader};
use super::listing::Listing;
use super::marker::check_marker;
use super::messages::{self, Messages, Stop};
use super::segment::{file_name, parse_file_name};
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
    pub(super) parts: Vec<Part>,
}

#[cfg(test)]
impl Message {
    /// A message without a body, for tests of what goes by the envelope.
    pub(crate) fn of_envelope(place: Place, envelope: Envelope) -> Self {
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

impl CopyError {
    /// The ring took the message while it was read: nothing is wrong, it is just gone.
    pub fn is_recycled(&self) -> bool {
        matches!(self, Self::Spool(SpoolError::Damaged { what: Doubt::Recycled, .. }))
    }
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
        Messages::new(self, &self.segments)
    }

    /// Every whole message of all cores, in the order in which they were sealed.
    pub fn oldest_first(&self) -> Listing<'_> {
        Listing::oldest_first(self, self.cores())
    }

    /// Every whole message of all cores, the one that was sealed last first. The first come at once,
    /// however large the spool is.
    pub fn newest_first(&self) -> Listing<'_> {
        Listing::newest_first(self, self.cores())
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
        messages::copy_body(self, None, message, u64::MAX, out)
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

    /// Opens the segment of `place`; the doubt [`Doubt::Recycled`] when it is gone.
    pub(super) fn walk(&self, place: Place) -> Result<Walk, SpoolError> {
        let damaged = |what| SpoolError::Damaged { place, what };
        match Walk::open(&self.path(place.core, place.segment), place.core, place.segment)? {
            Opened::Walk(walk) => Ok(walk),
            Opened::End(End::Damaged(what) | End::Torn(what)) => Err(damaged(what)),
            Opened::End(_) => Err(damaged(Doubt::Recycled)),
        }
    }

    /// Copies the first `bytes` of the body octets of the record at `part`, a piece of `message`.
    pub(super) fn copy_part(
        &self,
        walk: &mut Walk,
        message: Place,
        part: Place,
        bytes: u64,
        out: &mut dyn Write,
    ) -> Result<(), CopyError> {
        let at = u64::from(part.offset) + RECORD_HEADER_BYTES as u64;
        let copied = walk.copy(at, bytes, |chunk| out.write_all(chunk).map_err(CopyError::Out))?;
        if copied != bytes || !walk.same_life()? {
            return Err(SpoolError::Damaged { place: message, what: Doubt::Recycled }.into());
        }
        Ok(())
    }

    /// The record at `place` and its envelope; `None` when there is nothing, and the doubt
    /// [`Doubt::Recycled`] when its segment is gone.
    fn record(&self, place: Place) -> Result<Option<(RecordHeader, Vec<u8>)>, SpoolError> {
        let damaged = |what| SpoolError::Damaged { place, what };
        let mut walk = self.walk(place)?;
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
    pub(super) fn fragment(&self, place: Place) -> Result<Result<Fragment, Doubt>, SpoolError> {
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

    /// Where the records of a segment end above its mark; `None` for one that ends otherwise.
    pub(super) fn stop(&self, (core, number): (u16, u32)) -> Result<Option<Stop>, SpoolError> {
        let is_torn = |end| matches!(end, End::Torn(_));
        let mut walk = match Walk::open(&self.path(core, number), core, number)? {
            Opened::Walk(walk) => walk,
            Opened::End(end @ (End::Torn(_) | End::Clean)) => {
                return Ok(Some(Stop { at: 0, torn: is_torn(end) }));
            }
            Opened::End(_) => return Ok(None),
        };
        loop {
            if let Step::End(end) = walk.step()?
                && let Some(end) = walk.confirm(end)?
            {
                let stop = Stop { at: walk.at(), torn: is_torn(end) };
                return Ok(walk.is_above_mark().then_some(stop));
            }
        }
    }

    /// Whether a segment that is not there now has been there in its time: it was listed when we began,
    /// or is older than all that were. Otherwise somebody took it out of the middle.
    fn was_there(&self, place: Place) -> bool {
        let mut segments = self.segments.iter().filter(|(core, _)| *core == place.core).peekable();
        let older = segments.peek().is_some_and(|(_, lowest)| place.segment < *lowest);
        older || segments.any(|(_, number)| *number == place.segment)
    }

    /// Octets of all segment files.
    pub fn file_bytes(&self) -> u64 {
        let bytes = |&(core, number): &(u16, u32)| fs::metadata(self.path(core, number));
        self.segments
            .iter()
            .filter_map(|segment| bytes(segment).ok())
            .map(|found| found.len())
            .sum()
    }

    /// The segments of each core.
    fn cores(&self) -> impl Iterator<Item = &[(u16, u32)]> {
        self.segments.chunk_by(|a, b| a.0 == b.0)
    }

    pub(super) fn segments(&self) -> &[(u16, u32)] {
        &self.segments
    }

    pub(super) fn path(&self, core: u16, number: u32) -> PathBuf {
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
