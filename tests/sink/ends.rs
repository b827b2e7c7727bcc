//! How sessions end with the sink, and what is counted of messages that were refused.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::program::{LIMIT, Program, Talk, engines};

fn begin_message(talk: &mut Talk) {
    for command in ["EHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>"] {
        talk.says(command, "250");
    }
    talk.says("DATA", "354");
    talk.send(b"the rest never comes\r\n");
}

/// RFC 5321 §3.8: a server that must close says 421 first, also when the time for open messages is over.
#[test]
fn an_open_message_gets_its_421_at_the_end_of_the_drain() {
    for engine in engines() {
        let options = ["--io", engine, "--cores", "1", "--discard", "--drain-timeout", "300ms"];
        let sink = Program::start("smtp", &options);
        let mut talks = [Talk::open(sink.port), Talk::open(sink.port)];
        talks.iter_mut().for_each(begin_message);
        // In the middle of a chunk, too.
        let mut chunk = Talk::open(sink.port);
        for command in ["EHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>"] {
            chunk.says(command, "250");
        }
        chunk.send(b"BDAT 100 LAST\r\nhi");
        std::thread::sleep(Duration::from_millis(200));
        sink.ask_to_stop();
        for talk in talks.iter_mut().chain([&mut chunk]) {
            let reply = talk.reply();
            assert!(reply.starts_with("421 4.3.2 "), "{engine}: {reply:?}");
            assert_eq!(talk.reply(), "", "the sink closes");
        }
        let report = sink.report_of_a_good_end();
        assert_eq!((&report["messages"], &report["rejected"]), (&0.into(), &3.into()), "{report}");
    }
}

#[test]
fn a_message_that_is_refused_for_its_first_chunk_is_counted() {
    for engine in engines() {
        let options = ["--io", engine, "--cores", "1", "--discard", "--max-size", "1000"];
        let sink = Program::start("smtp", &options);
        let mut talk = Talk::open(sink.port);
        talk.says("EHLO x", "250");
        for chunk in ["BDAT 2000 LAST", "BDAT 2000"] {
            talk.says("MAIL FROM:<a@x.example>", "250");
            talk.says("RCPT TO:<b@x.example>", "250");
            talk.send(format!("{chunk}\r\n{}", "x".repeat(2000)).as_bytes());
            assert!(talk.reply().starts_with("552"));
            talk.says("RSET", "250");
        }
        talk.send(b"BDAT 2 LAST\r\nhi");
        assert!(talk.reply().starts_with("503"), "no transaction, and no message");
        talk.says("QUIT", "221");
        let report = sink.stop();
        assert_eq!((&report["messages"], &report["rejected"]), (&0.into(), &2.into()), "{report}");
    }
}

/// RFC 5321 §3.8, also for those whom the kernel connected before the sink took them.
#[test]
fn callers_in_the_backlog_get_their_421_however_many_there_are() {
    for engine in engines() {
        let sink = Program::start("smtp", &["--io", engine, "--cores", "1", "--discard"]);
        sink.signal(Signal::STOP);
        let call = |_| TcpStream::connect(("127.0.0.1", sink.port)).unwrap();
        let callers: Vec<_> = (0..150).map(call).collect();
        sink.ask_to_stop();
        sink.signal(Signal::CONT);
        for (number, mut caller) in callers.into_iter().enumerate() {
            let mut said = String::new();
            caller.set_read_timeout(Some(LIMIT)).unwrap();
            caller.read_to_string(&mut said).unwrap();
            let last = said.lines().last();
            assert!(
                last.is_some_and(|last| last.starts_with("421 ")),
                "{engine} {number}: {said:?}"
            );
        }
        sink.report_of_a_good_end();
    }
}

/// The core that has no session ends first, and the relay goes on for the other.
#[test]
fn the_last_session_has_a_relay_to_its_end() {
    for engine in engines() {
        let spool = tempfile::tempdir().unwrap();
        let spool = spool.path().join("spool");
        let route = "a.example=smtp://127.0.0.1:9";
        let options = ["--io", engine, "--max-sessions", "1", "--etrn", route, "--spool"];
        let sink = Program::start("smtp", &[&options[..], &[spool.to_str().unwrap()]].concat());
        let mut talk = Talk::open(sink.port);
        talk.says("EHLO x", "250");
        // The other cores, if there are any, have been told by now.
        std::thread::sleep(Duration::from_millis(300));
        talk.says("ETRN a.example", "251");
        talk.says("QUIT", "221");
        sink.report_of_a_good_end();
    }
}
