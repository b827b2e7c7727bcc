//! Runs a server over a transcript and tells what came of it.

use std::rc::Rc;

use ringpost::limits::{MESSAGE_BYTES_DEFAULT, REPLY_QUEUE_BYTES_MAX};
use ringpost::smtp::{
    auth::AuthPolicy,
    envelope::Envelope,
    extension::Extensions,
    reply::{EnhancedCode, Reply, ReplyReader},
    server::{
        AtrnAnswer, BareNewline, Commands, EtrnAnswer, Event, Flags, Policy, Protocol, Request,
        Server, Syntax, TlsPolicy,
    },
};

use super::live::check_live;

pub(super) const EHLO: &str = "EHLO client.example\r\n";
pub(super) const MAIL: &str = "MAIL FROM:<a@b.example>\r\n";
pub(super) const RCPT: &str = "RCPT TO:<c@d.example>\r\n";

pub(super) fn policy() -> Policy {
    Policy {
        hostname: "sink.example".into(),
        protocol: Protocol::Smtp,
        message_bytes_max: MESSAGE_BYTES_DEFAULT,
        recipients_max: 100,
        syntax: Syntax::Strict,
        bare_newline: BareNewline::Reject,
        extensions: Extensions::ALL,
        commands: Commands::default(),
        auth: AuthPolicy::default(),
        tls: TlsPolicy::default(),
    }
}

/// A message that the server called complete.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Message {
    pub sender: String,
    pub sender_params: String,
    pub recipients: Vec<String>,
    pub recipient_params: Vec<String>,
    pub body: Vec<u8>,
    pub flags: Flags,
}

/// All that can be seen of a session from outside.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Outcome {
    /// Octets sent, the greeting left out.
    pub wire: Vec<u8>,
    /// One word for each reply: `250/2.1.0`, or `354` where there is no enhanced code.
    pub replies: Vec<String>,
    /// `begin`, `end`, `discard`, `close`, and `body` once for any number of pieces in a row.
    pub events: Vec<&'static str>,
    pub messages: Vec<Message>,
    /// Whether the server has nothing to say before more octets come.
    pub awaits_more: bool,
}

impl Outcome {
    pub(super) fn codes(&self) -> String {
        self.replies.join(" ")
    }

    pub(super) fn trace(&self) -> String {
        self.events.join(" ")
    }

    pub(super) fn is_closed(&self) -> bool {
        self.events.last() == Some(&"close")
    }
}

/// What the caller says at the end of each message.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    Accept,
    Refuse(Reply),
}

pub(super) struct Session {
    pub server: Server,
    verdict: Verdict,
    answers: (EtrnAnswer, AtrnAnswer),
    outcome: Outcome,
    body: Vec<u8>,
}

impl Session {
    pub(super) fn new(policy: Policy) -> Self {
        let mut server = Server::new(Rc::new(policy));
        let mut greeting = Vec::new();
        server.greet(&mut greeting);
        assert!(greeting.starts_with(b"220 sink.example ") && greeting.ends_with(b"\r\n"));
        Self {
            server,
            verdict: Verdict::Accept,
            answers: (EtrnAnswer::Unable, AtrnAnswer::Unable),
            outcome: Outcome::default(),
            body: Vec::new(),
        }
    }

    pub(super) fn with_answers(mut self, etrn: EtrnAnswer, atrn: AtrnAnswer) -> Self {
        self.answers = (etrn, atrn);
        self
    }

    pub(super) fn with_verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    /// Feeds one read's worth of octets and drains the server.
    pub(super) fn feed(&mut self, mut input: &[u8]) {
        let mut replies = Vec::new();
        loop {
            while let Some(event) = self.server.step(&mut input, &mut replies) {
                self.take(event, &mut replies);
            }
            assert!(input.is_empty() || replies.len() >= REPLY_QUEUE_BYTES_MAX);
            self.outcome.wire.append(&mut replies);
            if input.is_empty() {
                break;
            }
        }
    }

