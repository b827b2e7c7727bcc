//! XCLIENT: a trusted proxy or test tool names the client that it speaks for (Postfix, XCLIENT_README).

use super::answer;
use super::event::CommandEvent;
use super::machine::Server;
use super::relayed::Relayed;
use super::state::{Greeting, ServerPhase, Transaction};
use crate::smtp::deviation::Deviations;
use crate::smtp::extension::Extensions;
use crate::smtp::protocol::Protocol;

impl Server {
    /// Lets the peer say XCLIENT, or not; from the beginning it may not.
    pub fn trust_xclient(&mut self, trusted: bool) {
        self.xclient_trusted = trusted;
    }

    /// What XCLIENT said, if it came.
    pub fn relayed(&self) -> Option<&Relayed> {
        self.relayed.as_deref()
    }

    /// What EHLO and LHLO announce.
    pub(super) fn announced(&self) -> Extensions {
        let own = self.available;
        if self.xclient_trusted { own.union(Extensions::XCLIENT) } else { own }
    }

    /// Answered by a new greeting, and the session begins anew.
    pub(super) fn xclient(
        &mut self,
        argument: &[u8],
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        if !self.xclient_trusted {
            return self.fail(&answer::XCLIENT_UNTRUSTED, replies);
        }
        if !matches!(self.transaction, Transaction::Idle) {
            return self.fail(&answer::TRANSACTION_OPEN, replies);
        }
        let mut relayed = self.relayed.as_deref().cloned().unwrap_or_default();
        if relayed.read(argument).is_none() {
            return self.fail(&answer::BAD_ATTRIBUTE, replies);
        }
        self.count_junk();
        self.client_changes();
        self.hello.clear();
        self.hello_deviations = Deviations::empty();
        self.greeting = Greeting::Awaited;
        self.logins.forget();
        // A proxy that gives the client's name need not greet in its stead.
        if let Some(hello) = &relayed.hello
            && self.policy.protocol == Protocol::Smtp
        {
            self.hello.extend_from_slice(hello);
            let extended = relayed.extended == Some(true);
            self.greeting = if extended { Greeting::Ehlo } else { Greeting::Helo };
        }
        self.relayed = Some(Box::new(relayed));
        self.phase = ServerPhase::Command;
        self.greet(replies);
        None
    }
}
