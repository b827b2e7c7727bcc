//! One delivery over one connection: an SMTP or LMTP client session that sends what is queued.
//!
//! The connection is one that we made (ETRN) or one whose roles have turned round (ATRN).

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::reading::QueuedMessage;
use super::totals::DeliveryTally;
use super::transaction::{RelayHop, RelayTransaction};
use crate::dial::{Talk, TalkError, TargetSecurity, TlsMode, Wire};
use crate::engine::{Buf, Guard, Pool, Stream};
use crate::limits::SEND_PIECE_BYTES;
use crate::mailbox::Tracer;
use crate::smtp::body::Stuffer;
use crate::smtp::client::{Client, Fault, Hello, Pipelining, ReplyEvent, Settings, Upgrade, Want};
use crate::smtp::extension::Extensions;
use crate::smtp::server::Protocol;
use crate::spool::{Delivery, DeliveryFate, SpoolError};

/// Deliveries for the spool to note, and where to send its result.
pub(super) type Note = (Vec<Delivery>, oneshot::Sender<Result<(), SpoolError>>);

/// What a delivery works with.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) messages: mpsc::Receiver<QueuedMessage>,
    pub(super) notes: mpsc::Sender<Note>,
    /// Writes the Received field of each message, and knows our name.
    pub(super) tracer: Tracer,
    /// Time that the server gets for each reply.
    pub(super) timeout: Duration,
}

/// Why a delivery broke off.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("{0}")]
    Server(#[from] TalkError),
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("a message was recycled while it was sent")]
    Recycled,
    #[error("the sink is ending")]
    Ending,
}

impl From<Fault> for DeliveryError {
    fn from(fault: Fault) -> Self {
        Self::Server(fault.into())
    }
}

/// The connection that a delivery goes over.
#[derive(Debug)]
pub(super) struct DeliveryConnection<'c> {
    pub(super) stream: &'c mut Stream,
    pub(super) guard: &'c Guard,
    pub(super) pool: &'c Rc<Pool>,
    /// What receives fill: empty, or under TLS with the record whose end has not come.
    pub(super) inbox: Buf,
    /// How it is to go under TLS; `None` leaves it as it is.
    pub(super) security: Option<&'c TargetSecurity>,
}

pub(super) struct DeliverySession<'c> {
    talk: Talk<&'c mut Stream, &'c Guard>,
    pool: &'c Rc<Pool>,
    security: Option<&'c TargetSecurity>,
    /// The server has proved who it is.
    is_verified: bool,
    /// When it returns true, no further message begins.
    leave: &'c dyn Fn() -> bool,
    inputs: Inputs,
    protocol: Protocol,
    transaction: Option<RelayTransaction>,
    tally: DeliveryTally,
}

impl<'c> DeliverySession<'c> {
    pub(super) fn new(
        inputs: Inputs,
        protocol: Protocol,
        connection: DeliveryConnection<'c>,
        leave: &'c dyn Fn() -> bool,
    ) -> Self {
        let DeliveryConnection { stream, guard, pool, inbox, security } = connection;
        let settings = Settings {
            protocol,
            pipelining: Pipelining::None,
            chunking: false,
            depth: 1,
            smtputf8: false,
            hello: Hello::Extended,
            name: inputs.tracer.hostname.as_bytes().into(),
            upgrade: security.map_or(Upgrade::Never, |security| security.mode.upgrade()),
            login: None,
        };
        let wire = Wire::new(stream, guard, inputs.timeout, pool.small(), inbox);
        Self {
            talk: Talk::new(wire, Client::new(settings)),
            pool,
            security,
            is_verified: false,
            leave,
            inputs,
            protocol,
            transaction: None,
            tally: DeliveryTally::default(),
        }
    }

    /// Sends every message that it gets. `said` is what the server has sent already.
    pub(super) async fn run(mut self, said: &[u8]) -> DeliveryTally {
        self.talk.wire.preload(said);
        let outcome = self.converse().await;
        // Recipients decided before the connection broke stay decided: LMTP answers for each of them.
        let decided =
            self.transaction.take().map_or_else(Vec::new, |transaction| transaction.settled());
        if let Err(lost) = outcome.and(self.settle(decided).await) {
            self.tally.note(|| lost.to_string());
        } else if !self.talk.client().ready() {
            // What the server says may end up on a terminal.
            let refusal = self.talk.client().refusal().escape_ascii().to_string();
            self.tally.note(|| format!("the server refuses to talk: {refusal}"));
        }
        self.talk.wire.part().await;
        self.talk.release(self.pool);
        self.tally
    }

    async fn converse(&mut self) -> Result<(), DeliveryError> {
        if self.security.is_some_and(|security| security.mode == TlsMode::Implicit) {
            self.secure().await?;
        }
        self.read().await?;
        loop {
            match self.talk.want() {
                Want::Replies => self.exchange().await?,
                Want::Close => return Ok(()),
                Want::Encrypt => self.secure().await?,
                Want::Transaction => self.begin().await,
                Want::Envelope => {
                    if let Some(transaction) = &self.transaction {
                        self.talk.resume(&transaction.outgoing());
                    }
                }
                Want::RawBody => self.body(None).await?,
                Want::StuffedBody => self.body(Some(Stuffer::default())).await?,
            }
            if self.talk.wire.out().len() >= SEND_PIECE_BYTES {
                self.talk.send().await?;
            }
        }
    }

