//! One session: rounds of receive and send.
//!
//! A round: receive, hand the octets to the protocol until it asks for more, keep what it gives, wait
//! until the fate of its messages is known, send all replies of the round in one piece and read on.

mod digest;
mod faults;
mod secure;
mod show;

use std::io;

use super::core::{Core, Door};
use super::deadline::Deadline;
use super::fault_plan::{FaultPlan, SessionFaults};
use super::lingering_close::{self, LastWord};
use super::message::{self, IncomingMessage};
use super::odmr::{self, Turn};
use super::pregreet::{self, Rejection};
use super::replies::ReplyQueue;
use super::round::{Next, Round};
use super::round_clock::RoundClock;
use super::session_log::{SessionEnd, SessionLog};
use super::stop::Stop;
use super::stored_session::StoredSession;
use crate::engine::{Buf, Conn, Guard, Peer, Stream};
use crate::host::unix_ns;
use crate::limits::{RECV_RECORD_BYTES, REPLY_QUEUE_BYTES_MAX};
use crate::rules::{FaultAction, FaultEvent};
use crate::smtp::deviation::Deviations;
use crate::smtp::server::{CloseReason, Event, Flags, ReplyCounts, Server, VerbClass};

/// Serves one connection to its end and closes it.
pub(super) async fn serve(core: &Core, conn: Conn, peer: Peer, door: &Door) {
    let clock = RoundClock::start();
    let guard = core.watch.register(conn.handle());
    let mut stream = Stream::from(conn);
    let mut log = core.log(peer, door);
    let caller = match pregreet::meet(core, &mut stream, &guard, peer).await {
        Ok(caller) => caller,
        Err(rejection) => {
            if let Some(log) = log {
                log.end(b"", SessionEnd::NotAdmitted);
            }
            let Rejection::Refused(why) = rejection else { return stream.close().await };
            lingering_close::refuse(core, &mut stream, &guard, door, why).await;
            return stream.close().await;
        }
    };
    let faults = core.faults.as_ref().map(FaultPlan::begin);
    let policy = faults::policy(door, faults.as_ref());
    let has_auth = !policy.mechanisms().is_empty();
    let mut server = Server::new(policy);
    server.set_envelope_memory(core.envelope_memory.clone());
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
        stored: StoredSession::new(door, caller.peer.to_string()),
        server,
        guard,
        deadline: Deadline::new(&core.peer_policy, core.watch.now()),
        message: IncomingMessage::default(),
        replies: ReplyQueue::default(),
        turn: None,
        faults,
        clock,
        ended: ReplyCounts::default(),
        deviations: Deviations::empty(),
    };
    session.run(&mut stream, caller.said).await;
    session.message.forget(core);
    session.say_the_end();
    drop(session);
    stream.close().await;
    drop(caller.place);
}

struct Session<'c> {
    core: &'c Core,
    door: &'c Door,
    /// `None` unless something is to be said of the session.
    log: Option<Box<SessionLog>>,
    end: SessionEnd,
    caller: Peer,
    stored: StoredSession<'c>,
    server: Server,
    guard: Guard,
    deadline: Deadline,
    message: IncomingMessage,
    /// Replies of this round that wait for the fate of a message.
    replies: ReplyQueue,
    /// Set when the roles are swapped.
    turn: Option<Turn>,
    /// `None` unless the user asked for faults.
    faults: Option<SessionFaults>,
    clock: RoundClock,
    /// Replies to ends of data that were rendered here, and are not on the board yet.
    ended: ReplyCounts,
    /// Those that are on the board.
    deviations: Deviations,
}

/// The buffers with which a session waits.
struct Buffers {
    /// Replies that were not sent.
    out: Buf,
    /// What was received and not taken.
    inbox: Buf,
}

