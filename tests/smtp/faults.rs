//! Faults of TLS that a sink was asked for, on the wire, on each engine.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use ringpost::engine::EngineKind;
use ringpost::rules::{FaultEvent, FaultRule, FaultRules};

use super::secure::{Client, Secure, expect, mail, say};
use super::sink::engines;
use super::tls::call;

const SEED: u64 = 7;

fn rules(texts: &[&str]) -> FaultRules {
    let time = |text: &str| text.strip_suffix("ms")?.parse().ok();
    let rules = texts.iter().map(|text| FaultRule::parse(text, time).unwrap());
    FaultRules::new(rules.collect(), SEED)
}

fn sink(engine: EngineKind, texts: &[&str]) -> Secure {
    Secure::start_faulty(engine, Some(rules(texts)))
}

/// Ends the sink; how often each rule struck, and how many messages were kept.
fn end(sink: Secure) -> (Vec<u64>, usize) {
    let (summary, messages) = sink.end();
    (summary.faults.iter().map(|fault| fault.hits).collect(), messages.len())
}

#[test]
fn starttls_may_be_hidden_or_refused_and_the_session_goes_on_in_plain_text() {
    for engine in engines() {
        for (rule, hello, reply) in [
            ("ehlo:hide-starttls", false, "502 5.5.1 "),
            ("starttls:454", true, "454 4.7.0 TLS not available; try again later"),
        ] {
            let sink = sink(engine, &[rule]);
            let mut socket = sink.plain(0);
            expect(&mut socket, "220 ");
            let offers = say(&mut socket, "EHLO me\r\n", "250 ");
            assert_eq!(offers.contains("STARTTLS"), hello, "{offers}");
            say(&mut socket, "STARTTLS\r\n", reply);
            say(&mut socket, "MAIL FROM:<a@x.example>\r\n", "250 ");
            // It is no matter of the other port.
            mail(&mut sink.implicit(), "hi\r\n");
            drop(socket);
            assert_eq!(end(sink), (vec![1], 1), "{rule}");
        }
    }
}

#[test]
fn starttls_may_get_no_answer() {
    for engine in engines() {
        let sink = sink(engine, &["starttls:silence"]);
        let mut socket = sink.plain(0);
        expect(&mut socket, "220 ");
        // What comes before it is answered.
        socket.write_all(b"EHLO me\r\nSTARTTLS\r\n").unwrap();
        expect(&mut socket, "250 ");
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        for _ in 0..2 {
            // It goes on when a signal for another test interrupts it.
            let silent = socket.read_exact(&mut [0]).unwrap_err();
            let kind = silent.kind();
            assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
            socket.write_all(b"NOOP\r\n").unwrap();
        }
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(socket.read_to_end(&mut Vec::new()).unwrap(), 0);
        assert_eq!(end(sink), (vec![1], 0));
    }
}

#[test]
fn plain_text_may_stand_behind_the_220_and_the_handshake_follows() {
    for engine in engines() {
        let sink = sink(engine, &["starttls:plain"]);
        let mut socket = sink.plain(0);
        expect(&mut socket, "220 ");
        say(&mut socket, "EHLO me\r\n", "250 ");
        say(&mut socket, "STARTTLS\r\n", "220 2.0.0 ");
        assert_eq!(expect(&mut socket, ""), "250 2.0.0 This line came in plain text\r\n");
        mail(&mut call(sink.client.clone(), socket).unwrap(), "hi\r\n");
        assert_eq!(end(sink), (vec![1], 1));
    }
}

#[test]
fn a_handshake_may_be_delayed() {
    const DELAY: Duration = Duration::from_millis(400);
    for engine in engines() {
        let sink = sink(engine, &["handshake:delay=300ms", "handshake:delay=100ms"]);
        for client in [Secure::upgraded, Secure::implicit] {
            let began = Instant::now();
            mail(&mut client(&sink), "hi\r\n");
            assert!(began.elapsed() >= DELAY);
        }
        assert_eq!(end(sink), (vec![2, 2], 2));
    }
}

