//! What one connection can make the sink hold in memory, row by row of the table in the manual.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringpost::limits::{
    AUTH_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX, PROXY_HEADER_BYTES_MAX, RECV_RECORD_BYTES,
    RECV_SMALL_BYTES, REPLY_QUEUE_BYTES_MAX, TLS_SERVER_KEPT_BYTES_MAX,
};
use ringpost::tls::provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::program::{LIMIT, Program, Talk};

/// Connections that hold something at once.
const CONNECTIONS: usize = 300;

/// What memory grows by beside what is held: rounding of the allocator, by connection, and its own steps.
const BESIDE_BYTES: usize = 4 * 1024;
const STEPS_BYTES: usize = 8 * 1024 * 1024;

/// A session that waits, with its buffer, and what TLS adds to it.
const SESSION_BYTES_MAX: usize = 12 * 1024;
const TLS_SESSION_BYTES_MAX: usize = 16 * 1024;

/// Three commands, after which a session may say idle ones again.
const MESSAGE: &[u8] = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 1 LAST\r\nx";

/// Memory of the sink's own. The pages of its spool are those of files.
fn memory(sink: &Program) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sink.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: usize = line.split_whitespace().next().unwrap().parse().unwrap();
    kib * 1024
}

/// Lets many connections hold something, and looks at the memory for it. `hold` returns when the sink has taken what
/// it sent.
fn holds<C>(
    what: &str,
    sink: Program,
    most_bytes: usize,
    open: impl Fn(u16) -> C,
    hold: impl Fn(&mut C),
) {
    // What the first of them takes stays for the others.
    hold(&mut open(sink.port));
    let grown = growth(&sink, CONNECTIONS, open, hold);
    let most = CONNECTIONS * (most_bytes + BESIDE_BYTES) + STEPS_BYTES;
    assert!(grown <= most, "{what}: {grown} octets for {CONNECTIONS} connections, at most {most}");
    sink.stop();
}

/// By how much the memory of the sink grows when so many connections hold something.
fn growth<C>(
    sink: &Program,
    connections: usize,
    open: impl Fn(u16) -> C,
    hold: impl Fn(&mut C),
) -> usize {
    let mut clients: Vec<_> = (0..connections).map(|_| open(sink.port)).collect();
    let before = memory(sink);
    clients.iter_mut().for_each(hold);
    std::thread::sleep(Duration::from_millis(300));
    memory(sink).saturating_sub(before)
}

fn start(scheme: &str, options: &str) -> Program {
    let options = format!("--cores 1 --io epoll {options}");
    Program::start(scheme, &options.split_whitespace().collect::<Vec<_>>())
}

/// A session that has greeted.
fn greeted(port: u16) -> Talk {
    let mut talk = Talk::open(port);
    talk.says("EHLO x", "250");
    talk
}

#[test]
fn no_session_holds_more_than_the_manual_says() {
    let start = |options: &str| start("smtp", &format!("--discard {options}"));
    let none = |port| (port, None);
    holds("a session", start(""), SESSION_BYTES_MAX, none, |(port, talk)| {
        *talk = Some(greeted(*port));
    });
    holds("a command in pieces", start(""), COMMAND_LINE_BYTES_MAX, greeted, |talk| {
        talk.send(&[b'x'; COMMAND_LINE_BYTES_MAX - 2]);
    });
    holds("a login in pieces", start("--auth any"), AUTH_LINE_BYTES_MAX, greeted, |talk| {
        talk.says("AUTH PLAIN", "334");
        talk.send(&[b'x'; AUTH_LINE_BYTES_MAX - 2]);
    });
    holds("a session after long replies", start(""), RECV_RECORD_BYTES, greeted, |talk| {
        talk.send(&[&b"HELP\r\n".repeat(90)[..], MESSAGE].concat().repeat(10));
        (0..10 * 93).for_each(|_| assert!(talk.reply().starts_with('2')));
    });
    let params = format!("ORCPT=rfc822;{}", "p".repeat(450));
    let rcpt = format!("RCPT TO:<somebody@example.org> {params}\r\n");
    holds("an envelope", start(""), 1000 * rcpt.len() * 6 / 5, greeted, |talk| {
        talk.says("MAIL FROM:<a@x>", "250");
        for _ in 0..10 {
            talk.send(rcpt.repeat(100).as_bytes());
            (0..100).for_each(|_| assert!(talk.reply().starts_with("250 ")));
        }
    });
    // A whole header waits for its last octet, and so does each piece that came before it.
    let proxied = start("--proxy-protocol 127.0.0.1");
    let connect = |port| TcpStream::connect(("127.0.0.1", port)).unwrap();
    holds("a PROXY header in pieces", proxied, PROXY_HEADER_BYTES_MAX, connect, |stream| {
        let bytes = (PROXY_HEADER_BYTES_MAX - 16) as u16;
        let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
        let header = [head, &bytes.to_be_bytes()[..], &vec![0; usize::from(bytes) - 1]].concat();
        header.chunks(600).for_each(|piece| stream.write_all(piece).unwrap());
    });
}

