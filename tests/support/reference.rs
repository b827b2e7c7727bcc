//! A slow receiver, written from the RFCs an octet at a time, to be compared with the fast one.
//!
//! It shares no code with it: policy and limits are read, nothing else. It keeps every octet of a
//! line or a message until its end and only then looks at it, as plainly as it can.

use std::fmt::{self, Debug, Formatter};

use ringpost::limits::{
    BDAT_TINY_BYTES, COMMAND_LINE_BYTES_MAX, COMMAND_NOISE_BYTES_MAX, DOMAIN_BYTES_MAX,
    LOCAL_PART_BYTES_MAX, PATH_BYTES_MAX, RECIPIENTS_OVERSHOOT_MAX, SESSION_ERRORS_MAX,
    SESSION_JUNK_MAX,
};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::{BareNewline, Policy, Protocol};

/// A reply: code and enhanced code, as `250/2.1.0`.
pub type Said = &'static str;

const OUT_OF_ORDER: Said = "503/5.5.1";
const BAD_OCTETS: Said = "501/5.5.2";
const BAD_UTF8: Said = "500/5.5.2";
const BAD_ARGUMENT: Said = "501/5.5.4";
const NOT_KNOWN: Said = "500/5.5.2";
const NOT_DONE: Said = "502/5.5.1";
const NOT_OFFERED: Said = "555/5.5.4";
const OK: Said = "250/2.0.0";
const TOO_LARGE: Said = "552/5.3.4";

#[derive(Clone, Default, Eq, PartialEq)]
pub struct Stored {
    pub sender: Vec<u8>,
    pub sender_params: Vec<u8>,
    pub recipients: Vec<Vec<u8>>,
    pub body: Vec<u8>,
    /// As [`ringpost::smtp::server::Flags`] counts them.
    pub flags: u32,
}

impl Debug for Stored {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let recipients: Vec<_> =
            self.recipients.iter().map(|path| path.escape_ascii().to_string()).collect();
        let (sender, params) = (self.sender.escape_ascii(), self.sender_params.escape_ascii());
        let body = self.body.escape_ascii();
        write!(out, "{sender} {params} to {recipients:?} flags {}: {body}", self.flags)
    }
}

/// What can be seen of a session.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    pub replies: Vec<String>,
    pub stored: Vec<Stored>,
    pub closed: bool,
}

/// A mistake on purpose: what compares the two receivers must notice each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quirk {
    /// LF . CRLF ends a message.
    LfDotEnds,
    /// CRLF . LF ends a message.
    DotLfEnds,
    /// CRLF . CR CRLF ends a message.
    DotCrEnds,
    /// A dot behind a bare LF is taken away.
    UnstuffsBehindLf,
    /// RSET leaves the recipients.
    ResetKeepsRecipients,
    /// A refused chunk is not consumed.
    RefusedChunkIsRead,
    /// A chunk ends the message when it ends in CRLF . CRLF.
    DotEndsChunk,
    /// A message over the limit by one octet is taken.
    LimitOffByOne,
    /// A refused chunk leaves the transaction as it was.
    ForgetsFailure,
    /// VRFY ends the transaction.
    VrfyResets,
}

impl Quirk {
    pub const ALL: [Self; 10] = [
        Self::LfDotEnds,
        Self::DotLfEnds,
        Self::DotCrEnds,
        Self::UnstuffsBehindLf,
        Self::ResetKeepsRecipients,
        Self::RefusedChunkIsRead,
        Self::DotEndsChunk,
        Self::LimitOffByOne,
        Self::ForgetsFailure,
        Self::VrfyResets,
    ];
}

pub struct Reference<'p> {
    policy: &'p Policy,
    quirk: Option<Quirk>,
    seen: Seen,
    mode: Mode,
    /// Whether a whole line has come.
    heard: bool,
    greeted: bool,
    extended: bool,
    mail: Option<Mail>,
    /// A chunk that was not the last was refused; so many recipients it had.
    failed: Option<usize>,
    errors: u32,
    junk: u32,
}

enum Mode {
    /// Octets of a command line so far, and how many there were in all.
    Line(Vec<u8>, usize),
    /// Octets behind 354 so far, nothing taken away.
    Data(Vec<u8>),
    Chunk {
        left: u64,
        last: bool,
        /// Why it is refused, and how many recipients there were.
        refused: Option<(Said, usize)>,
    },
}