#[test]
fn a_handshake_may_be_cut_with_an_alert_or_without() {
    for engine in engines() {
        for (rule, last) in [
            ("handshake:cut", &[][..]),
            ("handshake:alert=unrecognized_name", &[21, 3, 3, 0, 2, 2, 112]),
        ] {
            let sink = sink(engine, &[rule]);
            for port in [0, 1] {
                let mut socket = sink.plain(port);
                if port == 0 {
                    expect(&mut socket, "220 ");
                    say(&mut socket, "EHLO me\r\n", "250 ");
                    say(&mut socket, "STARTTLS\r\n", "220 ");
                }
                // A client that does not speak is not told anything.
                socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                assert!(socket.read(&mut [0]).is_err());
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                socket.write_all(&[22, 3, 1, 0, 200]).unwrap();
                let mut said = Vec::new();
                socket.read_to_end(&mut said).unwrap();
                assert_eq!(said, last, "{rule}");
                assert!(call(sink.client.clone(), sink.plain(1)).is_err());
            }
            assert_eq!(end(sink), (vec![4], 0), "{rule}");
        }
    }
}

/// What is left to the end of the connection, and whether that was close_notify.
fn rest(client: &mut Client) -> (String, bool) {
    let mut rest = Vec::new();
    let end = client.read_to_end(&mut rest);
    (String::from_utf8(rest).unwrap(), end.is_ok())
}

#[test]
fn a_session_may_end_without_close_notify() {
    for engine in engines() {
        let sink = sink(engine, &["close:no-notify"]);
        for client in [Secure::upgraded, Secure::implicit] {
            let mut client = client(&sink);
            mail(&mut client, "hi\r\n");
            client.write_all(b"QUIT\r\n").unwrap();
            let (said, closed) = rest(&mut client);
            assert!(said.starts_with("221 ") && !closed, "{said}");
        }
        assert_eq!(end(sink), (vec![2], 2));
    }
}

#[test]
fn a_session_may_end_with_close_notify_in_a_message() {
    for engine in engines() {
        let sink = sink(engine, &["data:close-notify"]);
        for (command, reply) in [("DATA\r\n", "354 "), ("BDAT 100\r\nhi\r\n", "")] {
            let mut client = sink.upgraded();
            say(&mut client, "EHLO me\r\n", "250 ");
            say(&mut client, "MAIL FROM:<a@x.example>\r\n", "250 ");
            say(&mut client, "RCPT TO:<b@x.example>\r\n", "250 ");
            client.write_all(command.as_bytes()).unwrap();
            let (said, closed) = rest(&mut client);
            assert!(said.starts_with(reply) && closed, "{said}");
            assert!(said.lines().count() <= 1, "{said}");
        }
        // In plain text there is nothing to close.
        let mut socket = sink.plain(0);
        expect(&mut socket, "220 ");
        say(&mut socket, "EHLO me\r\n", "250 ");
        say(&mut socket, "MAIL FROM:<a@x.example>\r\n", "250 ");
        say(&mut socket, "RCPT TO:<b@x.example>\r\n", "250 ");
        say(&mut socket, "DATA\r\n", "354 ");
        say(&mut socket, "hi\r\n.\r\n", "250 ");
        assert_eq!(end(sink), (vec![2], 1));
    }
}

#[test]
fn a_seed_decides_which_sessions_have_a_fault() {
    const SESSIONS: u64 = 60;
    let drawn = ["starttls:454:50%"];
    let foretold: Vec<bool> = (0..SESSIONS)
        .map(|session| rules(&drawn).strike(FaultEvent::StartTls, session).action.is_some())
        .collect();
    let hits = foretold.iter().filter(|hit| **hit).count() as u64;
    assert!(hits > 10 && hits < SESSIONS - 10, "{hits}");
    for engine in engines() {
        let sink = sink(engine, &drawn);
        let struck = (0..SESSIONS).map(|_| {
            let mut socket = sink.plain(0);
            expect(&mut socket, "220 ");
            say(&mut socket, "EHLO me\r\n", "250 ");
            say(&mut socket, "STARTTLS\r\n", "").starts_with("454")
        });
        assert_eq!(struck.collect::<Vec<_>>(), foretold);
        assert_eq!(end(sink), (vec![hits], 0));
    }
}
