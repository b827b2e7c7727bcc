//! Our client and our server in one process, in every mode, with both directions cut at random.

use std::rc::Rc;

use ringpost::limits::{RECIPIENTS_DEFAULT, SESSION_ERRORS_MAX};
use ringpost::smtp::auth::AuthPolicy;
use ringpost::smtp::blank::Filling;
use ringpost::smtp::body;
use ringpost::smtp::client::{
    Client, Hello, Pipelining, Settings, TransactionVerdict, Upgrade, Want,
};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::outgoing::{MailParams, Outgoing, Recipients};
use ringpost::smtp::reply::Reply;
use ringpost::smtp::server::{
    BareNewline, Commands, Event, Policy, Protocol, Server, Syntax, TlsPolicy,
};

const MESSAGES: usize = 12;
static NO_PARAMS: MailParams = MailParams::NONE;

/// What the server was given: recipients and octets of each message it accepted.
type Stored = Vec<(usize, Vec<u8>)>;

struct Peer {
    server: Server,
    open: Vec<u8>,
    stored: Stored,
    /// Refuse each message whose number this divides.
    refuse_each: usize,
    ended: usize,
    closed: bool,
}

impl Peer {
    fn new(protocol: Protocol, refuse_each: usize) -> Self {
        let policy = Policy {
            hostname: "sink.example".into(),
            protocol,
            message_bytes_max: u64::MAX,
            recipients_max: RECIPIENTS_DEFAULT,
            syntax: Syntax::Strict,
            bare_newline: BareNewline::Reject,
            extensions: Extensions::ALL,
            commands: Commands::default(),
            auth: AuthPolicy::default(),
            tls: TlsPolicy::default(),
        };
        let server = Server::new(Rc::new(policy));
        Self { server, open: Vec::new(), stored: Vec::new(), refuse_each, ended: 0, closed: false }
    }

    fn take(&mut self, mut input: &[u8], replies: &mut Vec<u8>) {
        while let Some(event) = self.server.step(&mut input, replies) {
            match event {
                Event::Begin => self.open.clear(),
                Event::Body(octets) => self.open.extend_from_slice(octets),
                Event::End(_) => self.end(replies),
                Event::Discard => self.open.clear(),
                Event::Request => panic!("there is no relay here"),
                Event::StartTls => panic!("there is no TLS here"),
                Event::Close => self.closed = true,
            }
        }
        assert!(input.is_empty());
    }

    fn end(&mut self, replies: &mut Vec<u8>) {
        self.ended += 1;
        if self.ended.is_multiple_of(self.refuse_each) {
            self.server.refuse(Reply::new(451, 3, 0, "not now"), replies);
            return;
        }
        self.stored.push((self.server.envelope().recipient_count(), self.open.clone()));
        self.server.accept("x", replies);
    }
}

/// Messages with empty lines, leading dots and what looks like an end of data in them.
fn message(random: &mut fastrand::Rng) -> Vec<u8> {
    let parts: [&[u8]; 7] =
        [b"\r\n", b".", b"\r\n.\r\n", b"..", b"a", b"\r\n.x\r\n", b"text of it"];
    let mut message = Vec::new();
    for _ in 0..random.usize(0..40) {
        message.extend_from_slice(parts[random.usize(0..parts.len())]);
    }
    message.extend_from_slice(b"\r\n");
    message
}

/// Moves up to a random number of octets from one end of a pipe to the other.
fn piece(pipe: &mut Vec<u8>, random: &mut fastrand::Rng) -> Vec<u8> {
    let most = [1, 7, 90, 4096][random.usize(0..4)];
    let octets = random.usize(1..=most).min(pipe.len());
    pipe.drain(..octets).collect()
}

struct Sender<'a> {
    client: Client,
    messages: &'a [Vec<u8>],
    recipients: &'a [Recipients],
    begun: usize,
}

