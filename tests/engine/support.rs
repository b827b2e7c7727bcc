use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use ringpost::engine::{
    Address, Conn, EngineKind, Io, Listener, bind, choose, run_core, sync_data,
};

/// Descriptors are counted for the whole process: tests that count them run alone.
static DESCRIPTORS: RwLock<()> = RwLock::new(());

pub(super) fn with_others() -> RwLockReadGuard<'static, ()> {
    DESCRIPTORS.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn alone() -> RwLockWriteGuard<'static, ()> {
    DESCRIPTORS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Engines that this host allows; epoll always.
pub(super) fn engines() -> Vec<EngineKind> {
    match choose(Io::Uring) {
        Ok((uring, _)) => vec![EngineKind::Epoll, uring],
        Err(refusal) => {
            eprintln!("epoll only: {refusal}");
            vec![EngineKind::Epoll]
        }
    }
}

/// Runs the test on each engine, each time as a core on its own thread.
pub(super) fn on_both<F: Future<Output = ()>>(test: impl Fn(EngineKind) -> F + Sync) {
    for kind in engines() {
        thread::scope(|scope| {
            let core = thread::Builder::new().name(kind.name().to_owned());
            let run = || run_core(kind, test(kind)).unwrap();
            core.spawn_scoped(scope, run).unwrap().join().unwrap();
        });
    }
}

pub(super) fn loopback() -> Address {
    "127.0.0.1:0".parse().map(Address::Tcp).unwrap()
}

/// A listener of this core on a free port.
pub(super) fn listener() -> Listener {
    listener_on(&loopback())
}

pub(super) fn listener_on(address: &Address) -> Listener {
    let mut bound = bind(std::slice::from_ref(address), 1).unwrap();
    bound[0].remove(0).attach().unwrap()
}

pub(super) fn call(address: &Address) -> TcpStream {
    let Address::Tcp(inet) = address else { panic!("{address} is not TCP") };
    let stream = TcpStream::connect(inet).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Our end of a fresh connection, and the caller's, which blocks.
pub(super) async fn pair() -> (Conn, TcpStream) {
    let mut listener = listener();
    let stream = call(listener.address());
    let (conn, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.to_string(), stream.local_addr().unwrap().to_string());
    (conn, stream)
}

/// Reads the peer's stream to its end and expects nothing on the way.
pub(super) fn assert_ends(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} octets before the end", rest.len());
}

pub(super) fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits on another thread's or the kernel's doing.
pub(super) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Lets the core go to the kernel and back once. Yielding would not do: io_uring operations are
/// submitted when the core has nothing else to run.
pub(super) async fn turn_of_the_loop() {
    sync_data(-1).await.unwrap_err();
}

const ROLE: &str = "RINGPOST_TEST_ROLE";

/// The part this process plays when a test started it as its child.
pub(super) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// This test binary again, running only the test `name` in `role`, behind the words of `wrapper`.
pub(super) fn child(name: &str, role: &str, wrapper: &[&str]) -> Command {
    let binary = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(binary),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
    };
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
