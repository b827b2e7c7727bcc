//! MAIL, RCPT and DATA: the commands that build a mail transaction (RFC 5321 §3.3).

use super::answer::{self, Answer};
use super::commands::RecipientRule;
use super::content::Data;
use super::event::CommandEvent;
use super::machine::Server;
use super::state::{Greeting, ServerPhase, Transaction};
use crate::limits::RECIPIENTS_OVERSHOOT_MAX;
use crate::smtp::command::{PathArgument, parse_mail, parse_rcpt};
use crate::smtp::deviation::Deviations;
use crate::smtp::envelope::BodyKind;
use crate::smtp::envelope_memory::EnvelopeMemory;
use crate::smtp::extension::Extensions;
use crate::smtp::lenient;
use crate::smtp::params::{On, ParamFault, parse_params};
use crate::smtp::path::PathFault;
use crate::smtp::protocol::Protocol;
use crate::smtp::syntax::Syntax;

impl Server {
    /// Takes the memory of envelopes from there, from the start of the session on. Where no more is left, MAIL and
    /// RCPT get 452.
    pub fn set_envelope_memory(&mut self, memory: EnvelopeMemory) {
        self.envelope.set_memory(memory);
    }

    #[inline]
    pub(super) fn mail(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        self.said_mail = true;
        if let Err(answer) = self.begin_transaction(argument) {
            self.expect_followers();
            if answer.is_temporary() {
                self.say(answer, replies);
                return None;
            }
            return self.fail(answer, replies);
        }
        if let Some(reply) = self.no_room {
            self.reset_transaction();
            self.expect_followers();
            reply.write(replies, self.enhanced());
            return None;
        }
        self.say(&answer::MAIL_OK, replies);
        None
    }

