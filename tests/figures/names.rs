//! Each figure of `run.json` is what its name says: `recount.py` computes it again from the servers' logs.

use std::process::Command;
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

const ROWS: [Row; 11] = [
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
    Row { answer: some_senders, targets: 1, load: "-n 60 -c 2 --recipients 2" },
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
