//! The end of a message: what the server is told of it, and the reply that the client gets.
//!
//! A caller that must wait until it knows whether a message is kept ends the transaction with
//! [`Server::end_accepted`], goes on, and renders the reply when it knows.

use super::machine::{Server, repeat};
use super::refusal::{Refusal, RefusalPhase};
use super::reply_counts::VerbClass;
use super::state::ServerPhase;
use crate::smtp::deviation::Deviations;
use crate::smtp::protocol::Protocol;
use crate::smtp::reply::Reply;
use crate::smtp::syntax::Syntax;

/// The reply that an end of data is owed: all that its text depends on, except the verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EndOfData {
    /// Lines of the reply: in LMTP one for each recipient (RFC 2033 §4.2), else one.
    lines: usize,
    /// Whether replies carry enhanced status codes (RFC 2034).
    enhanced: bool,
    /// Of bare newlines, which the 250 tells.
    seen: Deviations,
}

impl EndOfData {
    /// How many replies this is.
    pub fn lines(self) -> usize {
        self.lines
    }

    /// Appends the 250: the message is ours now (RFC 5321 §6.1). `id` names it.
    pub fn accept(self, id: impl AsRef<[u8]>, replies: &mut Vec<u8>) {
        let start = replies.len();
        let lead: &[u8] =
            if self.enhanced { b"250 2.0.0 Ok: queued as " } else { b"250 Ok: queued as " };
        replies.extend_from_slice(lead);
        replies.extend_from_slice(id.as_ref());
        if !self.seen.is_empty() {
            replies.extend_from_slice(self.note().as_bytes());
        }
        replies.extend_from_slice(b"\r\n");
        repeat(start, self.lines, replies);
    }

    /// What [`EndOfData::refuse`] with this reply is.
    pub fn refusal(self, reply: Reply) -> Refusal {
        let enhanced = reply.enhanced.filter(|_| self.enhanced);
        Refusal { phase: RefusalPhase::EndOfData, code: reply.code, enhanced }
    }

    /// A client that does not know of its bare newlines learns of them here. Led by a space.
    #[cold]
    fn note(self) -> &'static str {
        let seen = self.seen;
        match (seen.contains(Deviations::BARE_CR), seen.contains(Deviations::BARE_LF)) {
            (false, false) => "",
            (true, false) => " (bare CR)",
            (false, true) => " (bare LF)",
            (true, true) => " (bare CR and LF)",
        }
    }

    /// Appends `reply`: the message was not taken.
    pub fn refuse(self, reply: Reply, replies: &mut Vec<u8>) {
        let start = replies.len();
        reply.write(replies, self.enhanced);
        repeat(start, self.lines, replies);
    }
}

impl Server {
    /// Answers the end of data with 250: the message is ours now (RFC 5321 §6.1). `id` names it in
    /// the reply. In LMTP each recipient gets the reply.
    pub fn accept(&mut self, id: impl AsRef<[u8]>, replies: &mut Vec<u8>) {
        let reply = self.end_accepted();
        reply.accept(id, replies);
        self.counts.count(VerbClass::EndOfData, b'2', reply.lines);
    }

    /// Answers the end of data with `reply`: the message was not taken. In LMTP each recipient gets
    /// the reply.
    pub fn refuse(&mut self, reply: Reply, replies: &mut Vec<u8>) {
        let end = self.end_of_data();
        let rendered = replies.len();
        end.refuse(reply, replies);
        self.refusals.note(RefusalPhase::EndOfData, &replies[rendered..], end.lines);
        self.counts.count(VerbClass::EndOfData, reply.first_digit(), end.lines);
        self.finish_verdict();
    }

    /// Ends the transaction of a message that was taken, as [`Server::accept`] does, and leaves the
    /// reply to the caller: it has to stand among the replies where it would stand now.
    pub fn end_accepted(&mut self) -> EndOfData {
        let reply = self.end_of_data();
        self.errors = 0;
        self.junk = 0;
        self.finish_verdict();
        reply
    }

    fn end_of_data(&self) -> EndOfData {
        let lines = match self.policy.protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => self.envelope.recipient_count(),
        };
        debug_assert!(lines > 0, "a message has a recipient");
        let told = match self.policy.syntax {
            Syntax::Strict => Deviations::empty(),
            Syntax::Lenient => Deviations::BARE_CR | Deviations::BARE_LF,
        };
        let seen = self.envelope.deviations & told;
        EndOfData { lines, enhanced: self.enhanced(), seen }
    }

    fn finish_verdict(&mut self) {
        debug_assert!(matches!(self.phase, ServerPhase::Verdict), "no message awaits a verdict");
        self.reset_transaction();
        self.phase = ServerPhase::Command;
        self.check_invariants();
    }
}
