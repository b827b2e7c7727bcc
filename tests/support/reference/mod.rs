//! A slow receiver, written from the RFCs an octet at a time, to be compared with the fast one.
//!
//! It shares no code with it: policy and limits are read, nothing else. It keeps every octet of a
//! line or a message until its end and only then looks at it, as plainly as it can.

mod auth;
mod content;
mod greeting;
mod lenient;
mod params;
mod path;
mod people;
mod quirk;
pub(crate) mod sasl;
mod starttls;
mod transaction;
pub(crate) mod world;
mod xclient;

use std::fmt::{self, Debug, Formatter};

use ringpost::limits::{
    AUTH_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX, COMMAND_NOISE_BYTES_MAX, SESSION_ERRORS_MAX,
    SESSION_JUNK_MAX,
};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::{Policy, Protocol, Syntax};

use auth::Exchange;
use lenient::Odd;
pub(crate) use quirk::Quirk;
use world::Circumstances;
pub(crate) use xclient::Client;

/// A reply: code and enhanced code, as `250/2.1.0`.
pub(crate) type Said = &'static str;

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
pub(crate) struct Stored {
    pub sender: Vec<u8>,
    pub sender_params: Vec<u8>,
    /// Paths and their parameters.
    pub recipients: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    /// As [`ringpost::smtp::server::Flags`] counts them.
    pub flags: u32,
    /// The names of what was odd.
    pub odd: Odd,
    pub hello: Vec<u8>,
    /// By AUTH.
    pub identity: Option<Vec<u8>>,
    /// By XCLIENT.
    pub client: Client,
}

impl Debug for Stored {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let shown = |(path, params): &(Vec<u8>, Vec<u8>)| {
            format!("{} {}", path.escape_ascii(), params.escape_ascii())
        };
        let recipients: Vec<_> = self.recipients.iter().map(shown).collect();
        let (sender, params) = (self.sender.escape_ascii(), self.sender_params.escape_ascii());
        let identity = self.identity.as_deref().unwrap_or_default().escape_ascii();
        let (hello, body) = (self.hello.escape_ascii(), self.body.escape_ascii());
        write!(
            out,
            "{sender} {params} to {recipients:?} flags {} {:?} from {hello} as {identity} {:?}: {body}",
            self.flags, self.odd, self.client
        )
    }
}

/// What can be seen of a session. A reply is its code, its enhanced code, how many lines it has if
/// there are several, and the addresses that it names: `250/2.1.5*2 <a@b> <c@d>`. That of EHLO is
/// its lines behind the first, that of AUTH its challenge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    pub replies: Vec<String>,
    pub stored: Vec<Stored>,
    pub closed: bool,
}

pub(crate) struct Reference<'p> {
    policy: &'p Policy,
    circumstances: Circumstances,
    quirk: Option<Quirk>,
    seen: Seen,
    mode: Mode,
    /// Whether more octets have come than were read.
    more: bool,
    /// Whether the session is under TLS.
    secured: bool,
    /// Whether a whole line has come.
    heard: bool,
    greeted: bool,
    extended: bool,
    hello: Vec<u8>,
    /// What was odd in the greeting, and in the line that is carried out.
    hello_odd: Odd,
    line_odd: Odd,
    identity: Option<Vec<u8>>,
    client: Client,
    /// A challenge waits for its answer.
    exchange: Option<Exchange>,
    /// Exchanges so far.
    attempts: u32,
    mail: Option<Mail>,
    /// A chunk that was not the last was refused; so many recipients it had.
    failed: Option<usize>,
    errors: u32,
    followers: u32,
    junk: u32,
}

enum Mode {
    /// Octets of a line so far.
    Line(Vec<u8>),
    /// Octets behind 354 so far, nothing taken away.
    Data(Vec<u8>),
    Chunk {
        left: u64,
        last: bool,
        /// Why it is refused, and how many recipients there were.
        refused: Option<(Said, usize, bool)>,
    },
}

#[derive(Default)]
struct Mail {
    stored: Stored,
    utf8: bool,
    binary: bool,
    /// What was odd in the commands that were taken.
    odd: Odd,
    refused: u32,
    /// A chunk was taken.
    chunks: bool,
}