    fn take(&mut self, event: Event<'_>, replies: &mut Vec<u8>) {
        let name = match event {
            Event::Begin => {
                assert!(self.body.is_empty() && self.server.envelope().recipient_count() > 0);
                "begin"
            }
            Event::Body(piece) => {
                assert!(!piece.is_empty());
                self.body.extend_from_slice(piece);
                "body"
            }
            Event::End(flags) => {
                self.outcome.messages.push(self.message(flags));
                self.body.clear();
                match self.verdict {
                    Verdict::Accept => self.server.accept("0-1-40", replies),
                    Verdict::Refuse(reply) => self.server.refuse(reply, replies),
                }
                "end"
            }
            Event::Discard => {
                self.body.clear();
                // How much of a lost message was handed on depends on where it was cut.
                if self.outcome.events.last() == Some(&"body") {
                    self.outcome.events.pop();
                }
                "discard"
            }
            Event::Request => {
                self.answer(replies);
                "request"
            }
            Event::StartTls => panic!("there is no TLS here"),
            Event::Close => "close",
        };
        if name != "body" || self.outcome.events.last() != Some(&"body") {
            self.outcome.events.push(name);
        }
    }

    /// What a sink answers that has no relay, or what the test wants to hear.
    fn answer(&mut self, replies: &mut Vec<u8>) {
        match self.server.request().expect("a request") {
            Request::Start(_) => self.server.answer_etrn(self.answers.0, replies),
            Request::Turn(_) => self.server.answer_atrn(self.answers.1, replies),
        }
    }

    fn message(&self, flags: Flags) -> Message {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let envelope: &Envelope = self.server.envelope();
        Message {
            sender: text(envelope.reverse_path()),
            sender_params: text(envelope.reverse_params()),
            recipients: envelope.recipients().map(|(path, _)| text(path)).collect(),
            recipient_params: envelope.recipients().map(|(_, params)| text(params)).collect(),
            body: self.body.clone(),
            flags,
        }
    }

    /// Octets sent so far, unread.
    pub(super) fn into_wire(self) -> Vec<u8> {
        self.outcome.wire
    }

    pub(super) fn finish(mut self) -> Outcome {
        self.outcome.replies = read_replies(&self.outcome.wire);
        self.outcome.awaits_more = !self.outcome.is_closed() && self.server.awaiting_more();
        self.outcome
    }
}

/// Reads replies back and checks their grammar: RFC 5321 §4.2, RFC 2034 §4.
pub(super) fn read_replies(wire: &[u8]) -> Vec<String> {
    assert!(wire.is_empty() || wire.ends_with(b"\r\n"));
    assert!(wire.split_inclusive(|&b| b == b'\n').all(|line| line.len() <= 512));
    let mut reader = ReplyReader::default();
    let mut input = wire;
    let mut replies = Vec::new();
    let mut plain = false;
    while let Some(line) = reader.step(&mut input).unwrap() {
        assert!(line.text.iter().all(|b| matches!(b, b'\t' | 0x20..=0x7e)));
        let enhanced = EnhancedCode::parse(line.text);
        assert!(enhanced.is_none_or(|e| u16::from(e.class) == line.code / 100));
        // The answers to HELO and EHLO start with our name and have no enhanced code.
        plain |= line.text.starts_with(b"sink.example") || matches!(line.code, 334 | 354);
        if line.last {
            assert_eq!(enhanced.is_none(), plain, "{:?}", String::from_utf8_lossy(line.text));
            replies.push(match enhanced {
                Some(enhanced) => format!("{}/{enhanced}", line.code),
                None => line.code.to_string(),
            });
            plain = false;
        }
    }
    replies
}

pub(super) fn run_cut(
    policy: &Policy,
    wire: &[u8],
    pieces: impl IntoIterator<Item = usize>,
) -> Outcome {
    let mut session = Session::new(policy.clone());
    let mut rest = wire;
    for octets in pieces {
        let (piece, behind) = rest.split_at(octets.min(rest.len()));
        session.feed(piece);
        rest = behind;
    }
    session.feed(rest);
    session.finish()
}