/// The kernel takes some megabytes of replies before any wait in the sink, so there are few connections.
#[test]
fn replies_that_nobody_reads_have_a_bound() {
    let connections = 40;
    let sink = start("smtp", "--discard");
    let help = b"HELP\r\n".repeat(90);
    let flood = [&help[..], MESSAGE].concat().repeat(100);
    let connect = |port| {
        let talk = greeted(port);
        talk.stop_writing_after(Duration::from_millis(200));
        talk
    };
    let hold = |talk: &mut Talk| {
        // Until the sink takes no more.
        assert!((0..1000).any(|_| !talk.sends(&flood)), "the sink takes whatever comes");
    };
    let grown = growth(&sink, connections, connect, hold);
    // The replies to what one receive gave are queued beyond the bound, too.
    let most = connections * (2 * REPLY_QUEUE_BYTES_MAX + BESIDE_BYTES) + STEPS_BYTES;
    let least = connections * REPLY_QUEUE_BYTES_MAX / 2;
    assert!((least..=most).contains(&grown), "{grown} octets, from {least} to {most}");
    sink.stop();
}

/// The octets of messages lie in the spool: a session that is read takes a buffer, gives it back, and holds none.
#[test]
fn no_session_holds_octets_of_its_message() {
    let dir = tempfile::tempdir().unwrap();
    let spool = format!("--spool {}", dir.path().join("spool").display());
    for (what, options) in [("counted", "--discard"), ("stored", &*spool)] {
        let what = format!("a message in pieces, {what}");
        let sink = start("smtp", options);
        // Each piece fills more than a buffer that waits, and a message has more than fits a large one.
        holds(&what, sink, RECV_SMALL_BYTES, greeted, |talk| {
            let envelope = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 1000000\r\n";
            talk.send(envelope);
            (0..2).for_each(|_| assert!(talk.reply().starts_with("250 ")));
            (0..2).for_each(|_| talk.send(&[b'x'; 50_000]));
        });
    }
}

/// A client that trusts the sink, and takes up its connection and TLS when it is told to.
struct TlsClient {
    config: Arc<ClientConfig>,
    stream: Option<TcpStream>,
    secured: Option<StreamOwned<ClientConnection, TcpStream>>,
}

impl TlsClient {
    fn connect(port: u16, ca: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self { config: Arc::new(config), stream: Some(stream), secured: None }
    }

    fn secure(&mut self) {
        let name = "localhost".try_into().unwrap();
        let client = ClientConnection::new(self.config.clone(), name).unwrap();
        let mut secured = StreamOwned::new(client, self.stream.take().unwrap());
        let mut code = [0; 4];
        secured.read_exact(&mut code).unwrap();
        assert_eq!(&code, b"220 ");
        self.secured = Some(secured);
    }

    /// Sends octets as they are.
    fn send(&mut self, wire: &[u8]) {
        let secured = self.secured.as_mut().map(|secured| &mut secured.sock);
        secured.or(self.stream.as_mut()).unwrap().write_all(wire).unwrap();
    }
}

/// What TLS holds of each session: its state, and a record or a message of the handshake in pieces.
#[test]
fn no_session_under_tls_holds_more_than_the_manual_says() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let options = format!("--tls-self-signed --hostname localhost --tls-ca-out {}", ca.display());
    let start = || start("smtps", &format!("--discard {options}"));
    let connect = |port| TlsClient::connect(port, &ca);
    holds("a TLS session", start(), TLS_SESSION_BYTES_MAX, connect, TlsClient::secure);
    let most = TLS_SERVER_KEPT_BYTES_MAX;
    holds("a handshake in pieces", start(), most, connect, |client| {
        // The start of a ClientHello of 16 KiB.
        client.send(&[&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xf0][..], &[0; 16_000]].concat());
    });
    let secured = |port| {
        let mut client = connect(port);
        client.secure();
        client
    };
    holds("a record in pieces", start(), RECV_RECORD_BYTES, secured, |client| {
        client.send(&[&[23, 3, 3, 0x40, 0][..], &[0; 16_000]].concat());
    });
}

#[test]
fn envelopes_of_all_connections_have_one_bound_and_give_their_memory_back() {
    let options = "--cores 1 --io epoll --discard --envelope-memory 4MiB";
    let sink = Program::start("smtp", &options.split(' ').collect::<Vec<_>>());
    let rcpt = format!("RCPT TO:<b@x.example> ORCPT=rfc822;{}\r\n", "p".repeat(450));
    for _ in 0..3 {
        let mut talks: Vec<_> = (0..20).map(|_| Talk::open(sink.port)).collect();
        let (mut taken, mut refused) = (0, 0);
        for talk in &mut talks {
            talk.says("EHLO x", "250");
            talk.send(b"MAIL FROM:<a@x.example>\r\n");
            let replies = if talk.reply().starts_with("250") { 1000 } else { 0 };
            talk.send(rcpt.repeat(replies).as_bytes());
            for _ in 0..replies {
                let reply = talk.reply();
                taken += usize::from(reply.starts_with("250 "));
                refused += usize::from(reply.starts_with("452 4.3.1 "));
            }
        }
        let bytes = taken * rcpt.len();
        assert!(
            (3 << 20..5 << 20).contains(&bytes) && refused > 0,
            "{taken} taken, {refused} refused"
        );
        // The recipients that were taken stay good.
        let last = talks.iter_mut().next().unwrap();
        last.send(b"BDAT 2 LAST\r\nhi");
        assert!(last.reply().starts_with("250 "));
    }
    let report = sink.stop();
    assert_eq!((&report["messages"], &report["recipients"]), (&3.into(), &3000.into()), "{report}");
}
