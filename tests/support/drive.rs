//! Feeds the fast receiver in pieces and shows its session in the form of the slow one.

use std::rc::Rc;

use ringpost::smtp::deviation::Deviations;
use ringpost::smtp::reply::{EnhancedCode, ReplyReader};
use ringpost::smtp::server::{Event, Policy, Server};

use super::reference::world::{AUTH_SEED, Circumstances, HOSTNAME};
use super::reference::{Client, Seen, Stored};

/// What a session shows in which the client sends `wire` in `pieces` and the rest at once. A handshake
/// takes no octets here: what comes in the next piece comes under TLS.
pub(crate) fn drive(
    policy: &Rc<Policy>,
    circumstances: Circumstances,
    wire: &[u8],
    pieces: impl IntoIterator<Item = usize>,
) -> Seen {
    let mut session = Session {
        server: Server::new(policy.clone()),
        seen: Seen::default(),
        body: Vec::new(),
        replies: Vec::new(),
        crowded: circumstances.crowded,
    };
    session.server.trust_xclient(circumstances.trusted);
    if circumstances.implicit_tls {
        session.server.secured();
    }
    session.server.set_auth_seed(AUTH_SEED);
    let mut rest = wire;
    for octets in pieces {
        let (piece, behind) = rest.split_at(octets.min(rest.len()));
        session.feed(piece);
        rest = behind;
    }
    session.feed(rest);
    session.seen.replies = words(&session.replies);
    session.seen
}

struct Session {
    server: Server,
    seen: Seen,
    body: Vec<u8>,
    replies: Vec<u8>,
    /// Whether STARTTLS gets 454.
    crowded: bool,
}

impl Session {
    fn feed(&mut self, mut input: &[u8]) {
        let mut replies = Vec::new();
        loop {
            while let Some(event) = self.server.step(&mut input, &mut replies) {
                match event {
                    Event::Begin => assert!(self.body.is_empty()),
                    Event::Body(piece) => self.body.extend_from_slice(piece),
                    Event::End(flags) => self.end(flags.bits(), &mut replies),
                    Event::Discard => self.body.clear(),
                    Event::Request => panic!("there is no relay here"),
                    Event::StartTls => {
                        self.server.answer_starttls(!self.crowded, &mut replies);
                        if !self.crowded {
                            assert!(input.is_empty(), "octets came behind STARTTLS");
                            self.server.secured();
                        }
                    }
                    Event::Close => self.seen.closed = true,
                }
            }
            self.replies.append(&mut replies);
            if input.is_empty() {
                return;
            }
        }
    }

    fn end(&mut self, flags: u32, replies: &mut Vec<u8>) {
        let envelope = self.server.envelope();
        let recipients = envelope.recipients();
        let client = self.server.relayed().cloned().unwrap_or_default();
        self.seen.stored.push(Stored {
            sender: envelope.reverse_path().to_vec(),
            sender_params: envelope.reverse_params().to_vec(),
            recipients: recipients.map(|(path, said)| (path.to_vec(), said.to_vec())).collect(),
            body: std::mem::take(&mut self.body),
            flags,
            odd: self.server.deviations().kinds().map(Deviations::name).collect(),
            hello: self.server.hello().to_vec(),
            identity: self.server.identity().map(<[u8]>::to_vec),
            client: Client {
                address: client.address,
                port: client.port,
                extended: client.extended,
                hello: client.hello,
                login: client.login,
            },
        });
        self.server.accept("0-1-40", replies);
    }
}

/// One word for each reply, as in [`Seen`].
pub(crate) fn words(wire: &[u8]) -> Vec<String> {
    let mut input = wire;
    let mut reader = ReplyReader::default();
    let mut words = Vec::new();
    let mut lines = Vec::new();
    while let Some(line) = reader.step(&mut input).unwrap() {
        lines.push(String::from_utf8(line.text.to_vec()).unwrap());
        if line.last {
            words.push(word(line.code, &lines));
            lines.clear();
        }
    }
    words
}

fn word(code: u16, lines: &[String]) -> String {
    if code == 250 && lines[0] == HOSTNAME {
        let mut announced = lines[1..].to_vec();
        announced.sort();
        return format!("250 {}", announced.join("|")).trim_end().to_owned();
    }
    if code == 334 {
        return format!("334 {}", lines[0]);
    }
    let enhanced = EnhancedCode::parse(lines[0].as_bytes());
    for line in &lines[1..] {
        assert_eq!(EnhancedCode::parse(line.as_bytes()), enhanced, "one code for all of {lines:?}");
    }
    let mut word = code.to_string();
    if let Some(enhanced) = enhanced {
        word += &format!("/{enhanced}");
    }
    if lines.len() > 1 {
        word += &format!("*{}", lines.len());
    }
    for address in lines.iter().filter(|line| line.contains('<')).flat_map(|line| addresses(line)) {
        word += &format!(" <{address}>");
    }
    word
}

/// The text between angle brackets, if it contains an at-sign.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let open = text.split('<').skip(1);
    open.filter_map(|rest| rest.split_once('>'))
        .map(|(inner, _)| inner)
        .filter(|inner| inner.contains('@'))
}
