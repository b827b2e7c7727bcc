//! The reading half of the client: what each reply means for the transaction it answers.

use super::{
    Client, ClientStage, ExpectedReplies, Fault, Hello, HelloVerb, Refusal, ReplyEvent, ReplyTo,
    TransactionVerdict,
};
use crate::limits::REPLY_LINE_BYTES_MAX;
use crate::smtp::extension::Extensions;
use crate::smtp::reply::EnhancedCode;
use crate::smtp::server::Protocol;

/// What the replies to the transaction now being answered have said so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answered {
    accepted: u32,
    /// First refusal of MAIL, else of a RCPT; 0 without.
    mail_refusal: u16,
    rcpt_refusal: u16,
    /// LMTP: whether a recipient's final reply was a success, and the first that was none.
    delivered: bool,
    end_refusal: u16,
    /// LMTP: the count of final replies is settled.
    counted: bool,
    /// Recipients that were refused, at RCPT or in LMTP after the message.
    refused_4xx: u32,
    refused_5xx: u32,
    /// LMTP: recipients whose final reply was a success.
    ends_accepted: u32,
}

impl Answered {
    fn refuse_recipient(&mut self, code: u16) {
        match code {
            400..500 => self.refused_4xx += 1,
            _ => self.refused_5xx += 1,
        }
    }
}

/// What the server said of the recipients of one transaction. Those that it said nothing of are in no
/// count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RecipientReplies {
    pub accepted: u32,
    pub refused_4xx: u32,
    pub refused_5xx: u32,
}

impl RecipientReplies {
    pub fn refused(&self) -> u32 {
        self.refused_4xx + self.refused_5xx
    }
}

impl Client {
    /// Whether the server has greeted this client: it has taken EHLO at least once, or where none is said, the
    /// connection.
    pub fn greeted(&self) -> bool {
        self.greeted
    }

