//! The machine: one session, from its first octet to its last.

use std::rc::Rc;

use super::answer::{self, Answer};
use super::content::{DataStep, Spoilt};
use super::event::{CloseReason, CommandEvent, Event};
use super::hearing::{ClientWant, Hearing, PROXY_V2};
use super::line::{LineKind, LineReader, TakenLine};
use super::logins::Logins;
use super::policy::Policy;
use super::refusal::{Refusal, RefusalPhase, Refusals};
use super::relayed::Relayed;
use super::reply_counts::{ReplyCounts, VerbClass};
use super::state::{Greeting, ServerPhase, Transaction};
use crate::limits::{FOLLOWERS_MAX, REPLY_QUEUE_BYTES_MAX, SESSION_ERRORS_MAX, SESSION_JUNK_MAX};
use crate::scan::{self, Marks};
use crate::smtp::command::Verb;
use crate::smtp::deviation::Deviations;
use crate::smtp::envelope::{BodyKind, Envelope};
use crate::smtp::extension::Extensions;
use crate::smtp::flags::Flags;
use crate::smtp::protocol::Protocol;
use crate::smtp::reply::Reply;

/// The server's side of one session.
#[derive(Debug)]
pub struct Server {
    pub(super) policy: Rc<Policy>,
    /// What this listener has on offer, whoever the client is: in plain text, or under TLS.
    pub(super) available: Extensions,
    /// Whether the session is under TLS.
    pub(super) secured: bool,
    pub(super) greeting: Greeting,
    /// Argument of the last good HELO, EHLO or LHLO.
    pub(super) hello: Vec<u8>,
    /// Of that argument.
    pub(super) hello_deviations: Deviations,
    /// Of the line of the command that is carried out.
    pub(super) line_deviations: Deviations,
    /// Of all that was taken in this session, and of the lines of its commands.
    pub(super) session_deviations: Deviations,
    pub(super) phase: ServerPhase,
    pub(super) transaction: Transaction,
    /// Empty unless a transaction is open; kept here for the sake of its memory.
    pub(super) envelope: Envelope,
    pub(super) lines: LineReader,
    pub(super) logins: Logins,
    /// Answer to every MAIL while the caller has no room.
    pub(super) no_room: Option<Reply>,
    /// Since the last accepted message.
    pub(super) errors: u32,
    /// How many more commands may fail uncounted, because they need what a refused command was to do. A client
    /// that sends them in one flight with that command has not erred.
    pub(super) followers: u32,
    /// Commands that did no work, since the last accepted message.
    pub(super) junk: u32,
    /// Whether the client said MAIL, whatever came of it.
    pub(super) said_mail: bool,
    /// Grows with each change of what is known of the client.
    pub(super) client_version: u32,
    /// Whether the peer may say XCLIENT.
    pub(super) xclient_trusted: bool,
    /// What it said.
    pub(super) relayed: Option<Box<Relayed>>,
    /// What the next reply answers.
    pub(super) answering: VerbClass,
    /// The verb that it answers, as far as `answering` does not say it.
    pub(super) verb: Verb,
    /// Replies since they were taken last.
    pub(super) counts: ReplyCounts,
    /// Refusals since they were taken last.
    pub(super) refusals: Refusals,
    /// What the client asked for that is not there.
    pub(super) want: Option<ClientWant>,
    /// What the client says; `None` unless somebody listens in.
    pub(super) hearing: Option<Box<Hearing>>,
}

impl Server {
    pub fn new(policy: Rc<Policy>) -> Self {
        Self {
            available: policy.offered_under(false),
            policy,
            secured: false,
            greeting: Greeting::Unheard,
            hello: Vec::new(),
            hello_deviations: Deviations::empty(),
            line_deviations: Deviations::empty(),
            session_deviations: Deviations::empty(),
            phase: ServerPhase::Command,
            transaction: Transaction::Idle,
            envelope: Envelope::default(),
            lines: LineReader::default(),
            logins: Logins::default(),
            no_room: None,
            errors: 0,
            followers: 0,
            junk: 0,
            said_mail: false,
            client_version: 0,
            xclient_trusted: false,
            relayed: None,
            answering: VerbClass::Other,
            verb: Verb::Unknown,
            counts: ReplyCounts::default(),
            refusals: Refusals::default(),
            want: None,
            hearing: None,
        }
    }

    /// Appends the greeting.
    pub fn greet(&mut self, replies: &mut Vec<u8>) {
        replies.extend_from_slice(b"220 ");
        replies.extend_from_slice(self.policy.hostname.as_bytes());
        replies.extend_from_slice(match self.policy.protocol {
            Protocol::Smtp if !self.policy.commands.esmtp => b" SMTP ringpost\r\n",
            Protocol::Smtp => b" ESMTP ringpost\r\n",
            Protocol::Lmtp => b" LMTP ringpost\r\n",
        });
        self.counts.count(VerbClass::Connect, b'2', 1);
    }

