//! The client's side of a session (RFC 5321 §3): what may be written now, and what each reply means.
//!
//! The machine never sees a socket. Its user runs two loops in turn:
//!
//! 1. [`Client::want`] until it answers [`Want::Replies`] (or [`Want::Close`]), doing what it asks;
//! 2. send what was written, read, and [`Client::step`] until it answers `None`.
//!
//! Replies come in the order of the commands, so all that is remembered of what was sent is a queue
//! of expectations, one per kind of command and transaction; its room is reused. This file writes,
//! `answers` reads.

mod answers;
mod auth;
mod starttls;

use std::collections::VecDeque;
use std::sync::Arc;

use super::auth::Login;
use super::command::{write_bdat, write_hello};
use super::offered::Offered;
use super::outgoing::Outgoing;
use super::reply::{EnhancedCode, ReplyFault, ReplyReader};
use super::server::Protocol;
use crate::limits::FLIGHT_REPLIES_MAX;
use answers::Answered;
pub use answers::RecipientReplies;
use auth::AuthProgress;
pub use starttls::Upgrade;
use starttls::UpgradeProgress;

/// How much is written before a reply is awaited.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Pipelining {
    /// One command, one reply.
    #[default]
    None,
    /// MAIL, every RCPT and DATA in one write (RFC 2920 §3.1).
    Commands,
    /// As `Commands`, and the next envelope is sent right after the final dot.
    Full,
}

/// How a client greets.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Hello {
    /// EHLO, and HELO where the server does not know it; LHLO in LMTP.
    #[default]
    Extended,
    /// HELO.
    Plain,
    /// Not at all: MAIL comes first, as before RFC 821.
    None,
}

impl Hello {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Extended => "ehlo",
            Self::Plain => "helo",
            Self::None => "none",
        }
    }
}

/// What a session is to be like. The caller has checked all but `name`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub protocol: Protocol,
    pub pipelining: Pipelining,
    /// BDAT (RFC 3030) instead of DATA.
    pub chunking: bool,
    /// Transactions in one flight; means something with `chunking` and pipelining only.
    pub depth: usize,
    /// Whether an address is not ASCII, which only a server with SMTPUTF8 may be told (RFC 6531).
    pub smtputf8: bool,
    pub hello: Hello,
    /// Argument of EHLO, HELO and LHLO.
    pub name: Box<[u8]>,
    /// STARTTLS after the greeting, which is repeated then.
    pub upgrade: Upgrade,
    /// AUTH after the greeting; without success there is no transaction.
    pub login: Option<Arc<Login>>,
}

/// Which command a reply answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ReplyTo {
    Banner,
    Hello,
    StartTls,
    /// AUTH, and each answer to a challenge.
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The final dot, or the last BDAT chunk.
    EndOfData,
    Rset,
    Quit,
    /// None: the server closes the session (421) without being asked.
    Unasked,
}

/// How an attempted message ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransactionVerdict {
    /// The server took it, for at least one recipient.
    Accepted,
    /// Refused with this code: the first that decided it.
    Refused(u16),
}

/// One whole reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplyEvent {
    pub phase: ReplyTo,
    /// Number of the transaction, from 1 on in each session; 0 outside of transactions.
    pub transaction: u64,
    pub code: u16,
    /// Of a refusal (4xx, 5xx); the enhanced code of a success says nothing new and is not read.
    pub enhanced: Option<EnhancedCode>,
    /// Set on the reply that decides a transaction; every transaction gets one, in order, unless
    /// the session ends before.
    pub verdict: Option<TransactionVerdict>,
}

