//! SIGUSR1 shows the live board, and the report at the end says the same.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{LIMIT, Program, Talk, engines};

fn message(talk: &mut Talk) {
    talk.says("MAIL FROM:<a@client.example>", "250");
    talk.says("RCPT TO:<b@server.example>", "250");
    talk.says("DATA", "354");
    talk.says("Subject: hi\r\n\r\nhello\r\n.", "250");
}

fn number(object: &Value, name: &str) -> u64 {
    object[name].as_u64().unwrap_or_else(|| panic!("{name} in {object}"))
}

/// Every counter that both have.
fn assert_same_counters(board: &Value, report: &Value) {
    let counters = board.as_object().unwrap().iter().filter(|(_, value)| value.is_u64());
    let mut compared = 0;
    for (name, value) in counters.filter(|(name, _)| *name != "sessions_open") {
        assert_eq!(value, &report[name], "{name}");
        compared += 1;
    }
    assert!(compared >= 16, "{board}");
}

const REFUSED_RECIPIENTS: u64 = 7;
const CLIENTS: u64 = 2;
const BATCHES: u64 = 4;
const BATCH: u64 = 25;

/// Sends a batch of messages for each word from `go`. No client sends on when the test has failed,
/// because the words end then.
fn client(port: u16, go: &Receiver<()>) {
    let mut talk = Talk::open(port);
    talk.says("EHLO client.example", "250");
    while go.recv_timeout(LIMIT).is_ok() {
        for _ in 0..BATCH {
            message(&mut talk);
            talk.says("NOSUCH", "500");
        }
    }
    talk.says("QUIT", "221");
}

#[test]
fn the_board_grows_under_load_and_ends_as_the_report() {
    for engine in engines() {
        let sink = Program::start("smtp", &["--io", engine, "--discard", "--cores", "2"]);
        thread::scope(|scope| {
            let start = |_| {
                let (go, gone) = mpsc::channel();
                scope.spawn(move || client(sink.port, &gone));
                go
            };
            let clients: Vec<_> = (0..CLIENTS).map(start).collect();
            let mut before = 0;
            for batch in 1..=BATCHES {
                clients.iter().for_each(|go| go.send(()).unwrap());
                let expected = batch * CLIENTS * BATCH;
                let board = until(|| {
                    let board = sink.board();
                    let messages = number(&board, "messages");
                    assert!(before <= messages && messages <= expected, "{board}");
                    before = messages;
                    (messages == expected).then_some(board)
                });
                let board = board.expect("the messages of a batch show on the board");
                assert_eq!(number(&board, "sessions_open"), CLIENTS, "{board}");
            }
        });
        let board = until_idle(&sink);
        let messages = number(&board, "messages");
        assert_eq!(messages, BATCHES * CLIENTS * BATCH);
        assert_eq!(number(&board, "connections"), CLIENTS);
        // MAIL, RCPT and the end of data; in each session the greeting, EHLO and QUIT.
        assert_eq!(number(&board, "replies_2xx"), 3 * messages + 3 * CLIENTS);
        assert_eq!(number(&board, "replies_3xx"), messages);
        assert_eq!(number(&board, "replies_5xx"), messages);
        assert_times(&board["reply_ns"], messages);
        let report = sink.stop();
        assert_same_counters(&board, &report);
        assert_eq!(board["reply_ns"], report["reply_ns"]);
    }
}

#[test]
fn the_board_is_shown_during_the_drain_too() {
    let sink = Program::start("smtp", &["--discard", "--cores", "1"]);
    let nothing = &sink.board()["reply_ns"]["mail"];
    assert!(nothing["p50"].is_null() && nothing["max"].is_null(), "{nothing}");
    assert_eq!(number(nothing, "count"), 0);
    let mut talk = Talk::open(sink.port);
    talk.says("EHLO client.example", "250");
    talk.says("MAIL FROM:<a@client.example>", "250");
    talk.says("RCPT TO:<b@server.example>", "250");
    talk.says("DATA", "354");
    sink.ask_to_stop();
    for _ in 0..3 {
        let board = sink.board();
        let shown = (number(&board, "sessions_open"), number(&board, "messages"));
        assert_eq!(shown, (1, 0), "{board}");
    }
    talk.says("Subject: hi\r\n\r\nhello\r\n.", "250");
    assert!(talk.reply().starts_with("421"), "the sink ends");
    drop(talk);
    let report = sink.report_of_a_good_end();
    assert_eq!(number(&report, "messages"), 1);
}

fn assert_times(times: &Value, messages: u64) {
    assert_eq!(number(&times["end_of_data"], "count"), messages, "each is measured");
    assert_eq!(number(&times["connect"], "count"), CLIENTS);
    for verb in ["mail", "rcpt", "data", "other"] {
        let count = number(&times[verb], "count");
        assert!(0 < count && count < messages + 6, "{verb}: {times}");
    }
    for verb in ["connect", "end_of_data", "mail"] {
        let count = number(&times[verb], "count");
        let mut least = 1;
        for (name, needs) in [("p50", 2), ("p90", 10), ("p99", 100), ("p999", 1_000), ("max", 1)] {
            // What the replies do not carry is unknown.
            assert_eq!(times[verb][name].is_null(), count < needs, "{verb} {name}: {times}");
            if count >= needs {
                assert!(number(&times[verb], name) >= least, "{verb} {name}: {times}");
                least = number(&times[verb], name);
            }
        }
    }
}

