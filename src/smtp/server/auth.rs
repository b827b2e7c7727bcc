//! AUTH: the lines around an exchange (RFC 4954 §4).

use super::answer::{self, Answer};
use super::event::CommandEvent;
use super::machine::Server;
use super::state::{Greeting, ServerPhase, Transaction};
use crate::smtp::auth::{Exchange, Mechanism, Nonce, SaslStep, read_base64, write_base64};

/// What an AUTH command begins: an exchange and its initial response, if one came along.
type Begun = (Exchange, Option<Vec<u8>>);

impl Server {
    /// Who the client is, by AUTH; `None` before it has succeeded.
    pub fn identity(&self) -> Option<&[u8]> {
        self.logins.identity.as_deref()
    }

    /// Gives what the nonces of AUTH are made from: a number that cannot be guessed. To be called
    /// before the first step where [`Policy::mechanisms`](super::Policy::mechanisms) has any.
    pub fn set_auth_seed(&mut self, seed: u128) {
        self.logins.seed = seed;
    }

    pub(super) fn auth(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        match self.begin_auth(argument) {
            Ok((exchange, initial)) => self.auth_step(exchange, initial.as_deref(), replies),
            Err(answer) => self.fail(answer, replies),
        }
    }

    /// State is judged before syntax, as with MAIL.
    fn begin_auth(&mut self, argument: &[u8]) -> Result<Begun, &'static Answer> {
        let mechanisms = self.policy.mechanisms();
        if mechanisms.is_empty() {
            return Err(&answer::NOT_IMPLEMENTED);
        }
        if self.policy.tls.auth_under_tls && !self.secured {
            return Err(&answer::AUTH_NEEDS_TLS);
        }
        if self.greeting != Greeting::Ehlo {
            return Err(self.ehlo_first());
        }
        if self.identity().is_some() {
            return Err(&answer::AUTHENTICATED);
        }
        if !matches!(self.transaction, Transaction::Idle) {
            return Err(&answer::AUTH_IN_TRANSACTION);
        }
        let mut words = argument.splitn(2, |&b| b == b' ');
        let name = words.next().filter(|name| !name.is_empty()).ok_or(&answer::ARGUMENT_NEEDED)?;
        let mechanism = str::from_utf8(name)
            .ok()
            .and_then(Mechanism::from_name)
            .filter(|mechanism| mechanisms.contains(*mechanism))
            .ok_or(&answer::UNKNOWN_MECHANISM)?;
        let initial = words.next();
        if initial.is_some() && mechanism.server_first() {
            return Err(&answer::NO_INITIAL_RESPONSE);
        }
        let initial = match initial {
            None => None,
            // An initial response without octets.
            Some(b"=") => Some(Vec::new()),
            Some(text) => Some(read_base64(text).ok_or(&answer::BAD_BASE64)?),
        };
        self.logins.attempts = self.logins.attempts.wrapping_add(1);
        let nonce = Nonce::new(self.logins.seed, self.logins.attempts);
        Ok((Exchange::new(mechanism, &nonce, &self.policy.hostname), initial))
    }

    /// Takes a line that is due as the answer to a challenge.
    pub(super) fn auth_response(
        &mut self,
        line: &[u8],
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        let ServerPhase::Auth(exchange) = std::mem::replace(&mut self.phase, ServerPhase::Command)
        else {
            return None;
        };
        if line == b"*" {
            return self.fail(&answer::AUTH_CANCELLED, replies);
        }
        match read_base64(line) {
            Some(response) => self.auth_step(exchange, Some(&response), replies),
            None => self.fail(&answer::BAD_BASE64, replies),
        }
    }

    pub(super) fn auth_line_too_long(&mut self, replies: &mut Vec<u8>) -> Option<CommandEvent> {
        self.phase = ServerPhase::Command;
        self.fail(&answer::AUTH_LINE_TOO_LONG, replies)
    }

    fn auth_step(
        &mut self,
        mut exchange: Exchange,
        response: Option<&[u8]>,
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        match exchange.step(response, &self.policy.auth.credentials) {
            SaslStep::Challenge(challenge) => {
                // The space is sent even when no challenge follows it.
                replies.extend_from_slice(b"334 ");
                write_base64(replies, &challenge);
                replies.extend_from_slice(b"\r\n");
                self.phase = ServerPhase::Auth(exchange);
                None
            }
            SaslStep::Accepted(identity) => {
                self.logins.identity = Some(identity.into());
                self.client_changes();
                self.say(&answer::AUTH_OK, replies);
                None
            }
            SaslStep::Refused => self.fail(&answer::BAD_CREDENTIALS, replies),
            SaslStep::Malformed => self.fail(&answer::BAD_RESPONSE, replies),
        }
    }
}