impl Session<'_> {
    /// `said` is what the peer sent before the greeting, or before TLS.
    async fn run(&mut self, stream: &mut Stream, said: Buf) {
        let mut bufs = Buffers { out: self.core.pool.small(), inbox: said };
        let greeted = self.greet(stream, &mut bufs).await;
        let next = self.converse(stream, &mut bufs, greeted).await;
        let Buffers { out, inbox } = bufs;
        if matches!(next, Next::Close | Next::Turn) {
            self.show_replies(&out);
        }
        if next == Next::Close {
            let unclosed = self.faults.is_some()
                && stream.is_secure()
                && self.strike(FaultEvent::Close).action == Some(FaultAction::NoNotify);
            let last = if unclosed { LastWord::None } else { LastWord::CloseNotify };
            lingering_close::part(self.core, stream, &self.guard, (out, inbox), last).await;
            return;
        }
        if let Some(turn) = self.turn.take() {
            self.end = SessionEnd::Turned;
            return odmr::turn(self.core, stream, &self.guard, (out, inbox), turn).await;
        }
        // The watch shuts the connection of a peer that does not read what we send.
        if self.guard.fired() {
            self.core.board.timeouts.add(1);
            self.end = SessionEnd::Timeout;
        }
        self.core.pool.give(out);
        self.core.pool.give(inbox);
    }

    /// Writes the greeting, after the handshake where TLS begins with the connection.
    async fn greet(&mut self, stream: &mut Stream, bufs: &mut Buffers) -> Next {
        if let Some(config) = self.door.implicit_tls() {
            let next = self.secure(stream, config, bufs).await;
            if next != Next::Receive {
                return next;
            }
        }
        let delay = self.core.peer_policy.greet_delay;
        if !delay.is_zero() {
            let waited = pregreet::wait(self.core, stream, &self.guard, &mut bufs.inbox, delay);
            if let Err(rejection) = waited.await {
                self.end = SessionEnd::NotAdmitted;
                match rejection {
                    Rejection::Refused(why) => self.server.close_for(why, bufs.out.vec_mut()),
                    Rejection::Tls(error) => return self.tls_failed(&error),
                    // It hears our close_notify.
                    Rejection::Gone if stream.is_secure() => {}
                    Rejection::Gone => return Next::Gone,
                }
                return Next::Close;
            }
        }
        self.server.greet(bufs.out.vec_mut());
        self.show_replies(&[]);
        if bufs.inbox.is_empty() && !stream.is_secure() {
            return Next::Receive;
        }
        self.round(stream, bufs, false).await
    }

    /// Rounds, beginning with what is `next`, until there is no next one.
    async fn converse(&mut self, stream: &mut Stream, bufs: &mut Buffers, mut next: Next) -> Next {
        loop {
            next = match next {
                Next::Receive => self.receive(stream, bufs).await,
                Next::Secure => self.start_tls(stream, bufs).await,
                Next::Hold => self.hold(stream, bufs).await,
                end => return end,
            };
        }
    }

    /// Sends and receives once, and digests what came.
    async fn receive(&mut self, stream: &mut Stream, bufs: &mut Buffers) -> Next {
        self.guard.arm_until(self.deadline.deadline());
        if !bufs.out.is_empty() {
            self.show_replies(&bufs.out);
        }
        match self.exchange(stream, bufs).await {
            Ok(0) => {
                // Whoever cuts the connection could have cut what the client sent.
                self.core.board.tls_truncated.add(stream.is_secure().into());
                let next = self.closed_by_client();
                // It may have ended its own direction alone, and look for our close_notify (RFC 8446 §6.1).
                if stream.is_secure() { Next::Close } else { next }
            }
            Ok(_) => {
                let filled = bufs.inbox.len() == bufs.inbox.capacity();
                self.round(stream, bufs, filled).await
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.interrupted(bufs.out.vec_mut())
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                self.called_back(bufs.out.vec_mut())
            }
            Err(_) => Next::Gone,
        }
    }

    /// Sends the replies that are queued, the 220 to STARTTLS last, and begins TLS. It never goes on in plain text.
    async fn start_tls(&mut self, stream: &mut Stream, bufs: &mut Buffers) -> Next {
        let Some(config) = self.door.tls_config() else { return Next::Gone };
        debug_assert!(bufs.inbox.is_empty(), "what came in plain text does not count under TLS");
        self.guard.arm_until(self.deadline.deadline());
        if self.send(stream, &mut bufs.out).await.is_err() {
            return Next::Gone;
        }
        match self.secure(stream, config, bufs).await {
            Next::Receive => self.round(stream, bufs, false).await,
            next => next,
        }
    }

    /// Digests what is in the inbox. `read_on`: there may be more, and it is read and digested too. Then the peer
    /// gets the time that it has earned by that.
    async fn round(&mut self, stream: &mut Stream, bufs: &mut Buffers, read_on: bool) -> Next {
        let was_content = self.server.mid_message();
        self.clock.begin(was_content);
        self.look_for_room();
        let mut round = Round::default();
        let Buffers { out, inbox } = bufs;
        let mut next = self.digest(stream, inbox, out, &mut round).await;
        if read_on && next == Next::Receive {
            next = self.take_the_rest(stream, bufs, &mut round).await;
        }
        let now = self.core.watch.now();
        // Under TLS what is left is a record whose end has not come.
        let left = if stream.is_secure() { bufs.inbox.len() } else { 0 };
        let came = self.deadline.came(round.octets, left);
        if self.server.mid_message() {
            if round.turned || !was_content {
                self.deadline.renew(now);
            } else {
                self.deadline.extend(came, now);
            }
        } else if round.replied || was_content || (round.octets > 0 && !self.server.awaiting_more())
        {
            self.deadline.renew(now);
        }
        next
    }

    /// Sends what is queued, if anything, and receives.
    async fn exchange(&self, stream: &mut Stream, bufs: &mut Buffers) -> io::Result<usize> {
        let inbox = std::mem::take(&mut bufs.inbox);
        let received;
        if stream.is_idle(&bufs.out) {
            // A peer that writes in small pieces under Nagle's algorithm sends the next piece only after
            // the ACK of the last one, and there is no reply that could carry the ACK.
            if self.server.awaiting_more() {
                stream.quickack();
            }
            (received, bufs.inbox) = stream.recv(inbox).await;
            return received;
        }
        let sent;
        let out = std::mem::take(&mut bufs.out);
        (sent, bufs.out, received, bufs.inbox) = stream.send_recv(out, inbox).await;
        self.empty(&mut bufs.out);
        sent.and(received)
    }

    /// Sends what is queued.
    async fn send(&mut self, stream: &mut Stream, out: &mut Buf) -> io::Result<()> {
        self.show_replies(out);
        let sent;
        (sent, *out) = stream.send_all(std::mem::take(out)).await;
        self.empty(out);
        sent
    }

    /// Empties the buffer of replies that were sent. A session waits with no large one.
    fn empty(&self, out: &mut Buf) {
        out.clear();
        if out.capacity() >= RECV_RECORD_BYTES {
            self.core.pool.give(std::mem::replace(out, self.core.pool.small()));
        }
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
                    if self.closes_at_data() {
                        self.end = SessionEnd::Fault;
                        return Next::Close;
                    }
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
                Event::StartTls => {
                    if let Some(next) = self.answer_starttls(out) {
                        return next;
                    }
                }
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
        let now_ns = self.clock.received_ns();
        let finished =
            self.message.finish(self.core, &self.server, &mut self.stored, flags, now_ns);
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

    fn closed_by_client(&mut self) -> Next {
        let mid_message = self.server.mid_message();
        self.server.note_unfinished();
        self.end = if mid_message { SessionEnd::ClosedInMessage } else { SessionEnd::ClientClosed };
        Next::Gone
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
        self.server.note_unfinished();
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
