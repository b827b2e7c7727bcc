//! Message content on its way in: the two framings, DATA and BDAT.

use super::answer::{self, Answer};
use super::policy::{BareNewline, Policy};
use crate::scan::{Census, Marks};
use crate::smtp::body::{Unstuffed, Unstuffer};

/// Content that was let through so far.
#[derive(Debug, Default)]
pub(super) struct IncomingContent {
    pub(super) octets: u64,
    census: Census,
}

impl IncomingContent {
    #[inline]
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.octets += piece.len() as u64;
        self.census.feed(piece);
    }

    /// What the content, now complete, has in it.
    pub(super) fn marks(&self) -> Marks {
        self.census.finish()
    }
}

/// Why a message is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Spoilt {
    BareNewline,
    TooLarge,
}

impl Spoilt {
    pub(super) fn answer(self) -> &'static Answer {
        match self {
            Self::BareNewline => &answer::BARE_NEWLINE_IN_MESSAGE,
            Self::TooLarge => &answer::TOO_LARGE,
        }
    }
}

/// A message after 354.
#[derive(Debug, Default)]
pub(super) struct Data {
    unstuffer: Unstuffer,
    content: IncomingContent,
    /// Whether the message is lost. It is still read to its true end, because the client goes on
    /// sending it.
    lost: bool,
}

/// What [`Data::step`] found.
pub(super) enum DataStep<'a> {
    Body(&'a [u8]),
    /// The message is lost from here on. Said once.
    Lost,
    End(Result<Marks, Spoilt>),
}

impl Data {
    /// The verdict is passed at the end, on the whole: a message with two faults must get the same
    /// answer however it was cut.
    #[inline]
    pub(super) fn step<'a>(
        &mut self,
        input: &mut &'a [u8],
        policy: &Policy,
    ) -> Option<DataStep<'a>> {
        loop {
            let piece = match self.unstuffer.step(input)? {
                Unstuffed::Text(piece) => piece,
                Unstuffed::End => {
                    let end = self.judge(policy).map_or_else(|| Ok(self.content.marks()), Err);
                    return Some(DataStep::End(end));
                }
            };
            self.content.feed(piece);
            if self.lost {
                continue;
            }
            self.lost = self.judge(policy).is_some();
            return Some(if self.lost { DataStep::Lost } else { DataStep::Body(piece) });
        }
    }

    /// Whether what came so far has an LF without CR.
    pub(super) fn has_bare_lf(&self) -> bool {
        self.content.census.marks().bare_lf
    }

    #[inline]
    fn judge(&self, policy: &Policy) -> Option<Spoilt> {
        if self.content.octets > policy.message_bytes_max {
            return Some(Spoilt::TooLarge);
        }
        let refused = policy.bare_newline == BareNewline::Reject
            && self.content.census.marks().bare_newline();
        refused.then_some(Spoilt::BareNewline)
    }
}

/// A chunk after BDAT. Its octets are taken whatever becomes of them (RFC 3030 §2).
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) size: u64,
    pub(super) left: u64,
    pub(super) last: bool,
    pub(super) fate: ChunkFate,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ChunkFate {
    /// Its octets belong to the open message.
    Good,
    /// Its octets go nowhere, and this is the reply. In LMTP the last chunk is answered once for each
    /// of `recipients` (RFC 2033 §4.3). It `follows` a refusal, and counts for no error of its own.
    Refused { answer: &'static Answer, recipients: usize, follows: bool },
}

impl Chunk {
    pub(super) fn is_good(&self) -> bool {
        matches!(self.fate, ChunkFate::Good)
    }

    /// Takes what `input` has of the chunk. `None`: the chunk is complete, or there is no input.
    #[inline]
    pub(super) fn take<'a>(&mut self, input: &mut &'a [u8]) -> Option<&'a [u8]> {
        let octets = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (piece, rest) = input.split_at(octets);
        *input = rest;
        self.left -= octets as u64;
        (!piece.is_empty()).then_some(piece)
    }
}