impl<'a> Sender<'a> {
    fn outgoing(&self) -> Outgoing<'a> {
        Outgoing {
            from: b"s@d.example",
            from_blanks: &[],
            recipients: &self.recipients[self.begun - 1],
            size: self.messages[self.begun - 1].len() as u64,
            eight_bit: true,
            params: &NO_PARAMS,
            filling: Filling::default(),
        }
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        loop {
            match self.client.want(out) {
                Want::Replies | Want::Close => return,
                Want::Encrypt => panic!("no TLS was asked for"),
                Want::Transaction if self.begun == self.messages.len() => self.client.quit(out),
                Want::Transaction => {
                    self.begun += 1;
                    let mail = self.outgoing();
                    self.client.begin(out, &mail);
                }
                Want::Envelope => {
                    let mail = self.outgoing();
                    self.client.resume(out, &mail);
                }
                Want::RawBody => {
                    out.extend_from_slice(&self.messages[self.begun - 1]);
                    self.client.body_done(out);
                }
                Want::StuffedBody => {
                    body::stuff(&self.messages[self.begun - 1], out);
                    self.client.body_done(out);
                }
            }
        }
    }
}

fn converse(settings: &Settings, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let messages: Vec<_> = (0..MESSAGES).map(|_| message(&mut random)).collect();
    let recipients: Vec<_> = (0..MESSAGES)
        .map(|_| {
            let mut recipients = Recipients::default();
            (0..random.usize(1..4)).for_each(|n| recipients.push(format!("r{n}@d.x").as_bytes()));
            recipients
        })
        .collect();
    let mut peer = Peer::new(settings.protocol, random.usize(2..20));
    let client = Client::new(settings.clone());
    let mut sender = Sender { client, messages: &messages, recipients: &recipients, begun: 0 };
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut verdicts = Vec::new();
    peer.server.greet(&mut down);
    while !(peer.closed && down.is_empty()) {
        assert!(!(up.is_empty() && down.is_empty()), "{settings:?} seed {seed}: both sides wait");
        if !up.is_empty() && (down.is_empty() || random.bool()) {
            peer.take(&piece(&mut up, &mut random), &mut down);
        } else {
            let octets = piece(&mut down, &mut random);
            let mut input = &octets[..];
            while let Some(event) = sender.client.step(&mut input).unwrap() {
                verdicts.extend(event.verdict);
            }
            sender.write(&mut up);
        }
    }
    let accepted: Stored = (0..MESSAGES)
        .filter(|&n| verdicts[n] == TransactionVerdict::Accepted)
        .map(|n| (recipients[n].count(), messages[n].clone()))
        .collect();
    assert_eq!(verdicts.len(), MESSAGES, "{settings:?} seed {seed}");
    assert_eq!(accepted, peer.stored, "{settings:?} seed {seed}");
    assert!(
        verdicts
            .iter()
            .all(|v| matches!(v, TransactionVerdict::Accepted | TransactionVerdict::Refused(451)))
    );
}

#[test]
fn every_message_arrives_as_it_was_in_every_mode_however_the_octets_are_cut() {
    const { assert!(MESSAGES < SESSION_ERRORS_MAX as usize) };
    for protocol in [Protocol::Smtp, Protocol::Lmtp] {
        for (pipelining, chunking, depth) in [
            (Pipelining::None, false, 1),
            (Pipelining::Commands, false, 1),
            (Pipelining::Full, false, 1),
            (Pipelining::None, true, 1),
            (Pipelining::Full, true, 1),
            (Pipelining::Full, true, 5),
            (Pipelining::Full, true, 32),
        ] {
            let name = b"client.example"[..].into();
            let settings = Settings {
                protocol,
                pipelining,
                chunking,
                depth,
                smtputf8: false,
                hello: Hello::Extended,
                name,
                upgrade: Upgrade::Never,
                login: None,
            };
            for seed in 0..400 {
                converse(&settings, seed);
            }
        }
    }
}
