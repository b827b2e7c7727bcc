//! ETRN: a delivery over a connection of its own.

use std::net::TcpListener;

use crate::server::{Manners, Server};
use crate::sink::engines;
use crate::support::{Post, without_trace};

fn url(server: &Server) -> String {
    format!("smtp://{}", server.address)
}

#[test]
fn the_mail_of_the_node_is_sent_and_nothing_else() {
    for engine in engines() {
        let server = Server::start(Manners::default());
        let post = Post::start(engine, &[("@a.example", url(&server))]);
        let dotted = b"Subject: 1\r\n\r\n.\r\n..dots\r\n.x\r\n";
        post.bring("", &["<x@A.example>", "<y@b.example>", "<z@a.example>"], dotted);
        post.bring("", &["<x@b.example>"], b"not for a\r\n");
        post.bring("", &["<x@sub.a.example>"], b"below\r\n");
        post.bring_chunk("", "<w@a.example>", b"no line end");
        assert_eq!(
            post.ask("ETRN a.example"),
            "253 2.0.0 OK, 2 pending messages for node a.example started"
        );
        let seen = server.sessions(1).remove(0);
        assert_eq!(seen.recipients(), ["x@A.example", "z@a.example", "w@a.example"]);
        assert_eq!(without_trace(&seen.bodies[0]), dotted);
        assert_eq!(without_trace(&seen.bodies[1]), b"no line end");
        assert!(seen.lines.last().unwrap() == "QUIT" && seen.lines[0] == "EHLO sink.example");
        post.settled_once(3);
        assert_eq!(
            post.ask("ETRN a.example"),
            "251 2.0.0 OK, no messages waiting for node a.example"
        );
        assert!(post.ask("ETRN @a.example").starts_with("253 2.0.0 OK, 1 pending"));
        let below = server.sessions(2).remove(1);
        assert_eq!(below.recipients(), ["x@sub.a.example"]);
        assert!(post.ask("ETRN @b.example").starts_with("459 4.7.1 Node @b.example not allowed"));
        post.settled_once(4);
        let summary = post.sink.stop();
        let relay = summary.relay.unwrap();
        assert_eq!((relay.runs, relay.messages, relay.delivered), (2, 3, 4));
        assert_eq!((relay.refused, relay.left), (0, 0));
    }
}

#[test]
fn a_queue_holds_all_that_waits() {
    for engine in engines() {
        let server = Server::start(Manners { offers: &["8BITMIME"], ..Manners::default() });
        let post = Post::start(engine, &[("#all", url(&server))]);
        post.bring("", &["<x@a.example>", "<Postmaster>"], b"one\r\n.two\r\nthree");
        post.bring(" BODY=8BITMIME", &["<x@[192.0.2.1]>"], "ümlaut\r\n".as_bytes());
        assert!(post.ask("ETRN #ALL").starts_with("253 2.0.0 OK, 2 pending"));
        let seen = server.sessions(1).remove(0);
        assert_eq!(seen.recipients(), ["x@a.example", "Postmaster", "x@[192.0.2.1]"]);
        // DATA carries whole lines only.
        assert_eq!(without_trace(&seen.bodies[0]), b"one\r\n.two\r\nthree\r\n");
        let mails: Vec<_> = seen.lines.iter().filter(|line| line.starts_with("MAIL")).collect();
        assert_eq!(mails, ["MAIL FROM:<me@z.example>", "MAIL FROM:<me@z.example> BODY=8BITMIME"]);
        post.settled_once(3);
        post.sink.stop();
    }
}

