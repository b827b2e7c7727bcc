//! What the end of a connection says about its target.

use std::io;

use super::LoadSession;
use crate::blast::core::LoadCore;
use crate::blast::failure::{Failure, words};
use crate::blast::in_flight::{InFlight, decide, kind, phase};
use crate::blast::work::{Arrival, LoadModel, SessionTask, WorkSlot};
use crate::dial::TalkError;
use crate::measure::{ErrorKind, Outcome, Phase, Recorder};
use crate::smtp::auth::Mechanism;
use crate::smtp::client::{Fault, RecipientReplies, ReplyTo};

/// How a connection ended.
#[derive(Debug)]
pub(in crate::blast) enum SessionEnd {
    /// We closed it because nothing was left to do on it.
    Worked,
    /// The server ended it, or it broke, after a message was decided or the greeting was done.
    Broken,
    /// The server did not let it begin in time, and nothing is left to do.
    NeverGreeted(Failure),
    /// It did no work. A later connection may do better.
    Useless(Failure),
    /// No connection to this target can do what is asked.
    Unfit(Failure),
}

/// Counts a connection that could not be made: when that began, when the work for it was due, and when it failed.
pub(super) fn not_connected(
    core: &LoadCore,
    (target, slot): (usize, &WorkSlot),
    (connect_ns, start_ns, now_ns): (u64, u64, u64),
    error: &io::Error,
) -> Failure {
    let kind = ErrorKind::from(error);
    let mut recorder = core.recorder.borrow_mut();
    recorder.count_error_at(kind, start_ns, now_ns);
    if recorder.heeds(start_ns) {
        recorder.record_phase(Phase::Connect, Outcome::Unanswered, now_ns - connect_ns);
    }
    drop(recorder);
    if !core.work.was_cut(slot) {
        core.broke(target, Phase::Connect, kind, || error.to_string());
    }
    Failure::of_connect(core.targets[target].target.url.clone(), error)
}

