//! Deliveries under TLS: to the next server, and on a connection whose roles have turned round.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ringpost::dial::{Security, Target, TlsMode};
use ringpost::engine::EngineKind;
use ringpost::relay::Route;
use ringpost::smtp::node::Node;
use ringpost::tls::{
    ClientOptions, SelfSigned, ServerConfigs, ServerOptions, TlsSettings, Trust, make,
};
use rustls::{
    ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::server::{Manners, Seen, Server, greet_on, serve, serve_on};
use crate::sink::engines;
use crate::support::{Post, settled, without_trace};
use crate::tls;

const REPLY_TIME: Duration = Duration::from_secs(30);

/// The next server, its library driven with buffers of its own, and whom its clients trust.
struct Next {
    server: Server,
    trust: Trust,
    /// How each session came under TLS.
    kinds: Arc<Mutex<Vec<Option<HandshakeKind>>>>,
}

impl Next {
    /// TLS from the first octet on where it is `implicit`, and else after STARTTLS, with a certificate of `kind`.
    fn start(implicit: bool, kind: SelfSigned, manners: Manners) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let made = make(kind, "next.example", now).unwrap();
        let configs = ServerConfigs::new(ServerOptions::default()).unwrap();
        let config = configs.config(vec![made.pair]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.ca).unwrap();
        let kinds = Arc::new(Mutex::new(Vec::new()));
        let told = kinds.clone();
        let server = Server::start_with(move |socket| {
            if implicit {
                let mut stream = accept(&config, socket);
                let seen = greet_on(&mut stream, &manners);
                told.lock().unwrap().push(stream.conn.handshake_kind());
                return seen;
            }
            let plain = Manners {
                offers: &["STARTTLS", "REQUIRETLS"],
                replies: |line| (line == "STARTTLS").then_some("220 2.0.0 Go ahead"),
                ..manners
            };
            let mut seen = serve(&socket, &plain);
            if seen.lines.last().is_some_and(|line| line == "STARTTLS") {
                let mut stream = accept(&config, socket);
                let Seen { lines, bodies } = serve_on(&mut stream, &manners);
                told.lock().unwrap().push(stream.conn.handshake_kind());
                seen.lines.extend(lines);
                seen.bodies.extend(bodies);
            }
            seen
        });
        Self { server, trust: Trust::Roots(roots), kinds }
    }

    /// The route for a.example to this server.
    fn route(&self, mode: TlsMode, trust: Trust) -> Vec<Route> {
        vec![route(&self.server, mode, trust)]
    }
}

fn route(server: &Server, mode: TlsMode, trust: Trust) -> Route {
    let target = Target::parse(&server.address.to_string(), &[]).unwrap();
    let options =
        ClientOptions { settings: TlsSettings::default(), trust, pair: None, key_log: None };
    let security = Security { mode: Some(mode), server_name: None, options };
    let security = security.of_target(&target, 4).unwrap();
    Route { node: Node::parse(b"a.example").unwrap(), target, security }
}

fn accept(
    config: &Arc<ServerConfig>,
    socket: TcpStream,
) -> StreamOwned<ServerConnection, TcpStream> {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket)
}

/// A sink with one message for a.example, whose delivery has begun.
fn begin(engine: EngineKind, routes: Vec<Route>) -> Post {
    let post = Post::start_under(engine, routes, REPLY_TIME, None);
    post.bring("", &["<x@a.example>"], b"Subject: 1\r\n\r\n.dot\r\n");
    assert!(post.ask("ETRN a.example").starts_with("253 2.0.0 OK, 1 pending"));
    post
}

fn verbs(seen: &Seen) -> Vec<&str> {
    seen.lines.iter().map(|line| line.split(' ').next().unwrap()).collect()
}

