//! Live sinks inside the test's process, and one scripted session over TCP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringpost::engine::{self, Address, EngineKind, Io};
use ringpost::host;
use ringpost::relay;
use ringpost::rules::FaultRules;
use ringpost::sink::{
    KeepRules, LogPlan, Networks, PeerPolicy, Port, PortTls, Sink, SinkPlan, Stop, Store, Summary,
};
use ringpost::smtp::server::Policy;
use ringpost::spool::{Durability, Options, WhenFull};
use tokio::sync::watch;

/// A client fails if octets that are due do not come within this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The engines that can run here; epoll always can.
pub(crate) fn engines() -> Vec<EngineKind> {
    match engine::choose(Io::Uring) {
        Ok((uring, _)) => vec![EngineKind::Epoll, uring],
        Err(refusal) => {
            eprintln!("epoll only: {refusal}");
            vec![EngineKind::Epoll]
        }
    }
}

/// A sink of one core with one port on loopback for each policy.
pub(crate) struct Running {
    pub ports: Vec<SocketAddr>,
    stop: watch::Sender<Stop>,
    thread: JoinHandle<Summary>,
}

impl Running {
    /// Starts a sink that keeps its messages in `spool`, or counts them.
    pub(crate) fn start(engine: EngineKind, policies: &[Policy], spool: Option<PathBuf>) -> Self {
        Self::start_with(engine, policies, spool, None)
    }

    /// Like `start`, and the sink delivers mail as `relay` says.
    pub(crate) fn start_with(
        engine: EngineKind,
        policies: &[Policy],
        spool: Option<PathBuf>,
        relay: Option<relay::RelayPlan>,
    ) -> Self {
        let plain: Vec<_> = policies.iter().map(|policy| (policy.clone(), None)).collect();
        Self::start_ports(engine, &plain, spool, relay)
    }

    /// Like `start_with`, and each port may have TLS.
    pub(crate) fn start_ports(
        engine: EngineKind,
        policies: &[(Policy, Option<PortTls>)],
        spool: Option<PathBuf>,
        relay: Option<relay::RelayPlan>,
    ) -> Self {
        Self::start_faulty(engine, policies, spool, relay, None)
    }

    /// Like `start_ports`, and the sink has these faults.
    pub(crate) fn start_faulty(
        engine: EngineKind,
        policies: &[(Policy, Option<PortTls>)],
        spool: Option<PathBuf>,
        relay: Option<relay::RelayPlan>,
        faults: Option<FaultRules>,
    ) -> Self {
        Self::start_delayed(engine, policies, spool, relay, faults, Duration::ZERO)
    }

    /// Like `start_faulty`, and the greeting comes after a delay.
    pub(crate) fn start_delayed(
        engine: EngineKind,
        policies: &[(Policy, Option<PortTls>)],
        spool: Option<PathBuf>,
        relay: Option<relay::RelayPlan>,
        faults: Option<FaultRules>,
        greet_delay: Duration,
    ) -> Self {
        let any: Address = "127.0.0.1:0".parse().map(Address::Tcp).unwrap();
        let listeners = engine::bind(&vec![any; policies.len()], 1).unwrap();
        let ports = listeners[0].iter().map(|bound| inet(bound.address())).collect();
        let plan = SinkPlan {
            keep: KeepRules::default(),
            engine,
            cpus: vec![next_cpu()],
            ports: policies
                .iter()
                .zip(&listeners[0])
                .map(|((policy, tls), bound)| Port {
                    url: format!("smtp://{}", bound.address()),
                    policy: policy.clone(),
                    tls: tls.clone(),
                })
                .collect(),
            listeners,
            store: spool.map_or(Store::Discard, store),
            peer_policy: PeerPolicy {
                timeout: PATIENCE * 2,
                data_rate_min: 0,
                greet_delay,
                connections_per_peer_max: None,
                proxies: Networks::default(),
                xclient: Networks::default(),
            },
            relay,
            drain: Duration::from_secs(1),
            connections_max: 1_000,
            envelope_memory_bytes: 256 << 20,
            messages_max: None,
            sessions_max: None,
            log: LogPlan::default(),
            faults,
        };
        let (stop, _) = watch::channel(Stop::No);
        let (ready, is_ready) = mpsc::channel();
        let told = stop.clone();
        let thread = thread::spawn(move || {
            let (sink, _) = Sink::open(plan).unwrap();
            sink.run(told, || ready.send(()).unwrap()).unwrap()
        });
        is_ready.recv().expect("the sink did not start");
        Self { ports, stop, thread }
    }