#[test]
fn each_recipient_is_settled_by_its_own_reply() {
    let replies = |line: &str| match line {
        line if line.contains("<gone@") => Some("550 5.1.1 No such user"),
        line if line.contains("<busy@") => Some("450 4.2.1 Busy"),
        _ => None,
    };
    for engine in engines() {
        for offers in [&["SIZE"][..], &["PIPELINING"], &["PIPELINING", "CHUNKING"]] {
            let server = Server::start(Manners { offers, replies, ..Manners::default() });
            let post = Post::start(engine, &[("a.example", url(&server))]);
            let to = ["<gone@a.example>", "<x@a.example>", "<busy@a.example>", "<y@a.example>"];
            post.bring("", &to, b"hi\r\n");
            post.bring("", &["<gone@a.example>"], b"for nobody\r\n");
            post.bring("", &["<z@a.example>"], b"ho\r\n");
            assert!(post.ask("ETRN a.example").starts_with("253 2.0.0 OK, 3 pending"));
            let settled = post.settled_once(5);
            let expected = [
                ("gone@a.example", "refused", 550),
                ("x@a.example", "delivered", 250),
                ("y@a.example", "delivered", 250),
                ("gone@a.example", "refused", 550),
                ("z@a.example", "delivered", 250),
            ];
            let told: Vec<_> =
                settled.iter().map(|(path, fate, code)| (path.as_str(), *fate, *code)).collect();
            assert_eq!(told, expected, "{offers:?}");
            let bodies = server.sessions(1).remove(0).bodies;
            assert_eq!(bodies.len(), 2, "{offers:?}");
            // Who was busy is tried again, alone; at once, or when the run before has quite ended.
            let reply = post.ask("ETRN a.example");
            let begun =
                ["253 2.0.0 OK, 1 pending", "252"].iter().any(|lead| reply.starts_with(lead));
            assert!(begun, "{reply}");
            let again = server.sessions(2).remove(1);
            assert_eq!(again.recipients(), ["busy@a.example"]);
            let relay = post.sink.stop().relay.unwrap();
            assert_eq!((relay.delivered, relay.refused, relay.left), (3, 2, 2));
        }
    }
}

#[test]
fn an_lmtp_server_answers_for_each_recipient() {
    let replies = |line: &str| line.contains("<gone@").then_some("550 5.1.1 No such user");
    for engine in engines() {
        let server = Server::start(Manners { lmtp: true, replies, ..Manners::default() });
        let post = Post::start(engine, &[("a.example", format!("lmtp://{}", server.address))]);
        post.bring("", &["<x@a.example>", "<gone@a.example>", "<y@a.example>"], b"hi\r\n");
        post.ask("ETRN a.example");
        assert_eq!(post.settled_once(3)[1], ("gone@a.example".to_owned(), "refused", 550));
        assert_eq!(server.sessions(1)[0].lines[0], "LHLO sink.example");
        post.sink.stop();
    }
}

#[test]
fn who_was_answered_for_before_the_connection_broke_gets_no_second_copy() {
    let replies = |line: &str| (line == ".").then_some("250 2.0.0 Taken\r\nno reply at all");
    for engine in engines() {
        let server = Server::start(Manners { lmtp: true, replies, ..Manners::default() });
        let post = Post::start(engine, &[("a.example", format!("lmtp://{}", server.address))]);
        post.bring("", &["<x@a.example>", "<y@a.example>"], b"hi\r\n");
        post.ask("ETRN a.example");
        assert_eq!(post.settled_once(1), [("x@a.example".to_owned(), "delivered", 250)]);
        post.ask("ETRN a.example");
        assert_eq!(server.sessions(2)[1].recipients(), ["y@a.example"]);
        post.sink.stop();
    }
}

#[test]
fn what_the_server_could_not_carry_waits() {
    for engine in engines() {
        let server = Server::start(Manners { offers: &["SIZE 2000", "DSN"], ..Manners::default() });
        let post = Post::start(engine, &[("a.example", url(&server))]);
        post.bring("", &["<x@a.example>"], "ü\r\n".as_bytes());
        post.bring("", &["<x@a.example>"], b"a bare\nline feed\r\n");
        post.bring(" SMTPUTF8", &["<ü@a.example>"], b"hi\r\n");
        post.bring_chunk(" BODY=BINARYMIME", "<x@a.example>", b"\0\x01\x02");
        post.bring("", &["<x@a.example>"], &b"0123456789\r\n".repeat(200));
        let circling = [&b"Received: x\r\n".repeat(100)[..], b"\r\n"].concat();
        post.bring("", &["<x@a.example>"], &circling);
        post.bring(" RET=HDRS", &["<x@a.example> NOTIFY=NEVER"], b"this one goes\r\n");
        assert!(post.ask("ETRN a.example").starts_with("253 2.0.0 OK, 7 pending"));
        let seen = server.sessions(1).remove(0);
        assert_eq!(seen.bodies.len(), 1);
        assert!(seen.lines[1].ends_with(" RET=HDRS") && seen.lines[2].ends_with(" NOTIFY=NEVER"));
        post.settled_once(1);
        assert!(post.ask("ETRN a.example").starts_with("253 2.0.0 OK, 6 pending"));
        post.sink.stop();
    }
}

