//! One connection of a client that does as it likes: it sends any octets and hears replies, and nothing
//! in between holds it to the protocol.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::Crowd;
use crate::engine::{Buf, Conn, Guard};
use crate::limits::{MISBEHAVIOUR_REPLY_S_MAX, RECV_SMALL_BYTES};
use crate::smtp::offered::Offered;
use crate::smtp::reply::ReplyReader;
use crate::smtp::server::Protocol;

/// How a session came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The server answered what was wrong.
    Reply(u16),
    /// It took what no rule lets it take.
    Wrong(u16),
    /// It ended the connection instead.
    Closed,
    Reset,
    /// It said something that is no reply.
    Garbled,
    /// It said nothing in time.
    Silent,
    /// The client left first.
    Left,
    /// There was no way to the point.
    Prevented,
    /// The server does not offer what it takes.
    NotOffered,
    /// The run is over.
    Cut,
}

pub(super) struct Caller {
    pub(super) crowd: Rc<Crowd>,
    protocol: Protocol,
    pub(super) conn: Conn,
    guard: Guard,
    reader: ReplyReader,
    into: Buf,
    /// Octets of `into` that are read.
    read: usize,
    pub(super) offered: Offered,
    /// What of this session is unlike the others of its kind.
    pub(super) example: Option<String>,
}

impl Caller {
    pub(super) async fn connect(crowd: &Rc<Crowd>) -> Result<Self, End> {
        let target = crowd.next_target();
        let conn = target.connect().await.map_err(|_| End::Prevented)?;
        if crowd.over() {
            conn.close().await;
            return Err(End::Cut);
        }
        Ok(Self {
            guard: crowd.watch.register(conn.handle()),
            crowd: Rc::clone(crowd),
            protocol: target.protocol,
            conn,
            reader: ReplyReader::default(),
            into: Buf::with_capacity(RECV_SMALL_BYTES),
            read: 0,
            offered: Offered::default(),
            example: None,
        })
    }

    pub(super) async fn close(self) {
        drop(self.guard);
        self.conn.close().await;
    }

    /// Sends octets. What comes of a failure is what is heard next.
    pub(super) async fn say(&mut self, octets: impl Into<Vec<u8>>) {
        self.try_say(octets).await.ok();
    }

    /// The same, for those who hear nothing.
    pub(super) async fn try_say(&mut self, octets: impl Into<Vec<u8>>) -> Result<(), End> {
        self.guard.arm(Duration::from_secs(MISBEHAVIOUR_REPLY_S_MAX));
        let (sent, _) = self.conn.send_all(octets.into().into()).await;
        sent.map_err(|error| self.end_of(&error))
    }

    /// The code of the next reply.
    pub(super) async fn hear(&mut self) -> Result<u16, End> {
        self.guard.arm(Duration::from_secs(MISBEHAVIOUR_REPLY_S_MAX));
        self.listen().await
    }

    /// The same, for as long as it takes.
    pub(super) async fn hear_ever(&mut self) -> Result<u16, End> {
        self.guard.disarm();
        self.listen().await
    }

    async fn listen(&mut self) -> Result<u16, End> {
        loop {
            let mut input = &self.into[self.read..];
            while let Some(line) = self.reader.step(&mut input).map_err(|_| End::Garbled)? {
                self.offered.read_line(line.text);
                let last = line.last.then_some(line.code);
                if let Some(code) = last {
                    self.read = self.into.len() - input.len();
                    return Ok(code);
                }
            }
            let received;
            (received, self.into) = self.conn.recv(std::mem::take(&mut self.into)).await;
            self.read = 0;
            let error = match received {
                Ok(1..) => continue,
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
            };
            self.into.clear();
            return Err(self.end_of(&error));
        }
    }

    fn end_of(&self, error: &io::Error) -> End {
        match error.kind() {
            _ if self.crowd.over() => End::Cut,
            _ if self.guard.fired() => End::Silent,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
            _ => End::Closed,
        }
    }

    /// A command and the code of its reply.
    pub(super) async fn ask(&mut self, command: impl Into<Vec<u8>>) -> Result<u16, End> {
        self.say(command).await;
        self.hear().await
    }

    /// Whether the server is gone, or the run over, while nothing is awaited.
    pub(super) fn ended(&self) -> bool {
        self.crowd.over() || self.guard.fired()
    }

    /// On the way to the point: anything but a reply of this class prevents it.
    pub(super) async fn pass(&mut self, class: u16) -> Result<(), End> {
        match self.hear().await {
            Ok(code) if code / 100 == class => Ok(()),
            Err(End::Cut) => Err(End::Cut),
            _ => Err(End::Prevented),
        }
    }

    pub(super) async fn greet(&mut self) -> Result<(), End> {
        self.pass(2).await?;
        let hello = self.hello();
        self.say(hello).await;
        self.pass(2).await
    }

    pub(super) fn hello(&self) -> Vec<u8> {
        let verb = match self.protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        };
        format!("{verb} {}\r\n", self.crowd.helo).into_bytes()
    }
}