impl LoadSession<'_> {
    /// Whether the server refused the session as a whole, at the banner, at EHLO or at AUTH. It may close the
    /// connection at once, before we have said QUIT.
    fn is_turned_away(&self, result: &Result<(), TalkError>) -> bool {
        let client = self.talk.client();
        let ended = matches!(result, Ok(()) | Err(TalkError::Closed | TalkError::Io(_)));
        ended && !client.ready() && !client.login_failed() && client.last_refusal().is_some()
    }

    /// Behind the last answer to a message nothing is left to do but to say QUIT, which the run does not wait for
    /// as long as for a message.
    pub(super) fn limit_goodbye(&mut self) {
        if self.leaving && self.open.is_empty() && self.core.work.over(self.now_ns) {
            self.talk.wire.wait_at_most(self.core.last_answer_time());
        }
    }

    /// The latest refusal: what was refused, its code and the server's words.
    fn refusal_in_words(&self) -> String {
        let Some(refusal) = self.talk.client().last_refusal() else { return String::new() };
        let (command, code, text) = (refusal.command, refusal.code, words(refusal.text));
        let cure = match refusal.phase {
            ReplyTo::Hello => "; if it is about the name, give another one with --helo",
            _ => "",
        };
        format!("{command} was answered {code} {text}{cure}")
    }

    /// The messages that are left of a session which was due as such: they are sent on another connection. Those
    /// behind a message that got no answer have been due as long as that has. What may not begin any more
    /// because the session came to its end in time is not due.
    fn rest_of_session(&self) -> Option<Arrival> {
        let work = &self.core.work;
        if work.model != LoadModel::Sessions || self.allowance == 0 {
            return None;
        }
        let stuck_ns = self.open.front().map(InFlight::start_ns);
        let due_ns = if work.may_begin(self.now_ns) { self.now_ns } else { stuck_ns? };
        Some(Arrival { messages: self.allowance, ..Arrival::new(due_ns, due_ns) })
    }

    /// Gives back what the session was to do and did not begin.
    fn give_back_work(&mut self) {
        let first = self.dealt.take().or_else(|| self.rest_of_session());
        let allowance = std::mem::take(&mut self.allowance);
        let work = &self.core.work;
        if work.model == LoadModel::Sessions && first.is_none() {
            work.let_go(allowance);
        }
        work.give_back(SessionTask { allowance, first });
    }

    /// Whether the server left the connection without a greeting: it was silent, hung up, or said what is no TLS or
    /// no reply, before it took EHLO. A refusal is an answer, also one in an alert of TLS, and so is what we cannot
    /// work with.
    fn was_never_greeted(&self, result: &Result<(), TalkError>) -> bool {
        let is_answer = |error: &_| is_unfit(error) || matches!(error, TalkError::Alert(_));
        !self.talk.client().greeted()
            && result.as_ref().is_err_and(|error| !is_answer(error))
            && !self.is_turned_away(result)
    }

    /// Whether we ended a connection that the server still had time to answer on.
    fn is_cut_short(&self, result: &Result<(), TalkError>) -> bool {
        matches!(result, Err(TalkError::Timeout)) && !self.talk.wire.timed_out()
    }

    /// Counts how the session ended. Messages that were begun and never decided are failed; they are
    /// not sent again.
    pub(super) fn settle(&mut self, result: Result<(), TalkError>) -> SessionEnd {
        let core = self.core;
        let cut = core.work.was_cut(&self.slot);
        core.work.abandon(&self.slot);
        self.give_back_work();
        let mut recorder = core.recorder.borrow_mut();
        recorder.tick(self.now_ns);
        let (start_ns, now_ns) = (self.start_ns, self.now_ns);
        let oldest_ns = self.open.front().map_or(start_ns, InFlight::start_ns);
        recorder.set_in_flight(core.in_flight.get());
        while let Some(open) = self.open.pop_front() {
            self.decided += 1;
            let ended = (Outcome::Unanswered, RecipientReplies::default());
            decide(core, self.target, &mut recorder, open, ended, self.now_ns);
        }
        recorder.set_in_flight(core.in_flight.get());
        recorder.connection_closed();
        let result = match result {
            Err(TalkError::Closed | TalkError::Io(_)) if cut => Err(TalkError::Timeout),
            result => result,
        };
        let late_handshake = self.shakes_hands() && self.talk.wire.timed_out();
        let never_greeted = self.was_never_greeted(&result);
        let broken = if result.is_ok() { Outcome::Accepted } else { Outcome::Unanswered };
        if recorder.heeds(start_ns) {
            recorder.record_phase(Phase::Session, broken, now_ns - self.connect_ns);
        }
        if self.is_turned_away(&result) {
            recorder.count_error_at(ErrorKind::TurnedAway, start_ns, now_ns);
            let phase =
                self.talk.client().last_refusal().map_or(Phase::Session, |it| phase(it.phase));
            core.broke(self.target, phase, ErrorKind::TurnedAway, || self.refusal_in_words());
        } else if let Err(error) = &result {
            if let Some(transcript) = &mut self.transcript {
                transcript.ended(&error.to_string());
            }
            let kind = if late_handshake { ErrorKind::TlsTimeout } else { kind(error) };
            if never_greeted {
                recorder.connection_never_greeted();
            }
            // Servers with a short accept queue leave connections in silence: those that nothing is left to do for
            // have not failed.
            if self.talk.client().ready() || !self.is_cut_short(&result) {
                recorder.count_error_at(kind, oldest_ns, now_ns);
            }
            if !core.cut.get() && !cut && !is_unfit(error) {
                let awaited = self.talk.client().awaited().map_or(Phase::Session, phase);
                let phase = if self.fails_handshake(error) { Phase::Tls } else { awaited };
                core.broke(self.target, phase, kind, || error.to_string());
            }
            if recorder.heeds(oldest_ns) {
                self.record_unanswered(&mut recorder, error);
            }
        } else if self.talk.client().login_failed() {
            recorder.count_error_at(ErrorKind::Auth, start_ns, now_ns);
            let why = || words(self.talk.client().refusal());
            core.broke(self.target, Phase::Auth, ErrorKind::Auth, why);
        }
        self.settle_tls(&mut recorder);
        drop(recorder);
        if self.talk.client().ready() {
            core.session_ended(self.target, self.now_ns);
        }
        self.judge(result)
    }

    /// Records how long the session waited for the reply that did not come.
    fn record_unanswered(&self, recorder: &mut Recorder, error: &TalkError) {
        let (phase, since_ns) = match self.talk.client().awaited() {
            _ if matches!(error, TalkError::Fault(_)) || self.fails_handshake(error) => return,
            Some(ReplyTo::Auth) => (Phase::Auth, self.auth_ns.unwrap_or(self.sent_ns)),
            Some(awaited) => (phase(awaited), self.sent_ns),
            None => return,
        };
        recorder.record_phase(phase, Outcome::Unanswered, self.now_ns - since_ns);
    }

    /// What became of a session that ended with `result`.
    fn judge(&self, result: Result<(), TalkError>) -> SessionEnd {
        let state = &self.core.targets[self.target];
        let target = state.target.url.clone();
        if let Err(TalkError::Fault(Fault::NotOffered(extension))) = result {
            let cure = match extension {
                "STARTTLS" => {
                    "leave out --tls starttls, or use --tls opportunistic; if TLS comes first, name it as \
                     smtps://HOST:PORT"
                }
                "CHUNKING" => "leave out --chunking",
                "SMTPUTF8" => "leave out the address that is not ASCII",
                // --chunking pipelines by itself, unless it is told not to.
                _ if state.settings.chunking => "with --chunking, add --pipelining none",
                _ => "leave out --pipelining",
            };
            return SessionEnd::Unfit(Failure::NotOffered { target, extension, cure });
        }
        if let Err(TalkError::Fault(Fault::NoMechanism)) = result {
            let named = state.settings.login.as_ref().and_then(|login| login.mechanism());
            let wanted = match named {
                Some(mechanism) => format!("AUTH {}", mechanism.name()),
                None => "AUTH with a password".to_owned(),
            };
            return SessionEnd::Unfit(Failure::NoMechanism { target, wanted });
        }
        if self.talk.client().login_failed() {
            let mechanism = self.talk.client().mechanism().map_or("", Mechanism::name);
            let why = match self.talk.client().login_fault() {
                Some(fault) => fault.to_string(),
                None => self.talk.client().last_refusal().map_or_else(String::new, |refusal| {
                    format!("{} {}", refusal.code, words(refusal.text))
                }),
            };
            return SessionEnd::Useless(Failure::Login { target, mechanism, why });
        }
        let ready = self.talk.client().ready();
        match result {
            Ok(()) if ready && self.leaving => SessionEnd::Worked,
            _ if self.decided > 0 => SessionEnd::Broken,
            Ok(()) if ready => SessionEnd::Broken,
            _ if self.is_turned_away(&result) => {
                SessionEnd::Useless(Failure::Refused { target, why: self.refusal_in_words() })
            }
            Ok(()) => {
                let why = "the session ended without a reason".to_owned();
                SessionEnd::Useless(Failure::Refused { target, why })
            }
            Err(TalkError::Untrusted(error)) => {
                SessionEnd::Unfit(Failure::Untrusted { target, why: error.to_string() })
            }
            Err(error) => {
                let is_late = matches!(error, TalkError::Timeout);
                let over = is_late && self.core.work.over(self.now_ns);
                let why = self.failure_of(&error, target, over);
                if over { SessionEnd::NeverGreeted(why) } else { SessionEnd::Useless(why) }
            }
        }
    }

    /// Why a session came to nothing that ended with `error`; `over` says that it waited until nothing was left to do.
    fn failure_of(&self, error: &TalkError, target: String, over: bool) -> Failure {
        let why = error.to_string();
        let client = self.talk.client();
        if self.shakes_hands() || matches!(error, TalkError::Alert(_) | TalkError::Tls(_)) {
            return Failure::Handshake { target, why };
        }
        if over && !client.greeted() {
            return Failure::NeverGreeted { target };
        }
        match (client.awaited(), client.awaited_command()) {
            (Some(ReplyTo::Banner), _) => Failure::NoGreeting { target, why },
            (_, Some(command)) => {
                let why = format!("{command} was not answered: {why}");
                Failure::BrokeOff { target, why }
            }
            (_, None) => Failure::BrokeOff { target, why },
        }
    }
}

/// Whether no connection to this target can do what is asked.
fn is_unfit(error: &TalkError) -> bool {
    matches!(
        error,
        TalkError::Fault(Fault::NotOffered(_) | Fault::NoMechanism) | TalkError::Untrusted(_)
    )
}
