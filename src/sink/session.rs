//! One session: rounds of receive and send.
//!
//! A round: receive, hand the octets to the protocol until it asks for more, keep what it gives, wait
//! until the fate of its messages is known, send all replies of the round in one piece and read on.

use std::io;

use super::core::{Core, Door};
use super::deadline::Deadline;
use super::lingering_close;
use super::message::{self, Ends, IncomingMessage};
use super::odmr::{self, Turn};
use super::pregreet::{self, Rejection};
use super::replies::ReplyQueue;
use super::round::{Next, Round};
use super::round_clock::RoundClock;
use super::session_log::{SessionEnd, SessionLog};
use super::stop::Stop;
use crate::engine::{Buf, Conn, Guard, Peer};
use crate::host::unix_ns;
use crate::limits::REPLY_QUEUE_BYTES_MAX;
use crate::smtp::deviation::Deviations;
use crate::smtp::server::{CloseReason, Event, Flags, ReplyCounts, Server, VerbClass};

/// Reads into a large buffer that a session may do in one turn: 256 KiB, then the others have theirs.
const DIRECT_RECVS_MAX: usize = 4;

/// Serves one connection to its end and closes it.
pub(super) async fn serve(core: &Core, mut conn: Conn, peer: Peer, door: &Door) {
    let clock = RoundClock::start();
    let guard = core.watch.register(conn.handle());
    let mut log = core.log(peer, door);
    let caller = match pregreet::meet(core, &mut conn, &guard, peer).await {
        Ok(caller) => caller,
        Err(rejection) => {
            if let Some(log) = log {
                log.end(b"", SessionEnd::NotAdmitted);
            }
            let Rejection::Refused(why) = rejection else { return conn.close().await };
            lingering_close::refuse(core, &mut conn, &guard, door, why).await;
            return conn.close().await;
        }
    };
    let policy = door.policy();
    let has_auth = !policy.mechanisms().is_empty();
    let mut server = Server::new(policy);
    if has_auth {
        server.set_auth_seed(unguessable());
    }
    server.trust_xclient(core.peer_policy.xclient.contains(&caller.peer));
    if let Some(log) = &mut log {
        log.set_peer(caller.peer);
        if log.wants_dialogue() {
            server.listen_in();
        }
    }
    let mut session = Session {
        core,
        door,
        log,
        end: SessionEnd::default(),
        caller: caller.peer,
        peer: caller.peer.to_string(),
        server,
        guard,
        deadline: Deadline::new(&core.peer_policy, core.watch.now()),
        message: IncomingMessage::default(),
        replies: ReplyQueue::default(),
        turn: None,
        clock,
        ended: ReplyCounts::default(),
        deviations: Deviations::empty(),
    };
    session.run(&mut conn, caller.said).await;
    session.message.forget(core);
    session.say_the_end();
    drop(session);
    conn.close().await;
    drop(caller.place);
}

struct Session<'c> {
    core: &'c Core,
    door: &'c Door,
    /// `None` unless something is to be said of the session.
    log: Option<Box<SessionLog>>,
    end: SessionEnd,
    caller: Peer,
    peer: String,
    server: Server,
    guard: Guard,
    deadline: Deadline,
    message: IncomingMessage,
    /// Replies of this round that wait for the fate of a message.
    replies: ReplyQueue,
    /// Set when the roles are swapped.
    turn: Option<Turn>,
    clock: RoundClock,
    /// Replies to ends of data that were rendered here, and are not on the board yet.
    ended: ReplyCounts,
    /// Those that are on the board.
    deviations: Deviations,
}