#[test]
fn a_delivery_goes_under_tls_as_was_asked_and_resumes_its_session() {
    let plain = |line: &'static str| line.split(' ').collect::<Vec<_>>();
    for engine in engines() {
        for (mode, implicit, lead) in [
            (TlsMode::Implicit, true, "EHLO"),
            (TlsMode::StartTls, false, "EHLO STARTTLS EHLO"),
            (TlsMode::Opportunistic, false, "EHLO STARTTLS EHLO"),
        ] {
            let next = Next::start(implicit, SelfSigned::Good, Manners::default());
            let post = begin(engine, next.route(mode, next.trust.clone()));
            let seen = next.server.sessions(1).remove(0);
            assert_eq!(seen.recipients(), ["x@a.example"], "{mode:?}");
            assert_eq!(without_trace(&seen.bodies[0]), b"Subject: 1\r\n\r\n.dot\r\n");
            assert_eq!(verbs(&seen), [plain(lead), plain("MAIL RCPT BDAT QUIT")].concat());
            post.settled_once(1);
            post.bring("", &["<y@a.example>"], b"two\r\n");
            // The queue hears of the end a moment after the server.
            let begun = ["253", "252"];
            assert!(begun.iter().any(|code| post.ask("ETRN a.example").starts_with(code)));
            post.settled_once(2);
            let relay = post.sink.stop().relay.unwrap();
            assert_eq!((relay.delivered, relay.left), (2, 0), "{mode:?}");
            next.server.sessions(2);
            let kinds = next.kinds.lock().unwrap();
            assert_eq!(*kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
        }
    }
}

#[test]
fn mail_waits_while_its_server_cannot_be_trusted() {
    for engine in engines() {
        for kind in [SelfSigned::UnknownCa, SelfSigned::WrongName, SelfSigned::Expired] {
            for (mode, implicit) in [
                (TlsMode::Implicit, true),
                (TlsMode::StartTls, false),
                // It falls back where the server refuses TLS, and never from a handshake that failed.
                (TlsMode::Opportunistic, false),
            ] {
                let next = Next::start(implicit, kind, Manners::default());
                let post = begin(engine, next.route(mode, next.trust.clone()));
                let seen = next.server.sessions(1).remove(0);
                let said = if implicit { &[][..] } else { &["EHLO", "STARTTLS"] };
                assert_eq!(verbs(&seen), said, "{kind:?} {mode:?}");
                let Post { sink, dir } = post;
                let relay = sink.stop().relay.unwrap();
                assert_eq!(
                    (relay.runs, relay.messages, relay.left),
                    (1, 0, 1),
                    "{kind:?} {mode:?}"
                );
                assert_eq!(settled(dir.path()), []);
            }
        }
        let next = Next::start(false, SelfSigned::Expired, Manners::default());
        let post = begin(engine, next.route(TlsMode::StartTls, Trust::Anybody));
        post.settled_once(1);
        post.sink.stop();
    }
}

#[test]
fn a_server_without_tls_gets_mail_only_where_that_was_asked_for() {
    for engine in engines() {
        let server = Server::start(Manners::default());
        let post = begin(engine, vec![route(&server, TlsMode::StartTls, Trust::Anybody)]);
        assert_eq!(verbs(&server.sessions(1)[0]), ["EHLO"]);
        assert_eq!(post.sink.stop().relay.unwrap().left, 1);
        let post = begin(engine, vec![route(&server, TlsMode::Opportunistic, Trust::Anybody)]);
        post.settled_once(1);
        assert_eq!(server.sessions(2)[1].recipients(), ["x@a.example"]);
        post.sink.stop();
    }
}

#[test]
fn requiretls_goes_on_to_a_verified_server_alone() {
    let manners = Manners { offers: &["REQUIRETLS"], ..Manners::default() };
    let (config, client) = tls::configs();
    for engine in engines() {
        for (trusted, left) in [(true, 0), (false, 1)] {
            let next = Next::start(false, SelfSigned::Good, manners.clone());
            let trust = if trusted { next.trust.clone() } else { Trust::Anybody };
            let routes = next.route(TlsMode::StartTls, trust);
            let post = Post::start_under(engine, routes, REPLY_TIME, Some(config.clone()));
            let socket = TcpStream::connect(post.sink.ports[1]).unwrap();
            let mut sender = tls::call(client.clone(), socket).unwrap();
            let wire = b"EHLO c.example\r\nMAIL FROM:<me@z.example> REQUIRETLS\r\n\
                         RCPT TO:<x@a.example>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n";
            sender.write_all(wire).unwrap();
            let mut said = String::new();
            sender.read_to_string(&mut said).unwrap();
            assert!(said.contains("queued as"), "{said}");
            assert!(post.ask("ETRN a.example").starts_with("253"));
            let seen = next.server.sessions(1).remove(0);
            let mails = seen.lines.iter().filter(|line| line.starts_with("MAIL"));
            let expected: &[&str] =
                if trusted { &["MAIL FROM:<me@z.example> REQUIRETLS"] } else { &[] };
            assert_eq!(mails.collect::<Vec<_>>(), expected);
            assert_eq!(post.sink.stop().relay.unwrap().left, left);
        }
    }
}

/// A customer under TLS that logs in as ada, says ATRN, and has `early` behind it before the reply comes; all but
/// the last `cut` octets of that.
struct Customer {
    tls: ClientConnection,
    socket: TcpStream,
    /// The octets that were cut off.
    rest: Vec<u8>,
}

impl Customer {
    fn call(post: &Post, client: Arc<rustls::ClientConfig>, early: &str, cut: usize) -> Self {
        let socket = TcpStream::connect(post.sink.ports[1]).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let StreamOwned { conn: mut tls, mut sock } = tls::call(client, socket).unwrap();
        let hello = "EHLO customer.example\r\nAUTH PLAIN AGFkYQBzZWNyZXQ=\r\nATRN\r\n";
        let mut wire = Vec::new();
        for record in [hello, early] {
            tls.writer().write_all(record.as_bytes()).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut wire).unwrap();
            }
        }
        let rest = wire.split_off(wire.len() - cut);
        sock.write_all(&wire).unwrap();
        Self { tls, socket: sock, rest }
    }

    /// Reads up to the reply to ATRN; what was cut off is sent then.
    fn turn(mut self) -> StreamOwned<ClientConnection, TcpStream> {
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.socket);
        let mut said = Vec::new();
        while !said.ends_with(b"reversing the connection\r\n") {
            let mut octet = [0];
            stream.read_exact(&mut octet).unwrap();
            said.push(octet[0]);
        }
        self.socket.write_all(&self.rest).unwrap();
        StreamOwned::new(self.tls, self.socket)
    }
}