impl<'p> Reference<'p> {
    pub(crate) fn new(
        policy: &'p Policy,
        circumstances: Circumstances,
        quirk: Option<Quirk>,
    ) -> Self {
        Self {
            policy,
            circumstances,
            quirk,
            seen: Seen::default(),
            mode: Mode::Line(Vec::new()),
            more: false,
            secured: circumstances.implicit_tls,
            heard: false,
            greeted: false,
            extended: false,
            hello: Vec::new(),
            hello_odd: Odd::new(),
            line_odd: Odd::new(),
            identity: None,
            client: Client::default(),
            exchange: None,
            attempts: 0,
            mail: None,
            failed: None,
            errors: 0,
            followers: 0,
            junk: 0,
        }
    }

    /// What is seen of a session in which the client sends `wire` in `pieces` and the rest at once.
    pub(crate) fn run(mut self, wire: &[u8], pieces: impl IntoIterator<Item = usize>) -> Seen {
        let mut rest = wire;
        for octets in pieces.into_iter().chain([wire.len()]) {
            let (piece, behind) = rest.split_at(octets.min(rest.len()));
            for (at, &octet) in piece.iter().enumerate() {
                self.more = at + 1 < piece.len();
                if !self.seen.closed {
                    self.octet(octet);
                }
            }
            rest = behind;
        }
        self.seen
    }

    fn is(&self, quirk: Quirk) -> bool {
        self.quirk == Some(quirk)
    }

