//! Reads a spool: every message in order, or one by its name. A sink may run meanwhile.

use std::io::Write;
use std::path::Path;

use super::audit;
use super::chain::Chain;
use super::directory::{SegmentDirectory, check_marker};
use super::listing::Listing;
use super::message::{CopyError, Message};
use super::messages::{self, Messages};
use super::survey::Survey;
use crate::spool::envelope::StoredEnvelope;
use crate::spool::error::{Doubt, SpoolError};
use crate::spool::format::{Place, RecordKind};

/// The number of the first segment of a core.
const FIRST_SEGMENT: u32 = 1;

/// A spool directory, with the segments that were there when it was opened.
pub struct Reader {
    directory: SegmentDirectory,
}

impl Reader {
    /// Opens a spool directory for reading; needs no lock.
    pub fn open(dir: &Path) -> Result<Self, SpoolError> {
        check_marker(dir)?;
        Ok(Self { directory: SegmentDirectory::list(dir)? })
    }

    /// Opens a spool without a check of its marker file, for the program that holds the lock.
    pub(in crate::spool) fn open_locked(dir: &Path) -> Result<Self, SpoolError> {
        Ok(Self { directory: SegmentDirectory::list(dir)? })
    }

    /// Passes over the segments before those of these places from now on. At most one place is of each core.
    pub fn begin_at(&mut self, places: &[Place]) {
        self.directory.begin_at(places);
    }

    /// The cores whose first segment is gone, because the ring recycled it.
    pub fn recycled_cores(&self) -> impl Iterator<Item = u16> {
        let mut last = None;
        let firsts = self
            .directory
            .segments()
            .iter()
            .filter(move |(core, _)| last.replace(*core) != Some(*core));
        firsts.filter(|(_, number)| *number > FIRST_SEGMENT).map(|(core, _)| *core)
    }

    /// Every whole message, in the order of core, segment and offset.
    pub fn messages(&self) -> Messages<'_> {
        Messages::all(&self.directory)
    }

    /// Every whole message of all cores, in the order in which they were sealed.
    pub fn oldest_first(&self) -> Listing<'_> {
        Listing::oldest_first(&self.directory)
    }

    /// Every whole message of all cores, the latest seal first. The first messages come at once, however
    /// large the spool is.
    pub fn newest_first(&self) -> Listing<'_> {
        Listing::newest_first(&self.directory)
    }

    /// The message whose sealing record is at `place`.
    pub fn get(&self, place: Place) -> Result<Message, SpoolError> {
        let (header, envelope) = match self.directory.record(place) {
            Ok(Some(record)) => record,
            Ok(None) | Err(SpoolError::Damaged { what: Doubt::Recycled, .. }) => {
                return Err(SpoolError::NoMessage { place });
            }
            Err(error) => return Err(error),
        };
        if header.kind == RecordKind::Fragment {
            return Err(SpoolError::NoMessage { place });
        }
        let damaged = |what| SpoolError::Damaged { place, what };
        let mut chain = Chain::new(place, &header).map_err(damaged)?;
        while let Some(back) = chain.back {
            let fragment = self.directory.fragment(back)?.map_err(damaged)?;
            chain.add(back, fragment).map_err(damaged)?;
        }
        let parts = chain.finish().map_err(damaged)?;
        let envelope = StoredEnvelope::decode(&envelope, header.flags);
        let envelope = envelope.ok_or_else(|| damaged(Doubt::Envelope))?;
        Ok(Message { place, bytes: header.total_bytes, envelope, parts })
    }

    /// Writes the message's octets, exactly as the client sent them, dots unstuffed.
    pub fn copy_body(&self, message: &Message, out: &mut dyn Write) -> Result<(), CopyError> {
        self.copy_start(message, u64::MAX, out)
    }

    /// As [`Reader::copy_body`], at most `max_bytes`.
    pub fn copy_start(
        &self,
        message: &Message,
        max_bytes: u64,
        out: &mut dyn Write,
    ) -> Result<(), CopyError> {
        messages::copy_body(&self.directory, None, message, max_bytes, out)
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

    /// Octets of all segment files.
    pub fn file_bytes(&self) -> u64 {
        self.directory.file_bytes()
    }

    /// Reads everything on up to `threads` threads, checks every checksum and every chain, and returns the
    /// sums. Any of the threads calls `on_segment` with the octets of each segment that it has done.
    pub fn survey(
        &self,
        threads: usize,
        on_segment: &(dyn Fn(u64) + Sync),
    ) -> Result<Survey, SpoolError> {
        audit::survey(&self.directory, threads, on_segment)
    }
}
