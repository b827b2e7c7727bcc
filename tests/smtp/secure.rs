//! Live sinks under TLS, on each engine. The clients are rustls with its own buffers, and plain sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ringpost::engine::EngineKind;
use ringpost::rules::FaultRules;
use ringpost::sink::{PortTls, Summary};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::Policy;
use ringpost::spool::Reader;
use rustls::{ClientConfig, ClientConnection, ServerConfig, StreamOwned};
use rustls::{SupportedProtocolVersion, version};

use super::sink::{Running, engines};
use super::stream::policy;
use super::tls::{call, configs, configs_for};

pub(super) type Client = StreamOwned<ClientConnection, TcpStream>;

/// A sink with two ports: STARTTLS, and TLS from the first octet.
pub(super) struct Secure {
    running: Running,
    pub(super) client: Arc<ClientConfig>,
    dir: tempfile::TempDir,
}

impl Secure {
    fn start(engine: EngineKind) -> Self {
        Self::start_faulty(engine, None)
    }

    /// As `start`, with faults.
    pub(super) fn start_faulty(engine: EngineKind, faults: Option<FaultRules>) -> Self {
        Self::start_as(engine, configs(), faults, Duration::ZERO)
    }

    /// As `start`, and the client speaks these versions and the greeting comes after a delay.
    fn start_delayed(
        engine: EngineKind,
        versions: &[&'static SupportedProtocolVersion],
        greet_delay: Duration,
    ) -> Self {
        Self::start_as(engine, configs_for(versions), None, greet_delay)
    }

    fn start_as(
        engine: EngineKind,
        (config, client): (Arc<ServerConfig>, Arc<ClientConfig>),
        faults: Option<FaultRules>,
        greet_delay: Duration,
    ) -> Self {
        let port = |is_implicit| {
            let extensions = policy().extensions.union(Extensions::STARTTLS);
            (
                Policy { extensions, ..policy() },
                Some(PortTls { config: config.clone(), is_implicit }),
            )
        };
        let dir = tempfile::tempdir().unwrap();
        let spool = Some(dir.path().to_path_buf());
        let ports = [port(false), port(true)];
        let running = Running::start_delayed(engine, &ports, spool, None, faults, greet_delay);
        Self { running, client, dir }
    }

    pub(super) fn plain(&self, port: usize) -> TcpStream {
        let socket = TcpStream::connect(self.running.ports[port]).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    }

    /// A client after STARTTLS.
    pub(super) fn upgraded(&self) -> Client {
        let mut socket = self.plain(0);
        expect(&mut socket, "220 ");
        say(&mut socket, "EHLO plain.example\r\n", "250 ");
        say(&mut socket, "STARTTLS\r\n", "220 2.0.0 ");
        call(self.client.clone(), socket).unwrap()
    }

    pub(super) fn implicit(&self) -> Client {
        let mut client = call(self.client.clone(), self.plain(1)).unwrap();
        expect(&mut client, "220 ");
        client
    }

    /// What the sink counted, and of each message its body, the protocol and the version of TLS.
    pub(super) fn end(self) -> (Summary, Vec<(Vec<u8>, String, String)>) {
        let summary = self.running.stop();
        let reader = Reader::open(self.dir.path()).unwrap();
        let messages = reader.messages().map(|message| {
            let message = message.unwrap();
            let body = reader.body(&message).unwrap();
            let protocol = String::from_utf8(message.envelope.protocol.clone()).unwrap();
            let version = message.envelope.tls().map(|tls| tls.version);
            (body, protocol, version.unwrap_or_default())
        });
        let messages = messages.collect();
        (summary, messages)
    }
}

/// Reads to the end of a reply, and expects how its last line begins.
pub(super) fn expect(stream: &mut impl Read, lead: &str) -> String {
    let mut reply = Vec::new();
    let is_whole = |reply: &[u8]| {
        let last = reply.strip_suffix(b"\r\n").and_then(|all| all.rsplit(|&b| b == b'\n').next());
        last.is_some_and(|line| line.get(3) == Some(&b' '))
    };
    while !is_whole(&reply) {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap_or_else(|error| panic!("{error} after {reply:?}"));
        reply.push(octet[0]);
    }
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.lines().last().unwrap().starts_with(lead), "{reply:?} for {lead:?}");
    reply
}