    /// Runs the handshake. A session that this server gave us is resumed. After a failure nothing is said any
    /// more, and the mail waits.
    async fn secure(&mut self) -> Result<(), DeliveryError> {
        let Some(security) = self.security else {
            unreachable!("a handshake is due only where TLS was asked for")
        };
        let tls = security.configs.begin(true).map_err(TalkError::from)?;
        self.talk.secure(tls, self.pool).await?;
        self.is_verified = security.verifies;
        self.read().await
    }

    /// Begins the next message that this server can take, or writes QUIT when there is none.
    async fn begin(&mut self) {
        // The deadline is the server's, and this time is the spool's.
        self.talk.wire.disarm();
        let offered = *self.talk.client().offered();
        while !(self.leave)()
            && let Some(message) = self.inputs.messages.recv().await
        {
            let place = message.place;
            let hop = RelayHop { protocol: self.protocol, offered, is_verified: self.is_verified };
            match RelayTransaction::new(message, &self.inputs.tracer, &hop) {
                Ok(transaction) => {
                    let pipelining = match offered.has(Extensions::PIPELINING) {
                        true => Pipelining::Commands,
                        false => Pipelining::None,
                    };
                    self.talk.adapt(pipelining, transaction.chunking());
                    self.talk.begin(&transaction.outgoing());
                    self.tally.messages += 1;
                    self.transaction = Some(transaction);
                    return;
                }
                Err(lack) => self.tally.note(|| format!("{place}: {lack}")),
            }
        }
        self.talk.quit();
    }

    /// Appends the message to what is written. A large one is sent in pieces.
    async fn body(&mut self, stuffer: Option<Stuffer>) -> Result<(), DeliveryError> {
        let Some(mut transaction) = self.transaction.take() else { return Ok(()) };
        let poured = self.pour(&mut transaction, stuffer).await;
        self.transaction = Some(transaction);
        // The server must never take half a message for a whole one: no end of data without success.
        poured?;
        self.talk.body_done();
        Ok(())
    }

    async fn pour(
        &mut self,
        transaction: &mut RelayTransaction,
        mut stuffer: Option<Stuffer>,
    ) -> Result<(), DeliveryError> {
        let put = |stuffer: &mut Option<Stuffer>, octets: &[u8], out: &mut Vec<u8>| match stuffer {
            Some(stuffer) => stuffer.push(octets, out),
            None => out.extend_from_slice(octets),
        };
        put(&mut stuffer, transaction.received(), self.talk.wire.out_mut());
        let mut left = transaction.bytes();
        while left > 0 {
            let piece = transaction.piece().await.ok_or(DeliveryError::Recycled)?;
            left = left.saturating_sub(piece.len() as u64);
            put(&mut stuffer, &piece, self.talk.wire.out_mut());
            if self.talk.wire.out().len() >= SEND_PIECE_BYTES {
                self.talk.send().await?;
            }
        }
        if let Some(stuffer) = stuffer {
            stuffer.finish(self.talk.wire.out_mut());
        }
        Ok(())
    }

    /// Sends what is written, receives once, and takes in the whole replies.
    async fn exchange(&mut self) -> Result<(), DeliveryError> {
        if self.talk.exchange().await? {
            self.read().await?;
        }
        Ok(self.talk.sent()?)
    }

    async fn read(&mut self) -> Result<(), DeliveryError> {
        while let Some(event) = self.talk.read()? {
            self.take(&event).await?;
        }
        Ok(())
    }

    async fn take(&mut self, event: &ReplyEvent) -> Result<(), DeliveryError> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        if event.transaction > 0 {
            transaction.hear(event.phase, event.code);
        }
        if event.code >= 400 {
            let (place, code) = (transaction.place(), event.code);
            let words = self.talk.client().refusal().escape_ascii();
            self.tally.note(|| format!("{place}: the server answered {code} {words}"));
        }
        if event.verdict.is_none() {
            return Ok(());
        }
        let settled = transaction.settled();
        self.transaction = None;
        self.settle(settled).await
    }

    /// Has deliveries noted before anything else is sent. Where that fails the session ends, because
    /// messages without a note would be sent again by the next delivery.
    async fn settle(&mut self, settled: Vec<Delivery>) -> Result<(), DeliveryError> {
        if settled.is_empty() {
            return Ok(());
        }
        for delivery in &settled {
            match delivery.fate {
                DeliveryFate::Delivered => self.tally.delivered += 1,
                DeliveryFate::Refused => self.tally.refused += 1,
            }
        }
        let (answer, noted) = oneshot::channel();
        if self.inputs.notes.send((settled, answer)).await.is_err() {
            return Err(DeliveryError::Ending);
        }
        noted.await.map_err(|_| DeliveryError::Ending)??;
        Ok(())
    }
}
