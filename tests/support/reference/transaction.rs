//! MAIL and RCPT (RFC 5321 §3.3).

use ringpost::limits::RECIPIENTS_OVERSHOOT_MAX;

use super::path::path_and_params;
use super::{BAD_UTF8, Mail, OUT_OF_ORDER, Quirk, Reference, Said, TOO_LARGE};

impl Reference<'_> {
    pub(super) fn mail(&mut self, argument: &[u8]) {
        if !self.greeted {
            return self.error(OUT_OF_ORDER);
        }
        let unknown = self.policy.auth.required && self.identity.is_none();
        if unknown && !self.is(Quirk::LoginIsOptional) {
            return self.error("530/5.7.0");
        }
        if self.mail.is_some() || self.failed.is_some() {
            return self.error(OUT_OF_ORDER);
        }
        match self.read_mail(argument) {
            Ok(mail) => {
                self.mail = Some(mail);
                self.say("250/2.1.0");
            }
            Err(said) => self.error(said),
        }
    }

    fn read_mail(&self, argument: &[u8]) -> Result<Mail, Said> {
        let (path, params) = path_and_params(argument, b"FROM:", true)
            .map_err(|fault| fault.said(argument, "501/5.1.7"))?;
        let asked = self.params(params, true)?;
        if !path.whole.is_ascii() {
            if !asked.utf8 {
                return Err("550/5.6.7");
            }
            str::from_utf8(path.whole).map_err(|_| BAD_UTF8)?;
        }
        let most = self.policy.message_bytes_max;
        if most != u64::MAX && asked.size > most.into() {
            return Err(TOO_LARGE);
        }
        if asked.hold.is_some_and(|hold| !self.holds(&hold)) {
            return Err("501/5.5.4");
        }
        let mut mail = Mail { utf8: asked.utf8, binary: asked.binary, ..Mail::default() };
        mail.stored.sender = path.mailbox.to_vec();
        mail.stored.sender_params = params.to_vec();
        Ok(mail)
    }

    pub(super) fn rcpt(&mut self, argument: &[u8]) {
        let Some(mail) = self.mail.take_if(|mail| !mail.chunks) else {
            return self.error(OUT_OF_ORDER);
        };
        let judged = self.judge_rcpt(argument, mail.utf8);
        self.mail = Some(mail);
        let refused = match judged {
            Err((said, to)) => {
                self.errors += 1;
                self.say_people(said, to.as_slice(), 0);
                true
            }
            Ok((said, to, recipient)) => self.add(said, to, recipient),
        };
        if let Some(mail) = self.mail.as_mut().filter(|_| refused) {
            mail.refused += 1;
        }
    }

    /// The answer to a recipient that is right in itself, with whom it names, and the recipient.
    fn judge_rcpt(&self, argument: &[u8], utf8: bool) -> Result<Judged, Refused> {
        let alone = |said| (said, None);
        let (path, params) = path_and_params(argument, b"TO:", false)
            .map_err(|fault| alone(fault.said(argument, "501/5.1.3")))?;
        self.params(params, false).map_err(alone)?;
        if !path.whole.is_ascii() {
            if !utf8 {
                return Err(alone("553/5.6.7"));
            }
            str::from_utf8(path.whole).map_err(|_| alone(BAD_UTF8))?;
        }
        match self.welcome(path.mailbox) {
            (true, said, to) => Ok((said, to, (path.mailbox.to_vec(), params.to_vec()))),
            (false, said, to) => Err((said, to)),
        }
    }

    /// Takes a recipient if there is room; answers whether it was refused.
    fn add(&mut self, said: Said, to: Option<&'static str>, recipient: Recipient) -> bool {
        let most = self.policy.recipients_max;
        let Some(mail) = &mut self.mail else { return true };
        if mail.stored.recipients.len() < most {
            mail.stored.recipients.push(recipient);
            self.say_people(said, to.as_slice(), 0);
            return false;
        }
        if mail.refused >= RECIPIENTS_OVERSHOOT_MAX {
            self.errors += 1;
        }
        self.say("452/4.5.3");
        true
    }
}

/// Path and parameters.
type Recipient = (Vec<u8>, Vec<u8>);

type Judged = (Said, Option<&'static str>, Recipient);

type Refused = (Said, Option<&'static str>);
