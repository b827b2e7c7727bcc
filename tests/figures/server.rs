//! A server that answers as a test says, and writes down every octet with its time.
//!
//! Times are nanoseconds of CLOCK_MONOTONIC: of a read, just after it, so that the client has sent the octets
//! before; of a write, just before it, so that the client hears of it later. So each time of the client lies
//! between two of the server's, however late the machine is.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use ringpost::stamp::Stamp;
use rustix::time::{ClockId, clock_gettime};

/// How long connections may stay open after the generator has ended.
const GONE_S_MAX: u64 = 60;

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub(crate) fn now_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// What the wall clock shows where CLOCK_MONOTONIC shows 0, as near as two readings in a row can be.
pub(crate) fn unix_offset_ns() -> u64 {
    let read = |_| {
        let (before, unix) = (now_ns(), nanoseconds(ClockId::Realtime));
        (now_ns() - before, unix - before)
    };
    (0..16).map(read).min().map_or(0, |(_, offset)| offset)
}

/// Waits until CLOCK_MONOTONIC shows `until_ns`.
pub(crate) fn sleep_until(until_ns: u64) {
    while let Some(left) = until_ns.checked_sub(now_ns()).filter(|left| *left > 0) {
        std::thread::sleep(Duration::from_nanos(left));
    }
}

/// What a server has to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    /// A client has connected.
    Banner,
    Command(&'a str),
    /// A message is there as a whole, or its last chunk; `index` counts those of this server from 0 on.
    Message {
        index: u64,
    },
}

/// A question with its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// Connections count from 0 on.
    pub(crate) connection: u64,
    /// Of this connection, the transaction that is open or was last, from 1 on; 0 before the first.
    pub(crate) transaction: u64,
    /// When the last octet of what is asked was there.
    pub(crate) at_ns: u64,
    pub(crate) what: Asked<'a>,
}

impl Ask<'_> {
    /// The word that a command begins with, or `BANNER`, or `.` for a message.
    pub(crate) fn verb(&self) -> &str {
        match self.what {
            Asked::Banner => "BANNER",
            Asked::Command(line) => line.split([' ', ':']).next().unwrap_or(""),
            Asked::Message { .. } => ".",
        }
    }
}

/// What the server does.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Say(String),
    /// Says it at this time.
    SayAt(u64, String),
    /// Says it and closes.
    Leave(String),
    /// Closes without a word.
    Hang,
    /// Says nothing more, and reads on.
    Mute,
}

pub(crate) fn say(text: &str) -> Answer {
    Answer::Say(text.to_owned())
}

/// What a server without a will of its own answers.
pub(crate) fn good(ask: Ask<'_>) -> Answer {
    say(match ask.verb() {
        "BANNER" => "220 server.example ESMTP",
        "EHLO" => "250-server.example\r\n250-PIPELINING\r\n250-SIZE 10000000\r\n250 CHUNKING",
        "DATA" => "354 go on",
        "QUIT" => return Answer::Leave("221 2.0.0 bye".to_owned()),
        _ => "250 2.0.0 ok",
    })
}

pub(crate) type Manner = Box<dyn Fn(Ask<'_>) -> Answer + Send + Sync>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum What {
    Opened,
    Read,
    Wrote,
    Closed,
}

/// One line of the server's log.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) connection: u64,
    pub(crate) at_ns: u64,
    pub(crate) what: What,
    pub(crate) octets: Vec<u8>,
}

/// A transaction as the server saw it: from MAIL to the reply that decides it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) connection: u64,
    pub(crate) stamp: Option<Stamp>,
    /// When MAIL was there, when the whole message was, and when the deciding reply was written.
    pub(crate) began_ns: u64,
    pub(crate) ended_ns: u64,
    pub(crate) answered_ns: u64,
    /// When the client was heard next after that; it had read the reply by then, unless it pipelines.
    pub(crate) heard_ns: u64,
    /// The deciding code; 0 where there was none.
    pub(crate) code: u16,
    pub(crate) recipients_asked: u64,
    pub(crate) recipients_taken: u64,
    /// Octets of the message without the dots that hide others.
    pub(crate) octets: u64,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    connections: u64,
    messages: u64,
    events: Vec<Event>,
    transactions: Vec<Transaction>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    closing: AtomicBool,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// All that a server wrote down.
