//! One session: where engine, protocol and spool meet. Nothing else joins them.
//!
//! A round: receive, hand the octets to the protocol until it asks for more, keep what it gives,
//! sync what the durability asks for, send all replies of the round in one piece and read on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::core::{Core, Door};
use super::deadline::Patience;
use super::keep::Keep;
use super::lingering_close;
use super::odmr::{self, Turn};
use super::pregreet::{self, Rebuff};
use super::quota::Stop;
use crate::engine::{Buf, Conn, Guard, Peer};
use crate::host::unix_ns;
use crate::limits::DIRECT_RECVS_MAX;
use crate::scan::HeaderCut;
use crate::smtp::reply::Reply;
use crate::smtp::server::{CloseReason, Event, Flags, Protocol, Relayed, Server};
use crate::spool::{Draft, Durability, Meta, Sealed, SpoolError, Ticket, flag};

const NOT_SYNCED: Reply = Reply::new(451, 3, 0, "The spool could not be synced");
const NO_ROOM: Reply = Reply::new(452, 3, 1, "The spool is full");
const NOT_STORED: Reply = Reply::new(451, 3, 0, "The spool failed");
const QUOTA_USED: Reply = Reply::new(421, 3, 2, "This sink has taken all the messages it was to");

/// Serves one connection to its end and closes it.
pub(super) async fn serve(core: &Core, mut conn: Conn, peer: Peer, door: &Door) {
    let guard = core.watch.register(conn.handle());
    let caller = match pregreet::meet(core, &mut conn, &guard, peer).await {
        Ok(caller) => caller,
        Err(Rebuff::Gone) => return conn.close().await,
        Err(Rebuff::Refused(why)) => {
            lingering_close::refuse(core, &mut conn, &guard, door, why).await;
            return conn.close().await;
        }
    };
    let mut server = Server::new(door.policy.clone());
    server.trust_xclient(core.rules.xclient.contains(&caller.peer));
    let mut session = Session {
        core,
        door,
        peer: caller.peer.to_string(),
        server,
        guard,
        patience: Patience::new(&core.rules, core.watch.now()),
        draft: Draft::default(),
        message: Message::default(),
        kept: Vec::new(),
        id: Vec::new(),
        turn: None,
        round_ns: 0,
    };
    session.run(&mut conn, caller.said).await;
    session.forget_message();
    drop(session);
    conn.close().await;
    drop(caller.place);
}

struct Session<'c> {
    core: &'c Core,
    door: &'c Door,
    peer: String,
    server: Server,
    guard: Guard,
    patience: Patience,
    draft: Draft,
    message: Message,
    /// Messages of this round, whose 250 is queued and not sent.
    kept: Vec<Kept>,
    /// The queue id of the last message as text.
    id: Vec<u8>,
    /// Set when the roles turn round.
    turn: Option<Turn>,
    /// Wall clock at the last receive, in Unix nanoseconds; one reading serves the whole round.
    round_ns: u64,
}

/// The message being received.
#[derive(Default)]
struct Message {
    open: bool,
    bytes: u64,
    first_byte_ns: u64,
    keep: Keep,
    cut: HeaderCut,
    /// Why it will be refused at its end: the spool failed on the way.
    refusal: Option<Reply>,
}

/// A message that is sealed but whose 250 must wait for the barrier.
struct Kept {
    /// Where its reply stands among those queued.
    reply: Range<usize>,
    /// `None` where nothing was sealed; but its reply leaves with those before it.
    ticket: Option<Ticket>,
    bytes: u64,
    recipients: u64,
    keep: Keep,
}

/// What to do when the protocol has given all its events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    Receive,
    /// The reply queue is full and input is left.
    SendFirst,
    /// The client asks for mail that waits.
    Answer,
    /// The roles turn round behind the replies that are queued.
    Turn,
    Close,
    /// The peer is gone.
    Gone,
}

/// What a round did, as far as the peer's time is concerned.
#[derive(Clone, Copy, Default)]
struct Round {
    octets: usize,
    replied: bool,
    /// A message began, ended or was given up.
    turned: bool,
}

