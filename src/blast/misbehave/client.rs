//! One connection of a client that misbehaves: it sends any octets and reads replies, and nothing in
//! between holds it to the protocol.

use std::io;
use std::rc::Rc;

use super::shared::MisbehaverState;
use crate::dial::{TalkError, TargetSecurity, TlsMode, Wire};
use crate::engine::{Buf, Connecting};
use crate::smtp::extension::Extensions;
use crate::smtp::offered::Offered;
use crate::smtp::reply::ReplyReader;
use crate::smtp::server::Protocol;

/// How a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BadClientEnd {
    /// The server answered what was wrong.
    Reply(u16),
    /// The server accepted what no rule lets it accept.
    Wrong(u16),
    /// The server closed the connection instead.
    Closed,
    /// The server reset the connection.
    Reset,
    /// The server sent something that is no reply.
    Garbled,
    /// The server sent nothing in time.
    Silent,
    /// The client left first.
    Left,
    /// The session did not get as far as its misbehaviour.
    Prevented,
    /// The server does not offer what the misbehaviour needs.
    NotOffered,
    /// The run is over.
    Cut,
}

pub(super) struct BadClient {
    pub(super) state: Rc<MisbehaverState>,
    protocol: Protocol,
    pub(super) wire: Wire,
    reader: ReplyReader,
    pub(super) offered: Offered,
    /// No banner comes any more: it was read before STARTTLS.
    has_banner: bool,
    /// What this session sent, if sessions of its kind send different octets.
    pub(super) example: Option<String>,
}

impl BadClient {
    pub(super) async fn connect(state: &Rc<MisbehaverState>) -> Result<Self, BadClientEnd> {
        let (target, security) = state.next_target();
        let connected = target.connect(0, |_| Connecting::default()).await;
        let (stream, _) = connected.map_err(|_| BadClientEnd::Prevented)?;
        if state.is_over() {
            stream.close().await;
            return Err(BadClientEnd::Cut);
        }
        let guard = state.watch.register(stream.handle());
        let mut client = Self {
            state: Rc::clone(state),
            protocol: target.protocol,
            wire: Wire::new(stream, guard, state.reply_limit, Buf::default(), state.pool.small()),
            reader: ReplyReader::default(),
            offered: Offered::default(),
            has_banner: false,
            example: None,
        };
        if let Some(security) = security
            && let Err(end) = client.secure(security).await
        {
            client.close().await;
            return Err(end);
        }
        Ok(client)
    }

    /// Goes under TLS as the sessions of the run do, before anything is done wrong.
    async fn secure(&mut self, security: &TargetSecurity) -> Result<(), BadClientEnd> {
        if security.mode != TlsMode::Implicit {
            self.greet().await?;
            self.has_banner = true;
            let is_offered = self.offered.has(Extensions::STARTTLS);
            if security.mode == TlsMode::Opportunistic && !is_offered {
                return Ok(());
            }
            self.ask_for_tls().await?;
        }
        (self.offered, self.reader) = (Offered::default(), ReplyReader::default());
        let tls = security.configs.begin(false).map_err(|_| BadClientEnd::Prevented)?;
        let mut done = self.wire.secure(tls, &self.state.pool).await.map(drop);
        if done.is_ok() {
            // The last word of the handshake may be ours, and whoever leaves now would take it along.
            done = self.wire.send().await.map_err(TalkError::from);
        }
        let over = if self.state.is_over() { BadClientEnd::Cut } else { BadClientEnd::Prevented };
        done.map_err(|_| over)
    }

    /// STARTTLS, with nothing behind its 220.
    async fn ask_for_tls(&mut self) -> Result<(), BadClientEnd> {
        self.say("STARTTLS\r\n").await;
        self.pass(2).await?;
        if self.wire.unread().is_empty() { Ok(()) } else { Err(BadClientEnd::Prevented) }
    }

    pub(super) async fn close(self) {
        self.wire.close(&self.state.pool).await;
    }

    /// Sends octets. If that fails, [`Self::hear`] returns why.
    pub(super) async fn say(&mut self, octets: impl Into<Vec<u8>>) {
        self.try_say(octets).await.ok();
    }

    /// Sends octets, for scripts that read no reply.
    pub(super) async fn try_say(&mut self, octets: impl Into<Vec<u8>>) -> Result<(), BadClientEnd> {
        self.wire.set_out(octets.into());
        self.wire.send().await.map_err(|error| self.end_of(&error.into()))
    }