#[test]
fn large_messages_and_long_lists_of_recipients_arrive_whole() {
    for engine in engines() {
        for offers in [&["PIPELINING", "CHUNKING"][..], &["PIPELINING"]] {
            let server = Server::start(Manners { offers, ..Manners::default() });
            let post = Post::start(engine, &[("a.example", url(&server))]);
            let body = b"0123456789 abcdefghijklmnopqrstuvwxyz\r\n.\r\n..\r\n".repeat(60_000);
            let to: Vec<_> = (0..250).map(|n| format!("<u{n}@a.example>")).collect();
            let to: Vec<_> = to.iter().map(String::as_str).collect();
            post.bring("", &to, &body);
            assert!(post.ask("ETRN a.example").starts_with("253 2.0.0 OK, 1 pending"));
            post.settled_once(250);
            let seen = server.sessions(1).remove(0);
            assert_eq!((seen.bodies.len(), seen.recipients().len()), (3, 250));
            assert!(seen.bodies.iter().all(|seen| without_trace(seen) == body));
            assert_eq!(post.sink.stop().relay.unwrap().messages, 3);
        }
    }
}

#[test]
fn mail_stays_where_the_server_is_down_or_refuses_to_talk() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = |line: &str| (line == "connect").then_some("554 go away");
    let ending = |line: &str| line.starts_with("MAIL").then_some("421 4.3.2 Ending");
    let odd = |line: &str| line.starts_with("RCPT").then_some("banana");
    for engine in engines() {
        for target in [
            format!("smtp://{port}"),
            url(&Server::start(Manners { replies: away, ..Manners::default() })),
            url(&Server::start(Manners { replies: ending, ..Manners::default() })),
            url(&Server::start(Manners { replies: odd, ..Manners::default() })),
        ] {
            let post = Post::start(engine, &[("a.example", target)]);
            post.bring("", &["<x@a.example>"], b"hi\r\n");
            for _ in 0..2 {
                // The run before may not be over: then its mail is pending.
                let said = post.ask("ETRN a.example");
                assert!(said.starts_with("253 2.0.0 OK, 1 ") || said.starts_with("252 "), "{said}");
            }
            let relay = post.sink.stop().relay.unwrap();
            assert_eq!((relay.delivered, relay.refused), (0, 0));
            assert!(relay.left >= 1);
        }
    }
}

#[test]
fn deliveries_share_no_mail_and_wait_for_each_other() {
    for engine in engines() {
        // Nobody answers there: the kernel takes the connections.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = || format!("smtp://{}", silent.local_addr().unwrap());
        let post = Post::start(engine, &[("@a.example", target()), ("#all", target())]);
        for n in 0..10 {
            post.bring("", &[&format!("<x@s{n}.a.example>")], b"hi\r\n");
        }
        let mut said = Vec::new();
        for command in ["ETRN s0.a.example", "ETRN s0.a.example", "ETRN @a.example", "ETRN #all"] {
            said.push(post.ask(command)[..3].to_owned());
        }
        assert_eq!(said, ["253", "252", "252", "252"]);
        for n in 1..8 {
            assert!(post.ask(&format!("ETRN s{n}.a.example")).starts_with("253"), "{n}");
        }
        // Eight run, and more do not.
        assert!(post.ask("ETRN s8.a.example").starts_with("250 2.0.0 OK, queuing"));
        let mut full = 0;
        for n in 0..70 {
            let reply = post.ask(&format!("ETRN t{n}.a.example"));
            full += usize::from(reply.starts_with("458 4.3.2 Unable"));
            assert!(reply.starts_with("250") || reply.starts_with("458"), "{reply}");
        }
        assert_eq!(full, 70 - (64 - 4));
        post.sink.stop();
    }
}