    fn octet(&mut self, octet: u8) {
        match &mut self.mode {
            Mode::Line(line) => {
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
        let Mode::Line(line) = &mut self.mode else { return };
        if line.len() > COMMAND_NOISE_BYTES_MAX {
            return self.close("421/4.7.0");
        }
        if !self.heard && line[..] == [0x16, 0x03] {
            return self.close("554/5.5.0");
        }
        if !line.ends_with(b"\r\n") {
            return;
        }
        let mut line = std::mem::take(line);
        let octets = line.len();
        line.truncate(octets - 2);
        let secured = self.secured;
        self.line(&line, octets);
        // After a handshake nothing has been heard yet.
        self.heard = secured == self.secured;
        if matches!(self.mode, Mode::Line(..)) {
            self.close_if_too_many_errors();
        }
        // A chunk of no octets is over at once.
        self.chunk_end();
    }

    fn line(&mut self, line: &[u8], octets: usize) {
        let exchange = self.exchange.take();
        // RFC 4954 §4 gives AUTH and the answers to challenges more room.
        let login =
            exchange.is_some() || (line.len() > 4 && line[..5].eq_ignore_ascii_case(b"AUTH "));
        if login && octets > AUTH_LINE_BYTES_MAX {
            self.error("500/5.5.6");
        } else if !login && octets > COMMAND_LINE_BYTES_MAX {
            self.error(NOT_KNOWN);
        } else if let Some(exchange) = exchange {
            self.answered(exchange, line);
        } else if line.contains(&b'\r') || line.contains(&b'\n') {
            self.error(NOT_KNOWN);
        } else {
            self.command(line);
        }
    }

    fn say(&mut self, said: &str) {
        let codes =
            self.offers(Extensions::ENHANCED_STATUS_CODES) || self.is(Quirk::AlwaysEnhanced);
        let said = match said.split_once('/') {
            Some((code, rest)) if !codes && code.len() == 3 => {
                // What stands behind the enhanced code stays.
                let enhanced =
                    rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
                format!("{code}{}", &rest[enhanced..])
            }
            _ => said.to_owned(),
        };
        self.seen.replies.push(said);
    }

    /// A reply with a line for each of these addresses, and so many more.
    fn say_people(&mut self, said: Said, people: &[&str], more: usize) {
        let mut text = said.to_owned();
        if people.len() + more > 1 {
            text += &format!("*{}", people.len() + more);
        }
        for address in people {
            text += &format!(" <{address}>");
        }
        self.say(&text);
    }

    fn error(&mut self, said: Said) {
        self.errors += 1;
        self.say(said);
    }

    /// A command that cannot work after a refused one of the same flight.
    fn error_unless_following(&mut self, said: Said) {
        if self.follows() {
            return self.say(said);
        }
        self.error(said);
    }

    fn follows(&mut self) -> bool {
        self.followers = match self.followers {
            0 => return false,
            more => more - 1,
        };
        true
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

    fn lenient(&self) -> bool {
        self.policy.syntax == Syntax::Lenient
    }

    /// Keeps what was odd in a command of the transaction that was taken.
    fn note(&mut self, odd: Odd) {
        let line_odd = self.line_odd.clone();
        if let Some(mail) = &mut self.mail {
            mail.odd.extend(odd.into_iter().chain(line_odd));
        }
    }

    fn lmtp(&self) -> bool {
        self.policy.protocol == Protocol::Lmtp
    }

    fn command(&mut self, line: &[u8]) {
        let mut trimmed = line;
        while trimmed.ends_with(b" ") || trimmed.ends_with(b"\t") {
            trimmed = &trimmed[..trimmed.len() - 1];
        }
        self.line_odd.clear();
        let (verb, argument) = if self.lenient() {
            let (verb, argument, odd) = lenient::verb_and_argument(trimmed);
            if odd {
                self.line_odd.insert("extra-whitespace");
            }
            (verb, argument)
        } else {
            match trimmed.iter().position(|&b| b == b' ') {
                Some(at) => (trimmed[..at].to_ascii_uppercase(), trimmed[at + 1..].to_vec()),
                None => (trimmed.to_ascii_uppercase(), Vec::new()),
            }
        };
        let argument = &argument[..];
        if self.needs_tls(&verb) {
            return self.refuse_in_plain_text(&verb);
        }
        match &verb[..] {
            b"EHLO" | b"HELO" if self.lmtp() => self.error(NOT_KNOWN),
            b"LHLO" if !self.lmtp() => self.error(NOT_KNOWN),
            b"EHLO" | b"LHLO" | b"HELO" => self.hello(&verb, argument),
            b"MAIL" => self.mail(argument),
            b"SEND" => self.legacy(Extensions::SEND, argument),
            b"SOML" => self.legacy(Extensions::SOML, argument),
            b"SAML" => self.legacy(Extensions::SAML, argument),
            b"RCPT" => self.rcpt(argument),
            b"DATA" => self.data(argument),
            b"BDAT" => self.bdat(argument),
            b"RSET" => self.rset(argument),
            b"QUIT" if !argument.is_empty() && !self.lenient() => self.error(BAD_ARGUMENT),
            b"QUIT" => self.close("221/2.0.0"),
            b"AUTH" => self.auth(argument),
            b"XCLIENT" => self.xclient(argument),
            b"VRFY" => self.vrfy(argument),
            b"EXPN" => self.expn(argument),
            b"HELP" => self.help(argument),
            b"NOOP" if !is_printable(argument) => self.error(BAD_OCTETS),
            b"NOOP" => {
                self.idle();
                self.say(OK);
            }
            b"STARTTLS" => self.starttls(argument),
            b"ATRN" | b"ETRN" | b"TURN" => self.error(NOT_DONE),
            _ if !self.heard && is_http(line) => self.close("554/5.5.0"),
            _ => self.error(NOT_KNOWN),
        }
    }

    /// RFC 821 §3.4; nobody has a terminal here.
    fn legacy(&mut self, extension: Extensions, argument: &[u8]) {
        if self.offers(extension) || self.is(Quirk::LegacyAlways) {
            self.mail(argument);
        } else {
            self.error(NOT_DONE);
        }
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
}

fn is_http(line: &[u8]) -> bool {
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PRI", "PUT"]
        .iter()
        .any(|method| line.starts_with(format!("{method} ").as_bytes()))
}

/// ASCII without controls, all that an argument may hold where no extension says more.
fn is_printable(argument: &[u8]) -> bool {
    argument.iter().all(|b| (32..127).contains(b))
}

/// What an argument that is wrong anyway has wrong in its octets.
fn octet_fault(text: &[u8]) -> Option<Said> {
    if text.iter().any(|&b| b < 32 || b == 127) {
        return Some(BAD_OCTETS);
    }
    match str::from_utf8(text) {
        Err(_) => Some(BAD_UTF8),
        Ok(text) => has_control(text).then_some(BAD_OCTETS),
    }
}

/// Whether a text has a control, of ASCII or of those that only Unicode has.
fn has_control(text: &str) -> bool {
    text.chars().any(|c| c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c))
}

fn is_number(text: &[u8], most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}
