//! Reads a segment file in pieces, whatever becomes of it meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::limits::SPOOL_READ_BYTES;
use crate::spool::error::SpoolError;
use crate::spool::format::ALIGNMENT;

/// Octets that it takes after a jump, when it may want a single record.
const SPOOL_PEEK_BYTES: usize = 4 * 1024;

/// A file that is read in pieces: a small piece after a jump, and then larger and larger ones.
pub(super) struct Window {
    file: File,
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where `bytes` begin in the file: at a multiple of [`ALIGNMENT`].
    start: u64,
    /// Octets that are taken at once.
    pub(super) reach_max: usize,
}

impl Window {
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self { file, path, bytes: Vec::new(), start: 0, reach_max: SPOOL_READ_BYTES }
    }

    /// The octets at `at`: `len` of them, or fewer where the file ends. `len` is at most
    /// `reach_max`.
    pub(super) fn get(&mut self, at: u64, len: usize) -> Result<&[u8], SpoolError> {
        let have = self.start..self.start + self.bytes.len() as u64;
        if at < have.start || at + len as u64 > have.end {
            let goes_on = have.contains(&at) || at == have.end;
            let reach = if goes_on { 2 * self.bytes.len() } else { 0 };
            self.fill(at, reach.min(self.reach_max).max(len.max(SPOOL_PEEK_BYTES)))?;
        }
        let from = (at - self.start) as usize;
        let to = (from + len).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    /// As [`Window::get`], and what of the file is in memory after these octets.
    pub(super) fn rest(&mut self, at: u64, len: usize) -> Result<&[u8], SpoolError> {
        self.get(at, len)?;
        Ok(self.bytes.get((at - self.start) as usize..).unwrap_or_default())
    }

    /// The octets `at..at + len`, if all of them are in memory.
    pub(super) fn held(&self, at: u64, len: u64) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(usize::try_from(len).ok()?)?)
    }

    /// Takes `len` octets of the file from `at` on, and a little more for the alignment.
    fn fill(&mut self, at: u64, len: usize) -> Result<(), SpoolError> {
        let start = at - at % ALIGNMENT as u64;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(len.next_multiple_of(ALIGNMENT) + ALIGNMENT, 0);
        let filled = self.read(start, &mut bytes)?;
        bytes.truncate(filled);
        (self.bytes, self.start) = (bytes, start);
        Ok(())
    }

    /// Reads the octets from `at` on into `into`, and returns how many there were.
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<usize, SpoolError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.file.read_at(&mut into[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(SpoolError::io("read the segment", &self.path, cause)),
            }
        }
        Ok(filled)
    }

    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }
}