#[derive(Default)]
struct Mail {
    stored: Stored,
    utf8: bool,
    binary: bool,
    refused: u32,
    /// A chunk was taken.
    chunks: bool,
}

impl<'p> Reference<'p> {
    pub fn new(policy: &'p Policy, quirk: Option<Quirk>) -> Self {
        Self {
            policy,
            quirk,
            seen: Seen::default(),
            mode: Mode::Line(Vec::new(), 0),
            heard: false,
            greeted: false,
            extended: false,
            mail: None,
            failed: None,
            errors: 0,
            junk: 0,
        }
    }

    /// What is seen of a session in which the client sends `wire`.
    pub fn run(mut self, wire: &[u8]) -> Seen {
        for &octet in wire {
            if self.seen.closed {
                break;
            }
            self.octet(octet);
        }
        self.seen
    }

    fn is(&self, quirk: Quirk) -> bool {
        self.quirk == Some(quirk)
    }

    fn octet(&mut self, octet: u8) {
        match &mut self.mode {
            Mode::Line(line, octets) => {
                *octets += 1;
                // What is too long needs no more than its last octets.
                if *octets > COMMAND_LINE_BYTES_MAX && line.len() > 2 {
                    line.drain(..line.len() - 2);
                }
                line.push(octet);
                self.line_octet();
            }
            Mode::Data(raw) => {
                raw.push(octet);
                self.data_octet();
            }
            Mode::Chunk { left, .. } => {
                *left -= 1;
                if let Some(mail) = &mut self.mail
                    && mail.chunks
                {
                    mail.stored.body.push(octet);
                    let dot = mail.stored.body.ends_with(b"\r\n.\r\n");
                    if self.quirk == Some(Quirk::DotEndsChunk) && dot {
                        *left = 0;
                    }
                }
                self.chunk_end();
            }
        }
    }

    fn line_octet(&mut self) {
        let Mode::Line(line, octets) = &self.mode else { return };
        if *octets > COMMAND_NOISE_BYTES_MAX {
            return self.close("421/4.7.0");
        }
        if !self.heard && line[..] == [0x16, 0x03] {
            return self.close("554/5.5.0");
        }
        if !line.ends_with(b"\r\n") {
            return;
        }
        let too_long = *octets > COMMAND_LINE_BYTES_MAX;
        let line = line[..line.len() - 2].to_vec();
        self.mode = Mode::Line(Vec::new(), 0);
        if too_long || line.contains(&b'\r') || line.contains(&b'\n') {
            self.error(NOT_KNOWN);
        } else {
            self.command(&line);
        }
        self.heard = true;
        if matches!(self.mode, Mode::Line(..)) {
            self.close_if_too_many_errors();
        }
        // A chunk of no octets is over at once.
        self.chunk_end();
    }

    fn say(&mut self, said: Said) {
        self.seen.replies.push(said.to_owned());
    }

    fn error(&mut self, said: Said) {
        self.errors += 1;
        self.say(said);
    }

    fn close(&mut self, said: Said) {
        self.say(said);
        self.mail = None;
        self.seen.closed = true;
    }

    fn close_if_too_many_errors(&mut self) {
        if self.errors >= SESSION_ERRORS_MAX && !self.seen.closed {
            self.close("421/4.7.0");
        }
    }

    /// A command that does no work.
    fn idle(&mut self) {
        self.junk += 1;
        if self.junk > SESSION_JUNK_MAX {
            self.errors += 1;
        }
    }

    fn reset(&mut self) {
        self.mail = None;
        self.failed = None;
    }

    fn offers(&self, extension: Extensions) -> bool {
        let all = self.policy.extensions;
        all.contains(extension)
            && (extension != Extensions::SMTPUTF8 || all.contains(Extensions::EIGHT_BIT_MIME))
            && (extension != Extensions::BINARYMIME || all.contains(Extensions::CHUNKING))
    }

    fn lmtp(&self) -> bool {
        self.policy.protocol == Protocol::Lmtp
    }

