//! Each figure of `run.json` is what its name says: `recount.py` computes it again from the servers' logs.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::cases::Mood;
use super::generator::{Disturbance, Ran, cores, run, words};
use super::server::{Answer, Ask, Asked, Server, good, say};

/// What a server does, and the load.
struct Row {
    answer: fn(Ask<'_>) -> Answer,
    targets: usize,
    load: &'static str,
}

/// Refuses every third recipient.
fn some_recipients(ask: Ask<'_>) -> Answer {
    let Asked::Command(line) = ask.what else { return good(ask) };
    match line.starts_with("RCPT") && line.contains("3@") {
        true => say("550 5.1.1 nobody"),
        false => good(ask),
    }
}

fn some_messages(ask: Ask<'_>) -> Answer {
    Mood::Refuses(".", 452).answer(ask)
}

fn some_senders(ask: Ask<'_>) -> Answer {
    Mood::Refuses("MAIL", 550).answer(ask)
}

/// A code that no rule allows.
fn odd_digits(ask: Ask<'_>) -> Answer {
    Mood::Refuses("RCPT", 571).answer(ask)
}

/// Takes one message after the other, 20 ms each, however many connections there are.
fn one_at_a_time(ask: Ask<'_>) -> Answer {
    static FREE_NS: Mutex<u64> = Mutex::new(0);
    let Asked::Message { .. } = ask.what else { return good(ask) };
    let mut free_ns = FREE_NS.lock().unwrap();
    *free_ns = ask.at_ns.max(*free_ns) + 20_000_000;
    Answer::SayAt(*free_ns, "250 2.0.0 ok".to_owned())
}

/// Takes so long for each message that all connections have one under way at once.
fn slow(ask: Ask<'_>) -> Answer {
    Mood::Slow(20_000).answer(ask)
}

const ROWS: [Row; 20] = [
    Row { answer: slow, targets: 1, load: "-n 45 -c 3" },
    Row { answer: good, targets: 1, load: "-n 60 -c 3" },
    Row { answer: good, targets: 1, load: "-z 250ms -c 2 --per-connection 2..4" },
    Row { answer: good, targets: 1, load: "-n 120 -c 4 --pipelining full --recipients 2" },
    Row { answer: good, targets: 2, load: "-n 120 -c 4 --chunking --depth 8" },
    Row { answer: good, targets: 1, load: "-q 200 -z 400ms -c 4 --per-connection 1" },
    Row { answer: good, targets: 2, load: "-q 150 --arrivals poisson -n 60 -c 4" },
    Row {
        answer: good,
        targets: 3,
        load: "--session-rate 50 --per-connection 3 -n 60 -c 8 --think 5ms",
    },
    Row { answer: some_recipients, targets: 1, load: "-n 60 -c 2 --recipients 1..4" },
    Row {
        answer: some_recipients,
        targets: 1,
        load: "-n 60 -c 2 --recipients 1..4 --pipelining full",
    },
    Row { answer: some_messages, targets: 2, load: "-q 200 -n 60 -c 4 --per-connection 1" },
    Row { answer: odd_digits, targets: 1, load: "-n 60 -c 2 --recipients 2" },
    Row { answer: good, targets: 1, load: "-z 200ms -c 2 --warmup 100ms --cooldown 100ms" },
    Row {
        answer: good,
        targets: 2,
        load: "-q 150 -z 300ms -c 8 --per-connection 1 --warmup 200ms --cooldown 200ms",
    },
    Row {
        answer: good,
        targets: 1,
        load: "-q 150 -z 300ms -c 4 --arrivals poisson --warmup 200ms --cooldown 200ms",
    },
    Row { answer: good, targets: 1, load: "-q 200 -n 80 -c 4 --warmup 100ms --recipients 1..3" },
    Row { answer: some_senders, targets: 1, load: "-n 60 -c 2 --recipients 2" },
    // The server takes 50 a second and not 200: most are accepted in the drain. The end lies between two looks of
    // a core at what waits.
    Row { answer: one_at_a_time, targets: 1, load: "-q 200 -z 350ms -c 8" },
    // At the end some wait that were due in the warm-up.
    Row { answer: one_at_a_time, targets: 1, load: "-q 200 -z 150ms -c 8 --warmup 300ms" },
    Row {
        answer: one_at_a_time,
        targets: 2,
        load: "-q 200 -z 300ms -c 8 --per-connection 1 --warmup 100ms",
    },
];

/// Runs `row` and gives what `recount.py` says about it.
fn differences(row: &Row) -> Result<Ran, String> {
    let servers: Vec<Server> = (0..row.targets).map(|_| Server::start(row.answer)).collect();
    let mut arguments =
        words(&format!("{} --cores {} --drain 30s --size 400..3k", row.load, cores(1)));
    arguments.extend(servers.iter().map(Server::address));
    let ran = run(&arguments, Disturbance::None, 0);
    let logs = (0..row.targets).map(|n| ran.dir.path().join(format!("log-{n}")));
    let logs: Vec<_> = logs
        .zip(&servers)
        .map(|(path, server)| {
            server.log().write(&path);
            path
        })
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/figures/recount.py");
    let done = Command::new("python3")
        .arg("-B")
        .arg(script)
        .arg(ran.dir.path().join("run"))
        .args(logs)
        .output();
    let done = done.expect("python3 computes the figures again");
    let told = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    match done.status.success() {
        true => Ok(ran),
        false => Err(format!("{}: {}", row.load, told.concat())),
    }
}

#[test]
fn every_figure_is_what_an_independent_count_gives() {
    let next = AtomicUsize::new(0);
    let wrong = std::thread::scope(|scope| {
        let some = [0, 1].map(|_| {
            scope.spawn(|| {
                let mut wrong = Vec::new();
                while let Some(row) = ROWS.get(next.fetch_add(1, Relaxed)) {
                    wrong.extend(differences(row).err());
                }
                wrong
            })
        });
        some.map(|thread| thread.join().unwrap()).concat()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A dry run tells the rate of every schedule, as a number.
#[test]
fn every_schedule_has_a_rate() {
    for (load, rate) in [
        ("-q 1000 -n 500", 1_000.0),
        ("-q 1000 --warmup 1s -n 1000", 1_000.0),
        ("-q 1000 --warmup 2s -n 1000", 1_000.0),
        ("-q 100..0/1s -n 1000", 50.0),
        ("-q 100..300/2s", 200.0),
        ("--session-rate 50 --per-connection 4 -z 3s", 50.0),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost-blast"));
        let arguments = words(&format!("{load} --dry-run --json 127.0.0.1:1"));
        let done = command.args(arguments).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert!(told["plan"]["arrivals_of"].is_string(), "{load} has a schedule");
        let told = told["plan"]["rate_msg_s"].as_f64();
        assert!(told.is_some_and(|told| (told / rate - 1.0).abs() < 1e-6), "{load}: {told:?}");
    }
}

/// So many of a hundred messages are so many per cent, and no more.
#[test]
fn a_share_is_that_of_whole_numbers() {
    for refused in [7, 14, 28, 29, 55, 57] {
        let server = Server::start(move |ask: Ask<'_>| match ask.what {
            Asked::Message { index } if index < refused => say("452 4.3.1 full"),
            _ => good(ask),
        });
        let arguments = words(&format!(
            "-n 100 -c 4 --fail-if failed>{refused}% --fail-if failed<{refused}% --fail-if failed=={refused}% {}",
            server.address()
        ));
        let ran = run(&arguments, Disturbance::None, 0);
        assert_eq!(ran.count("messages_failed"), refused);
        let held: Vec<_> =
            ran.run["thresholds"].as_array().unwrap().iter().map(|it| &it["holds"]).collect();
        assert_eq!(held, [false, false, true], "{refused} of 100");
    }
}

/// In a body nothing can be forged.
#[test]
fn a_column_of_the_body_may_hold_lines() {
    let server = Server::start(good);
    let dir = tempfile::tempdir().unwrap();
    let (table, body) = (dir.path().join("table.csv"), dir.path().join("body.eml"));
    std::fs::write(&table, "mail,text\na@example.org,\"one\ntwo\"\n").unwrap();
    std::fs::write(&body, "Subject: x\n\n{csv.text}\n").unwrap();
    let mut arguments = words(&format!("-n 4 -c 1 --to {{csv.mail}} {}", server.address()));
    let files = [("--csv", table), ("--body", body)];
    arguments.extend(
        files
            .into_iter()
            .flat_map(|(option, file)| [option.to_owned(), file.to_string_lossy().into_owned()]),
    );
    let ran = run(&arguments, Disturbance::None, 0);
    assert_eq!(ran.count("messages_ok"), 4, "{}", ran.errors);
}