/// Why a session cannot go on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error("the server's answer is not SMTP: {0}")]
    Reply(#[from] ReplyFault),
    #[error("the server answered {code} although nothing was asked")]
    Unasked { code: u16 },
    #[error("the server answered {code} where the protocol has no such reply")]
    OutOfPlace { phase: ReplyTo, code: u16 },
    #[error("the server does not offer {0}")]
    NotOffered(&'static str),
    /// Whoever stands between may have written them: under TLS they would pass for the server's.
    #[error("the server sent more octets behind its 220 to STARTTLS, before the handshake")]
    BehindStartTls,
    /// The server offers none of the mechanisms that the login can use.
    #[error("the server offers no AUTH mechanism that can be used here")]
    NoMechanism,
}

/// What the machine waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Want {
    /// Replies; nothing may be written before they arrive.
    Replies,
    /// A new transaction: call [`Client::begin`], or [`Client::quit`] when there is none.
    Transaction,
    /// The next line of the open envelope: call [`Client::resume`] with the same envelope.
    Envelope,
    /// The message's octets, exactly `Outgoing::size` of them, then [`Client::body_done`].
    RawBody,
    /// The message's octets, dot-stuffed and ending in CRLF, then [`Client::body_done`].
    StuffedBody,
    /// The handshake of TLS, as the client of it, then [`Client::secured`]. If it fails, close: nothing may be
    /// said in plain text any more, QUIT neither.
    Encrypt,
    /// The session is over: close.
    Close,
}

#[derive(Clone, Copy, Debug)]
struct ExpectedReplies {
    phase: ReplyTo,
    transaction: u64,
    /// Replies still to come. For `EndOfData` in LMTP it is settled when its turn comes, since the
    /// answers to RCPT decide it.
    left: u32,
}

/// Where the writing stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ClientStage {
    /// A greeting with this verb is due.
    Hello(HelloVerb),
    /// STARTTLS is due, and then the handshake.
    StartTls,
    Encrypt,
    /// AUTH, or the next line of its exchange, is due.
    Auth,
    /// A reply decides what comes next.
    Waiting,
    /// Between transactions.
    Idle,
    /// Unpipelined: the envelope's next line is due, a RCPT or what begins the body.
    Line,
    RawBody,
    StuffedBody,
    /// 354 although no recipient was accepted: the dot alone ends it (RFC 2920 §3.1).
    LoneDot,
    /// The server refused the session as a whole: QUIT is due.
    Leaving,
    Closed,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum HelloVerb {
    Ehlo,
    Helo,
    Lhlo,
}

impl HelloVerb {
    fn name(self) -> &'static str {
        match self {
            Self::Ehlo => "EHLO",
            Self::Helo => "HELO",
            Self::Lhlo => "LHLO",
        }
    }
}

/// One session, client's side.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    reader: ReplyReader,
    expected: VecDeque<ExpectedReplies>,
    stage: ClientStage,
    verb: HelloVerb,
    offered: Offered,
    upgraded: UpgradeProgress,
    entry: AuthProgress,
    /// The server has taken EHLO, or what stands in its place, at least once.
    greeted: bool,
    ready: bool,
    /// Why the session cannot go on after the reply that was read last.
    fault: Option<Fault>,
    /// Transactions begun; the number of the latest.
    begun: u64,
    /// Transactions and replies of the flight being written.
    flight: usize,
    flight_replies: usize,
    /// Unpipelined: recipients of the open transaction that RCPT has not named yet.
    unasked: usize,
    answered: Answered,
    /// The server may hold a half-done transaction: RSET before the next.
    dirty: bool,
    refusal: Vec<u8>,
    /// Whether more lines of that reply are to come.
    refusal_open: bool,
    /// What `refusal` answered, and its code.
    refused: Option<(&'static str, ReplyTo, u16)>,
}

/// A reply that refused something.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The command in the words of the protocol; for the banner, the connection.
    pub command: &'static str,
    pub phase: ReplyTo,
    pub code: u16,
    /// Without the code, all lines in one.
    pub text: &'a [u8],
}