    fn command(&mut self, line: &[u8]) {
        let mut trimmed = line;
        while trimmed.ends_with(b" ") || trimmed.ends_with(b"\t") {
            trimmed = &trimmed[..trimmed.len() - 1];
        }
        let space = trimmed.iter().position(|&b| b == b' ');
        let (verb, argument) = match space {
            Some(at) => (&trimmed[..at], &trimmed[at + 1..]),
            None => (trimmed, &b""[..]),
        };
        match &verb.to_ascii_uppercase()[..] {
            b"EHLO" | b"HELO" if self.lmtp() => self.error(NOT_KNOWN),
            b"LHLO" if !self.lmtp() => self.error(NOT_KNOWN),
            b"EHLO" | b"LHLO" => self.hello(argument, true),
            b"HELO" => self.hello(argument, false),
            b"MAIL" => self.mail(argument),
            b"RCPT" => self.rcpt(argument),
            b"DATA" => self.data(argument),
            b"BDAT" => self.bdat(argument),
            b"RSET" => self.rset(argument),
            b"QUIT" if !argument.is_empty() => self.error(BAD_ARGUMENT),
            b"QUIT" => self.close("221/2.0.0"),
            b"VRFY" if argument.is_empty() => self.error(BAD_ARGUMENT),
            b"VRFY" => {
                if self.is(Quirk::VrfyResets) {
                    self.reset();
                }
                self.chatter(argument, "252/2.5.2");
            }
            b"HELP" if !self.offers(Extensions::HELP) => self.error(NOT_DONE),
            b"HELP" => self.help(argument),
            b"NOOP" => self.chatter(argument, OK),
            b"ATRN" | b"AUTH" | b"ETRN" | b"EXPN" | b"SAML" | b"SEND" | b"SOML" | b"STARTTLS"
            | b"TURN" => self.error(NOT_DONE),
            _ if !self.heard && is_http(line) => self.close("554/5.5.0"),
            _ => self.error(NOT_KNOWN),
        }
    }

    fn chatter(&mut self, argument: &[u8], said: Said) {
        if !argument.iter().all(|b| (32..127).contains(b)) {
            return self.error(BAD_OCTETS);
        }
        self.idle();
        self.say(said);
    }

    fn help(&mut self, argument: &[u8]) {
        let octets_good = argument.iter().all(|b| (32..127).contains(b));
        let topic = argument.trim_ascii().to_ascii_uppercase();
        match topic.as_slice() {
            b"STATUS" => self.chatter(argument, "211/2.0.0"),
            b"HELO" | b"EHLO" if self.policy.protocol == Protocol::Smtp => {
                self.chatter(argument, "214/2.0.0");
            }
            b"LHLO" if self.policy.protocol == Protocol::Lmtp => {
                self.chatter(argument, "214/2.0.0");
            }
            b"BDAT" if self.offers(Extensions::CHUNKING) => self.chatter(argument, "214/2.0.0"),
            b"" | b"MAIL" | b"RCPT" | b"DATA" | b"RSET" | b"NOOP" | b"QUIT" | b"VRFY" | b"HELP" => {
                self.chatter(argument, "214/2.0.0");
            }
            _ if !octets_good => self.error(BAD_OCTETS),
            _ => self.error("504/5.5.4"),
        }
    }

    fn hello(&mut self, name: &[u8], extended: bool) {
        if !name.iter().all(|b| (32..127).contains(b)) {
            return self.error(BAD_OCTETS);
        }
        if host(name) != Ok(name.len()) {
            return self.error(BAD_ARGUMENT);
        }
        if self.greeted {
            self.idle();
        }
        self.greeted = true;
        self.extended = extended;
        self.reset();
        self.say("250");
    }

    fn rset(&mut self, argument: &[u8]) {
        if !argument.is_empty() {
            return self.error(BAD_ARGUMENT);
        }
        self.idle();
        let kept = self.mail.take().filter(|_| self.is(Quirk::ResetKeepsRecipients));
        self.reset();
        self.mail = kept;
        self.say(OK);
    }