/// The outcome of `wire` under TLS.
pub(super) fn run_secured(policy: &Policy, wire: &[u8]) -> Outcome {
    let mut session = Session::new(policy.clone());
    session.server.secured();
    session.feed(wire);
    session.finish()
}

/// The outcome of `wire`, which must be the same whole, octet by octet and cut at random. Where syntax is
/// strict, it is what becomes of it where syntax is lenient, too, or that takes something and names it.
pub(super) fn run_with(policy: &Policy, wire: impl AsRef<[u8]>) -> Outcome {
    let outcome = run_in_pieces(policy, wire.as_ref());
    if policy.syntax == Syntax::Strict {
        run_lenient(policy, wire.as_ref(), &outcome);
    }
    outcome
}

/// The policy that takes what `policy` refuses for its syntax alone.
pub(super) fn lenient_of(policy: &Policy) -> Policy {
    Policy { syntax: Syntax::Lenient, bare_newline: BareNewline::Keep, ..policy.clone() }
}

/// The outcome where syntax is lenient, beside that where it is strict.
fn run_lenient(policy: &Policy, wire: &[u8], strict: &Outcome) -> Outcome {
    let lenient = lenient_of(policy);
    let outcome = run_in_pieces(&lenient, wire);
    let (replies, refused) = (outcome.replies.iter(), strict.replies.iter());
    let Some((taken, refused)) = replies.zip(refused).find(|(taken, refused)| taken != refused)
    else {
        let same = outcome.replies.len() == strict.replies.len();
        assert!(same, "{:?} and {:?}", outcome.replies, strict.replies);
        return outcome;
    };
    let shown = String::from_utf8_lossy(&wire[..wire.len().min(500)]);
    let said = format!("{taken} in place of {refused}: {shown:?}");
    if taken == "552/5.3.4" && refused == "555/5.5.4" {
        // SIZE after HELO was read, and refused for what it says.
        return outcome;
    }
    assert!(taken.starts_with(['2', '3']) && refused.starts_with('5'), "{said}");
    let mut session = Session::new(lenient);
    session.feed(wire);
    assert!(!session.server.session_deviations().join().is_empty(), "nothing is named, {said}");
    outcome
}

fn run_in_pieces(policy: &Policy, wire: &[u8]) -> Outcome {
    let whole = run_cut(policy, wire, [wire.len()]);
    let shown = String::from_utf8_lossy(&wire[..wire.len().min(500)]);
    let octets = run_cut(policy, wire, std::iter::repeat_n(1, wire.len()));
    assert_eq!(whole, octets, "octet by octet: {shown}");
    let mut random = fastrand::Rng::with_seed(wire.len() as u64);
    for _ in 0..8 {
        let longest = random.usize(1..=wire.len().max(1));
        let pieces: Vec<_> =
            std::iter::repeat_with(|| random.usize(1..=longest)).take(wire.len()).collect();
        assert_eq!(whole, run_cut(policy, wire, pieces.clone()), "cut {pieces:?}: {shown}");
    }
    whole
}

pub(super) fn run(wire: impl AsRef<[u8]>) -> Outcome {
    run_with(&policy(), wire)
}

/// Checks rows of (input, replies), without a socket and with. `.` behind the replies says that the
/// session is closed.
pub(super) fn check(policy: &Policy, lead: &str, rows: &[(&str, &str)]) {
    for (input, expected) in rows {
        let wire = format!("{lead}{input}");
        let outcome = run_with(policy, &wire);
        let led = run_with(policy, lead).replies.len();
        let mut seen = outcome.replies[led..].join(" ");
        if outcome.is_closed() {
            seen.push_str(" .");
        }
        assert_eq!(&seen, expected, "{input:?} behind {lead:?}");
        check_live(policy, wire.as_bytes(), &outcome);
        if policy.syntax == Syntax::Strict {
            let lenient = run_lenient(policy, wire.as_bytes(), &outcome);
            check_live(&lenient_of(policy), wire.as_bytes(), &lenient);
        }
    }
}
