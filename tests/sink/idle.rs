//! A sink without work hardly wakes, and the times that it keeps are true.

use std::fs;
use std::time::{Duration, Instant};

use crate::program::{Program, Talk, engines};

/// Wake-ups of a core per second that are let pass: the four beats of the watch, the look after the spool,
/// and half as much again for a machine that interrupts it. Two for each beat are too many.
const WAKES_PER_S_MAX: f64 = 7.5;

/// Times that the core threads of a process gave their CPU up by themselves.
fn sleeps(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let read = |path: &std::path::Path, name: &str| fs::read_to_string(path.join(name)).unwrap();
    let of = |task: fs::DirEntry| {
        let path = task.path();
        if !read(&path, "comm").starts_with("core-") {
            return 0;
        }
        let status = read(&path, "status");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    };
    tasks.map(|task| of(task.unwrap())).sum()
}

fn wakes_per_s(pid: u32) -> f64 {
    let (before, begun) = (sleeps(pid), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    (sleeps(pid) - before) as f64 / begun.elapsed().as_secs_f64()
}

#[test]
fn a_sink_without_work_hardly_wakes() {
    for engine in engines() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool");
        let options = ["--io", engine, "--cores", "1", "--spool", spool.to_str().unwrap()];
        let sink = Program::start("smtp", &options);
        // It has had work, and clients stay and say nothing.
        let silent: Vec<_> = (0..20).map(|_| Talk::open(sink.port)).collect();
        let mut talk = Talk::open(sink.port);
        for command in ["EHLO x", "MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>"] {
            talk.says(command, "250");
        }
        talk.says("DATA", "354");
        talk.says("hi\r\n.", "250");
        std::thread::sleep(Duration::from_secs(1));
        let waiting = wakes_per_s(sink.pid());
        drop((talk, silent));
        let idle = wakes_per_s(sink.pid());
        assert!(
            waiting <= WAKES_PER_S_MAX,
            "{engine}: {waiting} wake-ups a second for silent clients"
        );
        assert!(idle <= WAKES_PER_S_MAX, "{engine}: {idle} wake-ups a second for nobody");
        sink.stop();
    }
}

/// No deadline is lost because the watch slept before: a second client, after a time without any, is
/// timed out as the first one is.
#[test]
fn deadlines_come_after_a_sleep_too() {
    for engine in engines() {
        let options = ["--io", engine, "--cores", "1", "--discard", "--timeout", "1s"];
        let sink = Program::start("smtp", &options);
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(600));
            let mut talk = Talk::open(sink.port);
            let begun = Instant::now();
            assert!(talk.reply().starts_with("421"), "the timeout");
            assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
        }
        sink.stop();
    }
}

#[test]
fn the_greeting_is_delayed_by_what_was_asked() {
    for engine in engines() {
        let options = ["--io", engine, "--cores", "1", "--discard", "--greet-delay", "300ms"];
        let sink = Program::start("smtp", &options);
        // The best of some: the machine may be late, and the sink may not.
        let delays = (0..5).map(|_| {
            let begun = Instant::now();
            Talk::open(sink.port);
            begun.elapsed()
        });
        let delays: Vec<_> = delays.collect();
        assert!(delays.iter().all(|delay| *delay >= Duration::from_millis(299)), "{delays:?}");
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(350)), "{delays:?}");
        sink.stop();
    }
}