impl Session<'_> {
    /// `said` is what the peer sent before the greeting.
    async fn run(&mut self, conn: &mut Conn, said: Vec<u8>) {
        let mut out = self.core.pool.small();
        let mut inbox = self.core.pool.small();
        self.server.greet(out.vec_mut());
        self.show_replies(&[]);
        let mut next = Next::Receive;
        if !said.is_empty() {
            (next, out) = self.round(conn, &said, false, out).await;
            drop(said);
        }
        while next == Next::Receive {
            self.guard.arm_until(self.deadline.deadline());
            if !out.is_empty() {
                self.show_replies(&out);
            }
            let received;
            (received, out, inbox) = self.exchange(conn, out, inbox).await;
            next = match received {
                Ok(0) => self.closed_by_client(),
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
        if matches!(next, Next::Close | Next::Turn) {
            self.show_replies(&out);
        }
        if next == Next::Close {
            lingering_close::part(self.core, conn, &self.guard, out, inbox).await;
            return;
        }
        if let Some(turn) = self.turn.take() {
            self.core.pool.give(inbox);
            self.end = SessionEnd::Turned;
            return odmr::turn(self.core, conn, &self.guard, out, turn).await;
        }
        // The watch shuts the connection of a peer that does not read what we send.
        if self.guard.fired() {
            self.core.board.timeouts.add(1);
            self.end = SessionEnd::Timeout;
        }
        self.core.pool.give(out);
        self.core.pool.give(inbox);
    }

    /// Digests what a receive gave. `read_on`: there may be more, and it is read and digested too. Then
    /// the peer gets the time that it has earned by that.
    async fn round(
        &mut self,
        conn: &mut Conn,
        input: &[u8],
        read_on: bool,
        out: Buf,
    ) -> (Next, Buf) {
        let was_content = self.server.mid_message();
        self.clock.begin(was_content);
        self.look_for_room();
        let mut round = Round::default();
        let (mut next, mut out) = self.digest(conn, input, out, &mut round).await;
        if read_on && next == Next::Receive {
            (next, out) = self.take_the_rest(conn, out, &mut round).await;
        }
        let now = self.core.watch.now();
        if self.server.mid_message() {
            if round.turned || !was_content {
                self.deadline.renew(now);
            } else {
                self.deadline.extend(round.octets, now);
            }
        } else if round.replied || was_content || !self.server.awaiting_more() {
            self.deadline.renew(now);
        }
        (next, out)
    }

    /// Reads on without waiting, because the small buffer was full. Most sessions wait most of the time,
    /// and they wait with a small buffer. A session borrows the large buffer of the core while octets are
    /// there.
    async fn take_the_rest(
        &mut self,
        conn: &mut Conn,
        mut out: Buf,
        round: &mut Round,
    ) -> (Next, Buf) {
        let mut large = self.core.pool.large();
        let mut next = Next::Receive;
        // Bounded, so that one busy client does not starve the other clients of the core.
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
            // A peer that writes in small pieces under Nagle's algorithm sends the next piece only after
            // the ACK of the last one, and there is no reply that could carry the ACK.
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
            self.settle(out.vec_mut()).await;
            round.replied |= out.len() > before;
            let leave = self.is_to_leave();
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
                    self.end = SessionEnd::Shutdown;
                    self.message.forget(self.core);
                    self.server.close_for(CloseReason::ShuttingDown, out.vec_mut());
                    return (Next::Close, out);
                }
                _ => return (next, out),
            }
            self.deadline.renew(self.core.watch.now());
            self.guard.arm_until(self.deadline.deadline());
            self.show_replies(&out);
            let sent;
            (sent, out) = conn.send_all(out).await;
            out.clear();
            if sent.is_err() {
                return (Next::Gone, out);
            }
        }
    }

    /// Answers ETRN or ATRN. `input` is what came after the command. `true`: the roles are swapped.
    async fn answer(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        // The relay takes the time that it needs; that time does not count against the client.
        self.guard.disarm();
        let turned = odmr::answer(self.core, &mut self.server, out).await;
        self.turn = turned.map(|session| Turn { session, said: input.to_vec() });
        self.turn.is_some()
    }

    /// Has the server refuse MAIL while the spool has no room, so that no client sends in vain.
    fn look_for_room(&mut self) {
        if let Some(writer) = &self.core.writer {
            let lack = writer.borrow_mut().room().err();
            self.core.note_lack(writer, lack.as_ref());
            self.server.set_no_room(lack.as_ref().map(message::refusal));
        }
    }

    /// Hands `input` to the protocol until all of it is taken, the queue of replies is full, or there is
    /// something else to do first.
    fn drain(&mut self, input: &mut &[u8], out: &mut Vec<u8>, round: &mut Round) -> Next {
        while let Some(event) = self.server.step(input, out) {
            round.turned |= !matches!(event, Event::Body(_));
            match event {
                Event::Begin => {
                    let now_ns = self.clock.received_ns();
                    self.message.begin(self.core, &self.server, now_ns);
                }
                Event::Body(piece) => self.message.append(self.core, piece),
                Event::End(flags) => {
                    self.finish(flags, out);
                    // The server does not count the replies that wait: the same bound holds with them.
                    if out.len() + self.replies.octets() >= REPLY_QUEUE_BYTES_MAX {
                        break;
                    }
                }
                Event::Discard if self.message.is_open() => self.message.forget(self.core),
                // It was refused before its first octet.
                Event::Discard => self.core.board.rejected.add(1),
                Event::Request => return Next::Answer,
                Event::StartTls => self.server.answer_starttls(false, out),
                Event::Close => {
                    let bye = out.ends_with(b"\n") && last_line(out).starts_with(b"221");
                    self.end = if bye { SessionEnd::Quit } else { SessionEnd::ClosedBySink };
                    return Next::Close;
                }
            }
        }
        if input.is_empty() { Next::Receive } else { Next::SendFirst }
    }

    /// The message is complete: keep it and queue its reply, or refuse it.
    fn finish(&mut self, flags: Flags, out: &mut Vec<u8>) {
        let ends = Ends { peer: &self.peer, door: self.door };
        let now_ns = self.clock.received_ns();
        let finished = self.message.finish(self.core, &self.server, ends, flags, now_ns);
        if self.log.is_some() {
            self.server.note_heard(format_args!("({} octets of a message)", self.message.bytes()));
        }
        match finished {
            Ok(taken) => self.replies.push(out.len(), self.server.end_accepted(), taken),
            Err(reply) => self.server.refuse(reply, out),
        }
    }

    /// Waits until the fate of each message of this round is known, and renders their replies at their
    /// places among the replies in `out`. Then all of them may be sent.
    async fn settle(&mut self, out: &mut Vec<u8>) {
        if self.replies.is_empty() {
            return;
        }
        if let (Some(ticket), Some(writer)) = (self.replies.last_ticket(), &self.core.writer) {
            // The client waits for us, not we for it. What waits for the client next sets a deadline anew.
            self.guard.disarm();
            self.core.group_commit.decided(ticket, writer).await;
        }
        let mut scratch = self.core.reply_scratch.take();
        self.replies.compose(out, &mut scratch, |message, reply| {
            let verdict = self.core.answer(message);
            if let Err(refusal) = verdict {
                let lines = reply.lines() as u32;
                self.core.board.refused([(reply.refusal(refusal), lines)]);
            }
            if let Some(log) = &mut self.log {
                match verdict {
                    Ok(()) => log.message(message.bytes),
                    Err(refusal) => log.refused(reply.refusal(refusal), reply.lines() as u32),
                }
            }
            let digit = verdict.map_or_else(|refusal| refusal.first_digit(), |()| b'2');
            self.ended.count(VerbClass::EndOfData, digit, reply.lines());
            verdict
        });
        self.core.reply_scratch.replace(scratch);
    }

    /// Counts the replies that go to the kernel now on the board. `out` is what goes.
    fn show_replies(&mut self, out: &[u8]) {
        let mut counts = self.server.take_counts();
        counts += std::mem::take(&mut self.ended);
        let took_ns = self.clock.elapsed_ns(counts.of(VerbClass::EndOfData) > 0);
        self.core.board.replies(&counts, took_ns);
        if self.server.has_refused() {
            self.show_refusals();
        }
        self.show_deviations();
        if let Some(log) = &self.log
            && log.wants_dialogue()
        {
            log.dialogue(&self.server.take_heard(), out);
        }
    }

    /// Counts in which ways the session strays from the grammar, once each.
    fn show_deviations(&mut self) {
        let seen = self.server.session_deviations();
        if seen != self.deviations {
            self.core.board.session_deviates(seen.difference(self.deviations));
            self.deviations = seen;
        }
    }

    #[cold]
    fn show_refusals(&mut self) {
        for (refusal, times) in self.server.drain_refusals() {
            self.core.board.refused([(refusal, times)]);
            if let Some(log) = &mut self.log {
                log.refused(refusal, times);
            }
        }
        self.give_hint();
    }

    fn give_hint(&mut self) {
        if let Some(want) = self.server.take_want() {
            self.core.hints.give(want, self.caller);
        }
    }

    fn closed_by_client(&mut self) -> Next {
        let mid_message = self.server.mid_message();
        self.end = if mid_message { SessionEnd::ClosedInMessage } else { SessionEnd::ClientClosed };
        Next::Gone
    }

    fn say_the_end(&mut self) {
        self.give_hint();
        let Some(log) = &self.log else { return };
        if log.wants_dialogue() {
            log.dialogue(&self.server.take_heard(), &[]);
        }
        log.end(self.server.hello(), self.end);
    }

    /// Whether the sink ends and waits no longer for this session: at the end of the time for open messages
    /// they get a 421 too (RFC 5321 §3.8).
    fn is_to_leave(&self) -> bool {
        match self.core.stop.get() {
            Stop::No | Stop::NoNewSessions => false,
            Stop::Drain => !self.server.mid_message(),
            Stop::Now => true,
        }
    }

    /// Why the receive was interrupted: the end of the sink, the deadline of the peer, or neither.
    fn interrupted(&mut self, out: &mut Vec<u8>) -> Next {
        let reason = if self.is_to_leave() {
            self.end = SessionEnd::Shutdown;
            CloseReason::ShuttingDown
        } else if self.deadline.is_over(self.core.watch.now()) {
            self.core.board.timeouts.add(1);
            self.end = SessionEnd::Timeout;
            CloseReason::Timeout
        } else {
            return Next::Receive;
        };
        self.message.forget(self.core);
        self.clock.stop();
        self.server.close_for(reason, out);
        Next::Close
    }
}

/// The last of whole lines.
fn last_line(lines: &[u8]) -> &[u8] {
    let body = lines.strip_suffix(b"\n").unwrap_or(lines);
    &body[memchr::memrchr(b'\n', body).map_or(0, |end| end + 1)..]
}

/// A number from the kernel's random source. If that fails, the clock must do: it guards only the logins
/// of a test.
fn unguessable() -> u128 {
    let mut octets = [0; 16];
    match rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty()) {
        Ok(16) => u128::from_ne_bytes(octets),
        _ => u128::from(unix_ns()),
    }
}
