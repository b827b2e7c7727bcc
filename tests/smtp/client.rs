//! The client machine against a model server that follows a script, with replies cut anywhere.

use proptest::prelude::*;
use ringpost::smtp::blank::Filling;
use ringpost::smtp::client::{
    Client, Fault, Hello, Pipelining, ReplyEvent, ReplyTo, Settings, TransactionVerdict, Upgrade,
    Want,
};
use ringpost::smtp::outgoing::{MailParams, Outgoing, Recipients};
use ringpost::smtp::server::Protocol;

/// Codes with which the model answers one transaction.
#[derive(Clone, Debug)]
struct Script {
    mail: u16,
    rcpt: Vec<u16>,
    data: u16,
    end: u16,
}

impl Script {
    fn good(recipients: usize) -> Self {
        Self { mail: 250, rcpt: vec![250; recipients], data: 354, end: 250 }
    }

    /// What must come of it, by RFC 5321 alone.
    fn verdict(&self, chunking: bool) -> TransactionVerdict {
        let refused = [self.mail]
            .into_iter()
            .chain(self.rcpt.iter().all(|&c| c >= 400).then(|| self.rcpt[0]))
            .chain((!chunking).then_some(self.data))
            .chain([self.end])
            .find(|&code| code >= 400);
        refused.map_or(TransactionVerdict::Accepted, TransactionVerdict::Refused)
    }
}

/// A strict server: commands out of order get 503, a refused chunk keeps the transaction open.
struct Model<'a> {
    scripts: &'a [Script],
    lmtp: bool,
    /// Gives 354 although no recipient was accepted.
    lenient: bool,
    wire: Vec<u8>,
    /// Which script is on, once MAIL was seen.
    turn: Option<usize>,
    open: bool,
    asked: usize,
    accepted: usize,
    in_data: bool,
    stored: Vec<Vec<u8>>,
    /// Replies given to one write at most.
    longest_group: usize,
}

impl<'a> Model<'a> {
    fn new(scripts: &'a [Script], lmtp: bool, lenient: bool) -> Self {
        Self {
            scripts,
            lmtp,
            lenient,
            wire: Vec::new(),
            turn: None,
            open: false,
            asked: 0,
            accepted: 0,
            in_data: false,
            stored: Vec::new(),
            longest_group: 0,
        }
    }

    fn script(&self) -> &Script {
        &self.scripts[self.turn.unwrap()]
    }

    fn take(&mut self, octets: &[u8], replies: &mut Vec<u8>) {
        self.wire.extend_from_slice(octets);
        let mut group = 0;
        while self.step(replies) {
            group += 1;
        }
        self.longest_group = self.longest_group.max(group);
    }

    fn step(&mut self, replies: &mut Vec<u8>) -> bool {
        if self.in_data {
            return self.dotted_body(replies);
        }
        let Some(end) = memchr::memmem::find(&self.wire, b"\r\n") else { return false };
        let line = String::from_utf8(self.wire[..end].to_vec()).unwrap();
        if let Some(rest) = line.strip_prefix("BDAT ") {
            let size: usize = rest.strip_suffix(" LAST").unwrap().parse().unwrap();
            let body = self.wire[end + 2..end + 2 + size].to_vec();
            self.wire.drain(..end + 2 + size);
            self.end(body, replies);
            return true;
        }
        self.wire.drain(..end + 2);
        let code = self.command(&line);
        if line.starts_with("EHLO") || line.starts_with("LHLO") {
            replies.extend_from_slice(
                b"250-model\r\n250-PIPELINING\r\n250-SIZE 0\r\n250 CHUNKING\r\n",
            );
        } else {
            replies.extend_from_slice(format!("{code} 2.0.0 said\r\n").as_bytes());
        }
        true
    }

    fn dotted_body(&mut self, replies: &mut Vec<u8>) -> bool {
        let end = if self.wire.starts_with(b".\r\n") {
            Some(0)
        } else {
            memchr::memmem::find(&self.wire, b"\r\n.\r\n").map(|at| at + 2)
        };
        let Some(end) = end else { return false };
        let body = self.wire[..end].to_vec();
        self.wire.drain(..end + 3);
        self.in_data = false;
        self.end(body, replies);
        self.open = false;
        true
    }