    /// Takes from `input`, moves it on, appends replies, and answers what the caller has to do.
    ///
    /// Call until it answers `None`; only then send the replies and read again. `None` means that
    /// all input is taken, except when the server has [turned](Server::turned) or waits for a handshake, or when `replies` holds
    /// [`REPLY_QUEUE_BYTES_MAX`] octets or more: then send them and call again with the rest. The events
    /// do not depend on how the input is cut, except that `Body` pieces are cut where it is.
    #[inline]
    pub fn step<'a>(&mut self, input: &mut &'a [u8], replies: &mut Vec<u8>) -> Option<Event<'a>> {
        loop {
            let rendered = replies.len();
            let event = match &mut self.phase {
                ServerPhase::Command | ServerPhase::Auth(_) => {
                    if replies.len() >= REPLY_QUEUE_BYTES_MAX {
                        return None;
                    }
                    self.command(input, replies)?.map(Event::from)
                }
                ServerPhase::Data(data) => match data.step(input, &self.policy)? {
                    DataStep::Body(piece) => Some(Event::Body(piece)),
                    DataStep::Lost => Some(Event::Discard),
                    DataStep::End(end) => self.end_data(end, replies).map(Event::from),
                },
                ServerPhase::Chunk(chunk) => {
                    if let Some(piece) = chunk.take(input) {
                        self.chunk_piece(piece)
                    } else if chunk.left > 0 {
                        return None;
                    } else {
                        self.end_chunk(replies).map(Event::from)
                    }
                }
                ServerPhase::Verdict | ServerPhase::Request(_) => {
                    debug_assert!(false, "a verdict or an answer is due before the next step");
                    return None;
                }
                ServerPhase::Turned | ServerPhase::Encrypting => return None,
                ServerPhase::Closing => {
                    self.phase = ServerPhase::Closed;
                    Some(Event::Close)
                }
                ServerPhase::Closed => {
                    *input = &[];
                    return None;
                }
            };
            if let Some(digit) = replies.get(rendered) {
                let (digit, lines) = (*digit, self.lines_of(&replies[rendered..]));
                self.counts.count(self.answering, digit, lines);
                if digit >= b'4' {
                    let phase = RefusalPhase::of(self.answering, self.verb);
                    self.refusals.note(phase, &replies[rendered..], lines);
                }
            }
            self.check_invariants();
            if event.is_some() {
                return event;
            }
        }
    }

    /// The replies since the last call of this. Those to an end of data that
    /// [`end_accepted`](Server::end_accepted) left to the caller are the caller's to count.
    pub fn take_counts(&mut self) -> ReplyCounts {
        std::mem::take(&mut self.counts)
    }

    /// Whether something was refused since the refusals were taken last.
    #[inline]
    pub fn has_refused(&self) -> bool {
        !self.refusals.0.is_empty()
    }

    /// Takes the refusals since the last call of this: each kind once, with how often it came. As with
    /// [`take_counts`](Server::take_counts), some are the caller's to count.
    pub fn drain_refusals(&mut self) -> impl Iterator<Item = (Refusal, u32)> {
        self.refusals.0.drain(..)
    }

    /// Replies among those octets: one, except at the end of data in LMTP.
    #[inline]
    fn lines_of(&self, replies: &[u8]) -> usize {
        match self.answering {
            VerbClass::EndOfData => memchr::memchr_iter(b'\n', replies).count(),
            _ => 1,
        }
    }

    /// Answers each MAIL with `reply` from now on, or takes them again. For a caller that has no
    /// room: 452 4.3.1.
    pub fn set_no_room(&mut self, reply: Option<Reply>) {
        self.no_room = reply;
    }

    /// Complete and unchanging from `Begin` until the verdict or `Discard`.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// How the greeting, the envelope and, where it has ended, the message stray from the grammar.
    pub fn deviations(&self) -> Deviations {
        self.hello_deviations | self.envelope.deviations
    }

    /// How anything that was taken in this session strays from the grammar, whether a message came of it or not.
    pub fn session_deviations(&self) -> Deviations {
        self.session_deviations
    }

    /// Whether a message has begun and not ended.
    pub fn mid_message(&self) -> bool {
        matches!(self.phase, ServerPhase::Data(_) | ServerPhase::Chunk(_))
            || matches!(self.transaction, Transaction::Chunks(_))
    }

    /// Whether the client must send more octets before there is anything to answer.
    pub fn awaiting_more(&self) -> bool {
        matches!(self.phase, ServerPhase::Data(_) | ServerPhase::Chunk(_)) || self.lines.is_open()
    }

    /// Appends the reply that ends the session, and forgets an open transaction: what `Body` gave is
    /// to be forgotten by the caller too. All further input is ignored.
    pub fn close_for(&mut self, why: CloseReason, replies: &mut Vec<u8>) {
        let rendered = replies.len();
        self.say(
            match why {
                CloseReason::Timeout => &answer::TIMEOUT,
                CloseReason::ShuttingDown => &answer::SHUTTING_DOWN,
                CloseReason::Overloaded => &answer::OVERLOADED,
                CloseReason::TooManyErrors => &answer::TOO_MANY_ERRORS,
                CloseReason::PeerCrowd => &answer::PEER_CROWD,
                CloseReason::EarlyTalker => &answer::EARLY_TALKER,
                CloseReason::RecordCrowd => &answer::RECORD_CROWD,
            },
            replies,
        );
        self.counts.count(VerbClass::Other, replies[rendered], 1);
        let phase = match why {
            CloseReason::Overloaded | CloseReason::PeerCrowd | CloseReason::EarlyTalker => {
                RefusalPhase::Connect
            }
            CloseReason::Timeout
            | CloseReason::ShuttingDown
            | CloseReason::TooManyErrors
            | CloseReason::RecordCrowd => RefusalPhase::Session,
        };
        self.refusals.note(phase, &replies[rendered..], 1);
        self.reset_transaction();
        self.phase = ServerPhase::Closed;
    }

    /// Takes one command. The outer `None`: there is no whole one.
    #[inline]
    fn command(
        &mut self,
        input: &mut &[u8],
        replies: &mut Vec<u8>,
    ) -> Option<Option<CommandEvent>> {
        self.answering = VerbClass::Other;
        self.verb = Verb::Unknown;
        if self.errors >= SESSION_ERRORS_MAX {
            let idle = self.junk > SESSION_JUNK_MAX;
            let answer = if idle { &answer::TOO_MUCH_JUNK } else { &answer::TOO_MANY_ERRORS };
            return Some(self.hang_up(answer, replies));
        }
        if self.greeting == Greeting::Unheard {
            if self.lines.starts_with(input, TLS_HELLO) {
                self.want = Some(ClientWant::ImplicitTls);
                return Some(self.hang_up(&answer::NOT_SMTP, replies));
            }
            if self.lines.starts_with(input, PROXY_V2) {
                self.want = Some(ClientWant::ProxyHeader);
            }
        }
        let expected = if matches!(self.phase, ServerPhase::Auth(_)) {
            LineKind::Auth
        } else {
            LineKind::Command
        };
        let event = match self.lines.take(input, expected)? {
            TakenLine::Line(line) => self.line(line, replies),
            TakenLine::Held => {
                let held = self.lines.held();
                let event = self.line(&held, replies);
                self.lines.give_back(held);
                event
            }
            TakenLine::TooLong(LineKind::Command) => {
                self.note_heard(format_args!("(a line that is too long)"));
                self.fail(&answer::LINE_TOO_LONG, replies)
            }
            TakenLine::TooLong(LineKind::Auth) => self.auth_line_too_long(replies),
            TakenLine::Noise => self.hang_up(&answer::NOISE, replies),
        };
        if self.greeting == Greeting::Unheard {
            self.greeting = Greeting::Awaited;
        }
        if event == Some(CommandEvent::StartTls) && !input.is_empty() {
            return Some(self.octets_behind_starttls(replies));
        }
        Some(event)
    }

    fn line(&mut self, line: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        if self.hearing.is_some() {
            self.hear(line, matches!(self.phase, ServerPhase::Auth(_)));
        }
        if matches!(self.phase, ServerPhase::Auth(_)) {
            self.verb = Verb::Auth;
            return self.auth_response(line, replies);
        }
        if scan::has_bare_newline(line) {
            return self.fail(&answer::BARE_NEWLINE_IN_COMMAND, replies);
        }
        self.execute(line, replies)
    }

    /// The one way out of a transaction, taken by every path that ends one: envelope and state go
    /// together. Answers `Discard` when the caller holds octets of a message that is lost.
    pub(super) fn reset_transaction(&mut self) -> Option<CommandEvent> {
        self.envelope.clear();
        let transaction = std::mem::replace(&mut self.transaction, Transaction::Idle);
        matches!(transaction, Transaction::Chunks(_)).then_some(CommandEvent::Discard)
    }

    /// The end of a message sent with DATA.
    fn end_data(
        &mut self,
        end: Result<Marks, Spoilt>,
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        match end {
            Ok(marks) => Some(self.end_message(marks, Flags::default())),
            Err(spoilt) => {
                self.answering = VerbClass::EndOfData;
                let start = replies.len();
                self.say(spoilt.answer(), replies);
                self.repeat_for_recipients(start, replies);
                self.phase = ServerPhase::Command;
                self.reset_transaction()
            }
        }
    }

    pub(super) fn end_message(&mut self, marks: Marks, framing: Flags) -> CommandEvent {
        self.phase = ServerPhase::Verdict;
        let mut flags = framing;
        flags.set(Flags::BARE_CR, marks.bare_cr);
        flags.set(Flags::BARE_LF, marks.bare_lf);
        flags.set(Flags::EIGHT_BIT, marks.eight_bit);
        flags.set(Flags::NUL, marks.nul);
        flags.set(Flags::SMTPUTF8, self.envelope.smtputf8());
        flags.set(Flags::TLS, self.secured);
        flags.set(Flags::LMTP, self.policy.protocol == Protocol::Lmtp);
        // Binary content has no lines (RFC 3030 §3).
        if self.envelope.body() != BodyKind::Binary {
            let mut seen = Deviations::empty();
            seen.set(Deviations::BARE_CR, marks.bare_cr);
            seen.set(Deviations::BARE_LF, marks.bare_lf);
            self.envelope.deviations |= seen;
            self.session_deviations |= seen;
        }
        CommandEvent::End(flags)
    }

    /// LMTP: one reply for each recipient (RFC 2033 §4.2). The first stands at `start`.
    fn repeat_for_recipients(&self, start: usize, replies: &mut Vec<u8>) {
        if self.policy.protocol == Protocol::Lmtp {
            repeat(start, self.envelope.recipient_count(), replies);
        }
    }

    #[inline]
    pub(super) fn enhanced(&self) -> bool {
        self.available.contains(Extensions::ENHANCED_STATUS_CODES)
    }

    #[inline]
    pub(super) fn say(&self, answer: &Answer, replies: &mut Vec<u8>) {
        replies.extend_from_slice(answer.bytes(self.enhanced()));
    }

    /// Appends an answer that counts as an error.
    #[cold]
    pub(super) fn fail(&mut self, answer: &Answer, replies: &mut Vec<u8>) -> Option<CommandEvent> {
        self.errors += 1;
        self.say(answer, replies);
        None
    }

    /// A command was refused that others build on.
    #[cold]
    pub(super) fn expect_followers(&mut self) {
        self.followers = FOLLOWERS_MAX;
    }

    /// Appends an answer that counts as an error, unless it is due to a refusal before.
    #[cold]
    pub(super) fn fail_unless_following(
        &mut self,
        answer: &Answer,
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        if !self.follows() {
            return self.fail(answer, replies);
        }
        self.say(answer, replies);
        None
    }

    /// Whether a command that cannot work follows a refused one in the flight.
    pub(super) fn follows(&mut self) -> bool {
        let follows = self.followers > 0;
        self.followers = self.followers.saturating_sub(1);
        follows
    }

    /// Appends the last answer of the session.
    #[cold]
    pub(super) fn hang_up(
        &mut self,
        answer: &Answer,
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        self.say(answer, replies);
        self.phase = ServerPhase::Closing;
        self.reset_transaction()
    }

    #[inline]
    pub(super) fn check_invariants(&self) {
        debug_assert!(match &self.transaction {
            Transaction::Idle | Transaction::Failed { .. } => self.envelope.is_empty(),
            Transaction::Mail { .. } => matches!(self.greeting, Greeting::Helo | Greeting::Ehlo),
            Transaction::Chunks(_) => self.envelope.recipient_count() > 0,
        });
        debug_assert!(match &self.phase {
            ServerPhase::Data(_) => matches!(self.transaction, Transaction::Mail { .. }),
            ServerPhase::Chunk(chunk) =>
                chunk.is_good() == matches!(self.transaction, Transaction::Chunks(_)),
            ServerPhase::Verdict => self.envelope.recipient_count() > 0,
            ServerPhase::Command => true,
            ServerPhase::Auth(_) => {
                self.identity().is_none() && matches!(self.transaction, Transaction::Idle)
            }
            ServerPhase::Request(_)
            | ServerPhase::Turned
            | ServerPhase::Encrypting
            | ServerPhase::Closing
            | ServerPhase::Closed => matches!(self.transaction, Transaction::Idle),
        });
    }
}

/// The first octets of a TLS record that carries a client hello.
const TLS_HELLO: &[u8] = &[0x16, 0x03];

/// Makes `count` lines of the one that starts at `start`.
pub(super) fn repeat(start: usize, count: usize, replies: &mut Vec<u8>) {
    let end = replies.len();
    if count == 0 {
        replies.truncate(start);
    }
    for _ in 1..count {
        replies.extend_from_within(start..end);
    }
}