impl Client {
    /// A session whose banner is awaited.
    pub fn new(settings: Settings) -> Self {
        let verb = match (settings.protocol, settings.hello) {
            (Protocol::Lmtp, _) => HelloVerb::Lhlo,
            (Protocol::Smtp, Hello::Plain) => HelloVerb::Helo,
            (Protocol::Smtp, _) => HelloVerb::Ehlo,
        };
        let mut client = Self {
            expected: VecDeque::with_capacity(3 * settings.depth.max(2) + 2),
            settings,
            reader: ReplyReader::default(),
            stage: ClientStage::Waiting,
            verb,
            offered: Offered::default(),
            upgraded: UpgradeProgress::default(),
            entry: AuthProgress::default(),
            greeted: false,
            ready: false,
            fault: None,
            begun: 0,
            flight: 0,
            flight_replies: 0,
            unasked: 0,
            answered: Answered::default(),
            dirty: false,
            refusal: Vec::new(),
            refusal_open: false,
            refused: None,
        };
        client.expect(ReplyTo::Banner, 1);
        client
    }

    /// What the server offered in its answer to EHLO or LHLO.
    pub fn offered(&self) -> &Offered {
        &self.offered
    }

    /// Whether the greeting is done and transactions may follow.
    pub fn ready(&self) -> bool {
        self.ready
    }

    /// What the next reply answers; `None` while nothing is asked.
    pub fn awaited(&self) -> Option<ReplyTo> {
        self.expected.front().map(|expected| expected.phase)
    }

    /// Whether the server has ended the session.
    pub fn over(&self) -> bool {
        self.stage == ClientStage::Closed
    }

    /// Whether the server has refused EHLO as old ones do, and HELO is to follow.
    pub fn falls_back(&self) -> bool {
        self.stage == ClientStage::Hello(HelloVerb::Helo) && self.verb == HelloVerb::Ehlo
    }

