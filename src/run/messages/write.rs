//! Writes the file, on the thread that collects: no core waits for it.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use super::fate::{FATE_BYTES, MessageFate};
use super::format::{BLOCK_BYTES, BLOCK_BYTES_MAX, BlockHead, BlockKind, HEAD_BYTES, MessagesHead};
use super::table::{SentEnvelope, SentMessage};

pub struct RunMessagesWriter {
    out: BufWriter<File>,
    things: Vec<u8>,
}

impl RunMessagesWriter {
    /// Makes the file, which must not exist, and writes what is known before the clock of the run starts. It
    /// has no head yet.
    pub fn create(
        path: &Path,
        envelopes: impl Iterator<Item = SentEnvelope>,
        messages: impl Iterator<Item = SentMessage>,
    ) -> io::Result<Self> {
        let out = BufWriter::new(File::create_new(path)?);
        let mut made = Self { out, things: Vec::new() };
        made.out.write_all(&[0; HEAD_BYTES])?;
        made.list(BlockKind::Envelopes, envelopes, SentEnvelope::encode)?;
        made.list(BlockKind::Messages, messages, SentMessage::encode)?;
        made.out.flush()?;
        Ok(made)
    }

    /// Writes the head.
    pub fn begin(&mut self, head: &MessagesHead) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&head.encode())?;
        self.out.seek(SeekFrom::End(0))?;
        Ok(())
    }

    fn list<T>(
        &mut self,
        kind: BlockKind,
        all: impl Iterator<Item = T>,
        encode: impl Fn(&T, &mut Vec<u8>),
    ) -> io::Result<()> {
        let mut count = 0;
        for thing in all {
            encode(&thing, &mut self.things);
            count += 1;
            if self.things.len() >= BLOCK_BYTES {
                self.block(kind, 0, std::mem::take(&mut count), 0)?;
            }
        }
        if count > 0 { self.block(kind, 0, count, 0) } else { Ok(()) }
    }

    /// Writes fates of one core, which come back in the order of their numbers.
    pub fn fates(&mut self, core: u16, fates: &mut [MessageFate]) -> io::Result<()> {
        fates.sort_unstable_by_key(|fate| fate.seq);
        let mut rest = &*fates;
        while let Some(first) = rest.first().map(|fate| fate.seq) {
            let mut count = 0;
            for octets in rest.iter().map_while(|fate| fate.encode(first)) {
                self.things.extend_from_slice(&octets);
                count += 1;
                if self.things.len() + FATE_BYTES > BLOCK_BYTES {
                    break;
                }
            }
            self.block(BlockKind::Fates, core, count, first)?;
            rest = &rest[count as usize..];
        }
        Ok(())
    }

    /// Makes what is written so far safe from the end of this process.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the file. `missed` messages have no fate in it.
    pub fn finish(mut self, missed: u64) -> io::Result<()> {
        self.block(BlockKind::End, 0, 0, missed)?;
        self.out.flush()
    }

    fn block(&mut self, kind: BlockKind, core: u16, count: u32, first: u64) -> io::Result<()> {
        if self.things.len() > BLOCK_BYTES_MAX {
            return Err(io::Error::other("an envelope is too large for run.msgs"));
        }
        let head = BlockHead { kind, core, count, bytes: self.things.len() as u32, first };
        self.out.write_all(&head.encode(&self.things))?;
        self.out.write_all(&self.things)?;
        self.things.clear();
        Ok(())
    }
}