impl Session<'_> {
    /// `said` is what the peer sent ahead of the greeting.
    async fn run(&mut self, conn: &mut Conn, said: Vec<u8>) {
        let mut out = self.core.pool.small();
        let mut inbox = self.core.pool.small();
        self.server.greet(out.vec_mut());
        if !self.door.policy.mechanisms().is_empty() {
            self.server.set_auth_seed(unguessable());
        }
        let mut next = Next::Receive;
        if !said.is_empty() {
            (next, out) = self.round(conn, &said, false, out).await;
            drop(said);
        }
        while next == Next::Receive {
            self.guard.arm_until(self.patience.deadline());
            let received;
            (received, out, inbox) = self.exchange(conn, out, inbox).await;
            next = match received {
                Ok(0) => Next::Gone,
                Ok(count) => {
                    let filled = count == inbox.capacity();
                    (next, out) = self.round(conn, &inbox, filled, out).await;
                    next
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.interrupted(out.vec_mut())
                }
                Err(_) => Next::Gone,
            };
        }
        if next == Next::Close {
            lingering_close::part(self.core, conn, &self.guard, out, inbox).await;
            return;
        }
        if let Some(turn) = self.turn.take() {
            self.core.pool.give(inbox);
            return odmr::turn(self.core, conn, &self.guard, out, turn).await;
        }
        // The watch shuts the connection of a peer that does not read what we send.
        if self.guard.fired() {
            self.core.counters.borrow_mut().timeouts += 1;
        }
        self.core.pool.give(out);
        self.core.pool.give(inbox);
    }

    /// Digests what a receive gave, and what there is behind it where `read_on` says that there may
    /// be more; then grants the peer the time that it has earned by that.
    async fn round(
        &mut self,
        conn: &mut Conn,
        input: &[u8],
        read_on: bool,
        out: Buf,
    ) -> (Next, Buf) {
        self.round_ns = unix_ns();
        self.look_for_room();
        let was_content = self.server.mid_message();
        let mut round = Round::default();
        let (mut next, mut out) = self.digest(conn, input, out, &mut round).await;
        if read_on && next == Next::Receive {
            (next, out) = self.take_the_rest(conn, out, &mut round).await;
        }
        let now = self.core.watch.now();
        if self.server.mid_message() {
            if round.turned || !was_content {
                self.patience.renew(now);
            } else {
                self.patience.extend(round.octets, now);
            }
        } else if round.replied || was_content || !self.server.awaiting_more() {
            self.patience.renew(now);
        }
        (next, out)
    }

    /// Reads on without waiting, because the small buffer was filled. Most sessions wait most of the
    /// time, and wait with a small buffer; the large one is borrowed from the core while octets
    /// are there.
    async fn take_the_rest(
        &mut self,
        conn: &mut Conn,
        mut out: Buf,
        round: &mut Round,
    ) -> (Next, Buf) {
        let mut large = self.core.pool.large();
        let mut next = Next::Receive;
        // Bounded, so that one busy client does not starve the core's others.
        for _ in 0..DIRECT_RECVS_MAX {
            match conn.recv_ready(&mut large) {
                // The end of the stream shows again at the next receive, and so does an error.
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    (next, out) = self.digest(conn, &large, out, round).await;
                    if next != Next::Receive || count < large.capacity() {
                        break;
                    }
                }
            }
        }
        self.core.pool.give(large);
        (next, out)
    }

    /// Sends what is queued, if anything, and receives.
    async fn exchange(
        &self,
        conn: &mut Conn,
        out: Buf,
        inbox: Buf,
    ) -> (io::Result<usize>, Buf, Buf) {
        if out.is_empty() {
            // A peer that writes in small pieces under Nagle's algorithm holds the next piece back
            // until the last one is acknowledged, and we have no reply to carry the ACK.
            if self.server.awaiting_more() {
                conn.quickack();
            }
            let (received, inbox) = conn.recv(inbox).await;
            return (received, out, inbox);
        }
        let (sent, mut out, received, inbox) = conn.send_recv(out, inbox).await;
        out.clear();
        (sent.and(received), out, inbox)
    }

    /// Runs the protocol over one receive buffer, until all of it is taken.
    async fn digest(
        &mut self,
        conn: &mut Conn,
        mut input: &[u8],
        mut out: Buf,
        round: &mut Round,
    ) -> (Next, Buf) {
        round.octets += input.len();
        loop {
            let before = out.len();
            let next = self.drain(&mut input, out.vec_mut(), round);
            round.replied |= out.len() > before;
            self.settle(out.vec_mut()).await;
            let leave = self.core.stop.get() >= Stop::Drain && !self.server.mid_message();
            match next {
                Next::SendFirst => {}
                Next::Answer => {
                    round.replied = true;
                    if self.answer(input, out.vec_mut()).await {
                        return (Next::Turn, out);
                    }
                    continue;
                }
                Next::Receive if leave => {
                    self.server.close_for(CloseReason::ShuttingDown, out.vec_mut());
                    return (Next::Close, out);
                }
                _ => return (next, out),
            }
            self.patience.renew(self.core.watch.now());
            self.guard.arm_until(self.patience.deadline());
            let sent;
            (sent, out) = conn.send_all(out).await;
            out.clear();
            if sent.is_err() {
                return (Next::Gone, out);
            }
        }
    }

    /// Answers ETRN or ATRN; `input` is what came behind it. Whether the roles turn round.
    async fn answer(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        // The relay takes the time that it needs; none of that is the client's.
        self.guard.disarm();
        let errand = odmr::answer(self.core, &mut self.server, out).await;
        self.turn = errand.map(|errand| Turn { errand, said: input.to_vec() });
        self.turn.is_some()
    }

    /// Lets MAIL be refused while the spool has no room, so that no client sends in vain.
    fn look_for_room(&mut self) {
        if let Some(writer) = &self.core.writer {
            let lack = writer.borrow_mut().room().err();
            self.core.note_lack(writer, lack.as_ref());
            self.server.set_no_room(lack.as_ref().map(refusal));
        }
    }

    fn drain(&mut self, input: &mut &[u8], out: &mut Vec<u8>, round: &mut Round) -> Next {
        while let Some(event) = self.server.step(input, out) {
            round.turned |= !matches!(event, Event::Body(_));
            match event {
                Event::Begin => self.begin(),
                Event::Body(piece) => self.keep(piece),
                Event::End(flags) => self.finish(flags, out),
                Event::Discard => self.forget_message(),
                Event::Request => return Next::Answer,
                Event::Close => return Next::Close,
            }
        }
        if input.is_empty() { Next::Receive } else { Next::SendFirst }
    }

    /// The name of what is spoken, as in the WITH clause of a Received field (RFC 3848).
    fn protocol(&self) -> &'static [u8] {
        let relayed = self.server.relayed().and_then(|relayed| relayed.extended);
        let extended = relayed.unwrap_or_else(|| self.server.extended());
        let authenticated = self.server.identity().is_some();
        match (self.door.policy.protocol, extended, authenticated) {
            (Protocol::Lmtp, _, false) => b"LMTP",
            (Protocol::Lmtp, _, true) => b"LMTPA",
            (Protocol::Smtp, _, true) => b"ESMTPA",
            (Protocol::Smtp, true, false) => b"ESMTP",
            (Protocol::Smtp, false, false) => b"SMTP",
        }
    }

    fn begin(&mut self) {
        self.core.note_message();
        let recipients = self.server.envelope().recipients().map(|(path, _)| path);
        self.message = Message {
            open: true,
            first_byte_ns: self.round_ns,
            keep: if self.core.writer.is_some() {
                self.core.keep.keep(recipients)
            } else {
                Keep::Nothing
            },
            ..Message::default()
        };
    }

    fn keep(&mut self, piece: &[u8]) {
        self.message.bytes += piece.len() as u64;
        let Some(writer) = &self.core.writer else { return };
        if self.message.refusal.is_some() {
            return;
        }
        let kept = match self.message.keep {
            Keep::All => piece,
            Keep::Headers => self.message.cut.take(piece),
            Keep::Nothing => return,
        };
        if let Err(error) = writer.borrow_mut().append(&mut self.draft, kept) {
            self.message.refusal = Some(refusal(&error));
        }
    }

    /// The message is complete: keep it and queue its 250, or refuse it.
    fn finish(&mut self, flags: Flags, out: &mut Vec<u8>) {
        let refusal = match self.message.refusal {
            Some(reply) => Some(reply),
            None => (!self.core.quota.take_message()).then_some(QUOTA_USED),
        };
        if let Some(reply) = refusal {
            self.forget_message();
            self.server.refuse(reply, out);
            return;
        }
        let recipients = self.server.envelope().recipient_count() as u64;
        let start = out.len();
        let ticket = match self.seal(flags) {
            Ok(Some(sealed)) => {
                self.id.clear();
                sealed.place.write(&mut self.id);
                self.server.accept(&self.id, out);
                Some(sealed.ticket)
            }
            Ok(None) => {
                self.server.accept("discarded", out);
                None
            }
            Err(error) => {
                self.core.quota.return_message();
                self.forget_message();
                self.server.refuse(error, out);
                return;
            }
        };
        self.kept.push(Kept {
            reply: start..out.len(),
            ticket,
            bytes: self.message.bytes,
            recipients,
            keep: self.message.keep,
        });
        self.message.open = false;
    }

    fn seal(&mut self, flags: Flags) -> Result<Option<Sealed>, Reply> {
        let Some(writer) = &self.core.writer else { return Ok(None) };
        if self.message.keep == Keep::Nothing {
            return Ok(None);
        }
        let envelope = self.server.envelope();
        let relayed = self.server.relayed();
        let peer = relayed.and_then(|relayed| relayed.address.map(|ip| relayed_peer(ip, relayed)));
        let left_out = self.draft.len() < self.message.bytes;
        let meta = Meta {
            received_ns: self.message.first_byte_ns,
            sealed_ns: self.round_ns,
            flags: flags.bits() | if left_out { flag::HEADERS_ONLY } else { 0 },
            peer: peer.as_ref().unwrap_or(&self.peer).as_bytes(),
            listener: self.door.url.as_bytes(),
            helo: relayed.and_then(|r| r.hello.as_deref()).unwrap_or(self.server.hello()),
            protocol: self.protocol(),
            tls: b"",
            // What a trusted relay says of the client's login goes before a login of the relay itself.
            auth: relayed
                .and_then(|r| r.login.as_deref())
                .or(self.server.identity())
                .unwrap_or_default(),
            reverse_path: envelope.reverse_path(),
            reverse_params: envelope.reverse_params(),
            sent_bytes: left_out.then_some(self.message.bytes),
        };
        let sealed = writer.borrow_mut().seal(&mut self.draft, &meta, envelope.recipients());
        sealed.map(Some).map_err(|error| refusal(&error))
    }

    /// Drops what was received of the open message, if one is open, and counts it.
    fn forget_message(&mut self) {
        if !std::mem::take(&mut self.message.open) {
            return;
        }
        self.core.counters.borrow_mut().rejected += 1;
        if let Some(writer) = &self.core.writer {
            writer.borrow_mut().discard(&mut self.draft);
        }
    }

    /// Makes the queued 250s of this round true, or takes them back; after it they may be sent.
    async fn settle(&mut self, out: &mut Vec<u8>) {
        let syncing = self.core.durability == Some(Durability::Sync);
        let last = self.kept.iter().rev().find_map(|kept| kept.ticket);
        if let (true, Some(last), Some(writer)) = (syncing, last, &self.core.writer) {
            self.core.gate.reached(last, writer).await;
        }
        if self.kept.iter().any(|kept| self.core.is_lost(kept.ticket)) {
            self.take_back(if syncing { NOT_SYNCED } else { NOT_STORED }, out);
        }
        let mut counters = self.core.counters.borrow_mut();
        for kept in self.kept.drain(..) {
            counters.messages += 1;
            counters.bytes += kept.bytes;
            counters.recipients += kept.recipients;
            counters.headers_only += u64::from(kept.keep == Keep::Headers);
            counters.forgotten += u64::from(kept.keep == Keep::Nothing);
            self.core.quota.message_answered();
        }
    }

    /// Replaces the queued 250 of each message that is lost by `refusal`, line for line (LMTP has several).
    fn take_back(&mut self, refusal: Reply, out: &mut Vec<u8>) {
        let queued = std::mem::take(out);
        let mut copied = 0;
        self.kept.retain(|kept| {
            let lost = self.core.is_lost(kept.ticket);
            if lost {
                out.extend_from_slice(&queued[copied..kept.reply.start]);
                for _ in memchr::memchr_iter(b'\n', &queued[kept.reply.clone()]) {
                    refusal.write(out, true);
                }
                copied = kept.reply.end;
                self.core.quota.return_message();
                self.core.counters.borrow_mut().rejected += 1;
            }
            !lost
        });
        out.extend_from_slice(&queued[copied..]);
    }

    /// Why the receive was interrupted: the end of the sink, the end of patience, or neither.
    fn interrupted(&mut self, out: &mut Vec<u8>) -> Next {
        let reason = if self.core.stop.get() >= Stop::Drain && !self.server.mid_message() {
            CloseReason::ShuttingDown
        } else if self.patience.is_over(self.core.watch.now()) {
            self.core.counters.borrow_mut().timeouts += 1;
            CloseReason::Timeout
        } else {
            return Next::Receive;
        };
        self.forget_message();
        self.server.close_for(reason, out);
        Next::Close
    }
}

/// The client's address as XCLIENT gave it; port 0 where it gave none.
fn relayed_peer(ip: IpAddr, relayed: &Relayed) -> String {
    SocketAddr::new(ip, relayed.port.unwrap_or_default()).to_string()
}

fn refusal(error: &SpoolError) -> Reply {
    if error.is_full() { NO_ROOM } else { NOT_STORED }
}

/// A number from the kernel's random source. Where it has none, the clock has to do: what is guarded
/// is a test's login.
fn unguessable() -> u128 {
    let mut octets = [0; 16];
    match rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty()) {
        Ok(16) => u128::from_ne_bytes(octets),
        _ => u128::from(unix_ns()),
    }
}
