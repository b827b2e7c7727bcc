//! What the sink says on stderr: of sessions, of their dialogue, and of clients that want what is not there.

use serde_json::Value;

use crate::program::{Program, Talk, engines};

const SECRET: &str = "AGFkYQBzZWNyZXQ=";

fn converse(sink: &Program) {
    let mut talk = Talk::open(sink.port);
    talk.says("EHLO client.example", "250");
    talk.says(&format!("AUTH PLAIN {SECRET}"), "235");
    talk.says("MAIL FROM:<a@client.example>", "250");
    talk.says("RCPT TO:<b@server.example>", "250");
    talk.says("RCPT TO:<c@server.example>", "452");
    talk.says("RCPT TO:<d@server.example>", "452");
    talk.says("DATA", "354");
    talk.says("Subject: hi\r\n\r\nwhat nobody logs\r\n.", "250");
    talk.says("\x1b[2J", "500");
    talk.says("QUIT", "221");
}

fn start(engine: &str, more: &[&str]) -> Program {
    let options = ["--io", engine, "--discard", "--cores", "1", "--auth", "any"];
    let options = [&options[..], &["--max-recipients", "1"], more].concat();
    Program::start("smtp", &options)
}

#[test]
fn a_session_is_one_line_at_its_end() {
    for engine in engines() {
        let sink = start(engine, &["-v"]);
        converse(&sink);
        let line = sink.line(|line| line.contains("session"));
        for part in [
            "session 0-0: 127.0.0.1:",
            "(client.example) on smtp://127.0.0.1:",
            ": 1 message, ",
            "refused 2 × 452 4.5.3 to RCPT, 1 × 500 ",
            "; ended by QUIT after ",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        sink.stop();
    }
}

#[test]
fn how_a_session_ended_is_told() {
    let options = ["--discard", "--cores", "1", "-v", "--log", "json", "--timeout", "1s"];
    let (sink, _) = Program::start_in_json(&[&options[..], &["--max-connections", "1"]].concat());
    let end = || {
        let line = sink.line(|line| line.contains("\"session\""));
        let line: Value = serde_json::from_str(&line).unwrap();
        line["end"].as_str().unwrap().to_owned()
    };
    drop(Talk::open(sink.port));
    assert_eq!(end(), "client-closed");
    let mut talk = Talk::open(sink.port);
    drop(Talk::open_refused(sink.port));
    assert_eq!(end(), "not-admitted");
    assert!(talk.reply().starts_with("421"), "the timeout");
    assert_eq!(end(), "timeout");
    drop(talk);
    let mut talk = Talk::open_when_free(sink.port);
    talk.says("EHLO x", "250");
    talk.says("MAIL FROM:<a@x.example>", "250");
    talk.says("RCPT TO:<a@x.example>", "250");
    talk.says("DATA", "354");
    drop(talk);
    assert_eq!(end(), "closed-in-message");
    sink.stop();
}

#[test]
fn the_dialogue_has_neither_secrets_nor_content_nor_controls() {
    for engine in engines() {
        let sink = start(engine, &["-vv"]);
        converse(&sink);
        let mut lines = Vec::new();
        loop {
            let line = sink.line(|_| true);
            if line.starts_with("session") {
                break;
            }
            lines.push(line);
        }
        let wanted = [
            "S: 220 ",
            "C: EHLO client.example",
            "S: 250-",
            "C: AUTH PLAIN ***",
            "S: 235 ",
            "C: MAIL FROM:<a@client.example>",
            "C: RCPT TO:<c@server.example>",
            "S: 452 4.5.3",
            "C: DATA",
            "S: 354",
            "octets of a message)",
            "S: 250 2.0.0 Ok: queued as",
            "C: ?[2J",
            "S: 500",
            "C: QUIT",
            "S: 221",
        ];
        let mut rest = lines.iter();
        for part in wanted {
            assert!(rest.any(|line| line.contains(part)), "{part} in its order in {lines:#?}");
        }
        for line in &lines {
            assert!(!line.contains(SECRET) && !line.contains("nobody logs"), "{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
        assert_eq!(lines.iter().filter(|line| line.contains("S: 220 ")).count(), 1, "{lines:#?}");
        sink.stop();
    }
}

#[test]
fn nothing_is_said_unless_asked_for() {
    let sink = start("auto", &[]);
    converse(&sink);
    sink.ask_to_stop();
    let said = sink.lines_to_the_end();
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn a_client_that_wants_what_is_not_there_gets_one_hint_of_each_kind() {
    for engine in engines() {
        let sink = Program::start("smtp", &["--io", engine, "--discard", "--cores", "2"]);
        let wants: [(&[u8], &str); 8] = [
            (b"EHLO x\r\nQUIT\r\n", "left after EHLO"),
            (b"EHLO x\r\nSTARTTLS\r\nQUIT\r\n", "wants STARTTLS"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "speaks TLS"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nQUIT\r\n", "--proxy-protocol 127.0.0.1"),
            (b"\r\n\r\n\0\r\nQUIT\n!\0\0\0\r\nQUIT\r\n", ""),
            (b"EHLO x\nMAIL FROM:<a@b.example>\n", "LF alone"),
            (b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nhi\n.\n", ""),
        ];
        for _ in 0..3 {
            for (octets, _) in wants {
                let mut talk = Talk::open(sink.port);
                talk.send(octets);
                talk.close_sending();
                while !talk.reply().is_empty() {}
            }
        }
        sink.ask_to_stop();
        let said = sink.lines_to_the_end();
        let wants = wants.iter().filter(|(_, part)| !part.is_empty());
        for (_, part) in wants.clone() {
            assert_eq!(
                said.iter().filter(|line| line.contains(part)).count(),
                1,
                "{part}: {said:#?}"
            );
        }
        assert_eq!(said.len(), wants.count(), "{said:#?}");
    }
}

#[test]
fn the_hint_for_a_client_that_leaves_names_what_is_missing_alone() {
    let both = ["--tls-self-signed", "--auth any"];
    for given in 0..4 {
        let is_given = |option: usize| given & 1 << option != 0;
        let options = both.iter().enumerate().filter(|(at, _)| is_given(*at));
        let options = options.flat_map(|(_, option)| option.split(' '));
        let options: Vec<_> = ["--discard", "--cores", "1"].into_iter().chain(options).collect();
        let sink = Program::start("smtp", &options);
        let mut talk = Talk::open(sink.port);
        talk.send(b"EHLO x\r\nQUIT\r\n");
        while !talk.reply().is_empty() {}
        sink.ask_to_stop();
        let said = sink.lines_to_the_end();
        let hint = said.iter().find(|line| line.contains("left after EHLO"));
        assert_eq!(hint.is_some(), given != 3, "{options:?}: {said:#?}");
        for (at, option) in both.iter().enumerate() {
            let is_named = hint.is_some_and(|line| line.contains(option));
            assert_eq!(is_named, hint.is_some() && !is_given(at), "{options:?}: {said:#?}");
        }
    }
}

#[test]
fn what_a_fault_took_away_is_no_reason_for_a_hint() {
    for fault in ["ehlo:hide-starttls", "starttls:454"] {
        let sink = start("auto", &["--tls-self-signed", "--fault", fault]);
        let mut talk = Talk::open(sink.port);
        talk.says("EHLO client.example", "250");
        talk.says("STARTTLS", if fault.starts_with("ehlo") { "502" } else { "454" });
        talk.says("QUIT", "221");
        let mut talk = Talk::open(sink.port);
        talk.says("EHLO client.example", "250");
        talk.says("QUIT", "221");
        sink.ask_to_stop();
        let said = sink.lines_to_the_end();
        assert!(!said.iter().any(|line| line.contains("a client (")), "{fault}: {said:#?}");
    }
}

/// Who works, or asks for nothing, gets no hint when it leaves.
#[test]
fn a_client_that_leaves_after_work_gets_no_hint() {
    let sink = start("auto", &[]);
    let envelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n";
    for wire in [
        "QUIT\r\n".to_owned(),
        "HELO x\r\nQUIT\r\n".to_owned(),
        "EHLO x\r\nNOOP\r\nQUIT\r\n".to_owned(),
        format!("EHLO x\r\nAUTH PLAIN {SECRET}\r\nQUIT\r\n"),
        format!("EHLO x\r\n{envelope}QUIT\r\n"),
        format!("EHLO x\r\n{envelope}RSET\r\nQUIT\r\n"),
        format!("EHLO x\r\n{envelope}DATA\r\n.\r\nQUIT\r\n"),
    ] {
        let mut talk = Talk::open(sink.port);
        talk.send(wire.as_bytes());
        while !talk.reply().is_empty() {}
    }
    sink.ask_to_stop();
    let said = sink.lines_to_the_end();
    assert!(said.is_empty(), "{said:#?}");
}

/// Whoever was refused did not leave for want of an extension.
#[test]
fn a_client_that_leaves_after_a_refusal_gets_no_hint() {
    let sink = start("auto", &["--syntax", "strict"]);
    let envelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n";
    for (wire, refused) in [
        (format!("EHLO x.example\r\n{envelope}DATA\r\nhi\nthere\r\n.\r\nQUIT\r\n"), "550"),
        ("EHLO x.example\r\nMAIL FROM:a@x.example\r\nQUIT\r\n".to_owned(), "501"),
    ] {
        let mut talk = Talk::open(sink.port);
        talk.send(wire.as_bytes());
        let replies: Vec<_> =
            std::iter::repeat_with(|| talk.reply()).take_while(|reply| !reply.is_empty()).collect();
        assert!(replies.iter().any(|reply| reply.starts_with(refused)), "{replies:?}");
    }
    sink.ask_to_stop();
    let said = sink.lines_to_the_end();
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn a_client_that_ends_its_lines_with_lf_is_heard_and_counted() {
    let sink = start("auto", &["-vv"]);
    let mut talk = Talk::open(sink.port);
    talk.send(b"EHLO x\nAUTH PLAIN c2VjcmV0\nQUIT\n");
    talk.close_sending();
    while !talk.reply().is_empty() {}
    sink.ask_to_stop();
    let said = sink.lines_to_the_end();
    let told = |part: &str| said.iter().any(|line| line.contains(part));
    assert!(told("ends its lines with LF alone") && !told("c2VjcmV0"), "{said:#?}");
    assert!(told("C: EHLO x") && told("C: AUTH PLAIN ***") && told("C: QUIT"), "{said:#?}");
    let report = sink.report_of_a_good_end();
    assert_eq!(report["deviations"]["bare-lf"]["sessions"], 1, "{}", report["deviations"]);
}

#[test]
fn with_a_log_in_json_stderr_has_nothing_else() {
    for engine in engines() {
        let options = ["--io", engine, "--discard", "-vv", "--log", "json", "--live", "lines"];
        let (sink, before) = Program::start_in_json(&options);
        let mut talk = Talk::open(sink.port);
        talk.says("EHLO x", "250");
        talk.says("STARTTLS", "502");
        talk.says("QUIT", "221");
        let live = sink.line(|line| line.contains("\"event\":\"live\""));
        sink.ask_for_the_board();
        let board = sink.line(|line| line.contains("\"reply_ns\""));
        sink.ask_to_stop();
        let said = before.into_iter().chain([live, board]).chain(sink.lines_to_the_end());
        let objects: Vec<Value> = said
            .map(|line| serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")))
            .collect();
        let of = |event: &str| objects.iter().filter(|object| object["event"] == event).count();
        assert_eq!((of("start"), of("listening")), (1, 1), "{objects:#?}");
        assert!(objects.iter().all(Value::is_object));
    }
}

/// What ends the program before it listens is JSON too.
#[test]
fn a_failure_at_the_start_is_json() {
    let options = ["--log", "json", "--discard", "--auth", "/nowhere/accounts"];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringpost-sink"));
    let done = command.args(["--listen", "127.0.0.1:0"]).args(options).output().unwrap();
    assert_eq!(done.status.code(), Some(66));
    let told: Value = serde_json::from_slice(&done.stderr).unwrap();
    assert_eq!(told["event"], "notice");
    assert!(told["text"].as_str().unwrap().contains("/nowhere/accounts"), "{told}");
}

#[test]
fn one_line_a_second_says_what_the_sink_does() {
    let sink = start("auto", &["--live", "lines"]);
    converse(&sink);
    // Two refused recipients and an unknown command.
    let line = sink.line(|line| line.ends_with("3 refused"));
    assert!(line.contains(" msg/s  ") && line.contains(" sessions  1 accepted  "), "{line}");
    let report = sink.stop();
    assert!(report["rate_msg_s"].is_null() && report["cpu_ns_per_message"].is_null(), "{report}");
}

#[test]
fn a_rate_needs_messages_and_counts_the_time_in_which_they_came() {
    const MESSAGES: usize = 150;
    let sink = Program::start("smtp", &["--discard", "--cores", "2"]);
    let one = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nBDAT 2 LAST\r\nhi";
    let mut talk = Talk::open(sink.port);
    talk.says("EHLO x", "250");
    for _ in 0..2 {
        talk.send(one.repeat(MESSAGES / 2).as_bytes());
        (0..3 * MESSAGES / 2).for_each(|_| assert!(talk.reply().starts_with("250")));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    talk.says("QUIT", "221");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let report = sink.stop();
    let number = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name}: {report}"));
    assert!(number("busy_s") + 0.25 < number("elapsed_s"), "{report}");
    let rate = MESSAGES as f64 / number("busy_s");
    assert!((number("rate_msg_s") / rate - 1.0).abs() < 1e-9, "{report}");
    assert!(number("cpu_ns_per_message") > 0.0, "{report}");
}
