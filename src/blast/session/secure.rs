//! The TLS of one connection: its turn, its handshake, and what is counted of it.

use super::LoadSession;
use crate::dial::{TalkError, TlsMode};
use crate::measure::{Outcome, Phase};
use crate::smtp::client::ReplyTo;

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

    /// Runs the handshake, and counts it.
    pub(super) async fn secure(&mut self) -> Result<(), TalkError> {
        let Some(secured) = &self.core.targets[self.target].secured else {
            debug_assert!(false, "a session without TLS shakes no hands");
            return Ok(());
        };
        let resumes = secured.resumes_next();
        let began_ns = self.core.clock.elapsed_ns();
        self.handshake_ns = Some(began_ns);
        let done = match secured.security.configs.begin(resumes) {
            Ok(tls) => self.talk.secure(tls, &self.core.pool).await,
            Err(error) => Err(error.into()),
        };
        self.now_ns = self.core.clock.elapsed_ns();
        self.turn = None;
        let resumed = done.as_ref().is_ok_and(|facts| facts.resumed);
        if resumes && !resumed {
            secured.not_resumed();
        }
        let facts = match done {
            Ok(facts) => facts,
            // At the end of the run we shut the connections that still wait.
            Err(_) if self.core.cut.get() => return Err(TalkError::Timeout),
            Err(error) => return Err(error),
        };
        if let Some(transcript) = &mut self.transcript {
            transcript.secured(&format!("{} {}", facts.version, facts.suite));
        }
        let mut recorder = self.core.recorder.borrow_mut();
        recorder.tick(self.now_ns);
        recorder.record_handshake(facts.version, &facts.suite, facts.group.as_deref(), resumed);
        if recorder.heeds(self.start_ns) {
            let phase = if resumed { Phase::TlsResumed } else { Phase::Tls };
            recorder.record_phase(phase, Outcome::Accepted, self.now_ns - began_ns);
        }
        drop(recorder);
        self.handshake_ns = None;
        // The time to the banner of implicit TLS counts from here.
        self.sent_ns = self.now_ns;
        if self.talk.wire.unread().is_empty() { Ok(()) } else { self.read() }
    }

    /// Counts a session that has been greeted in plain text although sessions with this target go under TLS.
    pub(super) fn count_plain(&mut self) {
        if self.mode != TlsMode::Implicit && !self.talk.wire.stream().is_secure() {
            self.turn = None;
            if self.core.targets[self.target].secured.is_some() {
                self.core.recorder.borrow_mut().session_without_tls();
            }
        }
    }
}
