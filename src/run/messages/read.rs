//! Reads the file, whatever it holds: one block at a time, and no number in it is believed before there is
//! something to it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::fate::{FATE_BYTES, MessageFate};
use super::format::{BLOCK_HEAD_BYTES, BlockHead, BlockKind, HEAD_BYTES, MessagesHead, is_sound};
use super::table::{MESSAGE_BYTES, SentEnvelope, SentMessage, SentTable};
use crate::limits::CORPUS_MESSAGES_MAX;

/// Octets of envelopes in the file that are read into memory.
const ENVELOPES_BYTES_MAX: u64 = 512 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum MessagesError {
    #[error(
        "{}: there is none; it is written by ringpost-blast --out, and tells which message was accepted",
        .0.display()
    )]
    Missing(PathBuf),
    #[error("cannot read {}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: damaged: {why}", .path.display())]
    Damaged { path: PathBuf, why: &'static str },
}

/// How the fates in a file end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FatesEnd {
    /// As they were meant to. The fates of so many messages are not in it.
    Whole { missed: u64 },
    /// In the block that begins at octet `at`: the run was killed, or the file was cut or damaged.
    Torn { at: u64 },
}

/// A file whose head and table were read, and whose fates follow.
#[derive(Debug)]
pub struct RunMessages {
    head: MessagesHead,
    table: SentTable,
    blocks: Blocks,
    end: Option<FatesEnd>,
}

impl RunMessages {
    pub fn open(path: &Path) -> Result<Self, MessagesError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => MessagesError::Missing(path.to_owned()),
            _ => MessagesError::Io { path: path.to_owned(), error },
        })?;
        let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let blocks = Blocks { path: path.to_owned(), at: 0, input: BufReader::new(file) };
        if !regular {
            return Err(blocks.damaged("it is no file"));
        }
        Self::read(blocks)
    }

    fn read(mut blocks: Blocks) -> Result<Self, MessagesError> {
        let mut octets = [0; HEAD_BYTES];
        if !blocks.fill(&mut octets)? {
            return Err(blocks.damaged("its head is cut off"));
        }
        let head = MessagesHead::decode(&octets)
            .ok_or_else(|| blocks.damaged("it does not begin as such a file does"))?;
        let mut table = SentTable::default();
        let mut envelopes_bytes = 0;
        while table.messages.len() < head.messages as usize {
            let Some((block, things)) = blocks.next()? else {
                return Err(blocks.damaged("it is cut off before its first message"));
            };
            match block.kind {
                BlockKind::Envelopes => {
                    envelopes_bytes += u64::from(block.bytes);
                    take_envelopes(block.count, &things, &mut table)
                        .filter(|()| envelopes_bytes <= ENVELOPES_BYTES_MAX)
                }
                BlockKind::Messages => take_messages(block.count, &things, &mut table),
                BlockKind::Fates | BlockKind::End => None,
            }
            .ok_or_else(|| blocks.damaged("its table of envelopes is wrong"))?;
        }
        let known = |message: &SentMessage| (message.envelope as usize) < table.envelopes.len();
        let whole = table.messages.len() == head.messages as usize
            && table.envelopes.len() == head.envelopes as usize;
        if !whole || !table.messages.iter().all(known) {
            return Err(blocks.damaged("its table of envelopes is wrong"));
        }
        Ok(Self { head, table, blocks, end: None })
    }

    pub fn head(&self) -> &MessagesHead {
        &self.head
    }

    pub fn table(&self) -> &SentTable {
        &self.table
    }

    /// Takes the table out, for what outlives the file.
    pub fn take_table(&mut self) -> SentTable {
        std::mem::take(&mut self.table)
    }

    /// Puts the fates of the next block into `fates`, and answers of which core they are; `None` at the end.
    pub fn next(&mut self, fates: &mut Vec<MessageFate>) -> Result<Option<u16>, MessagesError> {
        fates.clear();
        if self.end.is_some() {
            return Ok(None);
        }
        let at = self.blocks.at;
        let block = self.blocks.next()?;
        let taken = match &block {
            Some((head, things)) if head.kind == BlockKind::Fates => {
                self.take_fates(head, things, fates)
            }
            Some((head, _)) if head.kind == BlockKind::End => {
                self.end = Some(FatesEnd::Whole { missed: head.first });
                return Ok(None);
            }
            _ => None,
        };
        if taken.is_none() {
            fates.clear();
            self.end = Some(FatesEnd::Torn { at });
        }
        Ok(taken)
    }

    /// How the fates ended; `None` before they did.
    pub fn end(&self) -> Option<FatesEnd> {
        self.end
    }

    fn take_fates(
        &self,
        block: &BlockHead,
        things: &[u8],
        fates: &mut Vec<MessageFate>,
    ) -> Option<u16> {
        let (octets, rest) = things.as_chunks::<FATE_BYTES>();
        let fits = rest.is_empty()
            && octets.len() == block.count as usize
            && u32::from(block.core) < self.head.cores
            && block.first > 0;
        for octets in octets.iter().filter(|_| fits) {
            fates.push(MessageFate::decode(octets, block.first)?);
        }
        fits.then_some(block.core)
    }
}

fn take_envelopes(count: u32, things: &[u8], table: &mut SentTable) -> Option<()> {
    let mut rest = things;
    for _ in 0..count {
        table.envelopes.push(SentEnvelope::decode(&mut rest)?);
    }
    (rest.is_empty() && table.envelopes.len() <= CORPUS_MESSAGES_MAX).then_some(())
}

fn take_messages(count: u32, things: &[u8], table: &mut SentTable) -> Option<()> {
    let fits = things.len() == count as usize * MESSAGE_BYTES && count > 0;
    table.messages.extend(things.chunks_exact(MESSAGE_BYTES).map(SentMessage::decode));
    (fits && table.messages.len() <= CORPUS_MESSAGES_MAX).then_some(())
}

/// The file block by block.
#[derive(Debug)]
struct Blocks {
    path: PathBuf,
    /// Octets that were read.
    at: u64,
    input: BufReader<File>,
}

impl Blocks {
    /// The next block; `None` where there is none, or none that is sound.
    fn next(&mut self) -> Result<Option<(BlockHead, Vec<u8>)>, MessagesError> {
        let mut octets = [0; BLOCK_HEAD_BYTES];
        if !self.fill(&mut octets)? {
            return Ok(None);
        }
        let Some(head) = BlockHead::decode(&octets) else { return Ok(None) };
        // Grows with what is really there, not with what the head says.
        let mut things = Vec::new();
        let taken = (&mut self.input).take(head.bytes.into()).read_to_end(&mut things);
        taken.map_err(|error| self.failed(error))?;
        self.at += things.len() as u64;
        let sound = things.len() == head.bytes as usize && is_sound(&octets, &things);
        Ok(sound.then_some((head, things)))
    }

    /// Answers whether there were so many octets.
    fn fill(&mut self, octets: &mut [u8]) -> Result<bool, MessagesError> {
        match self.input.read_exact(octets) {
            Ok(()) => {
                self.at += octets.len() as u64;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: io::Error) -> MessagesError {
        MessagesError::Io { path: self.path.clone(), error }
    }

    fn damaged(&self, why: &'static str) -> MessagesError {
        MessagesError::Damaged { path: self.path.clone(), why }
    }
}