#[test]
fn roles_turn_round_inside_tls() {
    const GREETING: &str = "220 customer.example ready\r\n";
    let (config, client) = tls::configs();
    for engine in engines() {
        // The greeting comes after the reply to ATRN, or before it: whole, or in a record that is cut.
        for cut in [None, Some(0), Some(1), Some(GREETING.len() + 16), Some(GREETING.len() + 20)] {
            let post = Post::start_under(engine, vec![], REPLY_TIME, Some(config.clone()));
            post.bring("", &["<x@a.example>"], b"Subject: 1\r\n\r\n.dot\r\n");
            // More than one record each way.
            let large = b"0123456789abcde\r\n".repeat(6_000);
            post.bring("", &["<y@b.example>"], &large);
            let early = cut.map_or("", |_| GREETING);
            let customer = Customer::call(&post, client.clone(), early, cut.unwrap_or_default());
            let mut stream = customer.turn();
            let manners = Manners::default();
            let seen = match cut {
                None => greet_on(&mut stream, &manners),
                Some(_) => serve_on(&mut stream, &manners),
            };
            assert_eq!(seen.recipients(), ["x@a.example", "y@b.example"], "{cut:?}");
            assert_eq!(without_trace(&seen.bodies[0]), b"Subject: 1\r\n\r\n.dot\r\n");
            assert_eq!(without_trace(&seen.bodies[1]), large);
            // close_notify: an end without it is an error.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{cut:?}");
            assert_eq!(post.settled().len(), 2);
            let relay = post.sink.stop().relay.unwrap();
            assert_eq!((relay.delivered, relay.left), (2, 0));
        }
    }
}

#[test]
fn what_is_no_tls_behind_atrn_turns_nothing_round() {
    let (config, client) = tls::configs();
    for engine in engines() {
        let post = Post::start_under(engine, vec![], REPLY_TIME, Some(config.clone()));
        post.bring("", &["<x@a.example>"], b"hi\r\n");
        let mut customer = Customer::call(&post, client.clone(), "", 0);
        // It may come behind ATRN, or after the roles have turned: nothing is sent in either case.
        customer.socket.write_all(b"220 customer.example ready\r\n").unwrap();
        let mut said = Vec::new();
        let mut stream = rustls::Stream::new(&mut customer.tls, &mut customer.socket);
        let _ = stream.read_to_end(&mut said);
        assert!(!said.windows(4).any(|window| window == b"MAIL"), "{said:?}");
        assert_eq!(post.settled(), []);
        let relay = post.sink.stop().relay.unwrap();
        assert_eq!(relay.messages, 0);
    }
}