    fn command(&mut self, line: &str) -> u16 {
        match line.split([' ', ':']).next().unwrap() {
            "EHLO" | "LHLO" => 250,
            "MAIL" if self.open => 503,
            "MAIL" => {
                self.turn = Some(self.turn.map_or(0, |t| t + 1));
                (self.asked, self.accepted) = (0, 0);
                self.open = self.script().mail < 400;
                self.script().mail
            }
            "RCPT" if !self.open => 503,
            "RCPT" => {
                let code = self.script().rcpt.get(self.asked).copied().unwrap_or(503);
                self.asked += 1;
                self.accepted += usize::from(code < 400);
                code
            }
            "DATA" if !self.open || (self.accepted == 0 && !self.lenient) => 503,
            "DATA" => {
                self.in_data = self.script().data == 354;
                self.script().data
            }
            "RSET" => {
                self.open = false;
                250
            }
            "QUIT" => 221,
            other => panic!("the client said {other:?}"),
        }
    }

    fn end(&mut self, body: Vec<u8>, replies: &mut Vec<u8>) {
        if !self.open || self.accepted == 0 {
            replies.extend_from_slice(b"503 5.5.1 no recipients\r\n");
            return;
        }
        let code = self.script().end;
        let count = if self.lmtp { self.accepted } else { 1 };
        for _ in 0..count {
            replies.extend_from_slice(format!("{code} 2.0.0 end\r\n").as_bytes());
        }
        if code < 400 {
            self.stored.push(body);
            self.open = false;
        }
    }
}

fn settings(protocol: Protocol, pipelining: Pipelining, chunking: bool, depth: usize) -> Settings {
    Settings {
        protocol,
        pipelining,
        chunking,
        depth,
        smtputf8: false,
        hello: Hello::Extended,
        name: b"client.example"[..].into(),
        upgrade: Upgrade::Never,
        login: None,
    }
}

fn modes() -> Vec<Settings> {
    let mut modes = Vec::new();
    for protocol in [Protocol::Smtp, Protocol::Lmtp] {
        for pipelining in [Pipelining::None, Pipelining::Commands, Pipelining::Full] {
            modes.push(settings(protocol, pipelining, false, 1));
        }
        modes.push(settings(protocol, Pipelining::None, true, 1));
        modes.push(settings(protocol, Pipelining::Full, true, 1));
        modes.push(settings(protocol, Pipelining::Full, true, 5));
    }
    modes
}

fn recipients(count: usize) -> Recipients {
    let mut recipients = Recipients::default();
    (0..count).for_each(|n| recipients.push(format!("r{n}@d.example").as_bytes()));
    recipients
}

fn body(number: usize) -> String {
    format!("message {number}\r\n")
}

/// One session and how far it has come.
struct Session<'m, 's> {
    client: Client,
    model: &'m mut Model<'s>,
    begun: usize,
    out: Vec<u8>,
}

impl Session<'_, '_> {
    /// Lets the client write all it may; answers whether the session is over.
    fn write(&mut self) -> bool {
        loop {
            match self.client.want(&mut self.out) {
                Want::Replies => return false,
                Want::Close => return true,
                Want::Encrypt => panic!("no TLS was asked for"),
                Want::Transaction if self.begun == self.model.scripts.len() => {
                    self.client.quit(&mut self.out);
                }
                Want::Transaction => {
                    self.begun += 1;
                    self.envelope(|client, out, mail| {
                        client.begin(out, mail);
                    });
                }
                Want::Envelope => self.envelope(Client::resume),
                Want::RawBody | Want::StuffedBody => {
                    self.out.extend_from_slice(body(self.begun).as_bytes());
                    self.client.body_done(&mut self.out);
                }
            }
        }
    }