    /// State is judged before syntax (RFC 5321 §4.1.2), and a refused command changes nothing
    /// (§4.1.4).
    #[inline]
    fn begin_transaction(&mut self, argument: &[u8]) -> Result<(), &'static Answer> {
        if !matches!(self.greeting, Greeting::Helo | Greeting::Ehlo) {
            return Err(self.hello_first());
        }
        if self.policy.auth.required && self.identity().is_none() {
            return Err(&answer::AUTH_REQUIRED);
        }
        match self.transaction {
            Transaction::Idle => {}
            Transaction::Mail { .. } => return Err(&answer::NESTED_MAIL),
            Transaction::Chunks(_) => return Err(&answer::CHUNKS_OPEN),
            Transaction::Failed { .. } => return Err(&answer::TRANSACTION_FAILED),
        }
        let (mut mail, mut seen) = self
            .read(argument, parse_mail(argument), lenient::parse_mail)
            .map_err(|fault| match fault {
            PathFault::Syntax => octets_fault(argument).unwrap_or(&answer::BAD_SENDER),
            PathFault::TooLong => &answer::SENDER_TOO_LONG,
        })?;
        let params = parse_params(mail.params, On::Mail, self.offered(), self.policy.syntax)
            .map_err(|fault| params_answer(fault, mail.params, self.policy.syntax))?;
        if mail.extra_blanks || !params.odd.is_empty() {
            seen |= self.odd(&mut mail, params.odd);
        }
        seen |= self.params_after_helo(mail.params);
        if mail.path.non_ascii {
            seen |= self.utf8(mail.path.text, params.smtputf8, &answer::SENDER_NEEDS_SMTPUTF8)?;
            hold_no_control(mail.path.text)?;
        }
        if params.size.is_some_and(|size| size > self.policy.message_bytes_max) {
            return Err(&answer::TOO_LARGE);
        }
        if params.hold.is_some_and(|hold| !self.policy.commands.hold.allow(hold)) {
            return Err(&answer::HOLD_OUT_OF_RANGE);
        }
        if !self.envelope.reserve(mail.path.mailbox.len() + mail.params.len()) {
            return Err(&answer::NO_MEMORY);
        }
        self.envelope.set_reverse(mail.path.mailbox, mail.params);
        self.envelope.body = params.body;
        self.envelope.smtputf8 = params.smtputf8;
        self.envelope.declared_bytes = params.size;
        self.note(seen);
        self.transaction = Transaction::Mail { refused: 0 };
        self.followers = 0;
        Ok(())
    }

    #[inline]
    pub(super) fn rcpt(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        match self.transaction {
            Transaction::Mail { .. } => {}
            Transaction::Idle => {
                return self.fail_unless_following(&answer::MAIL_FIRST, replies);
            }
            Transaction::Chunks(_) => return self.fail(&answer::CHUNKS_OPEN, replies),
            Transaction::Failed { .. } => return self.fail(&answer::TRANSACTION_FAILED, replies),
        }
        match self.add_recipient(argument) {
            Ok(Welcome::Taken) => {
                self.say(&answer::RCPT_OK, replies);
                None
            }
            Ok(Welcome::Forwarded(to)) => {
                let text = format!("User not local; will forward to <{to}>");
                self.say_line(251, true, (1, 5), text.as_bytes(), replies);
                None
            }
            Err(RecipientRefusal::Moved(to)) => {
                self.count_refused();
                self.errors += 1;
                let text = format!("User not local; please try <{to}>");
                self.say_line(551, true, (1, 6), text.as_bytes(), replies);
                None
            }
            Err(RecipientRefusal::Fault(answer)) => {
                self.count_refused();
                self.fail(answer, replies)
            }
            Err(RecipientRefusal::Full(answer)) => {
                // A client that sends its whole list in one flight has not erred yet.
                if self.count_refused() > RECIPIENTS_OVERSHOOT_MAX {
                    self.errors += 1;
                }
                self.say(answer, replies);
                None
            }
        }
    }

    #[inline]
    fn add_recipient(&mut self, argument: &[u8]) -> Result<Welcome, RecipientRefusal> {
        let (mut rcpt, mut seen) =
            self.read(argument, parse_rcpt(argument), lenient::parse_rcpt).map_err(|fault| {
                RecipientRefusal::Fault(match fault {
                    PathFault::Syntax => octets_fault(argument).unwrap_or(&answer::BAD_RECIPIENT),
                    PathFault::TooLong => &answer::RECIPIENT_TOO_LONG,
                })
            })?;
        let params = parse_params(rcpt.params, On::Rcpt, self.offered(), self.policy.syntax)
            .map_err(|fault| params_answer(fault, rcpt.params, self.policy.syntax))
            .map_err(RecipientRefusal::Fault)?;
        if rcpt.extra_blanks || !params.odd.is_empty() {
            seen |= self.odd(&mut rcpt, params.odd);
        }
        seen |= self.params_after_helo(rcpt.params);
        if rcpt.path.non_ascii {
            let (said, refusal) = (self.envelope.smtputf8(), &answer::RECIPIENT_NEEDS_SMTPUTF8);
            seen |= self.utf8(rcpt.path.text, said, refusal).map_err(RecipientRefusal::Fault)?;
            hold_no_control(rcpt.path.text).map_err(RecipientRefusal::Fault)?;
        }
        let welcome = match self.policy.commands.recipients {
            RecipientRule::Any => Welcome::Taken,
            RecipientRule::Known => self.look_up(rcpt.path.mailbox)?,
        };
        if self.envelope.recipient_count() >= self.policy.recipients_max {
            return Err(RecipientRefusal::Full(&answer::TOO_MANY_RECIPIENTS));
        }
        if !self.envelope.reserve(rcpt.path.mailbox.len() + rcpt.params.len()) {
            return Err(RecipientRefusal::Full(&answer::NO_MEMORY));
        }
        if !self.envelope.add_recipient(rcpt.path.mailbox, rcpt.params) {
            return Err(RecipientRefusal::Full(&answer::TOO_MANY_RECIPIENTS));
        }
        self.note(seen);
        Ok(welcome)
    }

    /// Reads an argument as strictly as this listener does.
    #[inline]
    fn read<'a>(
        &self,
        argument: &'a [u8],
        strict: Result<PathArgument<'a>, PathFault>,
        lenient: impl Fn(&'a [u8]) -> Result<(PathArgument<'a>, Deviations), PathFault>,
    ) -> Result<(PathArgument<'a>, Deviations), PathFault> {
        match strict {
            Ok(read) => Ok((read, Deviations::empty())),
            Err(fault) if self.policy.syntax == Syntax::Strict => Err(fault),
            Err(_) => lenient(argument),
        }
    }

    /// Takes off blanks before the parameters, and says what is odd there. Strict syntax lets the blanks pass
    /// without a word, as servers have always done.
    #[cold]
    fn odd(&self, read: &mut PathArgument<'_>, params: Deviations) -> Deviations {
        read.params = lenient::trim_start(read.params);
        match self.policy.syntax {
            Syntax::Lenient if read.extra_blanks => params | Deviations::EXTRA_WHITESPACE,
            Syntax::Lenient => params,
            Syntax::Strict => Deviations::empty(),
        }
    }

    /// Whether a path that is not ASCII may come. `said` is whether SMTPUTF8 was. A listener that does not
    /// offer that takes none, so that clients can be tested that look whether it is offered.
    #[cold]
    fn utf8(
        &self,
        path: &[u8],
        said: bool,
        refusal: &'static Answer,
    ) -> Result<Deviations, &'static Answer> {
        let lenient = self.policy.syntax == Syntax::Lenient;
        let may = said || lenient && self.available.contains(Extensions::SMTPUTF8);
        if !may {
            return Err(refusal);
        }
        str::from_utf8(path).map_err(|_| &answer::BAD_UTF8)?;
        Ok(if said { Deviations::empty() } else { Deviations::UTF8_WITHOUT_SMTPUTF8 })
    }

    /// What is odd in `params` being there.
    #[inline]
    fn params_after_helo(&self, params: &[u8]) -> Deviations {
        let odd = !params.is_empty() && !self.extended();
        if odd { Deviations::PARAMETERS_AFTER_HELO } else { Deviations::empty() }
    }

    /// Keeps what was odd in a command of the transaction that was taken.
    #[inline]
    pub(super) fn note(&mut self, seen: Deviations) {
        let seen = seen | self.line_deviations;
        self.envelope.deviations |= seen;
        self.session_deviations |= seen;
    }

    /// Counts a refused RCPT and answers how many there were.
    fn count_refused(&mut self) -> u32 {
        self.expect_followers();
        match &mut self.transaction {
            Transaction::Mail { refused } => {
                *refused = refused.saturating_add(1);
                *refused
            }
            _ => 0,
        }
    }

    pub(super) fn data(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        if let Some(answer) = self.data_fault(argument) {
            let lacks_envelope = argument.is_empty() && self.lacks_envelope();
            return match lacks_envelope {
                true => self.fail_unless_following(answer, replies),
                false => self.fail(answer, replies),
            };
        }
        self.note(Deviations::empty());
        self.say(&answer::START_DATA, replies);
        self.phase = ServerPhase::Data(Data::default());
        Some(CommandEvent::Begin)
    }

    fn data_fault(&self, argument: &[u8]) -> Option<&'static Answer> {
        if !argument.is_empty() {
            return Some(&answer::NO_ARGUMENT_ALLOWED);
        }
        match self.transaction {
            Transaction::Idle => Some(&answer::MAIL_FIRST),
            Transaction::Chunks(_) => Some(&answer::CHUNKS_OPEN),
            Transaction::Failed { .. } => Some(&answer::TRANSACTION_FAILED),
            Transaction::Mail { .. } if self.envelope.body() == BodyKind::Binary => {
                Some(&answer::BINARY_NEEDS_BDAT)
            }
            Transaction::Mail { .. } => self.recipients_fault(),
        }
    }

    /// Whether there is no sender, or no recipient.
    pub(super) fn lacks_envelope(&self) -> bool {
        match self.transaction {
            Transaction::Idle => true,
            Transaction::Mail { .. } => {
                self.envelope.recipient_count() == 0 && self.envelope.body() != BodyKind::Binary
            }
            Transaction::Chunks(_) | Transaction::Failed { .. } => false,
        }
    }

    /// Why a message cannot start for want of recipients (RFC 5321 §3.3, RFC 2033 §4.2).
    pub(super) fn recipients_fault(&self) -> Option<&'static Answer> {
        if self.envelope.recipient_count() > 0 {
            return None;
        }
        match self.transaction {
            Transaction::Mail { refused: 1.. } if self.policy.protocol == Protocol::Smtp => {
                Some(&answer::NO_VALID_RECIPIENTS)
            }
            _ => Some(&answer::RCPT_FIRST),
        }
    }

    /// Extensions whose parameters this client may use now. HELO switches none on, but many a client says
    /// SIZE after it.
    #[inline]
    pub(super) fn offered(&self) -> Extensions {
        if self.extended() || self.policy.syntax == Syntax::Lenient {
            self.available
        } else {
            Extensions::empty()
        }
    }
}

