//! Which command is which, and those that open, keep and end a session.

use super::answer::{self, Answer};
use super::argument::has_bad_octets;
use super::event::CommandEvent;
use super::hearing::ClientWant;
use super::machine::Server;
use super::reply_counts::VerbClass;
use super::state::{Greeting, ServerPhase};
use crate::limits::SESSION_JUNK_MAX;
use crate::smtp::command::{self, Verb};
use crate::smtp::deviation::Deviations;
use crate::smtp::extension::Extensions;
use crate::smtp::lenient;
use crate::smtp::path::is_host;
use crate::smtp::protocol::Protocol;
use crate::smtp::syntax::Syntax;

impl Server {
    /// Carries out one command line.
    #[inline]
    pub(super) fn execute(&mut self, line: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        let (verb, argument) = self.split(line);
        self.answering = VerbClass::of(verb);
        self.verb = verb;
        if self.needs_tls(verb) {
            return self.refuse_in_plain_text(verb, replies);
        }
        match verb {
            Verb::Atrn => self.atrn(argument, replies),
            Verb::Auth => self.auth(argument, replies),
            Verb::Bdat => self.bdat(argument, replies),
            Verb::Data => self.data(argument, replies),
            Verb::Mail => self.mail(argument, replies),
            Verb::Rcpt => self.rcpt(argument, replies),
            Verb::Etrn => self.etrn(argument, replies),
            Verb::Expn => self.expn(argument, replies),
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => self.hello_command(verb, argument, replies),
            Verb::Help => self.help(argument, replies),
            Verb::Noop => self.noop(argument, replies),
            Verb::Quit => self.quit(argument, replies),
            Verb::Rset => self.rset(argument, replies),
            Verb::Saml => self.legacy_mail(Extensions::SAML, argument, replies),
            Verb::Send => self.legacy_mail(Extensions::SEND, argument, replies),
            Verb::Soml => self.legacy_mail(Extensions::SOML, argument, replies),
            Verb::StartTls => self.starttls(argument, replies),
            Verb::Vrfy => self.vrfy(argument, replies),
            Verb::Xclient => self.xclient(argument, replies),
            Verb::Unimplemented => self.fail(&answer::NOT_IMPLEMENTED, replies),
            Verb::Unknown => self.unknown(line, replies),
        }
    }

