//! One delivery over one connection: where engine, protocol and spool meet outside of the sink.
//!
//! The connection may be one that we made (ETRN) or one whose roles have turned round (ATRN).

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Tally;
use super::reading::Letter;
use super::transaction::Parcel;
use crate::dial::{Talk, TalkError, Wire};
use crate::engine::{Conn, Guard, Pool};
use crate::limits::SEND_PIECE_BYTES;
use crate::mailbox::Tracer;
use crate::smtp::body::Stuffer;
use crate::smtp::client::{Client, Event, Fault, Hello, Pipelining, Settings, Want};
use crate::smtp::extension::Extensions;
use crate::smtp::server::Protocol;
use crate::spool::{Delivery, Fate, SpoolError};

/// Deliveries to be noted in the spool, and where the outcome is told.
pub(super) type Note = (Vec<Delivery>, oneshot::Sender<Result<(), SpoolError>>);

/// What a delivery takes with it.
#[derive(Debug)]
pub(super) struct Satchel {
    pub(super) letters: mpsc::Receiver<Letter>,
    pub(super) notes: mpsc::Sender<Note>,
    /// Knows our name.
    pub(super) tracer: Tracer,
    /// For each reply.
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

pub(super) struct Courier<'c> {
    talk: Talk<&'c mut Conn, &'c Guard>,
    pool: &'c Pool,
    /// Whether to begin no further message.
    leave: &'c dyn Fn() -> bool,
    satchel: Satchel,
    protocol: Protocol,
    parcel: Option<Parcel>,
    tally: Tally,
}

impl<'c> Courier<'c> {
    pub(super) fn new(
        satchel: Satchel,
        protocol: Protocol,
        conn: &'c mut Conn,
        guard: &'c Guard,
        pool: &'c Pool,
        leave: &'c dyn Fn() -> bool,
    ) -> Self {
        let settings = Settings {
            protocol,
            pipelining: Pipelining::None,
            chunking: false,
            depth: 1,
            smtputf8: false,
            hello: Hello::Extended,
            name: satchel.tracer.hostname.as_bytes().into(),
            login: None,
        };
        let wire = Wire::new(conn, guard, satchel.timeout, pool.small(), pool.small());
        Self {
            talk: Talk::new(wire, Client::new(settings)),
            pool,
            leave,
            satchel,
            protocol,
            parcel: None,
            tally: Tally::default(),
        }
    }

    /// Sends what there is. `said` is what the server has sent already.
    pub(super) async fn run(mut self, said: &[u8]) -> Tally {
        self.talk.wire.preload(said);
        let outcome = self.converse().await;
        // What was decided before the connection broke is decided: LMTP answers for each recipient.
        let decided = self.parcel.take().map_or_else(Vec::new, |parcel| parcel.settled());
        if let Err(lost) = outcome.and(self.settle(decided).await) {
            self.tally.note(|| lost.to_string());
        } else if !self.talk.client().ready() {
            // Whatever the server says, it says to a terminal.
            let refusal = self.talk.client().refusal().escape_ascii().to_string();
            self.tally.note(|| format!("the server refuses to talk: {refusal}"));
        }
        self.talk.release(self.pool);
        self.tally
    }

    async fn converse(&mut self) -> Result<(), DeliveryError> {
        self.read().await?;
        loop {
            match self.talk.want() {
                Want::Replies => self.exchange().await?,
                Want::Close => return Ok(()),
                Want::Transaction => self.begin().await,
                Want::Envelope => {
                    if let Some(parcel) = &self.parcel {
                        self.talk.resume(&parcel.outgoing());
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

    /// Begins the next message that this server can take, or takes leave when there is none.
    async fn begin(&mut self) {
        // The spool takes the time that it needs; none of that is the server's.
        self.talk.wire.disarm();
        let offered = *self.talk.client().offered();
        while !(self.leave)()
            && let Some(letter) = self.satchel.letters.recv().await
        {
            let place = letter.place;
            match Parcel::pack(letter, &self.satchel.tracer, self.protocol, &offered) {
                Ok(parcel) => {
                    let pipelining = match offered.has(Extensions::PIPELINING) {
                        true => Pipelining::Commands,
                        false => Pipelining::None,
                    };
                    self.talk.adapt(pipelining, parcel.chunking());
                    self.talk.begin(&parcel.outgoing());
                    self.tally.messages += 1;
                    self.parcel = Some(parcel);
                    return;
                }
                Err(lack) => self.tally.note(|| format!("{place}: {lack}")),
            }
        }
        self.talk.quit();
    }

    /// Copies the message behind what is written; large ones leave in pieces.
    async fn body(&mut self, stuffer: Option<Stuffer>) -> Result<(), DeliveryError> {
        let Some(mut parcel) = self.parcel.take() else { return Ok(()) };
        let poured = self.pour(&mut parcel, stuffer).await;
        self.parcel = Some(parcel);
        // The server must never take half a message for a whole one: no end of data without success.
        poured?;
        self.talk.body_done();
        Ok(())
    }

    async fn pour(
        &mut self,
        parcel: &mut Parcel,
        mut stuffer: Option<Stuffer>,
    ) -> Result<(), DeliveryError> {
        let put = |stuffer: &mut Option<Stuffer>, octets: &[u8], out: &mut Vec<u8>| match stuffer {
            Some(stuffer) => stuffer.push(octets, out),
            None => out.extend_from_slice(octets),
        };
        put(&mut stuffer, parcel.trace(), self.talk.wire.out_mut());
        let mut left = parcel.bytes();
        while left > 0 {
            let piece = parcel.piece().await.ok_or(DeliveryError::Recycled)?;
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

    async fn take(&mut self, event: &Event) -> Result<(), DeliveryError> {
        let Some(parcel) = &mut self.parcel else { return Ok(()) };
        if event.transaction > 0 {
            parcel.hear(event.phase, event.code);
        }
        if event.code >= 400 {
            let (place, code) = (parcel.place(), event.code);
            let words = self.talk.client().refusal().escape_ascii();
            self.tally.note(|| format!("{place}: the server answered {code} {words}"));
        }
        if event.verdict.is_none() {
            return Ok(());
        }
        let settled = parcel.settled();
        self.parcel = None;
        self.settle(settled).await
    }

    /// Has deliveries noted before anything else is sent. Where that fails the delivery ends: without
    /// a note each further message would be sent again.
    async fn settle(&mut self, settled: Vec<Delivery>) -> Result<(), DeliveryError> {
        if settled.is_empty() {
            return Ok(());
        }
        for delivery in &settled {
            match delivery.fate {
                Fate::Delivered => self.tally.delivered += 1,
                Fate::Refused => self.tally.refused += 1,
            }
        }
        let (answer, noted) = oneshot::channel();
        if self.satchel.notes.send((settled, answer)).await.is_err() {
            return Err(DeliveryError::Ending);
        }
        noted.await.map_err(|_| DeliveryError::Ending)??;
        Ok(())
    }
}
