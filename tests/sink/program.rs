//! `ringpost-sink` as a child, which does not outlive the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The longest wait for anything; after it a test fails.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// Engines that this host allows.
pub(super) fn engines() -> Vec<&'static str> {
    match ringpost::engine::choose(ringpost::engine::Io::Uring) {
        Ok(_) => vec!["epoll", "uring"],
        Err(_) => vec!["epoll"],
    }
}

pub(super) struct Program {
    child: Child,
    pub(super) port: u16,
    /// What it says on stderr after it listens.
    lines: Receiver<String>,
}

impl Program {
    /// Starts it with `options`, of which the listener is one: `smtp` or `lmtp`.
    pub(super) fn start(scheme: &str, options: &[&str]) -> Self {
        let mut program = Self::spawn(&format!("{scheme}://127.0.0.1:0"), options);
        let lead = format!("listening {scheme}://127.0.0.1:");
        program.port = program.line(|line| line.starts_with(&lead))[lead.len()..].parse().unwrap();
        program
    }

    /// Starts it with a log in JSON; also what it said until it listened.
    pub(super) fn start_in_json(options: &[&str]) -> (Self, Vec<String>) {
        let mut program = Self::spawn("smtp://127.0.0.1:0", options);
        let mut said = Vec::new();
        loop {
            let line = program.line(|_| true);
            let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            said.push(line);
            if let Some(url) = told["url"].as_str() {
                program.port = url.rsplit_once(':').unwrap().1.parse().unwrap();
                return (program, said);
            }
        }
    }

    /// Starts it on a port that was free, and does not wait until it is ready.
    pub(super) fn start_early(options: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut program = Self::spawn(&format!("smtp://127.0.0.1:{port}"), options);
        program.port = port;
        program
    }

    fn spawn(listen: &str, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringpost-sink"))
            .args(["--listen", listen, "--json"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (say, lines) = mpsc::channel();
        // Reads on to the end, so that the sink never waits for somebody to read.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        Self { child, port: 0, lines }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line on stderr that is wanted.
    pub(super) fn line(&self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT).expect("the sink says nothing");
            if wanted(&line) {
                return line;
            }
        }
    }

    /// What it says from now to its end.
    pub(super) fn lines_to_the_end(&self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => said.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return said,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the sink does not end: {said:#?}"),
            }
        }
    }

    /// The board, by SIGUSR1.
    pub(super) fn board(&self) -> Value {
        self.ask_for_the_board();
        serde_json::from_str(&self.line(|line| line.starts_with('{'))).expect("one JSON object")
    }

    /// Sends SIGUSR1.
    pub(super) fn ask_for_the_board(&self) {
        self.signal(Signal::USR1);
    }

    /// Sends SIGTERM.
    pub(super) fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it by SIGTERM, which must go well; its report.
    pub(super) fn stop(self) -> Value {
        self.ask_to_stop();
        self.report_of_a_good_end()
    }

    /// Its report, when it ends by itself or was asked to, with exit code 0.
    pub(super) fn report_of_a_good_end(self) -> Value {
        let (report, status) = self.end();
        assert!(status.success(), "{status}");
        report
    }

    /// As [`Program::stop`], when its disk has failed.
    pub(super) fn report_of_a_bad_end(self) -> Value {
        self.ask_to_stop();
        let (report, status) = self.end();
        assert_eq!(status.code(), Some(74));
        report
    }

    fn end(mut self) -> (Value, ExitStatus) {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the sink did not end after SIGTERM");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut report = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
        (serde_json::from_str(&report).unwrap(), status)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection on which whole replies are read.
pub(super) struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    pub(super) fn open(port: u16) -> Self {
        Self::greeted(port, "220")
    }

    /// Opens a connection that the sink turns away.
    pub(super) fn open_refused(port: u16) -> Self {
        Self::greeted(port, "421")
    }

    /// Opens a connection as soon as the sink has a free place.
    pub(super) fn open_when_free(port: u16) -> Self {
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut talk = Self::connect(port);
            if talk.reply().starts_with("220") {
                return talk;
            }
            assert!(Instant::now() < deadline, "no place becomes free");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn greeted(port: u16, code: &str) -> Self {
        let mut talk = Self::connect(port);
        assert!(talk.reply().starts_with(code));
        talk
    }

    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(super) fn send(&mut self, wire: &[u8]) {
        self.stream.get_mut().write_all(wire).unwrap();
    }

    /// Bounds the time for which the sink may take nothing of what is sent.
    pub(super) fn stop_writing_after(&self, time: Duration) {
        self.stream.get_ref().set_write_timeout(Some(time)).unwrap();
    }

    /// Sends octets; `false` where the sink takes no more.
    pub(super) fn sends(&mut self, wire: &[u8]) -> bool {
        self.stream.get_mut().write_all(wire).is_ok()
    }

    /// The client has no more to say, and reads on.
    pub(super) fn close_sending(&mut self) {
        self.stream.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// The last line of the next reply, without its end; empty when the sink has closed.
    pub(super) fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Sends a command; the first line of its reply has this code.
    pub(super) fn says(&mut self, command: &str, code: &str) {
        self.send(format!("{command}\r\n").as_bytes());
        let reply = self.reply();
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
}