    /// Ends the sink and answers what it counted.
    pub(crate) fn stop(self) -> Summary {
        self.stop.send_replace(Stop::Drain);
        self.thread.join().unwrap()
    }
}

/// One CPU after another.
fn next_cpu() -> usize {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let cpus = host::allowed().unwrap();
    cpus[STARTED.fetch_add(1, Ordering::Relaxed) % cpus.len()]
}

fn store(dir: PathBuf) -> Store {
    let options = Options {
        segment_bytes: 4 * 1024 * 1024,
        limit_bytes: 1024 * 1024 * 1024,
        when_full: WhenFull::Refuse,
        durability: Durability::Process,
        cores: 1,
        ..Options::default()
    };
    Store::Spool { dir, options }
}

fn inet(address: &Address) -> SocketAddr {
    match address {
        Address::Tcp(inet) => *inet,
        Address::Unix(path) => panic!("{} is not TCP", path.display()),
    }
}

/// What a client talks over.
pub(crate) trait Line: Read + Write {
    /// Tells the peer that no more will come. It may have closed first.
    fn end(&mut self);
}

impl Line for TcpStream {
    fn end(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// A connected socket that waits for nothing longer than a client does.
pub(crate) fn connect(port: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(port).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A client that sends the octets that it is given and keeps all that it receives.
pub(crate) struct Caller {
    line: Box<dyn Line>,
    pub received: Vec<u8>,
}

impl Caller {
    pub(crate) fn call(port: SocketAddr) -> Self {
        Self::over(connect(port))
    }

    pub(crate) fn over(line: impl Line + 'static) -> Self {
        Self { line: Box::new(line), received: Vec::new() }
    }

    /// Sends `wire` in `pieces` and the rest at once. A peer that has closed is not an error: its
    /// replies can still be read.
    pub(crate) fn send(&mut self, wire: &[u8], pieces: impl IntoIterator<Item = usize>) {
        let mut rest = wire;
        for octets in pieces {
            let (piece, behind) = rest.split_at(octets.min(rest.len()));
            if piece.is_empty() || !self.send_piece(piece) {
                break;
            }
            rest = behind;
        }
        self.send_piece(rest);
    }

    fn send_piece(&mut self, piece: &[u8]) -> bool {
        match self.line.write_all(piece).and_then(|()| self.line.flush()) {
            Ok(()) => true,
            Err(error) if is_hang_up(&error) => false,
            Err(error) => panic!("cannot send: {error}"),
        }
    }

    /// Reads until there are `lines` lines in all, or fewer if the peer closes.
    pub(crate) fn read_lines(&mut self, lines: usize) {
        while self.received.iter().filter(|&&b| b == b'\n').count() < lines && self.read() {}
    }

    /// Ends the sending side and reads to the end.
    pub(crate) fn hang_up(&mut self) {
        self.line.end();
        while self.read() {}
    }

    /// Reads once; `false` if the peer has closed.
    pub(crate) fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.line.read(&mut buffer) {
                Ok(octets) => {
                    self.received.extend_from_slice(&buffer[..octets]);
                    return octets > 0;
                }
                Err(error) if is_hang_up(&error) => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let seen = String::from_utf8_lossy(&self.received);
                    panic!("waited for more behind {seen:?}: {error}")
                }
            }
        }
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
