//! One connection of the generator: which message it sends at what time, and what it records.
//!
//! [`Talk`] sends and receives; this file reads the clock before each send and after each receive.

mod end;
mod secure;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

pub(super) use self::end::SessionEnd;
use self::secure::Handshake;
use super::core::{LoadCore, TargetHold};
use super::corpus::{Identity, Rendered};
use super::failure::Failure;
use super::in_flight::{InFlight, count, decide, phase};
use super::security::SecuredSessions;
use super::transcript::Transcript;
use super::work::{Arrival, LoadModel, WorkSlot};
use crate::dial::{Talk, TalkError, TlsMode, Wire};
use crate::engine::Alarm;
use crate::engine::task::SemaphorePermit;
use crate::limits::SEND_PIECE_BYTES;
use crate::measure::{Outcome, Phase, Recorder};
use crate::smtp::client::{self, Client, Settings, TransactionVerdict, Want};
use crate::stamp::STAMP_BYTES;

/// Time without work after which a session looks whether the server has closed it, before it sends.
const IDLE_PROBE_NS: u64 = 100_000_000;

const _: () = assert!(STAMP_BYTES <= SEND_PIECE_BYTES, "the stamp is in the first piece");

/// What a session does next when it may send a message.
enum SessionStep {
    /// Send a message.
    Message(Option<Arrival>),
    /// Wait until a message is due.
    Rest,
    /// Pause, and send a message then.
    Pause(Duration),
    /// Say QUIT.
    Leave,
}

/// A session of the generator.
pub(super) struct LoadSession<'c> {
    core: &'c LoadCore,
    /// Which of the core's targets it speaks to, and its place there.
    target: usize,
    /// Its number among the connections of its core.
    conn: u32,
    hold: &'c TargetHold,
    talk: Talk,
    /// When it goes under TLS.
    mode: TlsMode,
    /// Its turn among those of its core that connect or shake hands.
    turn: Option<SemaphorePermit<'c>>,
    /// Its handshake, until that is counted.
    handshake: Option<Box<Handshake>>,
    /// Whether it counts as one under TLS, or as one in plain text; `None` before it does.
    counted: Option<bool>,
    /// Messages that were begun and not decided yet, in the order of the server's verdicts.
    open: VecDeque<InFlight>,
    /// How many of `open`, counted from the back, are written and not sent. INVARIANT: at most
    /// `open.len()`.
    unsent: usize,
    /// The message whose envelope is being written or whose body is due.
    message: Option<(&'c Rendered, Identity)>,
    /// Messages that may still begin on this connection.
    allowance: u64,
    /// Work that was given to this session and that it has not begun yet.
    dealt: Option<Arrival>,
    slot: Rc<WorkSlot>,
    /// Whether a pause is due before the next message.
    pausing: bool,
    alarm: Option<Alarm>,
    /// Messages that were decided on this connection, with a reply or without.
    decided: u64,
    /// We have written QUIT.
    leaving: bool,
    transcript: Option<Box<Transcript>>,
    /// When AUTH was sent, while its exchange goes on.
    auth_ns: Option<u64>,
    /// When the connection was wanted, and when it was its turn to connect.
    asked_ns: u64,
    connect_ns: u64,
    /// When the message that it began last was due, or in a closed loop begun; before the first, when the work
    /// was due that it was opened for. It decides whether what happens on the connection is in the figures.
    start_ns: u64,
    /// The latest reading of the clock, and the one just before the last send. Under TLS that is before the octets
    /// are encrypted: whoever waits for a reply waits for that too.
    now_ns: u64,
    sent_ns: u64,
}

