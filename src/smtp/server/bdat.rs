//! BDAT (RFC 3030 §2). The size is read before anything is judged, and the chunk is taken whatever
//! the judgement: otherwise message octets would be read as commands.

use super::answer::{self, Answer};
use super::content::{Chunk, ChunkFate, IncomingContent};
use super::event::{CommandEvent, Event};
use super::machine::{Server, repeat};
use super::reply_counts::VerbClass;
use super::state::{ServerPhase, Transaction};
use crate::limits::BDAT_TINY_BYTES;
use crate::smtp::command::{parse_bdat, write_decimal};
use crate::smtp::deviation::Deviations;
use crate::smtp::extension::Extensions;
use crate::smtp::flags::Flags;
use crate::smtp::protocol::Protocol;

impl Server {
    pub(super) fn bdat(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        let Some((size, last)) = parse_bdat(argument) else {
            return self.hang_up(&answer::BAD_CHUNK_SIZE, replies);
        };
        if !last && size < BDAT_TINY_BYTES {
            self.count_junk();
        }
        if let Some(answer) = self.chunk_fault(size) {
            let follows = self.extended()
                && self.available.contains(Extensions::CHUNKING)
                && self.lacks_message()
                && self.follows();
            if !follows {
                self.expect_followers();
            }
            return self.refuse_chunk(answer, follows, size, last);
        }
        self.note(Deviations::empty());
        self.phase = ServerPhase::Chunk(Chunk { size, left: size, last, fate: ChunkFate::Good });
        if let Transaction::Chunks(_) = self.transaction {
            return None;
        }
        self.transaction = Transaction::Chunks(IncomingContent::default());
        Some(CommandEvent::Begin)
    }

    /// Whether there is no message to which a chunk could belong.
    fn lacks_message(&self) -> bool {
        match self.transaction {
            Transaction::Idle | Transaction::Failed { .. } => true,
            Transaction::Mail { .. } => self.envelope.recipient_count() == 0,
            Transaction::Chunks(_) => false,
        }
    }

    /// Why a chunk of `size` octets cannot be taken now.
    fn chunk_fault(&self, size: u64) -> Option<&'static Answer> {
        if !self.available.contains(Extensions::CHUNKING) {
            return Some(&answer::NOT_IMPLEMENTED);
        }
        if !self.extended() {
            return Some(match self.policy.protocol {
                // BDAT is an extension, so HELO is not enough (RFC 3030 §2).
                Protocol::Smtp => &answer::EHLO_FIRST,
                Protocol::Lmtp => &answer::LHLO_FIRST,
            });
        }
        let octets = match &self.transaction {
            Transaction::Idle => return Some(&answer::MAIL_FIRST),
            Transaction::Failed { .. } => return Some(&answer::TRANSACTION_FAILED),
            Transaction::Mail { .. } => {
                if let Some(answer) = self.recipients_fault() {
                    return Some(answer);
                }
                0
            }
            Transaction::Chunks(content) => content.octets,
        };
        let total = octets.saturating_add(size);
        (total > self.policy.message_bytes_max).then_some(&answer::TOO_LARGE)
    }

    /// Fails the transaction at once, and answers when the chunk has been taken.
    #[cold]
    fn refuse_chunk(
        &mut self,
        answer: &'static Answer,
        follows: bool,
        size: u64,
        last: bool,
    ) -> Option<CommandEvent> {
        let (open, recipients) = match self.transaction {
            Transaction::Idle => (false, 0),
            Transaction::Mail { .. } | Transaction::Chunks(_) => {
                (true, self.envelope.recipient_count())
            }
            Transaction::Failed { recipients } => (true, recipients),
        };
        // The client sends its message all the same.
        let is_message = recipients > 0
            && size > self.policy.message_bytes_max
            && matches!(self.transaction, Transaction::Mail { .. });
        let event = self.reset_transaction().or(is_message.then_some(CommandEvent::Discard));
        if open && !last {
            self.transaction = Transaction::Failed { recipients };
        }
        let fate = ChunkFate::Refused { answer, recipients, follows };
        self.phase = ServerPhase::Chunk(Chunk { size, left: size, last, fate });
        event
    }

    #[inline]
    pub(super) fn chunk_piece<'a>(&mut self, piece: &'a [u8]) -> Option<Event<'a>> {
        match &mut self.transaction {
            Transaction::Chunks(content) => {
                content.feed(piece);
                Some(Event::Body(piece))
            }
            _ => None,
        }
    }

    /// The chunk has been taken to its last octet.
    pub(super) fn end_chunk(&mut self, replies: &mut Vec<u8>) -> Option<CommandEvent> {
        let ServerPhase::Chunk(Chunk { size, last, fate, .. }) = self.phase else {
            return None;
        };
        self.phase = ServerPhase::Command;
        if last {
            self.answering = VerbClass::EndOfData;
        }
        if let ChunkFate::Refused { answer, recipients, follows } = fate {
            let start = replies.len();
            self.errors += u32::from(!follows);
            self.say(answer, replies);
            if last && self.policy.protocol == Protocol::Lmtp {
                repeat(start, recipients, replies);
            }
        } else if let Transaction::Chunks(content) = &self.transaction
            && last
        {
            let marks = content.marks();
            return Some(self.end_message(marks, Flags::BDAT));
        } else {
            replies.extend_from_slice(if self.enhanced() { b"250 2.0.0 " } else { b"250 " });
            write_decimal(replies, size);
            replies.extend_from_slice(b" octets\r\n");
        }
        None
    }
}
