//! One delivery over one connection: where engine, protocol and spool meet outside of the sink.
//!
//! The connection may be one that we made (ETRN) or one whose roles have turned round (ATRN).

use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Tally;
use super::reading::Letter;
use super::transaction::Parcel;
use crate::dial;
use crate::engine::{Buf, Conn, Guard, Pool};
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
enum Lost {
    #[error("{0}")]
    Server(#[from] dial::Lost),
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("a message was recycled while it was sent")]
    Recycled,
    #[error("the sink is ending")]
    Ending,
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Server(error.into())
    }
}

impl From<Fault> for Lost {
    fn from(fault: Fault) -> Self {
        Self::Server(fault.into())
    }
}

pub(super) struct Courier<'c> {
    conn: &'c mut Conn,
    guard: &'c Guard,
    pool: &'c Pool,
    /// Whether to begin no further message.
    leave: &'c dyn Fn() -> bool,
    satchel: Satchel,
    protocol: Protocol,
    client: Client,
    out: Buf,
    into: Buf,
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
        Self {
            conn,
            guard,
            pool,
            leave,
            satchel,
            protocol,
            client: Client::new(settings),
            out: pool.small(),
            into: pool.small(),
            parcel: None,
            tally: Tally::default(),
        }
    }

    /// Sends what there is. `said` is what the server has sent already.
    pub(super) async fn run(mut self, said: &[u8]) -> Tally {
        let outcome = self.converse(said).await;
        // What was decided before the connection broke is decided: LMTP answers for each recipient.
        let decided = self.parcel.take().map_or_else(Vec::new, |parcel| parcel.settled());
        if let Err(lost) = outcome.and(self.settle(decided).await) {
            self.tally.note(|| lost.to_string());
        } else if !self.client.ready() {
            // Whatever the server says, it says to a terminal.
            let refusal = self.client.refusal().escape_ascii().to_string();
            self.tally.note(|| format!("the server refuses to talk: {refusal}"));
        }
        self.pool.give(self.out);
        self.pool.give(self.into);
        self.tally
    }

    async fn converse(&mut self, said: &[u8]) -> Result<(), Lost> {
        self.read(said).await?;
        loop {
            match self.client.want(self.out.vec_mut()) {
                Want::Replies => self.exchange().await?,
                Want::Close => return Ok(()),
                Want::Transaction => self.begin().await,
                Want::Envelope => {
                    if let Some(parcel) = &self.parcel {
                        self.client.resume(self.out.vec_mut(), &parcel.outgoing());
                    }
                }
                Want::RawBody => self.body(None).await?,
                Want::StuffedBody => self.body(Some(Stuffer::default())).await?,
            }
            if self.out.len() >= SEND_PIECE_BYTES {
                self.send().await?;
            }
        }
    }

    /// Begins the next message that this server can take, or takes leave when there is none.
    async fn begin(&mut self) {
        // The spool takes the time that it needs; none of that is the server's.
        self.guard.disarm();
        let offered = *self.client.offered();
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
                    self.client.adapt(pipelining, parcel.chunking());
                    self.client.begin(self.out.vec_mut(), &parcel.outgoing());
                    self.tally.messages += 1;
                    self.parcel = Some(parcel);
                    return;
                }
                Err(lack) => self.tally.note(|| format!("{place}: {lack}")),
            }
        }
        self.client.quit(self.out.vec_mut());
    }

    /// Copies the message behind what is written; large ones leave in pieces.
    async fn body(&mut self, stuffer: Option<Stuffer>) -> Result<(), Lost> {
        let Some(mut parcel) = self.parcel.take() else { return Ok(()) };
        let poured = self.pour(&mut parcel, stuffer).await;
        self.parcel = Some(parcel);
        // The server must never take half a message for a whole one: no end of data without success.
        poured?;
        self.client.body_done(self.out.vec_mut());
        Ok(())
    }

    async fn pour(
        &mut self,
        parcel: &mut Parcel,
        mut stuffer: Option<Stuffer>,
    ) -> Result<(), Lost> {
        let put = |stuffer: &mut Option<Stuffer>, octets: &[u8], out: &mut Vec<u8>| match stuffer {
            Some(stuffer) => stuffer.push(octets, out),
            None => out.extend_from_slice(octets),
        };
        put(&mut stuffer, parcel.trace(), self.out.vec_mut());
        let mut left = parcel.bytes();
        while left > 0 {
            let piece = parcel.piece().await.ok_or(Lost::Recycled)?;
            left = left.saturating_sub(piece.len() as u64);
            put(&mut stuffer, &piece, self.out.vec_mut());
            if self.out.len() >= SEND_PIECE_BYTES {
                self.send().await?;
            }
        }
        if let Some(stuffer) = stuffer {
            stuffer.finish(self.out.vec_mut());
        }
        Ok(())
    }

    /// Sends what is written without waiting for replies.
    async fn send(&mut self) -> Result<(), Lost> {
        self.guard.arm(self.satchel.timeout);
        let (sent, out) = self.conn.send_all(std::mem::take(&mut self.out)).await;
        self.out = out;
        self.out.clear();
        Ok(sent?)
    }

    /// Sends what is written, receives once, and takes in the whole replies.
    async fn exchange(&mut self) -> Result<(), Lost> {
        self.guard.arm(self.satchel.timeout);
        let out = std::mem::take(&mut self.out);
        let into = std::mem::take(&mut self.into);
        let (sent, received);
        (sent, self.out, received, self.into) = self.conn.send_recv(out, into).await;
        self.out.clear();
        match received {
            // What the server said before it went away still counts.
            Ok(count) if count > 0 => {
                let into = std::mem::take(&mut self.into);
                let read = self.read(&into).await;
                self.into = into;
                read?;
            }
            _ if self.guard.fired() => return Err(dial::Lost::Timeout.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ if sent.is_err() => {}
            Ok(_) => return Err(dial::Lost::Closed.into()),
            Err(error) => return Err(error.into()),
        }
        if self.client.over() { Ok(()) } else { Ok(sent?) }
    }

    async fn read(&mut self, mut input: &[u8]) -> Result<(), Lost> {
        while let Some(event) = self.client.step(&mut input)? {
            self.take(&event).await?;
        }
        Ok(())
    }

    async fn take(&mut self, event: &Event) -> Result<(), Lost> {
        let Some(parcel) = &mut self.parcel else { return Ok(()) };
        if event.transaction > 0 {
            parcel.hear(event.phase, event.code);
        }
        if event.code >= 400 {
            let (place, code) = (parcel.place(), event.code);
            let words = self.client.refusal().escape_ascii();
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
    async fn settle(&mut self, settled: Vec<Delivery>) -> Result<(), Lost> {
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
            return Err(Lost::Ending);
        }
        noted.await.map_err(|_| Lost::Ending)??;
        Ok(())
    }
}
