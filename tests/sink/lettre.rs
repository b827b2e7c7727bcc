//! lettre writes a message in small pieces and waits for the acknowledgement of each before it sends
//! the next (Nagle's algorithm). A server that delays its acknowledgements then costs it 40 ms and
//! more for every message; one that re-arms TCP_QUICKACK while it waits for the rest does not.
//!
//! The sink is the real program, the client the real library on one connection.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lettre::address::Envelope;
use lettre::transport::smtp::client::SmtpConnection;
use lettre::transport::smtp::extension::ClientId;

const MESSAGES: usize = 3_000;

/// The kernel's shortest delay of an acknowledgement is 40 ms (TCP_DELACK_MIN); what takes less did
/// not wait for one.
const STALL: Duration = Duration::from_millis(35);

/// Without QUICKACK nearly every message stalls. A busy machine may hold up a few for its own reasons,
/// so the bound is on the share and not on the clock.
const STALLED_PERCENT_MAX: usize = 10;

const START_LIMIT: Duration = Duration::from_secs(20);
const END_LIMIT: Duration = Duration::from_secs(30);

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

#[test]
fn three_thousand_messages_of_lettre_arrive_without_stalls() -> Fallible {
    messages_arrive_without_stalls("auto")
}

#[test]
fn three_thousand_messages_of_lettre_arrive_without_stalls_on_epoll() -> Fallible {
    messages_arrive_without_stalls("epoll")
}

fn messages_arrive_without_stalls(engine: &str) -> Fallible {
    let directory = tempfile::tempdir()?;
    let spool = directory.path().join("spool");
    let mut sink = Sink::start(engine, &spool)?;

    let mut connection = SmtpConnection::connect(
        ("127.0.0.1", sink.port),
        Some(Duration::from_secs(60)),
        &ClientId::Domain("client.example.test".to_owned()),
        None,
        None,
    )?;
    let envelope = Envelope::new(Some("a@example.test".parse()?), vec!["b@example.test".parse()?])?;
    let started = Instant::now();
    let mut stalled = 0;
    for number in 0..MESSAGES {
        let message = format!("Subject: {number}\r\n\r\n{}\r\n", "x".repeat(1024));
        let sent_at = Instant::now();
        assert!(connection.send(&envelope, message.as_bytes())?.is_positive());
        stalled += usize::from(sent_at.elapsed() >= STALL);
    }
    let elapsed = started.elapsed();
    connection.quit()?;

    println!(
        "lettre, one connection, --io {engine}: {:.0} messages/s, {stalled} of {MESSAGES} stalled",
        MESSAGES as f64 / elapsed.as_secs_f64()
    );
    let report = sink.stop()?;
    assert_eq!(report["messages"], MESSAGES);
    assert_eq!(listed(&spool)?, MESSAGES);
    assert!(
        stalled * 100 < MESSAGES * STALLED_PERCENT_MAX,
        "{stalled} of {MESSAGES} messages waited for a delayed acknowledgement"
    );
    Ok(())
}

/// Messages that `ringpost spool ls` shows.
fn listed(spool: &std::path::Path) -> Fallible<usize> {
    let listing =
        Command::new(env!("CARGO_BIN_EXE_ringpost")).args(["spool", "ls"]).arg(spool).output()?;
    assert!(listing.status.success(), "{listing:?}");
    Ok(String::from_utf8(listing.stdout)?
        .lines()
        .filter(|line| line.contains("a@example.test"))
        .count())
}

/// The sink as a child, which does not outlive the test.
struct Sink {
    child: Child,
    port: u16,
}

impl Sink {
    fn start(engine: &str, spool: &std::path::Path) -> Fallible<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringpost-sink"))
            .args(["--listen", "smtp://127.0.0.1:0", "--cores", "1", "--json"])
            .args(["--io", engine, "--spool"])
            .arg(spool)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let mut sink = Self { child, port: 0 };
        let (announce, announced) = mpsc::channel();
        // The thread reads on to the end, so that the sink never waits for somebody to read.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(port) = line
                    .strip_prefix("listening smtp://127.0.0.1:")
                    .and_then(|port| port.trim().parse().ok())
                {
                    let _ = announce.send(port);
                }
            }
        });
        sink.port = announced
            .recv_timeout(START_LIMIT)
            .map_err(|_| "the sink did not say where it listens")?;
        Ok(sink)
    }

    /// SIGTERM, a bounded wait, and the report it printed.
    fn stop(&mut self) -> Fallible<serde_json::Value> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + END_LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                return Err("the sink did not end after SIGTERM".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{status}");
        let mut report = String::new();
        self.child.stdout.take().ok_or("no stdout")?.read_to_string(&mut report)?;
        Ok(serde_json::from_str(&report)?)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