    /// The command whose reply is awaited; the connection while that is the banner.
    pub fn awaited_command(&self) -> Option<&'static str> {
        self.awaited().map(|phase| self.command(phase))
    }

    /// A command in the words of the protocol.
    fn command(&self, phase: ReplyTo) -> &'static str {
        match phase {
            ReplyTo::Banner => "the connection",
            ReplyTo::Hello => self.verb.name(),
            ReplyTo::StartTls => "STARTTLS",
            ReplyTo::Auth => "AUTH",
            ReplyTo::Mail => "MAIL",
            ReplyTo::Rcpt => "RCPT",
            ReplyTo::Data => "DATA",
            ReplyTo::EndOfData => "the message",
            ReplyTo::Rset => "RSET",
            ReplyTo::Quit => "QUIT",
            ReplyTo::Unasked => "the session",
        }
    }

    /// Changes how the transactions to come are written. Between transactions only: when
    /// [`Want::Transaction`] asks for the next, and all before it are answered.
    pub fn adapt(&mut self, pipelining: Pipelining, chunking: bool) {
        debug_assert_eq!(self.stage, ClientStage::Idle);
        debug_assert!(self.expected.iter().all(|expected| expected.phase == ReplyTo::Rset));
        self.settings.pipelining = pipelining;
        self.settings.chunking = chunking;
    }

    /// What is to be written next. Writes by itself what needs no one else: greeting, RSET, the
    /// lone dot.
    pub fn want(&mut self, out: &mut Vec<u8>) -> Want {
        match self.stage {
            ClientStage::Hello(verb) => {
                self.verb = verb;
                write_hello(out, verb.name().as_bytes(), &self.settings.name);
                self.expect(ReplyTo::Hello, 1);
                self.stage = ClientStage::Waiting;
                Want::Replies
            }
            ClientStage::StartTls => {
                self.write_starttls(out);
                Want::Replies
            }
            ClientStage::Encrypt => Want::Encrypt,
            ClientStage::Auth => {
                self.write_auth(out);
                Want::Replies
            }
            ClientStage::Waiting => Want::Replies,
            ClientStage::Idle => self.want_when_idle(out),
            ClientStage::Line => Want::Envelope,
            ClientStage::RawBody => Want::RawBody,
            ClientStage::StuffedBody => Want::StuffedBody,
            ClientStage::LoneDot => {
                self.stage = ClientStage::StuffedBody;
                self.body_done(out);
                self.want(out)
            }
            ClientStage::Leaving => {
                self.quit(out);
                Want::Replies
            }
            ClientStage::Closed => Want::Close,
        }
    }

    fn want_when_idle(&mut self, out: &mut Vec<u8>) -> Want {
        if !self.expected.is_empty() {
            return if self.may_run_ahead() { Want::Transaction } else { Want::Replies };
        }
        self.flight = 0;
        self.flight_replies = 0;
        if self.dirty {
            self.dirty = false;
            out.extend_from_slice(b"RSET\r\n");
            self.expect(ReplyTo::Rset, 1);
            if self.lockstep() {
                return Want::Replies;
            }
        }
        Want::Transaction
    }

    /// Whether another transaction may follow unanswered ones.
    fn may_run_ahead(&self) -> bool {
        match (self.settings.pipelining, self.settings.chunking) {
            (Pipelining::None, _) | (Pipelining::Commands, false) => false,
            (Pipelining::Full, false) => true,
            (_, true) => {
                self.flight > 0
                    && self.flight < self.settings.depth
                    && self.flight_replies < FLIGHT_REPLIES_MAX
            }
        }
    }

    fn lockstep(&self) -> bool {
        self.settings.pipelining == Pipelining::None
    }

    /// Begins a transaction, which [`Want::Transaction`] asked for; answers its number.
    pub fn begin(&mut self, out: &mut Vec<u8>, envelope: &Outgoing<'_>) -> u64 {
        debug_assert_eq!(self.stage, ClientStage::Idle);
        debug_assert!(envelope.recipients.count() > 0);
        self.begun += 1;
        envelope.write_mail(out, &self.offered);
        self.expect(ReplyTo::Mail, 1);
        if self.lockstep() {
            self.unasked = envelope.recipients.count();
            self.stage = ClientStage::Waiting;
            return self.begun;
        }
        let count = envelope.recipients.count();
        envelope.recipients.write_all(out, envelope.filling);
        self.expect(ReplyTo::Rcpt, count as u32);
        self.flight += 1;
        self.flight_replies += count + 2;
        self.write_data(out, envelope.size);
        self.begun
    }

    /// Writes the next line of the envelope that [`Want::Envelope`] asked for.
    pub fn resume(&mut self, out: &mut Vec<u8>, envelope: &Outgoing<'_>) {
        debug_assert_eq!(self.stage, ClientStage::Line);
        if self.unasked == 0 {
            self.write_data(out, envelope.size);
            return;
        }
        let index = envelope.recipients.count() - self.unasked;
        envelope.recipients.write_one(index, out, envelope.filling);
        self.unasked -= 1;
        self.expect(ReplyTo::Rcpt, 1);
        self.stage = ClientStage::Waiting;
    }

    /// Ends the body that [`Want::RawBody`] or [`Want::StuffedBody`] asked for.
    pub fn body_done(&mut self, out: &mut Vec<u8>) {
        if self.stage == ClientStage::StuffedBody {
            out.extend_from_slice(b".\r\n");
            self.dirty = false;
        }
        self.expect(ReplyTo::EndOfData, 1);
        self.stage = ClientStage::Idle;
    }

    /// Writes QUIT; nothing may follow it.
    pub fn quit(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"QUIT\r\n");
        self.expect(ReplyTo::Quit, 1);
        self.stage = ClientStage::Waiting;
    }

    fn write_data(&mut self, out: &mut Vec<u8>, size: u64) {
        if self.settings.chunking {
            write_bdat(out, size, true);
            self.stage = ClientStage::RawBody;
        } else {
            out.extend_from_slice(b"DATA\r\n");
            self.expect(ReplyTo::Data, 1);
            self.stage = ClientStage::Waiting;
        }
    }

    fn expect(&mut self, phase: ReplyTo, count: u32) {
        let transaction = match phase {
            ReplyTo::Mail | ReplyTo::Rcpt | ReplyTo::Data | ReplyTo::EndOfData => self.begun,
            _ => 0,
        };
        self.expected.push_back(ExpectedReplies { phase, transaction, left: count });
    }
}