    /// The verb and its argument.
    #[inline]
    fn split<'l>(&mut self, line: &'l [u8]) -> (Verb, &'l [u8]) {
        let split = command::split(line);
        if self.policy.syntax == Syntax::Strict {
            return split;
        }
        let (verb, argument, seen) = lenient::split(line, split);
        self.line_deviations = seen;
        if verb != Verb::Unknown {
            self.session_deviations |= seen;
        }
        (verb, argument)
    }

    /// HELO, EHLO, LHLO: an open transaction ends, as with RSET (RFC 5321 §4.1.4).
    fn hello_command(
        &mut self,
        verb: Verb,
        name: &[u8],
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        let lmtp = self.policy.protocol == Protocol::Lmtp;
        if lmtp != (verb == Verb::Lhlo) {
            return self.fail(&answer::UNKNOWN_VERB, replies);
        }
        if verb == Verb::Ehlo && !self.policy.commands.esmtp {
            // A server without extensions knows the verb but has no extension to offer (RFC 5321 §3.2).
            return self.fail(&answer::NOT_IMPLEMENTED, replies);
        }
        let seen = match self.read_hello(name) {
            Ok(seen) => seen | self.line_deviations,
            Err(answer) => return self.fail(answer, replies),
        };
        if matches!(self.greeting, Greeting::Helo | Greeting::Ehlo) {
            self.count_junk();
        }
        self.client_changes();
        self.hello.clear();
        self.hello.extend_from_slice(name);
        self.hello_deviations = seen;
        self.session_deviations |= seen;
        let hostname = &self.policy.hostname;
        if verb == Verb::Helo {
            self.greeting = Greeting::Helo;
            // HELO never gets the answer of EHLO (RFC 5321 §3.2).
            Extensions::empty().write_hello(hostname, |_, _| (), replies);
        } else {
            self.greeting = Greeting::Ehlo;
            let argue = |extension, out: &mut Vec<u8>| self.policy.argue(extension, out);
            self.announced().write_hello(hostname, argue, replies);
        }
        self.reset_transaction()
    }

    /// What is odd in the name that a client gives itself.
    fn read_hello(&self, name: &[u8]) -> Result<Deviations, &'static Answer> {
        match self.policy.syntax {
            Syntax::Strict if has_bad_octets(name) => Err(&answer::BAD_OCTETS),
            Syntax::Strict if is_host(name) => Ok(Deviations::empty()),
            Syntax::Strict => Err(&answer::BAD_HELLO),
            Syntax::Lenient if name.is_empty() => Err(&answer::BAD_HELLO),
            Syntax::Lenient => lenient::read_hello(name).ok_or(&answer::BAD_OCTETS),
        }
    }

    fn noop(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        if has_bad_octets(argument) {
            return self.fail(&answer::BAD_OCTETS, replies);
        }
        self.count_junk();
        self.say(&answer::OK, replies);
        None
    }

    fn quit(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        if !argument.is_empty() {
            if self.policy.syntax == Syntax::Strict {
                return self.fail(&answer::NO_ARGUMENT_ALLOWED, replies);
            }
            self.session_deviations |= Deviations::ARGUMENT_AFTER_QUIT;
        }
        if self.did_nothing() {
            self.want = self.missed();
        }
        self.say(&answer::BYE, replies);
        self.phase = ServerPhase::Closing;
        self.reset_transaction()
    }

    /// Whether the client said EHLO and nothing else so far.
    fn did_nothing(&self) -> bool {
        self.greeting == Greeting::Ehlo
            && (self.errors, self.junk) == (0, 0)
            && !self.said_mail
            && self.identity().is_none()
            && !self.secured
            && self.relayed.is_none()
    }

    /// What a client can have missed that did nothing.
    fn missed(&self) -> Option<ClientWant> {
        match (self.policy.tls.offered, !self.policy.auth.mechanisms().is_empty()) {
            (false, false) => Some(ClientWant::Extension),
            (false, true) => Some(ClientWant::Encryption),
            (true, false) => Some(ClientWant::Login),
            (true, true) => None,
        }
    }

    fn rset(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        if !argument.is_empty() {
            return self.fail(&answer::NO_ARGUMENT_ALLOWED, replies);
        }
        self.count_junk();
        self.say(&answer::OK, replies);
        self.reset_transaction()
    }

    /// SEND, SOML and SAML (RFC 821 §3.4): there are no terminals here, so all of them are MAIL.
    fn legacy_mail(
        &mut self,
        extension: Extensions,
        argument: &[u8],
        replies: &mut Vec<u8>,
    ) -> Option<CommandEvent> {
        if !self.available.contains(extension) {
            return self.fail(&answer::NOT_IMPLEMENTED, replies);
        }
        self.mail(argument, replies)
    }

    #[cold]
    fn unknown(&mut self, line: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        if self.greeting == Greeting::Unheard && is_http(line) {
            self.want = Some(ClientWant::Http);
            return self.hang_up(&answer::NOT_SMTP, replies);
        }
        if self.greeting == Greeting::Unheard && line.starts_with(b"PROXY ") {
            self.want = Some(ClientWant::ProxyHeader);
        }
        self.fail(&answer::UNKNOWN_VERB, replies)
    }

    /// What a command needs that belongs to an extension.
    pub(super) fn ehlo_first(&self) -> &'static Answer {
        match self.policy.protocol {
            Protocol::Smtp => &answer::EHLO_FIRST,
            Protocol::Lmtp => &answer::LHLO_FIRST,
        }
    }

    pub(super) fn hello_first(&self) -> &'static Answer {
        match self.policy.protocol {
            Protocol::Smtp => &answer::HELLO_FIRST,
            Protocol::Lmtp => &answer::LHLO_FIRST,
        }
    }

    /// Counts a command that does no work. Beyond the limit each is an error too, though it gets its
    /// usual answer.
    pub(super) fn count_junk(&mut self) {
        self.junk = self.junk.saturating_add(1);
        if self.junk > SESSION_JUNK_MAX {
            self.errors += 1;
        }
    }
}

/// Whether a first line is that of an HTTP request: a browser made to talk to this port.
fn is_http(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] =
        [b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PRI", b"PUT"];
    let method = line.split(|&b| b == b' ').next().unwrap_or_default();
    method.len() < line.len() && METHODS.contains(&method)
}
