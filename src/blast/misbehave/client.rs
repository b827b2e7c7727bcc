//! One connection of a client that does as it likes: it sends any octets and hears replies, and nothing
//! in between holds it to the protocol.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::Crowd;
use crate::dial::{TalkError, Wire};
use crate::engine::{Buf, Connecting};
use crate::limits::MISBEHAVIOUR_REPLY_S_MAX;
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
    pub(super) wire: Wire,
    reader: ReplyReader,
    pub(super) offered: Offered,
    /// What of this session is unlike the others of its kind.
    pub(super) example: Option<String>,
}

impl Caller {
    pub(super) async fn connect(crowd: &Rc<Crowd>) -> Result<Self, End> {
        let target = crowd.next_target();
        let connected = target.connect(0, |_| Connecting::default()).await;
        let (conn, _) = connected.map_err(|_| End::Prevented)?;
        if crowd.over() {
            conn.close().await;
            return Err(End::Cut);
        }
        let guard = crowd.watch.register(conn.handle());
        let limit = Duration::from_secs(MISBEHAVIOUR_REPLY_S_MAX);
        Ok(Self {
            crowd: Rc::clone(crowd),
            protocol: target.protocol,
            wire: Wire::new(conn, guard, limit, Buf::default(), crowd.pool.small()),
            reader: ReplyReader::default(),
            offered: Offered::default(),
            example: None,
        })
    }

    pub(super) async fn close(self) {
        self.wire.close(&self.crowd.pool).await;
    }

    /// Sends octets. What comes of a failure is what is heard next.
    pub(super) async fn say(&mut self, octets: impl Into<Vec<u8>>) {
        self.try_say(octets).await.ok();
    }

    /// The same, for those who hear nothing.
    pub(super) async fn try_say(&mut self, octets: impl Into<Vec<u8>>) -> Result<(), End> {
        self.wire.set_out(octets.into());
        self.wire.send().await.map_err(|error| self.end_of(&error.into()))
    }

    /// The same as [`Self::hear`], for as long as it takes.
    pub(super) async fn hear_ever(&mut self) -> Result<u16, End> {
        self.wire.wait_for_ever();
        self.hear().await
    }

    /// The code of the next reply.
    pub(super) async fn hear(&mut self) -> Result<u16, End> {
        loop {
            if let Some(code) = self.read()? {
                return Ok(code);
            }
            self.wire.exchange().await.map_err(|error| self.end_of(&error))?;
        }
    }

    /// The code of the next whole reply of those received.
    fn read(&mut self) -> Result<Option<u16>, End> {
        let mut input = self.wire.unread();
        let mut code = None;
        while code.is_none()
            && let Some(line) = self.reader.step(&mut input).map_err(|_| End::Garbled)?
        {
            self.offered.read_line(line.text);
            code = line.last.then_some(line.code);
        }
        let left = input.len();
        self.wire.read_to(left);
        Ok(code)
    }

    fn end_of(&self, error: &TalkError) -> End {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match error {
            _ if self.crowd.over() => End::Cut,
            _ if self.wire.timed_out() => End::Silent,
            TalkError::Io(error) if matches!(error.kind(), ConnectionReset | BrokenPipe) => {
                End::Reset
            }
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
        self.crowd.over() || self.wire.timed_out()
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
