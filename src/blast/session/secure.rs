//! The TLS of one connection: its turn, its handshake, and what is counted of it.

use super::LoadSession;
use crate::dial::{TalkError, TlsFacts, TlsMode};
use crate::measure::{Outcome, Phase, Recorder};
use crate::smtp::client::ReplyTo;

/// A handshake that has begun, until both ends have ended it as far as we can know.
#[derive(Debug)]
pub(super) struct Handshake {
    began_ns: u64,
    /// Whether it was to resume a session.
    resumes: bool,
    /// How long it took us, and what was agreed on; `None` while it goes on.
    done: Option<(u64, TlsFacts)>,
}

impl LoadSession<'_> {
    /// Waits for the turn of this session to shake hands, if STARTTLS is what it says next. The turn begins
    /// before STARTTLS: a server does not wait long for a handshake after its 220.
    pub(super) async fn take_turn(&mut self) {
        if self.talk.client().awaited() == Some(ReplyTo::StartTls) && self.turn.is_none() {
            self.talk.wire.disarm();
            self.turn = self.core.turn().await;
            self.now_ns = self.core.clock.elapsed_ns();
        }
    }

    /// Runs the handshake.
    pub(super) async fn secure(&mut self) -> Result<(), TalkError> {
        let Some(secured) = &self.core.targets[self.target].secured else {
            debug_assert!(false, "a session without TLS shakes no hands");
            return Ok(());
        };
        let resumes = secured.resume.next();
        let began_ns = self.core.clock.elapsed_ns();
        let handshake =
            self.handshake.insert(Box::new(Handshake { began_ns, resumes, done: None }));
        let done = match secured.security.configs.begin(resumes) {
            Ok(tls) => self.talk.secure(tls, &self.core.pool).await,
            Err(error) => Err(error.into()),
        };
        self.now_ns = self.core.clock.elapsed_ns();
        self.turn = None;
        let facts = match done {
            Ok(facts) => facts,
            // At the end of the run we shut the connections that still wait.
            Err(_) if self.core.cut.get() => return Err(TalkError::Timeout),
            Err(error) => return Err(error),
        };
        if let Some(transcript) = &mut self.transcript {
            transcript.secured(&format!("{} {}", facts.version, facts.suite));
        }
        handshake.done = Some((self.now_ns - began_ns, facts));
        self.prove();
        // The time to the banner of implicit TLS counts from here.
        self.sent_ns = self.now_ns;
        if self.talk.wire.unread().is_empty() { Ok(()) } else { self.read() }
    }

    /// Counts the handshake, as soon as we know that the server has ended it too.
    pub(super) fn prove(&mut self) {
        let heard = self.talk.wire.has_heard();
        let is_proven = |handshake: &mut Box<Handshake>| {
            handshake.done.as_ref().is_some_and(|(_, facts)| heard || !facts.ends_with_client())
        };
        let proven = self.handshake.take_if(is_proven).map(|handshake| *handshake);
        let Some(Handshake { resumes, done: Some((took_ns, facts)), .. }) = proven else { return };
        let TlsFacts { resumed, .. } = facts;
        self.counted = Some(true);
        if let Some(secured) = &self.core.targets[self.target].secured {
            secured.resume.settle(resumes, Some(resumed));
        }
        let mut recorder = self.core.recorder.borrow_mut();
        recorder.tick(self.now_ns);
        recorder.record_handshake(facts.version, &facts.suite, facts.group.as_deref(), resumed);
        if recorder.heeds(self.start_ns) {
            let phase = if resumed { Phase::TlsResumed } else { Phase::Tls };
            recorder.record_phase(phase, Outcome::Accepted, took_ns);
        }
    }

    /// Counts a session that has been greeted in plain text although sessions with this target go under TLS.
    pub(super) fn count_plain(&mut self) {
        if self.mode != TlsMode::Implicit && !self.talk.wire.stream().is_secure() {
            self.turn = None;
            if self.core.targets[self.target].secured.is_some() {
                self.counted = Some(false);
                self.core.recorder.borrow_mut().session_without_tls();
            }
        }
    }

    /// Whether a handshake goes on at our end.
    pub(super) fn shakes_hands(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.done.is_none())
    }

    /// Whether `error` says that a handshake has failed: it goes on, or the server refuses what we took for its end.
    pub(super) fn fails_handshake(&self, error: &TalkError) -> bool {
        let is_tls = matches!(error, TalkError::Alert(_) | TalkError::Tls(_));
        self.handshake.is_some() && (self.shakes_hands() || is_tls)
    }

    /// Counts the handshake that did not come to its end, if there is one, and tells what the session was for the
    /// shares of the run.
    pub(super) fn settle_tls(&self, recorder: &mut Recorder) {
        let Some(secured) = &self.core.targets[self.target].secured else { return };
        if let Some(handshake) = &self.handshake {
            secured.resume.settle(handshake.resumes, None);
            if recorder.heeds(self.start_ns) {
                let waited_ns = self.now_ns - handshake.began_ns;
                recorder.record_phase(Phase::Tls, Outcome::Unanswered, waited_ns);
            }
        }
        secured.share.settle(self.mode != TlsMode::Plain, self.counted);
    }
}