/// The board once no session is left.
fn until_idle(sink: &Program) -> Value {
    until(|| Some(sink.board()).filter(|board| board["sessions_open"] == 0))
        .expect("sessions do not end")
}

/// What `find` finds before the time is up.
fn until<T>(mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(found) = find() {
            return Some(found);
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}

#[test]
fn refusals_and_callers_turned_away_are_on_the_board() {
    let options = "--discard --cores 1 --max-connections 1 --max-recipients 1 --syntax strict";
    let options: Vec<_> = options.split(' ').collect();
    let sink = Program::start("lmtp", &options);
    let mut first = Talk::open(sink.port);
    let mut second = Talk::open_refused(sink.port);
    assert!(second.reply().is_empty(), "closed");
    first.says("LHLO client.example", "250");
    first.says("MAIL FROM:<a@client.example>", "250");
    first.says("RCPT TO:<b@server.example>", "250");
    for _ in 0..REFUSED_RECIPIENTS {
        first.says("RCPT TO:<c@server.example>", "452");
    }
    first.says("DATA", "354");
    first.says("bare\nnewline\r\n.", "550");
    first.says("QUIT", "221");
    let board = until_idle(&sink);
    for (name, expected) in [
        ("turned_away", 1),
        ("connections", 1),
        ("rejected", 1),
        ("messages", 0),
        ("replies_2xx", 5),
        ("replies_3xx", 1),
        ("replies_4xx", 1 + REFUSED_RECIPIENTS),
        ("replies_5xx", 1),
    ] {
        assert_eq!(number(&board, name), expected, "{name} in {board}");
    }
    assert_eq!(number(&board["reply_ns"]["end_of_data"], "count"), 1);
    let expected = json!([
        { "phase": "rcpt", "code": 452, "enhanced": "4.5.3", "count": REFUSED_RECIPIENTS },
        { "phase": "connect", "code": 421, "enhanced": "4.3.2", "count": 1 },
        { "phase": "end_of_data", "code": 550, "enhanced": "5.6.0", "count": 1 },
    ]);
    assert_eq!(board["refusals"], expected, "{board}");
    let report = sink.stop();
    assert_same_counters(&board, &report);
    assert_eq!(report["refusals"], expected, "{report}");
}

/// Refusals on several cores are one sum, and each command and each end has its own phase.
#[test]
fn each_refusal_is_told_by_what_it_answers_and_by_its_codes() {
    for engine in engines() {
        let options = "--discard --cores 2 --auth any --syntax strict".split(' ');
        let options: Vec<_> = ["--io", engine].into_iter().chain(options).collect();
        let sink = Program::start("smtp", &options);
        for _ in 0..REFUSED_RECIPIENTS {
            let mut talk = Talk::open(sink.port);
            talk.says("EHLO (x)", "501");
            talk.says("DATA", "503");
            talk.says("EHLO client.example", "250");
            talk.says("AUTH PLAIN !", "501");
            talk.says("NOSUCH", "500");
            talk.says("MAIL FROM:<a@client.example> SIZE=99999999999", "552");
            talk.says("QUIT", "221");
        }
        until_idle(&sink);
        let report = sink.stop();
        let found: Vec<_> = report["refusals"].as_array().unwrap().iter().collect();
        let one = |refusal: &&Value| {
            let code = refusal["code"].as_u64().unwrap();
            (
                refusal["phase"].as_str().unwrap().to_owned(),
                code,
                refusal["count"].as_u64().unwrap(),
            )
        };
        let expected =
            [("hello", 501), ("auth", 501), ("mail", 552), ("data", 503), ("other", 500)];
        let expected: Vec<_> = expected
            .map(|(phase, code)| (phase.to_owned(), code, REFUSED_RECIPIENTS))
            .into_iter()
            .collect();
        assert_eq!(found.iter().map(one).collect::<Vec<_>>(), expected, "{report}");
        assert_eq!(report["refusals_beyond"], 0);
    }
}

/// A sink that can be connected to lives on when it is asked for its board.
#[test]
fn a_signal_before_the_sink_is_ready_does_not_end_it() {
    for engine in engines().repeat(4) {
        let sink = Program::start_early(&["--io", engine, "--discard", "--cores", "1"]);
        let client = until(|| TcpStream::connect(("127.0.0.1", sink.port)).ok());
        sink.ask_for_the_board();
        let client = client.expect("the sink listens");
        client.set_read_timeout(Some(LIMIT)).unwrap();
        let mut greeting = String::new();
        let read = BufReader::new(client).read_line(&mut greeting);
        assert!(greeting.starts_with("220 "), "{engine}: {greeting:?} {read:?}");
        sink.stop();
    }
}

#[test]
fn a_total_is_the_sum_of_its_cores_also_under_load() {
    let sink = Program::start("smtp", &["--discard", "--cores", "2"]);
    let (go, wait) = mpsc::channel();
    thread::scope(|scope| {
        let port = sink.port;
        scope.spawn(move || client(port, &wait));
        for _ in 0..BATCHES {
            go.send(()).unwrap();
            for _ in 0..5 {
                let board = sink.board();
                for name in ["messages", "replies_2xx", "connections", "sessions_open"] {
                    let cores = board["cores"].as_array().unwrap();
                    let sum: u64 = cores.iter().map(|core| number(core, name)).sum();
                    assert_eq!(number(&board, name), sum, "{name}: {board}");
                }
            }
        }
        drop(go);
    });
}
