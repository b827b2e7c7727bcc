//! The next server: one that says what a test wants and keeps what it is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a server offers and answers; the usual one takes all.
#[derive(Clone)]
pub(crate) struct Manners {
    pub lmtp: bool,
    /// Keywords behind EHLO.
    pub offers: &'static [&'static str],
    /// The reply to a line or to the end of data (`.`), or `None` for the usual one.
    pub replies: fn(&str) -> Option<&'static str>,
}

impl Default for Manners {
    fn default() -> Self {
        let offers =
            &["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME"];
        Self { lmtp: false, offers, replies: |_| None }
    }
}

/// One session as the server saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub lines: Vec<String>,
    /// Contents, dots unstuffed.
    pub bodies: Vec<Vec<u8>>,
}

impl Seen {
    /// Forward paths, in order.
    pub(crate) fn recipients(&self) -> Vec<&str> {
        let paths = self.lines.iter().filter_map(|line| line.strip_prefix("RCPT TO:<"));
        paths.map(|rest| rest.split('>').next().unwrap()).collect()
    }
}

pub(crate) struct Server {
    pub address: SocketAddr,
    sessions: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Listens, and serves each caller in turn until the test's process ends.
    pub(crate) fn start(manners: Manners) -> Self {
        Self::start_with(move |socket| serve(&socket, &manners))
    }

    /// As `start`; each caller is served by `serve`.
    pub(crate) fn start_with(mut serve: impl FnMut(TcpStream) -> Seen + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let kept = sessions.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = serve(stream.unwrap());
                kept.lock().unwrap().push(seen);
            }
        });
        Self { address, sessions }
    }

    /// Sessions that have ended, once there are `count`.
    pub(crate) fn sessions(&self, count: usize) -> Vec<Seen> {
        for _ in 0..2_000 {
            let sessions = self.sessions.lock().unwrap();
            if sessions.len() >= count {
                return sessions.clone();
            }
            drop(sessions);
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{count} sessions did not come: {:?}", self.sessions.lock().unwrap());
    }
}

/// Is the server on a connection, from the greeting to its end.
pub(crate) fn serve(stream: &TcpStream, manners: &Manners) -> Seen {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    greet_on(stream, manners)
}

/// As `serve`, on a stream of any kind.
pub(crate) fn greet_on(mut stream: impl Read + Write, manners: &Manners) -> Seen {
    say(&mut stream, (manners.replies)("connect").unwrap_or("220 peer.example ready"));
    serve_on(stream, manners)
}

/// As `greet_on`, behind the greeting.
pub(crate) fn serve_on(stream: impl Read + Write, manners: &Manners) -> Seen {
    let mut seen = Seen::default();
    let mut input = BufReader::new(stream);
    let mut accepted = 0;
    loop {
        let mut line = String::new();
        match input.read_line(&mut line) {
            Ok(0) | Err(_) => return seen,
            Ok(_) => {}
        }
        let line = line.trim_end_matches("\r\n").to_owned();
        seen.lines.push(line.clone());
        let reply = (manners.replies)(&line);
        let verb = line.split(' ').next().unwrap().to_owned();
        match (verb.as_str(), reply) {
            ("EHLO" | "LHLO", None) => hello(input.get_mut(), manners),
            ("MAIL", reply) => {
                accepted = 0;
                say(input.get_mut(), reply.unwrap_or("250 2.1.0 Ok"));
            }
            ("RCPT", reply) => {
                let reply = reply.unwrap_or("250 2.1.5 Ok");
                accepted += usize::from(reply.starts_with('2'));
                say(input.get_mut(), reply);
            }
            ("DATA", None) if accepted > 0 => {
                say(input.get_mut(), "354 go on");
                seen.bodies.push(data(&mut input));
                end(input.get_mut(), manners, accepted);
            }
            ("DATA", reply) => {
                say(input.get_mut(), reply.unwrap_or("554 5.5.1 No valid recipients"));
            }
            ("BDAT", reply) => {
                let octets = line.split(' ').nth(1).unwrap().parse().unwrap();
                let mut body = vec![0; octets];
                input.read_exact(&mut body).unwrap();
                match reply {
                    Some(reply) => say(input.get_mut(), reply),
                    None if accepted == 0 => say(input.get_mut(), "554 5.5.1 No valid recipients"),
                    None => {
                        seen.bodies.push(body);
                        end(input.get_mut(), manners, accepted);
                    }
                }
            }
            ("STARTTLS", Some(reply)) => {
                say(input.get_mut(), reply);
                return seen;
            }
            ("QUIT", reply) => {
                say(input.get_mut(), reply.unwrap_or("221 2.0.0 Bye"));
                return seen;
            }
            (_, reply) => {
                let reply = reply.unwrap_or("250 2.0.0 Ok");
                say(input.get_mut(), reply);
                if reply.starts_with("421") {
                    return seen;
                }
            }
        }
    }
}

fn say(stream: &mut impl Write, reply: &str) {
    // The peer may be gone, which the next read shows.
    let _ = stream.write_all(format!("{reply}\r\n").as_bytes());
}

fn hello(stream: &mut impl Write, manners: &Manners) {
    let lines: Vec<_> = ["peer.example"].iter().chain(manners.offers).collect();
    for (index, line) in lines.iter().enumerate() {
        let lead = if index + 1 == lines.len() { "250 " } else { "250-" };
        say(stream, &format!("{lead}{line}"));
    }
}

fn end(stream: &mut impl Write, manners: &Manners, accepted: usize) {
    let reply = (manners.replies)(".").unwrap_or("250 2.0.0 Taken");
    for _ in 0..if manners.lmtp { accepted } else { 1 } {
        say(stream, reply);
    }
}

fn data(input: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).unwrap_or(0) == 0 || line == b".\r\n" {
            return body;
        }
        body.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