/// How a recipient was taken.
pub(super) enum Welcome {
    Taken,
    /// 251, with the address that the mail goes to.
    Forwarded(Box<str>),
}

/// Why a recipient was not taken.
pub(super) enum RecipientRefusal {
    Fault(&'static Answer),
    /// 551, with the address to try instead.
    Moved(Box<str>),
    /// 452: the earlier ones stay (RFC 5321 §4.5.3.1.10).
    Full(&'static Answer),
}

/// What is wrong with the octets of an argument, where that is all there is to say of it.
#[cold]
fn octets_fault(argument: &[u8]) -> Option<&'static Answer> {
    if argument.iter().any(u8::is_ascii_control) {
        return Some(&answer::BAD_OCTETS);
    }
    match str::from_utf8(argument) {
        Err(_) => Some(&answer::BAD_UTF8),
        Ok(text) => text.contains(char::is_control).then_some(&answer::BAD_OCTETS),
    }
}

/// Refuses the controls of ISO 6429 that only Unicode has, U+0080 to U+009F; terminals obey them as they do the
/// others.
#[cold]
fn hold_no_control(text: &[u8]) -> Result<(), &'static Answer> {
    let has_one = str::from_utf8(text).is_ok_and(|text| text.contains(char::is_control));
    if has_one { Err(&answer::BAD_OCTETS) } else { Ok(()) }
}

#[cold]
fn params_answer(fault: ParamFault, params: &[u8], syntax: Syntax) -> &'static Answer {
    match (fault, syntax) {
        (ParamFault::Unknown, _) => &answer::UNKNOWN_PARAMETER,
        (ParamFault::Malformed, Syntax::Strict) => {
            octets_fault(params).unwrap_or(&answer::BAD_PARAMETER)
        }
        (ParamFault::Malformed, Syntax::Lenient) => {
            // A tab is a blank there, and no bad octet.
            let words: Vec<u8> = params.iter().copied().filter(|&octet| octet != b'\t').collect();
            octets_fault(&words).unwrap_or(&answer::BAD_PARAMETER)
        }
    }
}