    fn mail(&mut self, argument: &[u8]) {
        if !self.greeted || self.mail.is_some() || self.failed.is_some() {
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
        let mut mail = Mail::default();
        let mut size = 0u128;
        let mut seen = Vec::new();
        for word in words(params) {
            let (keyword, value) = keyword_and_value(word).ok_or(bad_param(params))?;
            let extension = match &keyword[..] {
                b"SIZE" => Extensions::SIZE,
                b"BODY" => Extensions::EIGHT_BIT_MIME,
                b"SMTPUTF8" => Extensions::SMTPUTF8,
                _ => return Err(NOT_OFFERED),
            };
            if !self.extended || !self.offers(extension) {
                return Err(NOT_OFFERED);
            }
            match (&keyword[..], value.map(<[u8]>::to_ascii_uppercase).as_deref()) {
                (b"SIZE", Some(digits)) if is_number(digits, 20) => {
                    size = str::from_utf8(digits).unwrap().parse().unwrap();
                }
                (b"BODY", Some(b"7BIT" | b"8BITMIME")) => {}
                (b"BODY", Some(b"BINARYMIME")) if self.offers(Extensions::BINARYMIME) => {
                    mail.binary = true;
                }
                (b"BODY", Some(b"BINARYMIME")) => return Err(NOT_OFFERED),
                (b"SMTPUTF8", None) => mail.utf8 = true,
                _ => return Err(bad_param(params)),
            }
            if seen.contains(&keyword) && keyword != b"SMTPUTF8" {
                return Err(bad_param(params));
            }
            seen.push(keyword);
        }
        if !path.whole.is_ascii() {
            if !mail.utf8 {
                return Err("550/5.6.7");
            }
            str::from_utf8(path.whole).map_err(|_| BAD_UTF8)?;
        }
        let most = self.policy.message_bytes_max;
        if most != u64::MAX && size > most.into() {
            return Err(TOO_LARGE);
        }
        mail.stored.sender = path.mailbox.to_vec();
        mail.stored.sender_params = params.to_vec();
        Ok(mail)
    }

    fn rcpt(&mut self, argument: &[u8]) {
        let Some(mail) = self.mail.as_mut().filter(|mail| !mail.chunks) else {
            return self.error(OUT_OF_ORDER);
        };
        match read_rcpt(argument, mail.utf8) {
            Err(said) => {
                mail.refused += 1;
                self.error(said);
            }
            Ok(_) if mail.stored.recipients.len() >= self.policy.recipients_max => {
                mail.refused += 1;
                if mail.refused > RECIPIENTS_OVERSHOOT_MAX {
                    self.errors += 1;
                }
                self.say("452/4.5.3");
            }
            Ok(path) => {
                mail.stored.recipients.push(path.mailbox.to_vec());
                self.say("250/2.1.5");
            }
        }
    }

    /// Why a message cannot start, recipients considered.
    fn no_message(&self) -> Option<Said> {
        match &self.mail {
            Some(mail) if !mail.stored.recipients.is_empty() => None,
            Some(mail) if mail.refused > 0 && !self.lmtp() => Some("554/5.5.1"),
            _ => Some(OUT_OF_ORDER),
        }
    }

    fn data(&mut self, argument: &[u8]) {
        if !argument.is_empty() {
            return self.error(BAD_ARGUMENT);
        }
        if self.mail.as_ref().is_some_and(|mail| mail.chunks || mail.binary) {
            return self.error(OUT_OF_ORDER);
        }
        if let Some(said) = self.no_message() {
            return self.error(said);
        }
        self.say("354");
        self.mode = Mode::Data(Vec::new());
    }

    fn data_octet(&mut self) {
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
        self.mode = Mode::Line(Vec::new(), 0);
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
            | if self.lmtp() { 64 } else { 0 };
        self.seen.stored.push(Stored { body, flags, ..mail.stored });
        self.reset();
        self.errors = 0;
        self.junk = 0;
    }

    fn bdat(&mut self, argument: &[u8]) {
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
        let mut refused = None;
        if let Some(said) = fault {
            let open = self.mail.as_ref().map(|mail| mail.stored.recipients.len()).or(self.failed);
            if !self.is(Quirk::ForgetsFailure) {
                self.reset();
                self.failed = open.filter(|_| !last);
            }
            refused = Some((said, open.unwrap_or(0)));
        } else if let Some(mail) = &mut self.mail {
            mail.chunks = true;
        }
        let left = if fault.is_some() && self.is(Quirk::RefusedChunkIsRead) { 0 } else { size };
        self.mode = Mode::Chunk { left, last, refused };
    }

    fn chunk_end(&mut self) {
        let Mode::Chunk { left: 0, last, refused, .. } = self.mode else { return };
        self.mode = Mode::Line(Vec::new(), 0);
        match refused {
            Some((said, recipients)) => {
                self.errors += 1;
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

fn is_http(line: &[u8]) -> bool {
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PRI", "PUT"]
        .iter()
        .any(|method| line.starts_with(format!("{method} ").as_bytes()))
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

fn words(params: &[u8]) -> impl Iterator<Item = &[u8]> {
    params.split(|&b| b == b' ').filter(|word| !word.is_empty())
}

/// The keyword in capitals. `esmtp-param` of RFC 5321 §4.1.2, widened by RFC 6531 §3.3.
fn keyword_and_value(word: &[u8]) -> Option<(Vec<u8>, Option<&[u8]>)> {
    let mut halves = word.splitn(2, |&b| b == b'=');
    let keyword = halves.next()?;
    let value = halves.next();
    let good_value = |value: &[u8]| {
        !value.is_empty() && value.iter().all(|&b| b > b' ' && b != b'=' && b != 127)
    };
    let good = keyword.first()?.is_ascii_alphanumeric()
        && keyword.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && value.is_none_or(good_value);
    good.then(|| (keyword.to_ascii_uppercase(), value))
}

fn bad_param(params: &[u8]) -> Said {
    octet_fault(params).unwrap_or(BAD_ARGUMENT)
}

/// What an argument that is wrong anyway has wrong in its octets.
fn octet_fault(text: &[u8]) -> Option<Said> {
    if text.iter().any(|&b| b < 32 || b == 127) {
        Some(BAD_OCTETS)
    } else if str::from_utf8(text).is_err() {
        Some(BAD_UTF8)
    } else {
        None
    }
}

fn is_number(text: &[u8], most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
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

fn read_rcpt(argument: &[u8], utf8: bool) -> Result<Found<'_>, Said> {
    let (path, params) = path_and_params(argument, b"TO:", false)
        .map_err(|fault| fault.said(argument, "501/5.1.3"))?;
    if let Some(word) = words(params).next() {
        return Err(keyword_and_value(word).map_or(bad_param(params), |_| NOT_OFFERED));
    }
    if !path.whole.is_ascii() {
        if !utf8 {
            return Err("553/5.6.7");
        }
        str::from_utf8(path.whole).map_err(|_| BAD_UTF8)?;
    }
    Ok(path)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Syntax,
    Long,
}

impl Fault {
    fn said(self, argument: &[u8], otherwise: Said) -> Said {
        match self {
            Self::Syntax => octet_fault(argument).unwrap_or(otherwise),
            Self::Long => otherwise,
        }
    }
}

#[derive(Clone, Copy)]
struct Found<'a> {
    mailbox: &'a [u8],
    /// With its source route.
    whole: &'a [u8],
}

/// `FROM:<...> params`; spaces before the path are let pass.
fn path_and_params<'a>(
    argument: &'a [u8],
    lead: &[u8],
    reverse: bool,
) -> Result<(Found<'a>, &'a [u8]), Fault> {
    if argument.len() < lead.len() || !argument[..lead.len()].eq_ignore_ascii_case(lead) {
        return Err(Fault::Syntax);
    }
    let mut rest = &argument[lead.len()..];
    while rest.starts_with(b" ") {
        rest = &rest[1..];
    }
    if !rest.starts_with(b"<") {
        return Err(Fault::Syntax);
    }
    let inner = &rest[1..];
    let (route, octets) = path(inner, reverse)?;
    if inner.get(octets) != Some(&b'>') {
        return Err(Fault::Syntax);
    }
    if octets + 2 > PATH_BYTES_MAX {
        return Err(Fault::Long);
    }
    let found = Found { mailbox: &inner[route..octets], whole: &inner[..octets] };
    let mut params = &inner[octets + 1..];
    if !params.is_empty() && !params.starts_with(b" ") {
        return Err(Fault::Syntax);
    }
    while params.starts_with(b" ") {
        params = &params[1..];
    }
    Ok((found, params))
}

/// Octets of the source route, and of route and mailbox.
fn path(inner: &[u8], reverse: bool) -> Result<(usize, usize), Fault> {
    if reverse && inner.starts_with(b">") {
        return Ok((0, 0));
    }
    let mut at = 0;
    if inner.starts_with(b"@") {
        loop {
            if inner.get(at) != Some(&b'@') {
                return Err(Fault::Syntax);
            }
            at += 1;
            at += host(&inner[at..])?;
            at += 1;
            match inner.get(at - 1) {
                Some(b',') => {}
                Some(b':') => break,
                _ => return Err(Fault::Syntax),
            }
        }
    }
    let route = at;
    let postmaster = &inner[..inner.len().min(11)];
    if !reverse && route == 0 && postmaster.eq_ignore_ascii_case(b"postmaster>") {
        return Ok((0, 10));
    }
    at += local_part(&inner[at..])?;
    if inner.get(at) != Some(&b'@') {
        return Err(Fault::Syntax);
    }
    if at - route > LOCAL_PART_BYTES_MAX {
        return Err(Fault::Long);
    }
    at += 1;
    at += host(&inner[at..])?;
    Ok((route, at))
}

fn local_part(text: &[u8]) -> Result<usize, Fault> {
    if !text.starts_with(b"\"") {
        let special = b"!#$%&'*+-/=?^_`{|}~";
        return dotted(text, |b| b.is_ascii_alphanumeric() || b >= 128 || special.contains(&b));
    }
    let mut at = 1;
    while let Some(&octet) = text.get(at) {
        match octet {
            b'"' => return Ok(at + 1),
            b'\\' => {
                if !text.get(at + 1).is_some_and(|b| (32..127).contains(b)) {
                    return Err(Fault::Syntax);
                }
                at += 2;
            }
            0..32 | 127 => return Err(Fault::Syntax),
            _ => at += 1,
        }
    }
    Err(Fault::Syntax)
}

/// Octets of words with single dots between them; a dot with no word behind it is not part.
fn dotted(text: &[u8], part: impl Fn(u8) -> bool) -> Result<usize, Fault> {
    let mut end = 0;
    loop {
        let word = text[end..].iter().take_while(|&&b| part(b)).count();
        if word == 0 {
            return Err(Fault::Syntax);
        }
        end += word;
        if text.get(end) != Some(&b'.') {
            return Ok(end);
        }
        end += 1;
    }
}

/// Octets of the domain or address literal at the start of `text`.
fn host(text: &[u8]) -> Result<usize, Fault> {
    let octets = if text.starts_with(b"[") { literal(text)? } else { domain(text)? };
    if octets > DOMAIN_BYTES_MAX { Err(Fault::Long) } else { Ok(octets) }
}

fn domain(text: &[u8]) -> Result<usize, Fault> {
    let part = |b: u8| b.is_ascii_alphanumeric() || b >= 128 || b == b'-' || b == b'_';
    let octets = dotted(text, part)?;
    for label in text[..octets].split(|&b| b == b'.') {
        if label.starts_with(b"-") || label.ends_with(b"-") {
            return Err(Fault::Syntax);
        }
    }
    Ok(octets)
}

fn literal(text: &[u8]) -> Result<usize, Fault> {
    let close = text.iter().position(|&b| b == b']').ok_or(Fault::Syntax)?;
    let inner = str::from_utf8(&text[1..close]).map_err(|_| Fault::Syntax)?;
    let good = match inner.split_once(':') {
        None => {
            let snum =
                |part: &str| is_number(part.as_bytes(), 3) && part.parse::<u16>().unwrap() <= 255;
            inner.split('.').count() == 4 && inner.split('.').all(snum)
        }
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => {
            address.parse::<std::net::Ipv6Addr>().is_ok()
        }
        Some((tag, content)) => {
            !tag.is_empty()
                && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !tag.ends_with('-')
                && !content.is_empty()
                && content.bytes().all(|b| b.is_ascii_graphic() && !b"[\\]".contains(&b))
        }
    };
    if good { Ok(close + 1) } else { Err(Fault::Syntax) }
}
