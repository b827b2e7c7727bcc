//! ATRN: the roles turn round on the connection of the one who asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{Manners, Seen, serve, serve_on};
use crate::sink::engines;
use crate::support::{Post, settled, without_trace};

/// The customer (RFC 2645): logs in as `user` and says ATRN and what follows.
fn customer(post: &Post, user: &str, commands: &str) -> (TcpStream, Vec<String>) {
    let mut stream = TcpStream::connect(post.port()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let login = base64(format!("\0{user}\0secret").as_bytes());
    let wire = format!("EHLO customer.example\r\nAUTH PLAIN {login}\r\n{commands}");
    stream.write_all(wire.as_bytes()).unwrap();
    let mut replies = Vec::new();
    // The greeting, EHLO, AUTH and ATRN. No octet beyond must be taken.
    let wanted = 4;
    let mut input = BufReader::with_capacity(1, &stream);
    while replies.len() < wanted {
        let mut line = String::new();
        if input.read_line(&mut line).unwrap() == 0 {
            break;
        }
        if line.as_bytes()[3] == b' ' {
            replies.push(line.trim_end().to_owned());
        }
    }
    (stream, replies)
}

fn base64(octets: &[u8]) -> String {
    let mut text = Vec::new();
    ringpost::smtp::auth::write_base64(&mut text, octets);
    String::from_utf8(text).unwrap()
}

fn fetch(post: &Post, user: &str, command: &str, manners: &Manners) -> (String, Seen) {
    let (stream, replies) = customer(post, user, &format!("{command}\r\n"));
    let reply = replies.last().unwrap().clone();
    let seen = if reply.starts_with("250") { serve(&stream, manners) } else { Seen::default() };
    (reply, seen)
}

#[test]
fn the_roles_turn_round_and_the_mail_comes_down_the_same_connection() {
    for engine in engines() {
        let post = Post::start(engine, &[]);
        post.bring("", &["<x@a.example>", "<y@c.example>"], b"Subject: 1\r\n\r\n.dot\r\n");
        post.bring("", &["<z@deep.b.example>"], b"two\r\n");
        post.bring("", &["<y@c.example>"], b"tim's\r\n");
        let (reply, seen) = fetch(&post, "ada", "ATRN", &Manners::default());
        assert_eq!(reply, "250 2.0.0 OK, now reversing the connection");
        assert_eq!(seen.recipients(), ["x@a.example", "z@deep.b.example"]);
        assert_eq!(without_trace(&seen.bodies[0]), b"Subject: 1\r\n\r\n.dot\r\n");
        assert_eq!(without_trace(&seen.bodies[1]), b"two\r\n");
        assert_eq!(seen.lines.last().unwrap(), "QUIT");
        // Both are noted before the QUIT.
        assert_eq!(post.settled().len(), 2);
        let nothing = "453 4.2.0 You have no mail";
        // The queue hears of the end a moment after the customer.
        let again = (0..200).map(|_| fetch(&post, "ada", "ATRN", &Manners::default()).0);
        assert!(again.into_iter().any(|reply| reply == nothing));
        let (_, seen) = fetch(&post, "tim", "ATRN c.example", &Manners::default());
        assert_eq!(seen.recipients(), ["y@c.example", "y@c.example"]);
        let relay = post.sink.stop().relay.unwrap();
        assert_eq!((relay.runs, relay.messages, relay.delivered, relay.left), (2, 4, 4, 0));
    }
}

#[test]
fn nobody_gets_the_mail_of_others() {
    for engine in engines() {
        let post = Post::start(engine, &[]);
        post.bring("", &["<x@a.example>"], b"hi\r\n");
        for (user, command) in [
            ("tim", "ATRN a.example"),
            ("tim", "ATRN c.example,a.example"),
            ("eve", "ATRN"),
            ("eve", "ATRN a.example"),
            ("ada", "ATRN a.example,c.example"),
            ("ADA", "ATRN"),
        ] {
            let (reply, _) = fetch(&post, user, command, &Manners::default());
            assert_eq!(reply, "450 4.7.1 ATRN request refused", "{user}: {command}");
        }
        assert_eq!(
            fetch(&post, "tim", "ATRN", &Manners::default()).0,
            "453 4.2.0 You have no mail"
        );
        assert_eq!(post.settled(), []);
        post.sink.stop();
    }
}

#[test]
fn one_who_refuses_or_goes_away_leaves_the_rest_waiting() {
    let replies = |line: &str| match line {
        line if line.contains("<gone@") => Some("550 5.1.1 No such user"),
        line if line.contains("<last@") => Some("421 4.3.2 Enough"),
        _ => None,
    };
    for engine in engines() {
        let post = Post::start(engine, &[]);
        for who in ["gone", "x", "last", "y"] {
            post.bring("", &[&format!("<{who}@a.example>")], b"hi\r\n");
        }
        let manners = Manners { replies, offers: &[], ..Manners::default() };
        let (_, seen) = fetch(&post, "ada", "ATRN a.example", &manners);
        assert_eq!(seen.recipients(), ["gone@a.example", "x@a.example", "last@a.example"]);
        let settled = post.settled();
        assert_eq!(settled[0], ("gone@a.example".to_owned(), "refused", 550));
        assert_eq!((settled.len(), settled[1].1), (2, "delivered"));
        // Who hangs up behind the 250 has had nothing.
        drop(customer(&post, "ada", "ATRN a.example\r\n"));
        let relay = post.sink.stop().relay.unwrap();
        assert_eq!((relay.delivered, relay.refused), (1, 1));
        assert!(relay.left >= 2);
    }
}

#[test]
fn what_is_sent_behind_atrn_is_the_word_of_a_server() {
    for engine in engines() {
        let post = Post::start(engine, &[]);
        post.bring("", &["<x@a.example>"], b"hi\r\n");
        // No SMTP: nothing is sent, and the connection ends.
        let (mut stream, _) = customer(&post, "ada", "ATRN\r\nNOOP\r\n");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!((rest.as_str(), post.settled()), ("", vec![]));
        // A customer that does not wait for the 250 before its greeting.
        let early = || customer(&post, "ada", "ATRN\r\n220 customer.example ready\r\n");
        let turned = (0..200).map(|_| early()).find(|(_, replies)| replies[3].starts_with("250"));
        let (stream, _) = turned.expect("the run before never ended");
        let mut line = String::new();
        BufReader::with_capacity(1, &stream).read_line(&mut line).unwrap();
        assert_eq!(line, "EHLO sink.example\r\n");
        (&stream).write_all(b"250 customer.example\r\n").unwrap();
        assert_eq!(serve_on(&stream, &Manners::default()).recipients(), ["x@a.example"]);
        post.sink.stop();
    }
}

#[test]
fn a_sink_that_ends_sends_no_further_message_and_says_quit() {
    let replies = |line: &str| {
        if line == "." {
            thread::sleep(Duration::from_millis(300));
        }
        None
    };
    for engine in engines() {
        let post = Post::start(engine, &[]);
        for _ in 0..5 {
            post.bring("", &["<x@a.example>"], b"hi\r\n");
        }
        let (stream, _) = customer(&post, "ada", "ATRN\r\n");
        let manners = Manners { replies, ..Manners::default() };
        let customer = thread::spawn(move || serve(&stream, &manners));
        post.settled_once(1);
        let Post { sink, dir } = post;
        let relay = sink.stop().relay.unwrap();
        let seen = customer.join().unwrap();
        assert_eq!(seen.lines.last().unwrap(), "QUIT");
        assert!((1..5).contains(&seen.bodies.len()), "{}", seen.bodies.len());
        assert_eq!(relay.delivered, seen.bodies.len() as u64);
        assert_eq!(settled(dir.path()).len(), seen.bodies.len());
    }
}

#[test]
fn a_customer_that_says_nothing_is_left_in_time() {
    const REPLY_TIME: Duration = Duration::from_secs(2);
    for engine in engines() {
        let post = Post::start_within(engine, &[], REPLY_TIME);
        post.bring("", &["<x@a.example>"], b"hi\r\n");
        let (mut stream, _) = customer(&post, "ada", "ATRN\r\n");
        let began = Instant::now();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        let took = began.elapsed();
        assert_eq!(rest, "");
        assert!(took >= REPLY_TIME / 2 && took < 30 * REPLY_TIME, "{took:?}");
        let relay = post.sink.stop().relay.unwrap();
        assert_eq!((relay.runs, relay.messages, relay.left), (1, 0, 1));
    }
}