pub(super) fn say(stream: &mut (impl Read + Write), line: &str, lead: &str) -> String {
    stream.write_all(line.as_bytes()).unwrap();
    stream.flush().unwrap();
    expect(stream, lead)
}

pub(super) fn mail(client: &mut Client, body: &str) {
    say(client, "EHLO tls.example\r\n", "250 ");
    say(client, "MAIL FROM:<a@x.example>\r\n", "250 ");
    say(client, "RCPT TO:<b@x.example>\r\n", "250 ");
    say(client, "DATA\r\n", "354 ");
    say(client, &format!("{body}.\r\n"), "250 ");
}

/// What is left, up to the sink's close_notify: without it this is an error.
fn rest(client: &mut Client) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn mail_arrives_under_tls_on_both_kinds_of_ports_and_is_stored_as_such() {
    for engine in engines() {
        let sink = Secure::start(engine);
        for body in ["short\r\n".to_owned(), "long line\r\n".repeat(60_000)] {
            for mut client in [sink.upgraded(), sink.implicit()] {
                mail(&mut client, &body);
                let chunk = format!("BDAT {} LAST\r\n{body}", body.len());
                say(&mut client, "MAIL FROM:<a@x.example>\r\n", "250 ");
                say(&mut client, "RCPT TO:<b@x.example>\r\n", "250 ");
                say(&mut client, &chunk, "250 ");
                say(&mut client, "QUIT\r\n", "221 ");
                assert_eq!(rest(&mut client), "");
            }
        }
        let (summary, messages) = sink.end();
        assert_eq!((messages.len(), summary.counters.messages), (8, 8));
        for (body, protocol, version) in messages {
            assert!(body == b"short\r\n" || body.len() == 11 * 60_000);
            assert_eq!((protocol.as_str(), version.as_str()), ("ESMTPS", "TLSv1.3"));
        }
        let counters = summary.counters;
        assert_eq!((counters.tls_sessions, counters.tls_failed, counters.tls_truncated), (4, 0, 0));
    }
}

#[test]
fn nothing_behind_starttls_is_carried_out_and_nothing_goes_on_in_plain_text() {
    for engine in engines() {
        let sink = Secure::start(engine);
        let mut socket = sink.plain(0);
        expect(&mut socket, "220 ");
        say(&mut socket, "EHLO x\r\n", "250 ");
        say(&mut socket, "STARTTLS\r\nRSET\r\n", "554 5.5.0 ");
        let mut left = Vec::new();
        socket.read_to_end(&mut left).unwrap();
        assert!(left.is_empty(), "{left:?}");
        // After the 220 there are records, or an alert.
        let mut socket = sink.plain(0);
        expect(&mut socket, "220 ");
        say(&mut socket, "EHLO x\r\n", "250 ");
        say(&mut socket, "STARTTLS\r\n", "220 ");
        socket.write_all(b"RSET\r\nMAIL FROM:<evil@x.example>\r\n").unwrap();
        socket.read_to_end(&mut left).unwrap();
        assert_eq!(left, [21, 3, 3, 0, 2, 2, 50]);
        let (summary, _) = sink.end();
        let faults: Vec<_> =
            summary.tls_faults.iter().map(|(fault, n)| (fault.name(), n)).collect();
        assert_eq!(faults, [("plain_text", 1)]);
    }
}

#[test]
fn those_who_speak_something_else_are_counted_by_what_they_do() {
    for engine in engines() {
        let sink = Secure::start(engine);
        for (said, answer) in [(&b"EHLO x\r\n"[..], 7), (b"GET / HTTP/1.1\r\n\r\n", 7), (b"", 0)] {
            let mut socket = sink.plain(1);
            socket.write_all(said).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            let mut left = Vec::new();
            socket.read_to_end(&mut left).unwrap();
            assert_eq!(left.len(), answer, "{left:?}");
        }
        // A browser inside TLS.
        let mut client = sink.implicit();
        say(&mut client, "GET / HTTP/1.1\r\n", "554 5.5.0 ");
        assert_eq!(rest(&mut client), "");
        // One that does not trust us.
        let (_, stranger) = configs();
        assert!(call(stranger, sink.plain(1)).is_err());
        let (summary, _) = sink.end();
        let faults: Vec<_> =
            summary.tls_faults.iter().map(|(fault, n)| (fault.name(), n)).collect();
        assert_eq!(faults, [("plain_text", 2), ("unknown_ca", 1), ("cut", 1)]);
        assert_eq!(summary.counters.tls_failed, 4);
    }
}