    /// The latest refusal.
    pub fn last_refusal(&self) -> Option<Refusal<'_>> {
        let (command, phase, code) = self.refused?;
        Some(Refusal { command, phase, code, text: &self.refusal })
    }

    /// Text of the latest refusal, without its code.
    pub fn refusal(&self) -> &[u8] {
        &self.refusal
    }

    /// Takes one whole reply from `input` and moves it on. `None`: all input is taken.
    ///
    /// # Errors
    /// The session is of no further use after a [`Fault`]. One that is in no reply, such as an extension that is
    /// not offered, comes after the event of the reply that showed it.
    #[inline]
    pub fn step(&mut self, input: &mut &[u8]) -> Result<Option<ReplyEvent>, Fault> {
        if self.stage == ClientStage::Closed {
            *input = &[];
            return Ok(None);
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.is_at_handshake() && !input.is_empty() {
            return Err(Fault::BehindStartTls);
        }
        let phase = self.expected.front().map(|e| e.phase);
        let (code, enhanced) = loop {
            let Some(line) = self.reader.step(input)? else {
                return Ok(None);
            };
            if phase == Some(ReplyTo::Hello) && line.code == 250 {
                self.offered.read_line(line.text);
            }
            if phase == Some(ReplyTo::Auth) && line.code == 334 {
                self.entry.hear(line.text);
            }
            if line.code >= 400 {
                match std::mem::replace(&mut self.refusal_open, !line.last) {
                    true => self.refusal.push(b' '),
                    false => self.refusal.clear(),
                }
                let room = REPLY_LINE_BYTES_MAX.saturating_sub(self.refusal.len());
                self.refusal.extend_from_slice(&line.text[..line.text.len().min(room)]);
            }
            if line.last {
                let enhanced = match line.code {
                    ..400 => None,
                    _ => EnhancedCode::parse(&self.refusal).or(EnhancedCode::parse(line.text)),
                };
                break (line.code, enhanced);
            }
        };
        if code >= 400 {
            let asked = phase.unwrap_or(ReplyTo::Unasked);
            self.refused = Some((self.command(asked), asked, code));
        }
        self.on_reply(code, enhanced).map(Some)
    }

    fn on_reply(&mut self, code: u16, enhanced: Option<EnhancedCode>) -> Result<ReplyEvent, Fault> {
        let Some(&ExpectedReplies { phase, transaction, .. }) = self.expected.front() else {
            if code != 421 {
                return Err(Fault::Unasked { code });
            }
            self.stage = ClientStage::Closed;
            let phase = ReplyTo::Unasked;
            return Ok(ReplyEvent { phase, transaction: 0, code, enhanced, verdict: None });
        };
        let verdict = if code == 421 {
            self.settle_end_replies(phase);
            let left = self.expected.front().map_or(0, |expected| expected.left);
            self.expected.clear();
            self.stage = ClientStage::Closed;
            (transaction > 0).then(|| self.on_closing(phase, code, left))
        } else {
            self.settle_end_replies(phase);
            let left = self.take_expected();
            match self.on_answer(phase, code, left) {
                // Nothing is wrong with the reply.
                Err(fault @ (Fault::NotOffered(_) | Fault::NoMechanism)) => {
                    self.fault = Some(fault);
                    None
                }
                answered => answered?,
            }
        };
        Ok(ReplyEvent { phase, transaction, code, enhanced, verdict })
    }

    /// 421 in a transaction: what had no answer yet is refused, and what was accepted stays so.
    /// `left` replies of this kind were still due, this one included.
    fn on_closing(&mut self, phase: ReplyTo, code: u16, left: u32) -> TransactionVerdict {
        match phase {
            // The answers so far are those of the transaction before.
            ReplyTo::Mail => self.answered = Answered::default(),
            ReplyTo::Rcpt => self.answered.refuse_recipient(code),
            ReplyTo::EndOfData if self.settings.protocol == Protocol::Lmtp => {
                (0..left).for_each(|_| self.answered.refuse_recipient(code));
            }
            _ => {}
        }
        let whole = self.answered.mail_refusal == 0;
        match self.answered.delivered && whole {
            true => TransactionVerdict::Accepted,
            false => TransactionVerdict::Refused(code),
        }
    }

    /// What was said of the recipients of the transaction that the latest verdict decided.
    pub fn recipient_replies(&self) -> RecipientReplies {
        let Answered { refused_4xx, refused_5xx, .. } = self.answered;
        let accepted = match (self.answered.delivered, self.settings.protocol) {
            (false, _) => 0,
            (true, Protocol::Smtp) => self.answered.accepted,
            (true, Protocol::Lmtp) => self.answered.ends_accepted,
        };
        let accepted = if self.answered.mail_refusal == 0 { accepted } else { 0 };
        RecipientReplies { accepted, refused_4xx, refused_5xx }
    }

    /// LMTP answers the end of data once for each accepted recipient (RFC 2033 §4.2), and once in
    /// all when a last chunk had none.
    fn settle_end_replies(&mut self, phase: ReplyTo) {
        let lmtp = self.settings.protocol == Protocol::Lmtp;
        if lmtp && phase == ReplyTo::EndOfData && !self.answered.counted {
            self.answered.counted = true;
            if let Some(front) = self.expected.front_mut() {
                front.left = self.answered.accepted.max(1);
            }
        }
    }

    /// Takes one reply off the queue; answers how many of the same kind are still due.
    fn take_expected(&mut self) -> u32 {
        let Some(front) = self.expected.front_mut() else {
            return 0;
        };
        front.left -= 1;
        let left = front.left;
        if left == 0 {
            self.expected.pop_front();
        }
        left
    }

    /// What a reply other than 421 changes.
    fn on_answer(
        &mut self,
        phase: ReplyTo,
        code: u16,
        left: u32,
    ) -> Result<Option<TransactionVerdict>, Fault> {
        let ok = code / 100 == 2;
        let goes_on = phase == ReplyTo::Data || (phase == ReplyTo::Auth && code == 334);
        if !ok && code < 400 && !goes_on {
            return Err(Fault::OutOfPlace { phase, code });
        }
        match phase {
            ReplyTo::Banner if !ok => {
                self.stage = ClientStage::Leaving;
                Ok(None)
            }
            ReplyTo::Banner if self.settings.hello == Hello::None => {
                self.greeted = true;
                self.on_offers().map(|()| None)
            }
            ReplyTo::Banner => {
                self.stage = ClientStage::Hello(self.verb);
                Ok(None)
            }
            ReplyTo::Hello => self.on_hello(code).map(|()| None),
            ReplyTo::StartTls => self.on_starttls(code).map(|()| None),
            ReplyTo::Auth => {
                self.on_auth(code);
                Ok(None)
            }
            ReplyTo::Mail => Ok(self.on_mail(code)),
            ReplyTo::Rcpt => Ok(self.on_rcpt(code)),
            ReplyTo::Data => self.on_data(code),
            ReplyTo::EndOfData => Ok(self.on_end(code, left)),
            ReplyTo::Rset => Ok(None),
            ReplyTo::Quit | ReplyTo::Unasked => {
                self.stage = ClientStage::Closed;
                Ok(None)
            }
        }
    }

    fn on_hello(&mut self, code: u16) -> Result<(), Fault> {
        if code >= 400 {
            let old_server = code >= 500 && self.verb == HelloVerb::Ehlo;
            self.stage =
                if old_server { ClientStage::Hello(HelloVerb::Helo) } else { ClientStage::Leaving };
            return Ok(());
        }
        self.greeted = true;
        self.on_offers()
    }

    /// What the server offers is known.
    pub(super) fn on_offers(&mut self) -> Result<(), Fault> {
        if self.begin_upgrade()? {
            return Ok(());
        }
        if !self.lockstep() && !self.offered.has(Extensions::PIPELINING) {
            return Err(Fault::NotOffered("PIPELINING"));
        }
        if self.settings.chunking && !self.offered.has(Extensions::CHUNKING) {
            return Err(Fault::NotOffered("CHUNKING"));
        }
        if self.settings.smtputf8 && !self.offered.has(Extensions::SMTPUTF8) {
            return Err(Fault::NotOffered("SMTPUTF8"));
        }
        self.begin_auth()
    }

    fn on_mail(&mut self, code: u16) -> Option<TransactionVerdict> {
        // 503 here says that the last transaction, refused as it was, is still open: its recipients
        // are too, and LMTP will answer for them.
        let still_open = code == 503 && !self.answered.delivered;
        let accepted = if still_open { self.answered.accepted } else { 0 };
        self.answered = Answered { accepted, ..Answered::default() };
        if code < 400 {
            self.dirty = true;
            if self.lockstep() {
                self.stage = ClientStage::Line;
            }
            return None;
        }
        self.answered.mail_refusal = code;
        self.dirty |= still_open;
        self.lockstep().then(|| {
            self.stage = ClientStage::Idle;
            TransactionVerdict::Refused(code)
        })
    }

    fn on_rcpt(&mut self, code: u16) -> Option<TransactionVerdict> {
        if code < 400 {
            self.answered.accepted += 1;
        } else {
            self.answered.refuse_recipient(code);
            if self.answered.rcpt_refusal == 0 {
                self.answered.rcpt_refusal = code;
            }
        }
        if !self.lockstep() {
            return None;
        }
        if self.unasked > 0 || self.answered.accepted > 0 {
            self.stage = ClientStage::Line;
            return None;
        }
        self.stage = ClientStage::Idle;
        Some(TransactionVerdict::Refused(self.answered.rcpt_refusal))
    }

    fn on_data(&mut self, code: u16) -> Result<Option<TransactionVerdict>, Fault> {
        if code >= 400 {
            self.stage = ClientStage::Idle;
            return Ok(Some(self.refused(code)));
        }
        let lmtp = self.settings.protocol == Protocol::Lmtp;
        if code != 354 || (lmtp && self.answered.accepted == 0) {
            return Err(Fault::OutOfPlace { phase: ReplyTo::Data, code });
        }
        let bodiless = self.answered.accepted == 0;
        self.stage = if bodiless { ClientStage::LoneDot } else { ClientStage::StuffedBody };
        Ok(None)
    }

    fn on_end(&mut self, code: u16, left: u32) -> Option<TransactionVerdict> {
        // Where no recipient was accepted, this reply is about the message alone.
        let of_recipient = self.settings.protocol == Protocol::Lmtp && self.answered.accepted > 0;
        if code < 400 {
            self.answered.delivered = true;
            self.answered.ends_accepted += u32::from(of_recipient);
        } else {
            if of_recipient {
                self.answered.refuse_recipient(code);
            }
            if self.answered.end_refusal == 0 {
                self.answered.end_refusal = code;
            }
        }
        if left > 0 {
            return None;
        }
        // After a refused chunk the server's state is unsure (RFC 3030 §2).
        self.dirty = self.settings.chunking && !self.answered.delivered;
        let whole = self.answered.accepted > 0 && self.answered.mail_refusal == 0;
        let verdict = if self.answered.delivered && whole {
            TransactionVerdict::Accepted
        } else {
            self.refused(self.answered.end_refusal)
        };
        Some(verdict)
    }

    fn refused(&self, code: u16) -> TransactionVerdict {
        let Answered { accepted, mail_refusal, rcpt_refusal, .. } = self.answered;
        TransactionVerdict::Refused(match (mail_refusal, accepted) {
            (0, 0) if rcpt_refusal != 0 => rcpt_refusal,
            (0, _) => code,
            (mail, _) => mail,
        })
    }
}
