//! STARTTLS: the session goes on under TLS, and knows nothing of what came before (RFC 3207).
//!
//! This room knows of no TLS. It says when a handshake is due; the caller makes it, and says that it is done.

use super::answer;
use super::event::CommandEvent;
use super::hearing::ClientWant;
use super::machine::Server;
use super::refusal::RefusalPhase;
use super::reply_counts::VerbClass;
use super::state::{Greeting, ServerPhase, Transaction};
use crate::smtp::command::Verb;
use crate::smtp::deviation::Deviations;
use crate::smtp::extension::Extensions;

impl Server {
    /// Whether the session is under TLS.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// Answers [`Event::StartTls`](super::Event::StartTls). `ready`: 220, to be sent before the handshake, and no
    /// input is taken until [`secured`](Server::secured). Otherwise 454, and the session goes on in plain text.
    pub fn answer_starttls(&mut self, ready: bool, replies: &mut Vec<u8>) {
        debug_assert!(
            matches!(self.phase, ServerPhase::Encrypting),
            "no STARTTLS awaits an answer"
        );
        let reply = if ready {
            &answer::READY_FOR_TLS
        } else {
            self.phase = ServerPhase::Command;
            &answer::TLS_NOT_AVAILABLE
        };
        let rendered = replies.len();
        self.say(reply, replies);
        self.counts.count(VerbClass::Other, replies[rendered], 1);
        self.refusals.note(RefusalPhase::Other, &replies[rendered..], 1);
    }

    /// The handshake is done: after STARTTLS, or before the greeting. All that the client said is forgotten
    /// (RFC 3207 §4.2).
    pub fn secured(&mut self) {
        debug_assert!(
            matches!(self.phase, ServerPhase::Encrypting) || self.greeting == Greeting::Unheard,
            "a handshake follows STARTTLS, or comes before all else"
        );
        // A browser that was led here speaks HTTP under TLS too.
        self.greeting = Greeting::Unheard;
        self.secured = true;
        self.client_changes();
        self.available = self.policy.offered_under(true);
        self.hello.clear();
        self.hello_deviations = Deviations::empty();
        self.logins.forget();
        self.relayed = None;
        self.reset_transaction();
        self.phase = ServerPhase::Command;
    }

    pub(super) fn starttls(
        &mut self,
        argument: &[u8],
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        let refusal = if self.secured {
            &answer::TLS_IS_ON
        } else if !self.available.contains(Extensions::STARTTLS) {
            if !self.policy.tls.offered {
                self.want = Some(ClientWant::Starttls);
            }
            &answer::NOT_IMPLEMENTED
        } else if self.greeting != Greeting::Ehlo {
            self.ehlo_first()
        } else if !matches!(self.transaction, Transaction::Idle) {
            &answer::TRANSACTION_OPEN
        } else if !argument.is_empty() {
            &answer::NO_ARGUMENT_ALLOWED
        } else {
            self.phase = ServerPhase::Encrypting;
            return Some(CommandEvent::StartTls);
        };
        self.fail(refusal, replies)
    }

    /// Octets came behind STARTTLS before its reply. A client that waits for the reply, as it must (RFC 3207
    /// §4), has not sent them: they would be taken for commands that came under TLS (CVE-2011-0411).
    #[cold]
    pub(super) fn octets_behind_starttls(&mut self, replies: &mut Vec<u8>) -> Option<CommandEvent> {
        self.hang_up(&answer::OCTETS_BEHIND_STARTTLS, replies)
    }

    /// Whether a command gets 530 before TLS (RFC 3207 §4). A chunk of BDAT must be read whatever its reply
    /// is, and without MAIL it gets 503.
    #[inline]
    pub(super) fn needs_tls(&self, verb: Verb) -> bool {
        self.policy.tls.required
            && !self.secured
            && !matches!(
                verb,
                Verb::Ehlo
                    | Verb::Lhlo
                    | Verb::Noop
                    | Verb::Quit
                    | Verb::StartTls
                    | Verb::Bdat
                    | Verb::Unimplemented
                    | Verb::Unknown
            )
    }

    #[cold]
    pub(super) fn refuse_in_plain_text(
        &mut self,
        verb: Verb,
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        if matches!(verb, Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml) {
            self.expect_followers();
            return self.fail(&answer::TLS_REQUIRED, replies);
        }
        self.fail_unless_following(&answer::TLS_REQUIRED, replies)
    }
}