    /// The code of the next reply, however long it takes.
    pub(super) async fn hear_ever(&mut self) -> Result<u16, BadClientEnd> {
        self.wire.wait_for_ever();
        self.hear().await
    }

    /// The code of the next reply. The limit is for the whole of it, in however many pieces it comes.
    pub(super) async fn hear(&mut self) -> Result<u16, BadClientEnd> {
        self.wire.arm();
        loop {
            if let Some(code) = self.read()? {
                return Ok(code);
            }
            self.wire.exchange_on().await.map_err(|error| self.end_of(&error))?;
        }
    }

    /// The code of the next whole reply among the octets received.
    fn read(&mut self) -> Result<Option<u16>, BadClientEnd> {
        let mut input = self.wire.unread();
        let mut code = None;
        while code.is_none()
            && let Some(line) = self.reader.step(&mut input).map_err(|_| BadClientEnd::Garbled)?
        {
            self.offered.read_line(line.text);
            code = line.last.then_some(line.code);
        }
        let left = input.len();
        self.wire.read_to(left);
        Ok(code)
    }

    fn end_of(&self, error: &TalkError) -> BadClientEnd {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match error {
            _ if self.state.is_over() => BadClientEnd::Cut,
            _ if self.wire.timed_out() => BadClientEnd::Silent,
            TalkError::Io(error) if matches!(error.kind(), ConnectionReset | BrokenPipe) => {
                BadClientEnd::Reset
            }
            _ => BadClientEnd::Closed,
        }
    }

    /// Sends a command and returns the code of its reply.
    pub(super) async fn ask(&mut self, command: impl Into<Vec<u8>>) -> Result<u16, BadClientEnd> {
        self.say(command).await;
        self.hear().await
    }

    /// Whether the server was too slow to take what was sent, or the run is over.
    pub(super) fn ended(&self) -> bool {
        self.state.is_over() || self.wire.timed_out()
    }

    /// Reads a reply before the misbehaviour begins. Any reply that is not of `class` prevents it.
    pub(super) async fn pass(&mut self, class: u16) -> Result<(), BadClientEnd> {
        match self.hear().await {
            Ok(code) if code / 100 == class => Ok(()),
            Err(BadClientEnd::Cut) => Err(BadClientEnd::Cut),
            _ => Err(BadClientEnd::Prevented),
        }
    }

    /// Reads the banner, unless it was read before STARTTLS.
    pub(super) async fn banner(&mut self) -> Result<(), BadClientEnd> {
        if std::mem::take(&mut self.has_banner) { Ok(()) } else { self.pass(2).await }
    }

    /// Reads the greeting, sends EHLO or LHLO, and reads the reply.
    pub(super) async fn greet(&mut self) -> Result<(), BadClientEnd> {
        self.banner().await?;
        let hello = self.hello();
        self.say(hello).await;
        self.pass(2).await
    }

    pub(super) fn hello(&self) -> Vec<u8> {
        let verb = match self.protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        };
        format!("{verb} {}\r\n", self.state.parts.helo).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::blast::misbehave::script::would_be_endings;
    use crate::blast::misbehave::shared::DialogueParts;
    use crate::dial::Target;
    use crate::engine::{EngineKind, run_core, task};

    #[test]
    fn a_reply_that_comes_in_pieces_gets_no_more_time_than_another() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut conn, _) = listener.accept().unwrap();
            for _ in 0..40 {
                if conn.write_all(b"220-wait\r\n").is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = conn.write_all(b"220 now\r\n");
        });
        let parts = DialogueParts {
            targets: vec![Target::parse(&address.to_string(), &[]).unwrap()],
            security: vec![None],
            helo: "client.example".to_owned(),
            mail: Vec::new(),
            rcpt: Vec::new(),
        };
        let mut state = MisbehaverState::new(parts, would_be_endings(), Vec::new());
        state.reply_limit = Duration::from_millis(500);
        let ended = run_core(EngineKind::Epoll, async move {
            let state = Rc::new(state);
            let watch = task::spawn(Rc::clone(&state.watch).run());
            let mut client = BadClient::connect(&state).await.unwrap();
            assert_eq!(client.hear().await, Err(BadClientEnd::Silent));
            client.close().await;
            watch.abort();
        });
        ended.unwrap();
        server.join().unwrap();
    }
}