pub(crate) struct Log {
    pub(crate) connections: u64,
    pub(crate) events: Vec<Event>,
    /// In the order of their MAIL.
    pub(crate) transactions: Vec<Transaction>,
}

impl Server {
    pub(crate) fn start(manner: impl Fn(Ask<'_>) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // The default backlog of 128 is enough for every run of the bench.
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let manner: Arc<Manner> = Arc::new(Box::new(manner));
        std::thread::spawn(move || {
            for (connection, stream) in (0..).zip(listener.incoming()) {
                let Ok(stream) = stream else { return };
                if theirs.closing.load(Relaxed) {
                    return;
                }
                let (shared, manner) = (Arc::clone(&theirs), Arc::clone(&manner));
                {
                    let mut state = shared.state.lock().unwrap();
                    state.open += 1;
                    state.connections += 1;
                }
                std::thread::spawn(move || {
                    let mut talk = Talk::new(connection, stream, &shared, &manner);
                    talk.run();
                    talk.finish();
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// What was written down, once all clients are gone.
    pub(crate) fn log(&self) -> Log {
        let deadline = Instant::now() + Duration::from_secs(GONE_S_MAX);
        let mut state = self.shared.state.lock().unwrap();
        while state.open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} connections are still open", state.open);
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
        let mut events = state.events.clone();
        events.sort_by_key(|event| event.at_ns);
        let mut transactions = state.transactions.clone();
        transactions.sort_by_key(|transaction| transaction.began_ns);
        Log { connections: state.connections, events, transactions }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closing.store(true, Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl Log {
    /// Replies by code, in the order in which they were written.
    pub(crate) fn replies(&self) -> Vec<u16> {
        let wrote = self.events.iter().filter(|event| event.what == What::Wrote);
        let code = |event: &Event| std::str::from_utf8(event.octets.get(..3)?).ok()?.parse().ok();
        wrote.filter_map(code).collect()
    }

    /// Writes it for `recount.py`: one line for each event, octets in base64. The first line says what the wall
    /// clock showed at 0.
    pub(crate) fn write(&self, path: &Path) {
        let mut text = format!("unix {}\n", unix_offset_ns());
        for event in &self.events {
            let octets = base64::engine::general_purpose::STANDARD.encode(&event.octets);
            let what = match event.what {
                What::Opened => "opened",
                What::Read => "read",
                What::Wrote => "wrote",
                What::Closed => "closed",
            };
            text += &format!("{} {} {what} {octets}\n", event.connection, event.at_ns);
        }
        std::fs::write(path, text).unwrap();
    }
}

/// What the octets of a client belong to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    Lines,
    Data,
    Chunk { left: usize, last: bool },
}

/// One connection.
struct Talk<'s> {
    connection: u64,
    stream: TcpStream,
    shared: &'s Shared,
    manner: &'s Manner,
    reading: Reading,
    /// Octets that were not looked at yet, and when the last of them came.
    input: Vec<u8>,
    read_ns: u64,
    message: Vec<u8>,
    open: Option<Transaction>,
    /// Whether the open transaction has failed, so that what follows in it is not asked for.
    failed: bool,
    transactions: u64,
    done: Vec<Transaction>,
    events: Vec<Event>,
    mute: bool,
}

impl<'s> Talk<'s> {
    fn new(connection: u64, stream: TcpStream, shared: &'s Shared, manner: &'s Manner) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            connection,
            stream,
            shared,
            manner,
            reading: Reading::Lines,
            input: Vec::new(),
            read_ns: now_ns(),
            message: Vec::new(),
            open: None,
            failed: false,
            transactions: 0,
            done: Vec::new(),
            events: Vec::new(),
            mute: false,
        }
    }

    fn note(&mut self, what: What, at_ns: u64, octets: &[u8]) {
        let (connection, octets) = (self.connection, octets.to_vec());
        self.events.push(Event { connection, at_ns, what, octets });
    }

    /// To the end of the connection, which this side makes by answering `None`.
    fn run(&mut self) -> Option<()> {
        self.note(What::Opened, self.read_ns, b"");
        let answer = self.ask(Asked::Banner);
        self.answer(answer)?;
        let mut octets = vec![0; 65_536];
        loop {
            while !self.mute && self.step()? {}
            let count = self.stream.read(&mut octets).ok().filter(|count| *count > 0)?;
            self.read_ns = now_ns();
            self.note(What::Read, self.read_ns, &octets[..count]);
            for of in self.done.iter_mut().rev().take_while(|of| of.heard_ns == 0) {
                of.heard_ns = self.read_ns;
            }
            self.input.extend_from_slice(&octets[..count]);
        }
    }

    /// Gives all that was written down to the server.
    fn finish(mut self) {
        let closed_ns = now_ns();
        self.note(What::Closed, closed_ns, b"");
        self.done.extend(self.open.take());
        self.done.iter_mut().filter(|of| of.heard_ns == 0).for_each(|of| of.heard_ns = closed_ns);
        let mut state = self.shared.state.lock().unwrap();
        state.events.append(&mut self.events);
        state.transactions.append(&mut self.done);
        state.open -= 1;
        self.shared.changed.notify_all();
    }

    fn ask(&self, what: Asked<'_>) -> Answer {
        let (connection, transaction) = (self.connection, self.transactions);
        (self.manner)(Ask { connection, transaction, at_ns: self.read_ns, what })
    }

    /// Says what `answer` says; gives the code, or 0 where nothing is said.
    fn answer(&mut self, answer: Answer) -> Option<u16> {
        let (text, leaves) = match answer {
            Answer::Say(text) => (text, false),
            Answer::SayAt(at_ns, text) => {
                sleep_until(at_ns);
                (text, false)
            }
            Answer::Leave(text) => (text, true),
            Answer::Hang => return None,
            Answer::Mute => {
                self.mute = true;
                return Some(0);
            }
        };
        let octets = text + "\r\n";
        let code = octets[..3].parse().unwrap();
        self.note(What::Wrote, now_ns(), octets.as_bytes());
        self.stream.write_all(octets.as_bytes()).ok()?;
        if leaves {
            self.wait_for_the_end();
            return None;
        }
        Some(code)
    }

    /// Waits until the client has closed too, so that the time of the end is one at which it had heard the last
    /// reply.
    fn wait_for_the_end(&mut self) {
        let limit = Some(Duration::from_secs(GONE_S_MAX / 2));
        let waits = self.stream.shutdown(Shutdown::Write).and(self.stream.set_read_timeout(limit));
        if waits.is_ok() {
            // A client that goes away with a reset is gone too.
            drop(std::io::copy(&mut self.stream, &mut std::io::sink()));
        }
    }

    /// Takes what is there of one command or message. Answers whether there may be more.
    fn step(&mut self) -> Option<bool> {
        match self.reading {
            Reading::Lines => {
                let Some(end) = memchr::memmem::find(&self.input, b"\r\n") else {
                    return Some(false);
                };
                let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end + 2);
                self.command(&line)?;
                Some(true)
            }
            Reading::Data => {
                let end = match self.input.starts_with(b".\r\n") {
                    true => Some((0, 3)),
                    false => {
                        memchr::memmem::find(&self.input, b"\r\n.\r\n").map(|at| (at + 2, at + 5))
                    }
                };
                let Some((end, next)) = end else { return Some(false) };
                let stuffed = &self.input[..end];
                self.message = unstuffed(stuffed);
                self.input.drain(..next);
                self.reading = Reading::Lines;
                self.end_of_message()?;
                Some(true)
            }
            Reading::Chunk { left, last } => {
                if self.input.len() < left {
                    return Some(false);
                }
                self.message.extend(self.input.drain(..left));
                self.reading = Reading::Lines;
                if self.failed || self.open.is_none() {
                    self.answer(say("503 5.5.1 no transaction"))?;
                } else if last {
                    self.end_of_message()?;
                } else {
                    self.answer(say("250 2.0.0 go on"))?;
                }
                Some(true)
            }
        }
    }

    fn command(&mut self, line: &str) -> Option<()> {
        let verb = line.split([' ', ':']).next().unwrap_or("");
        match verb {
            "MAIL" => {
                self.done.extend(self.open.take());
                self.transactions += 1;
                let (connection, began_ns) = (self.connection, self.read_ns);
                self.open = Some(Transaction { connection, began_ns, ..Transaction::default() });
                self.message.clear();
                self.failed = false;
                let code = self.plain(line)?;
                self.decide(code >= 400, code);
            }
            "RCPT" => {
                if self.failed || self.open.is_none() {
                    if let Some(open) = &mut self.open {
                        open.recipients_asked += 1;
                    }
                    self.answer(say("503 5.5.1 MAIL first"))?;
                    return Some(());
                }
                let code = self.plain(line)?;
                if let Some(open) = &mut self.open {
                    open.recipients_asked += 1;
                    open.recipients_taken += u64::from((200..300).contains(&code));
                    if code >= 400 && open.recipients_taken == 0 {
                        open.code = code;
                    }
                }
            }
            "DATA" if self.lacks_recipients() => {
                self.failed = true;
                self.answer(say("554 5.5.1 no valid recipients"))?;
            }
            "DATA" => {
                let code = self.plain(line)?;
                self.decide(code != 354, code);
                if code == 354 {
                    self.reading = Reading::Data;
                }
            }
            "BDAT" => {
                let mut words = line.split(' ').skip(1);
                let left = words.next()?.parse().ok()?;
                let last = words.next().is_some();
                if self.lacks_recipients() {
                    self.failed = true;
                }
                self.reading = Reading::Chunk { left, last };
            }
            _ => drop(self.plain(line)?),
        }
        Some(())
    }

    fn lacks_recipients(&self) -> bool {
        self.failed || self.open.as_ref().is_none_or(|open| open.recipients_taken == 0)
    }

    /// Answers a command; where the connection ends by that, what is open stays undecided.
    fn plain(&mut self, line: &str) -> Option<u16> {
        let answer = self.ask(Asked::Command(line));
        let leaves_with = match &answer {
            Answer::Leave(text) => text.get(..3).and_then(|code| code.parse().ok()),
            _ => None,
        };
        if let (Some(code), Some(open)) = (leaves_with, &mut self.open)
            && open.code == 0
            && line != "QUIT"
        {
            (open.code, open.answered_ns) = (code, now_ns());
        }
        self.answer(answer)
    }

    /// Notes that the open transaction is decided, if it is.
    fn decide(&mut self, decided: bool, code: u16) {
        if !decided {
            return;
        }
        self.failed = true;
        if let Some(open) = &mut self.open {
            (open.code, open.answered_ns) = (code, now_ns());
        }
    }

    fn end_of_message(&mut self) -> Option<()> {
        let stamp = Stamp::find(&self.message);
        let index = {
            let mut state = self.shared.state.lock().unwrap();
            state.messages += 1;
            state.messages - 1
        };
        if let Some(open) = &mut self.open {
            open.stamp = stamp;
            open.octets = self.message.len() as u64;
            open.ended_ns = self.read_ns;
            open.code = 0;
        }
        self.message.clear();
        let answer = self.ask(Asked::Message { index });
        let answer = match answer {
            Answer::SayAt(at_ns, text) => {
                sleep_until(at_ns);
                Answer::Say(text)
            }
            answer => answer,
        };
        if let (Answer::Say(text) | Answer::Leave(text), Some(open)) = (&answer, &mut self.open) {
            (open.code, open.answered_ns) = (text[..3].parse().unwrap(), now_ns());
        }
        if !matches!(answer, Answer::Mute) {
            self.done.extend(self.open.take());
        }
        self.answer(answer).map(drop)
    }
}

/// A message without the dots that hide others (RFC 5321 §4.5.2).
fn unstuffed(stuffed: &[u8]) -> Vec<u8> {
    let lines = stuffed.split_inclusive(|&octet| octet == b'\n');
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}