#[test]
fn a_message_that_is_cut_is_not_kept_however_the_client_leaves() {
    for engine in engines() {
        let sink = Secure::start(engine);
        for says_so in [true, false] {
            let mut client = sink.implicit();
            say(&mut client, "EHLO x\r\n", "250 ");
            say(&mut client, "MAIL FROM:<a@x.example>\r\n", "250 ");
            say(&mut client, "RCPT TO:<b@x.example>\r\n", "250 ");
            say(&mut client, "DATA\r\n", "354 ");
            client.write_all(b"half\r\n").unwrap();
            if says_so {
                client.conn.send_close_notify();
                client.flush().unwrap();
                // What comes behind close_notify is not looked at.
                client.sock.write_all(b".\r\nQUIT\r\n").unwrap();
                assert_eq!(rest(&mut client), "");
            } else {
                client.flush().unwrap();
                client.sock.shutdown(Shutdown::Write).unwrap();
                assert_eq!(rest(&mut client), "");
            }
        }
        let (summary, messages) = sink.end();
        assert!(messages.is_empty());
        let counters = summary.counters;
        assert_eq!((counters.rejected, counters.tls_truncated, counters.tls_failed), (2, 1, 0));
    }
}

#[test]
fn many_commands_in_one_flight_and_in_records_of_one_octet_are_answered_in_order() {
    for engine in engines() {
        let sink = Secure::start(engine);
        let mut client = sink.upgraded();
        say(&mut client, "EHLO x\r\n", "250 ");
        let transaction =
            "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nBDAT 4 LAST\r\nhi\r\n";
        client.write_all(transaction.repeat(500).as_bytes()).unwrap();
        client.flush().unwrap();
        for _ in 0..500 {
            for lead in ["250 2.1.0 ", "250 2.1.5 ", "250 2.0.0 "] {
                expect(&mut client, lead);
            }
        }
        for octet in transaction.bytes() {
            client.write_all(&[octet]).unwrap();
            client.flush().unwrap();
        }
        for lead in ["250 2.1.0 ", "250 2.1.5 ", "250 2.0.0 "] {
            expect(&mut client, lead);
        }
        client.conn.refresh_traffic_keys().unwrap();
        say(&mut client, "QUIT\r\n", "221 ");
        assert_eq!(rest(&mut client), "");
        assert_eq!(sink.end().0.counters.messages, 501);
    }
}

/// Makes a sink keep 64 KiB: two records with a handshake message that is not complete.
fn half_handshake(mut socket: TcpStream) -> TcpStream {
    let first = [&[22, 3, 1, 0x40, 0, 1, 0, 0xf0, 0][..], &[0; 0x4000 - 4]].concat();
    let second = [&[22, 3, 1, 0x3c, 0][..], &[0; 0x3c00]].concat();
    // The sink may have closed it.
    let _ = socket.write_all(&[first, second].concat());
    socket
}

