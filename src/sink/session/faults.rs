//! Faults that the user asked for, carried out.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use super::{Buffers, Session};
use crate::engine::task::{self, select};
use crate::engine::{Buf, Stream};
use crate::rules::{FaultAction, FaultEvent, FaultStrike};
use crate::sink::core::Door;
use crate::sink::fault_plan::SessionFaults;
use crate::sink::round::Next;
use crate::sink::session_log::SessionEnd;
use crate::smtp::extension::Extensions;
use crate::smtp::server::Policy;

/// Pause between two looks of a session that is delayed whether it is to leave, in milliseconds.
const DELAY_LOOK_MS: u64 = 100;

/// What stands in plain text behind the 220: a client that takes it for the answer to its EHLO under TLS has been
/// led astray (response injection).
const IN_PLAIN_TEXT: &[u8] = b"250 2.0.0 This line came in plain text\r\n";

/// The policy of a session at `door`, which may have lost STARTTLS.
pub(super) fn policy(door: &Door, faults: Option<&SessionFaults>) -> Rc<Policy> {
    let policy = door.policy();
    let Some(faults) = faults else { return policy };
    let is_offered = policy.offered_under(false).contains(Extensions::STARTTLS);
    if !is_offered || door.implicit_tls().is_some() {
        return policy;
    }
    match faults.strike(FaultEvent::Ehlo).action {
        Some(FaultAction::HideStartTls) => {
            let extensions = policy.extensions.difference(Extensions::STARTTLS);
            Rc::new(Policy { extensions, ..(*policy).clone() })
        }
        _ => policy,
    }
}

impl Session<'_> {
    /// What was asked for at `event`; nothing where there are no rules.
    #[inline]
    pub(super) fn strike(&self, event: FaultEvent) -> FaultStrike {
        match &self.faults {
            None => FaultStrike::default(),
            Some(faults) => faults.strike(event),
        }
    }

    /// Whether the session ends with close_notify instead of taking a message.
    #[inline]
    pub(super) fn closes_at_data(&self) -> bool {
        self.faults.is_some()
            && self.server.is_secured()
            && self.strike(FaultEvent::Data).action == Some(FaultAction::CloseNotify)
    }

    /// Answers STARTTLS. `Some`: what comes next in place of the commands behind it.
    pub(super) fn answer_starttls(&mut self, out: &mut Vec<u8>) -> Option<Next> {
        let action = self.strike(FaultEvent::StartTls).action;
        if action == Some(FaultAction::Silence) {
            return Some(Next::Hold);
        }
        let is_ready =
            action != Some(FaultAction::RefuseStartTls) && self.door.tls_config().is_some();
        self.server.answer_starttls(is_ready, out);
        if is_ready && action == Some(FaultAction::PlainBehind) {
            out.extend_from_slice(IN_PLAIN_TEXT);
        }
        is_ready.then_some(Next::Secure)
    }

    /// What was asked for a handshake: a delay before it, or its end. `None`: it begins.
    #[cold]
    pub(super) async fn break_handshake(
        &mut self,
        stream: &mut Stream,
        bufs: &mut Buffers,
    ) -> Option<Next> {
        let strike = self.strike(FaultEvent::Handshake);
        if self.is_to_leave_in(Duration::from_millis(strike.delay_ms)).await {
            self.end = SessionEnd::Shutdown;
            return Some(Next::Close);
        }
        let last = match strike.action {
            Some(FaultAction::Cut) => Vec::new(),
            Some(FaultAction::Alert(alert)) => alert.plain_record().to_vec(),
            _ => return None,
        };
        self.end = SessionEnd::Fault;
        // It is an answer to the first octets of the client.
        if bufs.inbox.is_empty() && self.await_octets(stream, bufs).await == Next::Gone {
            return Some(Next::Gone);
        }
        let (sent, _) = stream.send_all(Buf::from(last)).await;
        Some(if sent.is_ok() { Next::Close } else { Next::Gone })
    }

    /// Says nothing any more, until the client leaves or its time is over.
    pub(super) async fn hold(&mut self, stream: &mut Stream, bufs: &mut Buffers) -> Next {
        self.end = SessionEnd::Fault;
        // What was asked before STARTTLS is answered.
        if self.send(stream, &mut bufs.out).await.is_err() {
            return Next::Gone;
        }
        while self.await_octets(stream, bufs).await != Next::Gone {}
        Next::Gone
    }

    /// Receives once, within the time that the client has for a command. [`Next::Gone`]: nothing will come.
    async fn await_octets(&mut self, stream: &mut Stream, bufs: &mut Buffers) -> Next {
        loop {
            self.guard.arm_until(self.deadline.deadline());
            let received;
            let inbox = std::mem::take(&mut bufs.inbox);
            (received, bufs.inbox) = stream.recv(inbox).await;
            match received {
                Ok(1..) => return Next::Receive,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    let is_over = self.deadline.is_over(self.core.watch.now());
                    if self.is_to_leave() || is_over {
                        return Next::Gone;
                    }
                }
                Ok(0) | Err(_) => return Next::Gone,
            }
        }
    }

    /// Waits for `delay`; whether the session is to leave before that is over.
    async fn is_to_leave_in(&self, delay: Duration) -> bool {
        let mut over = std::pin::pin!(task::sleep(delay));
        while !self.is_to_leave() {
            select! {
                () = &mut over => return false,
                () = task::sleep(Duration::from_millis(DELAY_LOOK_MS)) => {}
            }
        }
        true
    }
}
