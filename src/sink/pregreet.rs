//! The checks before the greeting: the address of the caller, the limit of connections per address, and
//! whether the client waits for the greeting.

use std::cell::Cell;
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::rc::Rc;
use std::time::Duration;

use super::core::Core;
use super::peer_limit::PeerPlace;
use super::proxy::{self, Header};
use super::stop::Stop;
use crate::engine::task;
use crate::engine::{Buf, Guard, Peer, Stream, Taken};
use crate::smtp::server::CloseReason;
use crate::tls::{TlsError, TlsFault};

/// Time that a proxy gets for its PROXY header (Postfix: postscreen_upstream_proxy_timeout).
const PROXY_HEADER_MS: u64 = 5_000;

/// A caller that gets a session.
pub(super) struct Caller {
    /// The address that the proxy named, or else the other end of the connection.
    pub(super) peer: Peer,
    /// Held while the session lasts.
    pub(super) place: PeerPlace,
    /// Octets that came before the greeting, or before TLS.
    pub(super) said: Buf,
}

/// Why there is no session.
pub(super) enum Rejection {
    /// The peer is gone, or must not get a reply.
    Gone,
    Refused(CloseReason),
    Tls(TlsError),
}

/// Checks a connection that was accepted from `peer`.
pub(super) async fn meet(
    core: &Core,
    stream: &mut Stream,
    guard: &Guard,
    peer: Peer,
) -> Result<Caller, Rejection> {
    let mut said = core.pool.small();
    let mut step = Pregreet { core, stream, guard, over: Rc::default(), said: &mut said };
    let peer =
        if core.peer_policy.proxies.contains(&peer) { step.introduced(peer).await? } else { peer };
    let Some(place) = core.peer_limit.enter(peer.ip()) else {
        core.board.peer_limited.add(1);
        return Err(Rejection::Refused(CloseReason::PeerCrowd));
    };
    Ok(Caller { peer, place, said })
}

/// Delays the greeting. A client that speaks in that time does not follow SMTP. `said` is what it sent before.
pub(super) async fn wait(
    core: &Core,
    stream: &mut Stream,
    guard: &Guard,
    said: &mut Buf,
    delay: Duration,
) -> Result<(), Rejection> {
    let mut step = Pregreet { core, stream, guard, over: Rc::default(), said };
    step.wait_in_silence(delay).await
}

struct Pregreet<'c> {
    core: &'c Core,
    stream: &'c mut Stream,
    guard: &'c Guard,
    /// The delay of the greeting is over.
    over: Rc<Cell<bool>>,
    /// Received and not yet used.
    said: &'c mut Buf,
}

/// How a wait ended.
enum Heard {
    Octets,
    /// Nothing came before the deadline.
    Nothing,
}

impl Pregreet<'_> {
    /// Reads the PROXY header of a trusted proxy, which must send one.
    async fn introduced(&mut self, proxy: Peer) -> Result<Peer, Rejection> {
        let limit = Duration::from_millis(PROXY_HEADER_MS).min(self.core.peer_policy.timeout);
        self.guard.arm(limit);
        loop {
            match proxy::parse(self.said) {
                Ok(Header::Partial) => {}
                Ok(Header::Whole { source, octets }) => {
                    self.said.vec_mut().drain(..octets);
                    let address = source.or(proxy.address);
                    return Ok(Peer { address, ..proxy });
                }
                // "The receiver must abort the connection": a reply could be taken for that of a
                // server behind this sink.
                Err(proxy::BadHeader) => return Err(self.not_introduced()),
            }
            if let Heard::Nothing = self.hear().await? {
                return Err(self.not_introduced());
            }
        }
    }

    fn not_introduced(&self) -> Rejection {
        self.core.board.proxy_errors.add(1);
        Rejection::Gone
    }

    async fn wait_in_silence(&mut self, delay: Duration) -> Result<(), Rejection> {
        if self.stream.is_secure() {
            // The end of our handshake, which would leave with the greeting.
            self.guard.arm(self.core.peer_policy.timeout);
            self.stream.send_ready().await.map_err(|_| Rejection::Gone)?;
        }
        self.guard.disarm();
        if !self.has_spoken()? {
            // A timer of its own: the watch is exact to half a second.
            let (over, handle) = (self.over.clone(), self.stream.handle());
            let timer = task::spawn(async move {
                task::sleep(delay).await;
                over.set(true);
                handle.interrupt();
            });
            let heard = self.hear().await;
            timer.abort();
            if let Heard::Nothing = heard? {
                return Ok(());
            }
        }
        self.core.board.early_talkers.add(1);
        Err(Rejection::Refused(CloseReason::EarlyTalker))
    }

    /// Whether there is something that the client should not have said. Under TLS that is plaintext alone: a client
    /// also sends the end of its handshake, new keys, records with nothing in them, and that it leaves.
    fn has_spoken(&mut self) -> Result<bool, Rejection> {
        if !self.stream.is_secure() {
            return Ok(!self.said.is_empty());
        }
        let taken = self
            .stream
            .take(self.said, |text| if text.is_empty() { Continue(()) } else { Break(0) });
        match taken {
            Ok(Taken::All) => Ok(false),
            Ok(Taken::Part) => Ok(true),
            Ok(Taken::PeerClosed) => Err(Rejection::Gone),
            Err(error) => Err(Rejection::Tls(error)),
        }
    }

    /// Waits for octets, until the deadline.
    async fn hear(&mut self) -> Result<Heard, Rejection> {
        loop {
            let received = if self.stream.is_secure() {
                let received;
                (received, *self.said) = self.stream.recv(std::mem::take(self.said)).await;
                received
            } else {
                let (received, inbox) = self.stream.recv(self.core.pool.small()).await;
                self.said.vec_mut().extend_from_slice(&inbox);
                self.core.pool.give(inbox);
                received
            };
            match received {
                Ok(0) => return Err(Rejection::Gone),
                Ok(_) if self.stream.is_secure() && !self.has_spoken()? => {}
                Ok(_) => return Ok(Heard::Octets),
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    return Err(Rejection::Tls(TlsFault::NoRoom.into()));
                }
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Rejection::Gone);
                }
                Err(_) if self.core.stop.get() >= Stop::Drain => {
                    return Err(Rejection::Refused(CloseReason::ShuttingDown));
                }
                Err(_) if self.guard.fired() || self.over.get() => return Ok(Heard::Nothing),
                Err(_) => {}
            }
        }
    }
}
