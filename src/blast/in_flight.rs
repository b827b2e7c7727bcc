//! Messages in flight, and what a session records: replies, errors, and the outcome of each message.

use super::core::LoadCore;
use super::work::Arrival;
use crate::dial::TalkError;
use crate::measure::{
    ErrorKind, MessageSample, OpenLoop, Outcome, Phase, RecipientCounts, Recorder,
};
use crate::run::messages::MessageFate;
use crate::smtp::client::{self, RecipientReplies, ReplyEvent};

/// A message that was begun and not decided yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    /// Its number on this core.
    pub(super) seq: u64,
    /// When a session decided to send it.
    pub(super) claimed_ns: u64,
    /// When its first octet was handed to the kernel.
    pub(super) began_ns: u64,
    /// When the message was due; `None` in a closed loop.
    pub(super) arrival: Option<Arrival>,
    pub(super) bytes: u64,
    pub(super) recipients: u32,
}

impl InFlight {
    /// The time that decides whether the message belongs to the measured part of the run: the same
    /// reading of the clock by which a session may or may not begin it. Between that and the first octet
    /// the thread may lose its core, or a long send may come first; the message is no less part of the
    /// run for that.
    pub(super) fn start_ns(&self) -> u64 {
        self.arrival.map_or(self.claimed_ns, |arrival| arrival.due_ns)
    }
}

/// Under which kind of error the end of a conversation is counted.
pub(super) fn kind(error: &TalkError) -> ErrorKind {
    match error {
        TalkError::Io(error) => ErrorKind::from(error),
        TalkError::Fault(_) => ErrorKind::Protocol,
        TalkError::Closed => ErrorKind::Closed,
        TalkError::Untrusted(_) => ErrorKind::TlsVerify,
        TalkError::Alert(_) => ErrorKind::TlsAlert,
        TalkError::Tls(_) => ErrorKind::Tls,
        TalkError::Timeout => ErrorKind::Timeout,
    }
}

/// Records one reply that came `took_ns` after the send; `words` are those of the latest refusal.
#[inline]
pub(super) fn count(recorder: &mut Recorder, event: &ReplyEvent, words: &[u8], took_ns: u64) {
    let phase = phase(event.phase);
    let enhanced = event.enhanced.map(|e| (e.class, e.subject, e.detail));
    recorder.count_reply(phase, event.code, enhanced);
    if event.code >= 400 {
        recorder.note_refusal(phase, event.code, words);
    }
    // An exchange of AUTH is timed as a whole, by the session.
    if !matches!(event.phase, client::ReplyTo::Unasked | client::ReplyTo::Auth) {
        recorder.record_phase(phase, Outcome::of_reply(event.code), took_ns);
    }
}

/// Under which phase the replies of a command are counted.
pub(super) fn phase(asked: client::ReplyTo) -> Phase {
    match asked {
        client::ReplyTo::Banner => Phase::Banner,
        client::ReplyTo::Hello => Phase::Hello,
        client::ReplyTo::StartTls => Phase::StartTls,
        client::ReplyTo::Auth => Phase::Auth,
        client::ReplyTo::Mail => Phase::Mail,
        client::ReplyTo::Rcpt => Phase::Rcpt,
        client::ReplyTo::Data => Phase::Data,
        client::ReplyTo::EndOfData => Phase::EndOfData,
        client::ReplyTo::Rset => Phase::Rset,
        client::ReplyTo::Quit => Phase::Quit,
        client::ReplyTo::Unasked => Phase::Session,
    }
}

/// Records a message that is decided.
#[inline]
pub(super) fn decide(
    core: &LoadCore,
    target: usize,
    recorder: &mut Recorder,
    open: InFlight,
    (outcome, told): (Outcome, RecipientReplies),
    now_ns: u64,
) {
    debug_assert!(open.began_ns <= now_ns, "a message is decided after it began");
    debug_assert!(core.in_flight.get() > 0, "a message is decided once");
    debug_assert!(open.start_ns() <= open.began_ns, "a message begins when it is due, or later");
    let told = [told.accepted, told.refused_4xx, told.refused_5xx];
    let service_ns = now_ns - open.began_ns;
    let start_ns = open.start_ns();
    let message = MessageSample {
        outcome,
        bytes: open.bytes,
        recipients: RecipientCounts::new(outcome, open.recipients, told),
        start_ns,
        ended_ns: now_ns,
        service_ns,
        open: open.arrival.map(|Arrival { due_ns, free_ns, .. }| OpenLoop {
            response_ns: now_ns - due_ns,
            send_lag_ns: open.began_ns - due_ns,
            own_lag_ns: open.began_ns - due_ns.max(free_ns),
        }),
    };
    recorder.record_message(&message);
    if core.tells_targets() {
        recorder.record_message_to(target, &message);
    }
    if recorder.heeds(start_ns) {
        recorder.record_phase(Phase::Message, outcome, service_ns);
    }
    let accepted = if outcome == Outcome::Accepted { message.recipients.accepted } else { 0 };
    core.note_fate(MessageFate {
        seq: open.seq,
        outcome,
        is_measured: recorder.is_measured(start_ns),
        target: target as u8,
        accepted: accepted as u16,
        ended_ns: now_ns,
    });
    core.in_flight.set(core.in_flight.get() - 1);
    core.last_ns.set(now_ns);
}
