//! AUTH between the greeting and the first transaction (RFC 4954 §4).

use super::{Client, ClientStage, Fault, ReplyTo};
use crate::limits::AUTH_COMMAND_BYTES_MAX;
use crate::smtp::auth::{Dialogue, LoginFault, Mechanism, Nonce, read_base64, write_base64};

/// Where the exchange stands.
#[derive(Debug, Default)]
pub(super) struct AuthProgress {
    seed: u128,
    dialogue: Option<(Mechanism, Dialogue)>,
    /// AUTH was sent: what comes next answers a challenge.
    begun: bool,
    /// The line to send next, in base64 or `*`; before AUTH the initial response, if there is one.
    line: Option<Vec<u8>>,
    /// Text of the latest challenge.
    challenge: Vec<u8>,
    refused: bool,
    fault: Option<LoginFault>,
}

/// The answer that cancels an exchange.
const CANCEL: &[u8] = b"*";

impl AuthProgress {
    pub(super) fn hear(&mut self, challenge: &[u8]) {
        self.challenge.clear();
        self.challenge.extend_from_slice(challenge);
    }
}

impl Client {
    /// Gives what the nonce of AUTH is made from: a number that cannot be guessed. To be called
    /// before the first step of a client with a login.
    pub fn set_auth_seed(&mut self, seed: u128) {
        self.entry.seed = seed;
    }

    /// The mechanism in use, once AUTH has begun.
    pub fn mechanism(&self) -> Option<Mechanism> {
        self.entry.dialogue.as_ref().map(|(mechanism, _)| *mechanism)
    }

    /// Whether the server refused the login, or the client gave it up.
    pub fn login_failed(&self) -> bool {
        self.entry.refused
    }

    /// Why the client gave AUTH up in the middle.
    pub fn login_fault(&self) -> Option<LoginFault> {
        self.entry.fault
    }

    /// Chooses the mechanism after a good greeting.
    pub(super) fn begin_auth(&mut self) -> Result<(), Fault> {
        let Some(login) = &self.settings.login else {
            self.ready = true;
            self.stage = ClientStage::Idle;
            return Ok(());
        };
        let mechanism = login.choose(self.offered.mechanisms).ok_or(Fault::NoMechanism)?;
        let nonce = Nonce::new(self.entry.seed, 0);
        let (dialogue, initial) = Dialogue::new(mechanism, login, &nonce);
        self.entry.dialogue = Some((mechanism, dialogue));
        self.entry.line = initial.map(|initial| base64(&initial));
        self.stage = ClientStage::Auth;
        Ok(())
    }

    /// Writes AUTH, or the line that answers a challenge.
    pub(super) fn write_auth(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.entry.begun, true) {
            self.write_auth_command(out);
        } else {
            out.extend_from_slice(&self.entry.line.take().unwrap_or_default());
            out.extend_from_slice(b"\r\n");
        }
        self.expect(ReplyTo::Auth, 1);
        self.stage = ClientStage::Waiting;
    }

    fn write_auth_command(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"AUTH ");
        out.extend_from_slice(self.mechanism().map_or("", Mechanism::name).as_bytes());
        if let Some(initial) = &self.entry.line {
            // A response without octets would be `=`; none of the mechanisms has one.
            let octets = out.len() - start + 1 + initial.len() + 2;
            if octets <= AUTH_COMMAND_BYTES_MAX {
                out.push(b' ');
                out.extend_from_slice(initial);
                self.entry.line = None;
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    pub(super) fn on_auth(&mut self, code: u16) {
        match code {
            334 if self.entry.fault.is_none() => {
                self.entry.line = Some(self.answer_challenge());
                self.stage = ClientStage::Auth;
            }
            200..300 if self.entry.fault.is_none() => self.finish_auth(),
            _ => self.turn_away(),
        }
    }

    fn finish_auth(&mut self) {
        let finished = self.entry.dialogue.as_ref().map(|(_, dialogue)| dialogue.finish());
        if let Some(Err(fault)) = finished {
            self.entry.fault = Some(fault);
            return self.turn_away();
        }
        self.ready = true;
        self.stage = ClientStage::Idle;
    }

    fn turn_away(&mut self) {
        self.entry.refused = true;
        self.stage = ClientStage::Leaving;
    }

    fn answer_challenge(&mut self) -> Vec<u8> {
        if let Some(initial) = self.entry.line.take() {
            // It was too long for the command, and this challenge is the empty one that asks for it.
            return initial;
        }
        let (Some(login), Some((_, dialogue))) = (&self.settings.login, &mut self.entry.dialogue)
        else {
            return CANCEL.to_vec();
        };
        let answer = match read_base64(&self.entry.challenge) {
            Some(challenge) => dialogue.answer(&challenge, login),
            None => Err(LoginFault::Challenge),
        };
        match answer {
            Ok(answer) => base64(&answer),
            Err(fault) => {
                self.entry.fault = Some(fault);
                CANCEL.to_vec()
            }
        }
    }
}

fn base64(octets: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    write_base64(&mut text, octets);
    text
}
