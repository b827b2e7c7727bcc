//! Messages: DATA (RFC 5321 §4.1.1.4, §4.5.2) and BDAT (RFC 3030 §2), a whole one at a time.

use ringpost::limits::{BDAT_TINY_BYTES, FOLLOWERS_MAX};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::BareNewline;

use super::{
    BAD_ARGUMENT, Mode, NOT_DONE, OK, OUT_OF_ORDER, Odd, Quirk, Reference, Said, Stored, TOO_LARGE,
};

impl Reference<'_> {
    /// Why a message cannot start, recipients considered.
    fn no_message(&self) -> Option<Said> {
        match &self.mail {
            Some(mail) if !mail.stored.recipients.is_empty() => None,
            Some(mail) if mail.refused > 0 && !self.lmtp() => Some("554/5.5.1"),
            _ => Some(OUT_OF_ORDER),
        }
    }

    pub(super) fn data(&mut self, argument: &[u8]) {
        if !argument.is_empty() {
            return self.error(BAD_ARGUMENT);
        }
        if self.mail.as_ref().is_some_and(|mail| mail.chunks || mail.binary) {
            return self.error(OUT_OF_ORDER);
        }
        if let Some(said) = self.no_message() {
            return match self.failed {
                None => self.error_unless_following(said),
                Some(_) => self.error(said),
            };
        }
        self.note(Odd::new());
        self.say("354");
        self.mode = Mode::Data(Vec::new());
    }

    pub(super) fn data_octet(&mut self) {
        let Mode::Data(raw) = &self.mode else { return };
        let quirks: [(Quirk, &[u8]); 3] = [
            (Quirk::LfDotEnds, b"\n.\r\n"),
            (Quirk::DotLfEnds, b"\r\n.\n"),
            (Quirk::DotCrEnds, b"\r\n.\r\r\n"),
        ];
        let quirky = quirks.iter().find(|(quirk, end)| self.is(*quirk) && raw.ends_with(end));
        let end = match quirky {
            Some((_, end)) => end.len() - end.iter().position(|&b| b == b'.').unwrap(),
            None if raw.ends_with(b"\r\n.\r\n") || raw == b".\r\n" => 3,
            None => return,
        };
        let body = self.unstuffed(&raw[..raw.len() - end]);
        self.mode = Mode::Line(Vec::new());
        let marks = marks(&body);
        let most =
            self.policy.message_bytes_max.saturating_add(self.is(Quirk::LimitOffByOne).into());
        if body.len() as u64 > most {
            self.lose(TOO_LARGE);
        } else if self.policy.bare_newline == BareNewline::Reject && marks & 3 != 0 {
            self.lose("550/5.6.0");
        } else {
            self.store(body, marks);
        }
    }

    /// Lines end at CRLF and nothing else; one leading dot of each is taken away.
    fn unstuffed(&self, raw: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        let mut line_start = 0;
        for at in 0..raw.len() {
            let lf_alone = self.is(Quirk::UnstuffsBehindLf) && raw[..at].ends_with(b"\n");
            if raw[..at].ends_with(b"\r\n") || lf_alone {
                line_start = at;
            }
            if at != line_start || raw[at] != b'.' {
                body.push(raw[at]);
            }
        }
        body
    }

    /// The message is read and not taken.
    fn lose(&mut self, said: Said) {
        let recipients = self.mail.take().map_or(0, |mail| mail.stored.recipients.len());
        for _ in 0..if self.lmtp() { recipients } else { 1 } {
            self.say(said);
        }
        self.reset();
    }

    fn store(&mut self, body: Vec<u8>, marks: u32) {
        let Some(mail) = self.mail.take() else { return };
        for _ in 0..if self.lmtp() { mail.stored.recipients.len() } else { 1 } {
            self.say(OK);
        }
        let flags = marks
            | if mail.chunks { 4 } else { 0 }
            | if mail.utf8 { 16 } else { 0 }
            | if self.lmtp() { 64 } else { 0 }
            | if self.secured { 128 } else { 0 };
        let mut odd = mail.odd;
        odd.extend(&self.hello_odd);
        // Binary content has no lines (RFC 3030 §3).
        if !mail.binary {
            odd.extend((marks & 1 != 0).then_some("bare-cr"));
            odd.extend((marks & 2 != 0).then_some("bare-lf"));
        }
        self.seen.stored.push(Stored {
            body,
            flags,
            odd,
            hello: self.hello.clone(),
            identity: self.identity.clone(),
            client: self.client.clone(),
            ..mail.stored
        });
        self.reset();
        self.errors = 0;
        self.junk = 0;
    }

    pub(super) fn bdat(&mut self, argument: &[u8]) {
        let Some((size, last)) = size_and_last(argument) else {
            return self.close("521/5.5.4");
        };
        if size < BDAT_TINY_BYTES && !last {
            self.idle();
        }
        let before = self.mail.as_ref().map_or(0, |mail| mail.stored.body.len() as u128);
        let fault = if !self.offers(Extensions::CHUNKING) {
            Some(NOT_DONE)
        } else if !self.extended || self.failed.is_some() {
            Some(OUT_OF_ORDER)
        } else if let Some(said) = self.no_message() {
            Some(said)
        } else if before + u128::from(size) > self.policy.message_bytes_max.into() {
            Some(TOO_LARGE)
        } else {
            None
        };
        let lacks_message = self.offers(Extensions::CHUNKING)
            && self.extended
            && (self.failed.is_some() || self.no_message().is_some());
        let mut refused = None;
        if let Some(said) = fault {
            let follows = lacks_message && self.follows();
            if !follows {
                self.followers = FOLLOWERS_MAX;
            }
            let open = self.mail.as_ref().map(|mail| mail.stored.recipients.len()).or(self.failed);
            if !self.is(Quirk::ForgetsFailure) {
                self.reset();
                self.failed = open.filter(|_| !last);
            }
            refused = Some((said, open.unwrap_or(0), follows));
        } else {
            self.note(Odd::new());
            if let Some(mail) = &mut self.mail {
                mail.chunks = true;
            }
        }
        let left = if fault.is_some() && self.is(Quirk::RefusedChunkIsRead) { 0 } else { size };
        self.mode = Mode::Chunk { left, last, refused };
    }

    pub(super) fn chunk_end(&mut self) {
        let Mode::Chunk { left: 0, last, refused, .. } = self.mode else { return };
        self.mode = Mode::Line(Vec::new());
        match refused {
            Some((said, recipients, follows)) => {
                self.errors += u32::from(!follows);
                for _ in 0..if last && self.lmtp() { recipients } else { 1 } {
                    self.say(said);
                }
            }
            None if last => {
                let body = self.mail.as_mut().map(|mail| std::mem::take(&mut mail.stored.body));
                let body = body.unwrap_or_default();
                let marks = marks(&body);
                self.store(body, marks);
            }
            None => self.say(OK),
        }
        self.close_if_too_many_errors();
    }
}

/// Bare CR 1, bare LF 2, eight-bit 8, NUL 32.
fn marks(body: &[u8]) -> u32 {
    let mut marks = 0;
    for at in 0..body.len() {
        marks |= match body[at] {
            b'\r' if body.get(at + 1) != Some(&b'\n') => 1,
            b'\n' if at == 0 || body[at - 1] != b'\r' => 2,
            0 => 32,
            128.. => 8,
            _ => 0,
        };
    }
    marks
}

/// `chunk-size [SP LAST]`; spaces between are let pass.
fn size_and_last(argument: &[u8]) -> Option<(u64, bool)> {
    let text = str::from_utf8(argument).ok()?;
    let digits = text.split(' ').next()?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().ok()?;
    let mut rest = text.split(' ').skip(1).filter(|word| !word.is_empty());
    match (rest.next(), rest.next()) {
        (None, _) => Some((size, false)),
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => Some((size, true)),
        _ => None,
    }
}
