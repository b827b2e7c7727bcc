//! MAIL and RCPT (RFC 5321 §3.3).

use ringpost::limits::{FOLLOWERS_MAX, RECIPIENTS_OVERSHOOT_MAX};
use ringpost::smtp::extension::Extensions;

use super::lenient::{self, Argument};
use super::path::{Fault, path_and_params};
use super::{
    BAD_OCTETS, BAD_UTF8, Mail, OUT_OF_ORDER, Odd, Quirk, Reference, Said, TOO_LARGE, has_control,
};

impl Reference<'_> {
    pub(super) fn mail(&mut self, argument: &[u8]) {
        match self.judge_mail(argument) {
            Ok(mail) => {
                self.mail = Some(mail);
                self.followers = 0;
                self.say("250/2.1.0");
            }
            Err(said) => {
                self.followers = FOLLOWERS_MAX;
                self.error(said);
            }
        }
    }

    fn judge_mail(&self, argument: &[u8]) -> Result<Mail, Said> {
        if !self.greeted {
            return Err(OUT_OF_ORDER);
        }
        let unknown = self.policy.auth.required && self.identity.is_none();
        if unknown && !self.is(Quirk::LoginIsOptional) {
            return Err("530/5.7.0");
        }
        if self.mail.is_some() || self.failed.is_some() {
            return Err(OUT_OF_ORDER);
        }
        self.read_mail(argument)
    }

    fn read_mail(&self, argument: &[u8]) -> Result<Mail, Said> {
        let mut odd = Odd::new();
        let Argument { mailbox, whole, params } = self
            .argument(argument, b"FROM:", true, &mut odd)
            .map_err(|fault| fault.said(argument, "501/5.1.7"))?;
        let asked = self.params(&params, true)?;
        self.octets(&whole, asked.utf8, "550/5.6.7", &mut odd)?;
        self.after_helo(&params, &mut odd);
        odd.extend(asked.odd.iter().copied());
        odd.extend(self.line_odd.iter().copied());
        let most = self.policy.message_bytes_max;
        if most != u64::MAX && asked.size > most.into() {
            return Err(TOO_LARGE);
        }
        if asked.hold.is_some_and(|hold| !self.holds(&hold)) {
            return Err("501/5.5.4");
        }
        let mut mail = Mail { utf8: asked.utf8, binary: asked.binary, ..Mail::default() };
        mail.stored.sender = mailbox;
        mail.stored.sender_params = params;
        mail.odd = odd;
        Ok(mail)
    }

    /// The argument of MAIL or RCPT, as strictly as the listener reads it.
    fn argument(
        &self,
        argument: &[u8],
        lead: &[u8],
        reverse: bool,
        odd: &mut Odd,
    ) -> Result<Argument, Fault> {
        if self.lenient() {
            return lenient::argument(argument, lead, reverse, odd);
        }
        let (path, params) = path_and_params(argument, lead, reverse)?;
        let (mailbox, whole) = (path.mailbox.to_vec(), path.whole.to_vec());
        Ok(Argument { mailbox, whole, params: params.to_vec() })
    }

    /// Whether a path may hold the octets that it holds (RFC 6531 §3.4). `said`: SMTPUTF8 was.
    fn octets(&self, path: &[u8], said: bool, refusal: Said, odd: &mut Odd) -> Result<(), Said> {
        if path.is_ascii() {
            return Ok(());
        }
        if !(said || self.lenient() && self.offers(Extensions::SMTPUTF8)) {
            return Err(refusal);
        }
        let text = str::from_utf8(path).map_err(|_| BAD_UTF8)?;
        if has_control(text) && !self.is(Quirk::UnicodeControlsPass) {
            return Err(BAD_OCTETS);
        }
        if !said {
            odd.insert("utf8-without-smtputf8");
        }
        Ok(())
    }

    fn after_helo(&self, params: &[u8], odd: &mut Odd) {
        if !params.is_empty() && !self.extended {
            odd.insert("parameters-after-helo");
        }
    }

    pub(super) fn rcpt(&mut self, argument: &[u8]) {
        let Some(mail) = self.mail.take_if(|mail| !mail.chunks) else {
            let idle = self.mail.is_none() && self.failed.is_none();
            return match idle {
                true => self.error_unless_following(OUT_OF_ORDER),
                false => self.error(OUT_OF_ORDER),
            };
        };
        let judged = self.judge_rcpt(argument, mail.utf8);
        self.mail = Some(mail);
        let refused = match judged {
            Err((said, to)) => {
                self.errors += 1;
                self.say_people(said, to.as_slice(), 0);
                true
            }
            Ok((said, to, recipient, odd)) => self.add(said, to, recipient, odd),
        };
        if let Some(mail) = self.mail.as_mut().filter(|_| refused) {
            mail.refused += 1;
            self.followers = FOLLOWERS_MAX;
        }
    }

    /// The answer to a recipient that is right in itself, with whom it names, and the recipient.
    fn judge_rcpt(&self, argument: &[u8], utf8: bool) -> Result<Judged, Refused> {
        let alone = |said| (said, None);
        let mut odd = Odd::new();
        let Argument { mailbox, whole, params } = self
            .argument(argument, b"TO:", false, &mut odd)
            .map_err(|fault| alone(fault.said(argument, "501/5.1.3")))?;
        let asked = self.params(&params, false).map_err(alone)?;
        self.octets(&whole, utf8, "553/5.6.7", &mut odd).map_err(alone)?;
        self.after_helo(&params, &mut odd);
        odd.extend(asked.odd);
        match self.welcome(&mailbox) {
            (true, said, to) => Ok((said, to, (mailbox, params), odd)),
            (false, said, to) => Err((said, to)),
        }
    }

    /// Takes a recipient if there is room; answers whether it was refused.
    fn add(
        &mut self,
        said: Said,
        to: Option<&'static str>,
        recipient: Recipient,
        odd: Odd,
    ) -> bool {
        let most = self.policy.recipients_max;
        let Some(mail) = &mut self.mail else { return true };
        if mail.stored.recipients.len() < most {
            mail.stored.recipients.push(recipient);
            self.note(odd);
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

type Judged = (Said, Option<&'static str>, Recipient, Odd);

type Refused = (Said, Option<&'static str>);
