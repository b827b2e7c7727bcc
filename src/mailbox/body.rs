//! The octets of one message while it is exported: in memory, or in a file without a name if there are many. All of
//! them are there before the first is written out, because the ring may recycle a message while it is read.

use std::env;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use super::error::ExportError;
use crate::limits::EXPORT_WRITE_BYTES;

/// Octets of a message that an export keeps in memory.
const EXPORT_MEMORY_BYTES: usize = 4 * 1024 * 1024;

/// A message that was read. It is used again for the next one.
#[derive(Default)]
pub(super) struct Body {
    memory: Vec<u8>,
    /// All octets, if they are too many for the memory, which then holds the first of them.
    file: Option<File>,
    bytes: u64,
    scratch: Vec<u8>,
}

impl Body {
    pub(super) fn clear(&mut self) {
        self.memory.clear();
        self.file = None;
        self.bytes = 0;
    }

    /// The first octets, at most [`EXPORT_MEMORY_BYTES`] of them.
    pub(super) fn start(&self) -> &[u8] {
        &self.memory
    }

    /// Passes all octets to `take` in pieces, each but the last of a length that is a multiple of `step`.
    pub(super) fn pieces<E: From<io::Error>>(
        &mut self,
        step: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(file) = &mut self.file else { return take(&self.memory) };
        file.rewind()?;
        self.scratch.resize(EXPORT_WRITE_BYTES.next_multiple_of(step), 0);
        let mut left = self.bytes;
        while left > 0 {
            let wanted = left.min(self.scratch.len() as u64) as usize;
            file.read_exact(&mut self.scratch[..wanted])?;
            take(&self.scratch[..wanted])?;
            left -= wanted as u64;
        }
        Ok(())
    }

    pub(super) fn copy(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.pieces(1, |piece| out.write_all(piece))
    }

    /// What it means that the octets could not be kept.
    pub(super) fn failed(cause: io::Error) -> ExportError {
        ExportError::Io { doing: "keep a message in", path: Self::dir(), cause }
    }

    fn dir() -> PathBuf {
        env::temp_dir()
    }
}

impl Write for Body {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let room = EXPORT_MEMORY_BYTES - self.memory.len();
        if self.file.is_none() && octets.len() > room {
            let mut file = tempfile::tempfile_in(Self::dir())?;
            file.write_all(&self.memory)?;
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(octets)?;
        }
        self.memory.extend_from_slice(&octets[..octets.len().min(room)]);
        self.bytes += octets.len() as u64;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_comes_back_whole_and_in_steps() {
        let mut body = Body::default();
        for bytes in
            [0, 5, EXPORT_MEMORY_BYTES, EXPORT_MEMORY_BYTES + 1, 2 * EXPORT_MEMORY_BYTES + 7]
        {
            let octets: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
            body.clear();
            octets.chunks(300_000).for_each(|piece| body.write_all(piece).unwrap());
            assert_eq!(body.file.is_some(), bytes > EXPORT_MEMORY_BYTES);
            assert!(octets.starts_with(body.start()) && body.memory.len() <= EXPORT_MEMORY_BYTES);
            let mut back = Vec::new();
            let read = body.pieces::<io::Error>(3, |piece| {
                assert!(piece.len().is_multiple_of(3) || back.len() + piece.len() == bytes);
                back.extend_from_slice(piece);
                Ok(())
            });
            read.unwrap();
            assert!(back == octets, "{bytes}");
            let mut copy = Vec::new();
            body.copy(&mut copy).unwrap();
            assert!(copy == octets, "{bytes}");
        }
    }
}