    fn envelope(&mut self, write: impl FnOnce(&mut Client, &mut Vec<u8>, &Outgoing<'_>)) {
        let recipients = recipients(self.model.scripts[self.begun - 1].rcpt.len());
        let size = body(self.begun).len() as u64;
        let mail = Outgoing {
            from: b"s@d.example",
            from_blanks: &[],
            recipients: &recipients,
            size,
            eight_bit: false,
            params: &MailParams::default(),
            filling: Filling::default(),
        };
        write(&mut self.client, &mut self.out, &mail);
    }
}

/// Runs a whole session; replies arrive in pieces whose sizes are taken from `cuts` in turn.
fn converse(settings: Settings, model: &mut Model<'_>, cuts: &[usize]) -> Vec<ReplyEvent> {
    let mut session = Session { client: Client::new(settings), model, begun: 0, out: Vec::new() };
    let mut events = Vec::new();
    let mut cuts = cuts.iter().cycle();
    let mut replies = b"220 model\r\n".to_vec();
    loop {
        while !replies.is_empty() {
            let cut = (*cuts.next().unwrap()).min(replies.len());
            let piece: Vec<u8> = replies.drain(..cut).collect();
            let mut input = &piece[..];
            while let Some(event) = session.client.step(&mut input).unwrap() {
                events.push(event);
            }
            assert!(input.is_empty());
        }
        if session.write() {
            return events;
        }
        session.model.take(&session.out, &mut replies);
        session.out.clear();
        assert!(!replies.is_empty(), "both sides wait");
    }
}

fn verdicts(events: &[ReplyEvent]) -> Vec<(u64, TransactionVerdict)> {
    events.iter().filter_map(|e| e.verdict.map(|v| (e.transaction, v))).collect()
}

/// Every transaction ends once, in order, as the script says, and the server holds just those.
fn check(settings: &Settings, scripts: &[Script], lenient: bool, cuts: &[usize]) {
    let lmtp = settings.protocol == Protocol::Lmtp;
    let mut model = Model::new(scripts, lmtp, lenient && !lmtp);
    let events = converse(settings.clone(), &mut model, cuts);
    let got = verdicts(&events);
    let numbers: Vec<u64> = got.iter().map(|&(n, _)| n).collect();
    assert_eq!(numbers, (1..=scripts.len() as u64).collect::<Vec<_>>(), "{settings:?}");
    let accepted = got.iter().filter(|(_, v)| *v == TransactionVerdict::Accepted);
    let accepted: Vec<_> = accepted.map(|&(n, _)| body(n as usize).into_bytes()).collect();
    // A flight runs on into a server that may still hold a refused chunk's transaction; then all
    // that is promised is that no accepted message is missing.
    let ahead = settings.chunking && settings.depth > 1;
    if ahead && scripts.iter().any(|s| s.verdict(true) != TransactionVerdict::Accepted) {
        assert!(accepted.iter().all(|body| model.stored.contains(body)), "{settings:?}");
        return;
    }
    assert_eq!(accepted, model.stored, "{settings:?}");
    for ((number, verdict), script) in got.iter().zip(scripts) {
        let wanted = script.verdict(settings.chunking);
        assert_eq!(*verdict, wanted, "{settings:?} transaction {number} {script:?}");
    }
}

#[test]
fn every_mode_gets_every_message_through_at_every_cut() {
    let scripts = vec![Script::good(2); 7];
    for settings in modes() {
        for cut in (1..90).chain([4096]) {
            check(&settings, &scripts, false, &[cut]);
        }
    }
}

#[test]
fn a_flight_holds_as_many_transactions_as_asked() {
    let scripts = vec![Script::good(1); 10];
    for (pipelining, chunking, depth, replies) in [
        (Pipelining::Full, true, 1, 3),
        (Pipelining::Full, true, 5, 15),
        (Pipelining::None, false, 1, 1),
        (Pipelining::Commands, false, 1, 3),
        (Pipelining::Full, false, 1, 4),
    ] {
        let mut model = Model::new(&scripts, false, false);
        converse(settings(Protocol::Smtp, pipelining, chunking, depth), &mut model, &[999]);
        assert_eq!(model.longest_group, replies, "{pipelining:?}");
    }
}

#[test]
fn after_354_without_recipients_a_lone_dot_ends_the_transaction() {
    let refused = Script { rcpt: vec![550, 450], ..Script::good(2) };
    let scripts = [Script::good(1), refused, Script::good(1)];
    for pipelining in [Pipelining::Commands, Pipelining::Full] {
        check(&settings(Protocol::Smtp, pipelining, false, 1), &scripts, true, &[3]);
    }
}

#[test]
fn a_421_ends_the_session_and_refuses_the_message_it_answers() {
    let mut client = Client::new(settings(Protocol::Smtp, Pipelining::Commands, false, 1));
    let mut out = Vec::new();
    feed(&mut client, &mut out, "220 hi\r\n");
    feed(&mut client, &mut out, "250-hi\r\n250 PIPELINING\r\n");
    let recipients = recipients(1);
    let mail = Outgoing {
        from: b"a@b",
        from_blanks: &[],
        recipients: &recipients,
        size: 9,
        eight_bit: false,
        params: &MailParams::default(),
        filling: Filling::default(),
    };
    client.begin(&mut out, &mail);
    let events = feed(&mut client, &mut out, "250 ok\r\n421 4.3.2 too busy\r\n250 late\r\n");
    assert_eq!(verdicts(&events), vec![(1, TransactionVerdict::Refused(421))]);
    assert_eq!(events.last().unwrap().phase, ReplyTo::Rcpt);
    assert_eq!(client.refusal(), b"4.3.2 too busy");
    assert_eq!(client.want(&mut out), Want::Close);
}

#[test]
fn an_unasked_421_closes_and_any_other_unasked_reply_is_a_fault() {
    let mut client = Client::new(settings(Protocol::Smtp, Pipelining::None, false, 1));
    let mut out = Vec::new();
    feed(&mut client, &mut out, "220 hi\r\n");
    feed(&mut client, &mut out, "250 hi\r\n");
    assert_eq!(client.step(&mut &b"250 what\r\n"[..]), Err(Fault::Unasked { code: 250 }));
    let event = client.step(&mut &b"421 bye\r\n"[..]).unwrap().unwrap();
    assert_eq!((event.phase, event.verdict), (ReplyTo::Unasked, None));
}

#[test]
fn an_old_server_is_greeted_with_helo() {
    let mut client = Client::new(settings(Protocol::Smtp, Pipelining::None, false, 1));
    let mut out = Vec::new();
    feed(&mut client, &mut out, "220 hi\r\n");
    feed(&mut client, &mut out, "502 5.5.1 what is EHLO\r\n");
    assert_eq!(out, b"HELO client.example\r\n");
    feed(&mut client, &mut out, "250 hi\r\n");
    assert!(client.ready());
}

#[test]
fn helo_or_nothing_can_be_the_greeting() {
    let hello = |hello, pipelining| {
        let plain = settings(Protocol::Smtp, pipelining, false, 1);
        (Client::new(Settings { hello, ..plain }), Vec::new())
    };
    let (mut client, mut out) = hello(Hello::Plain, Pipelining::None);
    feed(&mut client, &mut out, "220 hi\r\n");
    assert_eq!(out, b"HELO client.example\r\n");
    assert!(!client.falls_back() && !client.ready());
    feed(&mut client, &mut out, "250 hi\r\n");
    assert!(client.ready());

    let (mut client, mut out) = hello(Hello::None, Pipelining::None);
    feed(&mut client, &mut out, "220 hi\r\n");
    assert!(client.ready() && out.is_empty());

    let (mut client, _) = hello(Hello::None, Pipelining::Full);
    assert_eq!(fault_after(&mut client, "220 hi\r\n"), Fault::NotOffered("PIPELINING"));
}

#[test]
fn a_refused_session_is_left_with_quit_unless_the_server_closes() {
    for (greeting, said) in
        [("554 5.7.1 not you\r\n", &b"QUIT\r\n"[..]), ("421 4.3.2 later\r\n", &b""[..])]
    {
        let mut client = Client::new(settings(Protocol::Smtp, Pipelining::None, false, 1));
        let mut out = Vec::new();
        feed(&mut client, &mut out, greeting);
        assert!(!client.ready());
        assert_eq!(out, said);
    }
}

#[test]
fn a_missing_extension_is_named() {
    for (pipelining, chunking, missing) in
        [(Pipelining::Commands, false, "PIPELINING"), (Pipelining::None, true, "CHUNKING")]
    {
        let mut client = Client::new(settings(Protocol::Smtp, pipelining, chunking, 1));
        feed(&mut client, &mut Vec::new(), "220 hi\r\n");
        let fault = fault_after(&mut client, "250-hi\r\n250 SIZE\r\n");
        assert_eq!(fault, Fault::NotOffered(missing));
    }
}

/// The reply is told first, as it is a good one, and then why the session cannot go on.
fn fault_after(client: &mut Client, reply: &str) -> Fault {
    let mut input = reply.as_bytes();
    let event = client.step(&mut input).unwrap().unwrap();
    assert_eq!((event.code / 100, event.verdict), (2, None));
    client.step(&mut input).unwrap_err()
}

/// Gives the client replies and lets it write what it says by itself.
fn feed(client: &mut Client, out: &mut Vec<u8>, replies: &str) -> Vec<ReplyEvent> {
    let mut input = replies.as_bytes();
    let mut events = Vec::new();
    while let Some(event) = client.step(&mut input).unwrap() {
        events.push(event);
    }
    out.clear();
    client.want(out);
    events
}

fn script() -> impl Strategy<Value = Script> {
    let code = |good: u16| prop_oneof![8 => Just(good), 1 => Just(451u16), 1 => Just(550u16)];
    (code(250), proptest::collection::vec(code(250), 1..4), code(354), code(250))
        .prop_map(|(mail, rcpt, data, end)| Script { mail, rcpt, data, end })
}

proptest! {
    #[test]
    fn refusals_end_messages_and_not_sessions(
        scripts in proptest::collection::vec(script(), 1..12),
        cuts in proptest::collection::vec(1usize..40, 1..20),
        lenient in any::<bool>(),
    ) {
        for settings in modes() {
            check(&settings, &scripts, lenient, &cuts);
        }
    }
}
