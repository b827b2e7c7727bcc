//! ETRN and ATRN: a client asks for the mail that waits for it (RFC 1985, RFC 2645).
//!
//! The machine reads the command and judges its state; the caller knows which client may have
//! what mail, and whether there is any.

use super::answer::{self, Answer};
use super::argument::has_bad_octets;
use super::event::CommandEvent;
use super::machine::Server;
use super::refusal::RefusalPhase;
use super::reply_counts::VerbClass;
use super::request::{AtrnAnswer, EtrnAnswer, Request};
use super::state::{Greeting, ServerPhase, Transaction};
use crate::smtp::extension::Extensions;
use crate::smtp::node::Node;

impl Server {
    /// What the client asked for when [`Event::Request`](super::Event::Request) was given, until it is answered.
    pub fn request(&self) -> Option<&Request> {
        match &self.phase {
            ServerPhase::Request(request) => Some(request),
            _ => None,
        }
    }

    /// Whether the roles are turned round: this end is a client from now on, and what input is left
    /// is a server's.
    pub fn turned(&self) -> bool {
        matches!(self.phase, ServerPhase::Turned)
    }

    /// Answers [`Request::Start`].
    pub fn answer_etrn(&mut self, answer: EtrnAnswer, replies: &mut Vec<u8>) {
        let ServerPhase::Request(Request::Start(node)) = self.end_request() else {
            debug_assert!(false, "no ETRN awaits an answer");
            return;
        };
        let (code, status, text) = match answer {
            EtrnAnswer::Queued => (250, (0, 0), format!("OK, queuing for node {node} started")),
            EtrnAnswer::Nothing => {
                (251, (0, 0), format!("OK, no messages waiting for node {node}"))
            }
            EtrnAnswer::Pending => {
                (252, (0, 0), format!("OK, pending messages for node {node} started"))
            }
            EtrnAnswer::Counted(count) => {
                (253, (0, 0), format!("OK, {count} pending messages for node {node} started"))
            }
            EtrnAnswer::Unable => {
                (458, (3, 2), format!("Unable to queue messages for node {node}"))
            }
            EtrnAnswer::NotAllowed(why) => (459, (7, 1), format!("Node {node} not allowed: {why}")),
        };
        self.count_junk();
        let rendered = replies.len();
        self.say_line(code, true, status, text.as_bytes(), replies);
        self.counts.count(VerbClass::Other, replies[rendered], 1);
        self.refusals.note(RefusalPhase::Other, &replies[rendered..], 1);
    }

    /// Answers [`Request::Turn`]. After [`AtrnAnswer::Turn`] the session is the caller's.
    pub fn answer_atrn(&mut self, answer: AtrnAnswer, replies: &mut Vec<u8>) {
        let asked = self.end_request();
        debug_assert!(
            matches!(asked, ServerPhase::Request(Request::Turn(_))),
            "no ATRN awaits an answer"
        );
        self.count_junk();
        let reply = match answer {
            AtrnAnswer::Turn => {
                self.phase = ServerPhase::Turned;
                &answer::TURNING
            }
            AtrnAnswer::Refused => &answer::ATRN_REFUSED,
            AtrnAnswer::Unable => &answer::ATRN_UNABLE,
            AtrnAnswer::Nothing => &answer::NO_MAIL,
        };
        let rendered = replies.len();
        self.say(reply, replies);
        self.counts.count(VerbClass::Other, replies[rendered], 1);
        self.refusals.note(RefusalPhase::Other, &replies[rendered..], 1);
    }

    fn end_request(&mut self) -> ServerPhase {
        std::mem::replace(&mut self.phase, ServerPhase::Command)
    }

    pub(super) fn etrn(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        let node = self.check_etrn(argument).map(Request::Start);
        self.ask(node, replies)
    }

    pub(super) fn atrn(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        let domains = self.check_atrn(argument).map(Request::Turn);
        self.ask(domains, replies)
    }

    fn ask(
        &mut self,
        request: Result<Request, &'static Answer>,
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        match request {
            Ok(request) => {
                self.phase = ServerPhase::Request(request);
                Some(CommandEvent::Request)
            }
            Err(answer) => self.fail(answer, replies),
        }
    }

    /// State is judged before syntax, as with MAIL.
    fn check_etrn(&self, argument: &[u8]) -> Result<Node, &'static Answer> {
        if !self.available.contains(Extensions::ETRN) {
            return Err(&answer::NOT_IMPLEMENTED);
        }
        if !matches!(self.greeting, Greeting::Helo | Greeting::Ehlo) {
            return Err(self.hello_first());
        }
        if self.policy.auth.required && self.identity().is_none() {
            return Err(&answer::AUTH_REQUIRED);
        }
        if !matches!(self.transaction, Transaction::Idle) {
            return Err(&answer::TRANSACTION_OPEN);
        }
        // 500 here and 501 below, as in the example of RFC 1985 §7.
        if argument.is_empty() {
            return Err(&answer::NODE_NEEDED);
        }
        if has_bad_octets(argument) {
            return Err(&answer::BAD_OCTETS);
        }
        Node::parse(argument).ok_or(&answer::BAD_NODE)
    }

    fn check_atrn(&self, argument: &[u8]) -> Result<Vec<Node>, &'static Answer> {
        if !self.available.contains(Extensions::ATRN) {
            return Err(&answer::NOT_IMPLEMENTED);
        }
        if self.greeting != Greeting::Ehlo {
            return Err(&answer::EHLO_FIRST);
        }
        if self.identity().is_none() {
            return Err(&answer::AUTH_REQUIRED);
        }
        if !matches!(self.transaction, Transaction::Idle) {
            return Err(&answer::TRANSACTION_OPEN);
        }
        if has_bad_octets(argument) {
            return Err(&answer::BAD_OCTETS);
        }
        if argument.is_empty() {
            return Ok(Vec::new());
        }
        let domain = |text| Node::parse(text).filter(|node| matches!(node, Node::Domain(_)));
        let domains: Option<Vec<_>> = argument.split(|&b| b == b',').map(domain).collect();
        domains.ok_or(&answer::BAD_DOMAINS)
    }
}