/// Room for what cannot be taken yet goes to those for whom octets come.
#[test]
fn sessions_that_stop_in_a_record_make_room_for_those_that_get_on() {
    for engine in engines() {
        let secure = Secure::start(engine);
        let mut kept = secure.upgraded();
        mail(&mut kept, "before\r\n");
        // It stops in a record, and it is the first to do so.
        let mut stopped = secure.implicit();
        say(&mut stopped, "EHLO x\r\n", "250 ");
        stopped.conn.writer().write_all(&[b'x'; 16_000]).unwrap();
        let mut record = Vec::new();
        stopped.conn.write_tls(&mut record).unwrap();
        stopped.sock.write_all(&record[..3_000]).unwrap();
        // Those who only say how long their record is hold nothing.
        let said: Vec<_> = (0..50).map(|_| secure.plain(1)).collect();
        said.iter().for_each(|mut socket| socket.write_all(&[22, 3, 1, 0x40, 0]).unwrap());
        let halves: Vec<_> = (0..280).map(|_| half_handshake(secure.plain(1))).collect();
        expect(&mut stopped, "421 4.3.2 ");
        assert_eq!(rest(&mut stopped), "");
        // The oldest of the others hears nothing: there are no keys yet.
        let mut left = Vec::new();
        let _ = (&halves[0]).read_to_end(&mut left);
        assert!(left.is_empty(), "{left:?}");
        let long = "long line\r\n".repeat(60_000);
        mail(&mut kept, &long);
        mail(&mut secure.upgraded(), &long);
        drop((said, halves, kept));
        let (summary, messages) = secure.end();
        assert_eq!(messages.len(), 3);
        // Many fewer than those who came: they have left, or took too long.
        let no_room = summary.tls_faults.iter().find(|(fault, _)| fault.name() == "no_room");
        assert!((2..100).contains(&no_room.unwrap().1), "{no_room:?}");
    }
}

#[test]
fn a_session_is_resumed_on_another_connection() {
    for engine in engines() {
        let sink = Secure::start(engine);
        for _ in 0..3 {
            let mut client = sink.upgraded();
            say(&mut client, "EHLO x\r\n", "250 ");
            say(&mut client, "QUIT\r\n", "221 ");
            assert_eq!(rest(&mut client), "");
        }
        let (summary, _) = sink.end();
        assert_eq!((summary.counters.tls_sessions, summary.counters.tls_resumed), (3, 2));
    }
}

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// While the greeting is held back, a client may do all that TLS is about, and must not speak.
#[test]
fn who_waits_for_a_greeting_in_silence_is_no_early_talker() {
    for engine in engines() {
        for version in [&version::TLS12, &version::TLS13] {
            let sink = Secure::start_delayed(engine, &[version], FOR_EVER);
            // The handshake comes to its end before the greeting.
            let called = || call(sink.client.clone(), sink.plain(1)).unwrap();
            let mut silent = called();
            let mut leaves = called();
            if version.version == rustls::ProtocolVersion::TLSv1_3 {
                leaves.conn.refresh_traffic_keys().unwrap();
                leaves.flush().unwrap();
            }
            leaves.conn.send_close_notify();
            leaves.flush().unwrap();
            assert_eq!(rest(&mut leaves), "");
            let mut broken = called();
            let record = [&[23, 3, 3, 0, 40][..], &[0; 40]].concat();
            broken.sock.write_all(&record).unwrap();
            broken.read_to_end(&mut Vec::new()).unwrap_err();
            let mut early = called();
            say(&mut early, "EHLO x\r\n", "554 5.5.0 ");
            assert_eq!(rest(&mut early), "");
            let running = sink.running;
            let summary = running.stop();
            expect(&mut silent, "421 4.3.2 ");
            let counters = summary.counters;
            assert_eq!((counters.early_talkers, counters.tls_failed), (1, 1), "{version:?}");
            assert_eq!(counters.tls_sessions, 4);
        }
    }
}

#[test]
fn who_leaves_with_the_end_of_its_handshake_has_been_there() {
    for engine in engines() {
        for delay in [Duration::ZERO, FOR_EVER] {
            let sink = Secure::start_delayed(engine, &[&version::TLS13], delay);
            let mut socket = sink.plain(1);
            let name = super::tls::NAME.try_into().unwrap();
            let mut client = ClientConnection::new(sink.client.clone(), name).unwrap();
            while client.is_handshaking() {
                while client.wants_write() {
                    client.write_tls(&mut socket).unwrap();
                }
                client.read_tls(&mut socket).unwrap();
                client.process_new_packets().unwrap();
            }
            client.send_close_notify();
            let mut flight = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            socket.write_all(&flight).unwrap();
            // Our close_notify, or this is an error; nothing is said before it where the greeting waits.
            let said = rest(&mut StreamOwned::new(client, socket));
            assert!(said.is_empty() || delay.is_zero(), "{said}");
            let counters = sink.end().0.counters;
            assert_eq!((counters.tls_sessions, counters.tls_failed), (1, 0));
            assert_eq!((counters.early_talkers, counters.tls_truncated), (0, 0));
        }
    }
}