impl<'c> LoadSession<'c> {
    /// Connects to the target of `hold`, for work that was due at `start_ns`. It is our `turn` to connect, and
    /// to shake hands if TLS comes first. A failure is counted here.
    pub(super) async fn open(
        core: &'c LoadCore,
        hold: &'c TargetHold,
        slot: &Rc<WorkSlot>,
        (asked_ns, start_ns): (u64, u64),
        turn: Option<SemaphorePermit<'c>>,
    ) -> Result<Self, Failure> {
        debug_assert!(slot.is_pledged(), "a session is opened for some work");
        let (target, connect_ns) = (hold.target, core.clock.elapsed_ns());
        let connected = core.work.connected(slot, core.connect(target)).await;
        let now_ns = core.clock.elapsed_ns();
        let mut recorder = core.recorder.borrow_mut();
        recorder.tick(now_ns);
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                let times = (connect_ns, start_ns, now_ns);
                drop(recorder);
                return Err(end::not_connected(core, (target, slot), times, &error));
            }
        };
        recorder.connection_opened();
        if core.tells_targets() {
            recorder.connection_opened_to(target);
        }
        if recorder.heeds(start_ns) {
            recorder.record_phase(Phase::Connect, Outcome::Accepted, now_ns - connect_ns);
        }
        let guard = core.watch.register(stream.handle());
        core.work.greets(slot, stream.handle());
        let state = &core.targets[target];
        let mode = state.secured.as_ref().map_or(TlsMode::Plain, SecuredSessions::next_mode);
        let settings = &state.settings;
        let many_replies = settings.depth > 8;
        let into = if many_replies { core.pool.large() } else { core.pool.small() };
        let wire = Wire::new(stream, guard, core.reply_timeout, core.pool.small(), into);
        let mut client = Client::new(Settings { upgrade: mode.upgrade(), ..settings.clone() });
        if settings.login.is_some() {
            client.set_auth_seed(fastrand::u128(..));
        }
        Ok(Self {
            core,
            target,
            conn: core.next_connection(),
            hold,
            talk: Talk::new(wire, client),
            mode,
            turn: turn.filter(|_| mode == TlsMode::Implicit),
            handshake: None,
            counted: None,
            open: VecDeque::with_capacity(settings.depth.max(2)),
            unsent: 0,
            message: None,
            // Both come when the greeting is done.
            allowance: 0,
            dealt: None,
            slot: Rc::clone(slot),
            pausing: false,
            alarm: None,
            decided: 0,
            leaving: false,
            transcript: core.transcript().map(Box::new),
            auth_ns: None,
            asked_ns,
            connect_ns,
            start_ns,
            now_ns,
            sent_ns: now_ns,
        })
    }

    /// Sends messages until there are no more or the connection ends, and closes it.
    pub(super) async fn run(mut self) -> SessionEnd {
        let result = self.converse().await;
        self.now_ns = self.core.clock.elapsed_ns();
        let end = self.settle(result);
        self.talk.close(&self.core.pool).await;
        end
    }

    async fn converse(&mut self) -> Result<(), TalkError> {
        if self.mode == TlsMode::Implicit {
            self.secure().await?;
        }
        while !self.write().await? {
            self.exchange().await?;
        }
        Ok(())
    }

    /// Writes all that may be written now. Answers whether the session is over.
    async fn write(&mut self) -> Result<bool, TalkError> {
        loop {
            match self.talk.want() {
                Want::Replies => {
                    if self.mode != TlsMode::Plain {
                        self.take_turn().await;
                    }
                    self.limit_goodbye();
                    return Ok(false);
                }
                Want::Close => return Ok(true),
                Want::Encrypt => self.secure().await?,
                Want::Transaction => {
                    if self.proceed().await? {
                        return Ok(false);
                    }
                }
                Want::Envelope => {
                    if let Some((message, identity)) = self.message {
                        let outgoing = self.core.corpus.outgoing(message, identity.filling);
                        self.talk.resume(&outgoing);
                    }
                }
                Want::RawBody | Want::StuffedBody => self.body().await?,
            }
            if self.talk.wire.out().len() >= SEND_PIECE_BYTES {
                self.send().await?;
            }
        }
    }

    /// Begins the next message, waits for it, or writes QUIT when there is none. Answers whether
    /// replies must be read first.
    async fn proceed(&mut self) -> Result<bool, TalkError> {
        match self.next() {
            SessionStep::Message(arrival) => self.begin(arrival),
            SessionStep::Leave => {
                self.leaving = true;
                self.talk.quit();
            }
            SessionStep::Rest | SessionStep::Pause(_) if self.talk.client().awaited().is_some() => {
                return Ok(true);
            }
            SessionStep::Rest => self.rest().await?,
            SessionStep::Pause(pause) => self.pause(pause).await?,
        }
        Ok(false)
    }

    #[inline]
    fn next(&mut self) -> SessionStep {
        let work = &self.core.work;
        if let Some(arrival) = self.dealt.take() {
            return SessionStep::Message(Some(arrival));
        }
        if self.core.is_surplus(self.hold) {
            return SessionStep::Leave;
        }
        if self.allowance == 0 && work.claims_one_by_one() {
            self.allowance = work.claim(1, self.now_ns);
        }
        if self.allowance == 0 {
            let wait = work.claims_one_by_one() && work.waits_for_pledges(self.now_ns);
            return if wait { SessionStep::Rest } else { SessionStep::Leave };
        }
        if work.model == LoadModel::Messages {
            return match work.take_due(self.now_ns) {
                Some(arrival) => SessionStep::Message(Some(arrival)),
                None if work.over(self.now_ns) => SessionStep::Leave,
                None => SessionStep::Rest,
            };
        }
        if !work.may_begin(self.now_ns) {
            return SessionStep::Leave;
        }
        if self.pausing
            && let Some(pause) = work.pause()
        {
            return SessionStep::Pause(pause);
        }
        let now_ns = self.now_ns;
        let due = Arrival::new(now_ns, now_ns);
        SessionStep::Message((work.model == LoadModel::Sessions).then_some(due))
    }

    #[inline]
    fn begin(&mut self, arrival: Option<Arrival>) {
        debug_assert!(self.allowance > 0, "a message that was not claimed");
        self.allowance -= 1;
        self.pausing = true;
        let due_ns = arrival.map_or(self.now_ns, |arrival| arrival.due_ns);
        self.start_ns = due_ns;
        let (message, identity) = self.core.next_message(self.conn, due_ns);
        self.message = Some((message, identity));
        let recipients = self.core.corpus.recipients(message);
        let bytes = message.size;
        let claimed_ns = self.now_ns;
        let (seq, began_ns) = (identity.seq, claimed_ns);
        let in_flight = InFlight { seq, claimed_ns, began_ns, arrival, bytes, recipients };
        self.open.push_back(in_flight);
        self.unsent += 1;
        self.core.in_flight.set(self.core.in_flight.get() + 1);
        let outgoing = self.core.corpus.outgoing(message, identity.filling);
        self.talk.begin(&outgoing);
    }

    /// Waits for work.
    async fn rest(&mut self) -> Result<(), TalkError> {
        let since_ns = self.now_ns;
        self.talk.wire.disarm();
        self.dealt = self.core.work.wait(&self.slot).await;
        self.listen(since_ns)
    }

    /// Pauses between two messages; the next one is due at the end of the pause.
    async fn pause(&mut self, pause: Duration) -> Result<(), TalkError> {
        let since_ns = self.now_ns;
        let until_ns = since_ns.saturating_add(pause.as_nanos() as u64);
        self.talk.wire.disarm();
        let alarm = match &mut self.alarm {
            Some(alarm) => alarm,
            none => none.insert(Alarm::new()?),
        };
        self.core.work.sleep_until(alarm, until_ns).await?;
        self.pausing = false;
        self.listen(since_ns)?;
        if self.core.work.model == LoadModel::Sessions && self.core.work.may_begin(self.now_ns) {
            self.dealt = Some(Arrival::new(until_ns, until_ns));
        }
        Ok(())
    }

    /// Reads what the server has sent since `since_ns`, when the session ran out of work. A connection
    /// that the server has closed since then gets no message.
    fn listen(&mut self, since_ns: u64) -> Result<(), TalkError> {
        self.now_ns = self.core.clock.elapsed_ns();
        if self.now_ns - since_ns < IDLE_PROBE_NS {
            return Ok(());
        }
        if self.talk.wire.recv_ready()? { self.read() } else { Ok(()) }
    }

    /// Appends the message to what is written. A large one is sent in pieces.
    async fn body(&mut self) -> Result<(), TalkError> {
        let Some((message, identity)) = self.message.take() else {
            return Ok(());
        };
        let parts = message.parts();
        let whole = parts[0].len() + parts[1].len();
        let mut done = 0;
        for piece in parts.into_iter().flat_map(|part| part.chunks(SEND_PIECE_BYTES)) {
            let out = self.talk.wire.out_mut();
            let start = out.len();
            out.extend_from_slice(piece);
            message.identify(&mut out[start..], done, identity);
            if let Some(transcript) = &mut self.transcript {
                transcript.body(start..start + piece.len());
            }
            done += piece.len();
            if piece.len() == SEND_PIECE_BYTES && done < whole {
                self.send().await?;
            }
        }
        self.talk.body_done();
        Ok(())
    }

    /// Sends what is written without waiting for replies.
    async fn send(&mut self) -> Result<(), TalkError> {
        self.stamp_sent();
        let sent = self.talk.send().await;
        // A server that reads slowly may have held the send up for long: whether another message may
        // begin is decided by the time that it is now.
        self.now_ns = self.core.clock.elapsed_ns();
        sent
    }

    /// Reads the clock for what is about to be sent: the service time of a message begins here.
    fn stamp_sent(&mut self) {
        if let Some(transcript) = &mut self.transcript {
            let secret = self.talk.client().awaited() == Some(client::ReplyTo::Auth);
            transcript.sent(self.talk.wire.out(), secret);
        }
        self.sent_ns = self.core.clock.elapsed_ns();
        debug_assert!(self.unsent <= self.open.len(), "what is unsent is open");
        let known = self.open.len() - self.unsent;
        for open in self.open.range_mut(known..) {
            open.began_ns = self.sent_ns;
        }
        self.unsent = 0;
    }

    /// Sends what is written, receives once, and takes in the whole replies.
    async fn exchange(&mut self) -> Result<(), TalkError> {
        if !self.talk.wire.out().is_empty() {
            self.stamp_sent();
        }
        let heard = self.talk.exchange().await;
        self.now_ns = self.core.clock.elapsed_ns();
        if self.handshake.is_some() {
            self.prove();
        }
        match heard {
            Ok(true) => self.read()?,
            Ok(false) => {}
            // At the end of the run we shut the connections that still wait for replies.
            Err(_) if self.core.cut.get() => return Err(TalkError::Timeout),
            Err(error) => return Err(error),
        }
        self.talk.sent()
    }

    /// Takes in the replies of one receive. All of them count as arrived at `now_ns`.
    fn read(&mut self) -> Result<(), TalkError> {
        let was_ready = self.talk.client().ready();
        let mut recorder = self.core.recorder.borrow_mut();
        recorder.tick(self.now_ns);
        // The most in flight are those before any of them is decided.
        recorder.set_in_flight(self.core.in_flight.get());
        let took_ns = self.now_ns - self.sent_ns;
        if let Some(transcript) = &mut self.transcript {
            transcript.received(self.talk.wire.received());
        }
        while let Some(event) = self.talk.read()? {
            let heeded = self.heeds(&recorder, &event);
            if heeded {
                count(&mut recorder, &event, self.talk.client().refusal(), took_ns);
            }
            if event.code >= 400 {
                let usual = self.talk.client().falls_back();
                self.core.refused(
                    self.target,
                    phase(event.phase),
                    event.code,
                    self.talk.client().refusal(),
                    usual,
                );
            }
            if event.phase == client::ReplyTo::Auth {
                let began_ns = *self.auth_ns.get_or_insert(self.sent_ns);
                if event.code != 334 && heeded {
                    let outcome = Outcome::of_reply(event.code);
                    recorder.record_phase(Phase::Auth, outcome, self.now_ns - began_ns);
                }
            }
            if let Some(verdict) = event.verdict
                && let Some(open) = self.open.pop_front()
            {
                let told = self.talk.client().recipient_replies();
                let outcome = match verdict {
                    TransactionVerdict::Accepted if told.refused() > 0 => {
                        let words = self.talk.client().refusal();
                        self.core.message_refused(
                            self.target,
                            phase(event.phase),
                            event.code,
                            words,
                        );
                        Outcome::Accepted
                    }
                    TransactionVerdict::Accepted => Outcome::Accepted,
                    TransactionVerdict::Refused(code) => {
                        let words = self.talk.client().refusal();
                        self.core.message_refused(self.target, phase(event.phase), code, words);
                        Outcome::of_refusal(code)
                    }
                };
                self.decided += 1;
                let ended = (outcome, told);
                decide(self.core, self.target, &mut recorder, open, ended, self.now_ns);
            }
        }
        recorder.set_in_flight(self.core.in_flight.get());
        drop(recorder);
        if !was_ready && self.talk.client().ready() {
            self.core.session_works(self.target);
            self.count_plain();
            self.greeted();
        }
        Ok(())
    }

    /// Whether a reply is in the figures: with the message that it answers, or else with what the connection
    /// did last. What nobody asked for counts by its own time too.
    #[inline]
    fn heeds(&self, recorder: &Recorder, event: &client::ReplyEvent) -> bool {
        // Transactions are numbered from 1 on, and those decided have left `open`.
        let behind = event.transaction.checked_sub(self.decided + 1);
        let of = behind.and_then(|behind| self.open.get(behind as usize));
        let start_ns = of.map_or(self.start_ns, InFlight::start_ns);
        match event.phase {
            client::ReplyTo::Unasked => recorder.heeds_at(start_ns, self.now_ns),
            _ => recorder.heeds(start_ns),
        }
    }

    /// Moves `free_ns` of the work that this connection was opened for past the wait for the server.
    /// Before the connection was wanted (`asked_ns`), the work waited for us. After that it waited for
    /// the server, also while the session waited for its turn to connect: the server decides how long
    /// the turns of the others take.
    fn greeted(&mut self) {
        let task = self.core.work.redeem(&self.slot, self.now_ns);
        (self.allowance, self.dealt) = (task.allowance, task.first);
        if let Some(arrival) = &mut self.dealt {
            let ours_ns = self.asked_ns.saturating_sub(arrival.due_ns.max(arrival.free_ns));
            arrival.free_ns = self.now_ns - ours_ns;
        }
    }
}
