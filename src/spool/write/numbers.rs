//! Numbers for segments: each is given once in the life of a spool, so that the name of a message never
//! becomes that of another, also after the segments were moved away.
//!
//! Numbers are reserved on the disk in blocks before they are used. A sink that dies leaves a part of its
//! last block unused; one that ends in order gives that back.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::spool::error::SpoolError;
use crate::spool::file::{self, Access};
use crate::spool::format::{
    NUMBER_MAX, NUMBERS, NUMBERS_BYTES, NUMBERS_NEXT_AT, decode_numbers, encode_numbers,
};
use crate::spool::options::Durability;

/// Numbers that are reserved at once. A core that fills 25 segments a second needs ten seconds for them.
const BLOCK: u32 = 256;

/// What the file says; `Ok(None)` where there is none, or none that can be believed.
///
/// # Errors
/// [`SpoolError::Io`] where it cannot be read, or is no regular file.
pub(super) fn first_unused(dir: &Path) -> Result<Option<u32>, SpoolError> {
    let path = dir.join(NUMBERS);
    let mut octets = Vec::new();
    let read = file::open(&path, Access::Read)
        .and_then(|file| file.take(NUMBERS_BYTES as u64 + 1).read_to_end(&mut octets));
    match read {
        Ok(_) => Ok(decode_numbers(&octets)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(SpoolError::io("read the numbers of segments", &path, cause)),
    }
}

/// Reserves numbers. Only for the holder of the spool's lock.
pub(super) struct Numbers {
    dir: PathBuf,
    durability: Durability,
    /// `None` before the first reservation.
    file: Option<File>,
    /// The file says that this number and all above are unused.
    reserved: u32,
    /// What it will say when the spool is closed.
    unused: u32,
}

impl Numbers {
    /// `first` and all numbers above it are unused.
    pub(super) fn new(dir: PathBuf, durability: Durability, first: u32) -> Self {
        Self { dir, durability, file: None, reserved: first, unused: first }
    }

    /// Sees to it that a number that is given to a segment now is never given again.
    ///
    /// # Errors
    /// [`SpoolError::NumbersUsedUp`]; [`SpoolError::Io`] when the file cannot be written.
    pub(super) fn reserve(&mut self, number: u32) -> Result<(), SpoolError> {
        if number > NUMBER_MAX {
            return Err(SpoolError::NumbersUsedUp { dir: self.dir.clone() });
        }
        if number >= self.reserved {
            self.write(number.saturating_add(BLOCK))?;
        }
        Ok(())
    }

    /// Messages may be in the segment with this number.
    pub(super) fn note_used(&mut self, number: u32) {
        self.unused = self.unused.max(number.saturating_add(1));
    }

    /// Gives back what is reserved and was not used. Without that, numbers are left out, which does no harm.
    pub(super) fn close(&mut self) {
        if self.file.is_some() {
            let _ = self.write(self.unused);
        }
    }

    fn write(&mut self, next: u32) -> Result<(), SpoolError> {
        let path = self.dir.join(NUMBERS);
        let durable = self.durability == Durability::Sync;
        let written = self.try_write(&path, next, durable);
        written.map_err(|cause| SpoolError::io("reserve numbers for segments", &path, cause))?;
        self.reserved = next;
        Ok(())
    }

    fn try_write(&mut self, path: &Path, next: u32, durable: bool) -> io::Result<()> {
        let octets = encode_numbers(next);
        if let Some(file) = &self.file {
            file.write_all_at(&octets[NUMBERS_NEXT_AT..], NUMBERS_NEXT_AT as u64)?;
            return if durable { file.sync_data() } else { Ok(()) };
        }
        let (file, is_new) = match file::create(path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (file::open(path, Access::ReadWrite)?, false)
            }
            Err(error) => return Err(error),
        };
        file.write_all_at(&octets, 0)?;
        file.set_len(NUMBERS_BYTES as u64)?;
        if durable {
            file.sync_all()?;
            if is_new {
                File::open(&self.dir)?.sync_all()?;
            }
        }
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn numbers_are_reserved_before_they_are_used_and_given_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let known = || first_unused(dir.path()).unwrap();
        for durability in [Durability::Process, Durability::Sync] {
            let first = known().unwrap_or(1);
            let mut numbers = Numbers::new(dir.path().to_owned(), durability, first);
            for number in first..first + 2 * BLOCK + 3 {
                numbers.reserve(number).unwrap();
                assert!(known().unwrap() > number);
            }
            numbers.note_used(first + 7);
            numbers.close();
            assert_eq!(known(), Some(first + 8));
        }
        fs::write(dir.path().join(NUMBERS), b"of another kind, and longer").unwrap();
        assert_eq!(known(), None);
        let mut numbers = Numbers::new(dir.path().to_owned(), Durability::Process, 40);
        numbers.reserve(40).unwrap();
        assert_eq!(known(), Some(40 + BLOCK));
        let error = numbers.reserve(NUMBER_MAX + 1).unwrap_err();
        assert!(matches!(error, SpoolError::NumbersUsedUp { .. }), "{error}");
    }
}
