//! The rows of the conformance tables again, over TCP against live sinks on each engine.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use ringpost::engine::EngineKind;
use ringpost::smtp::server::Policy;

use super::harness::{Outcome, read_replies};
use crate::sink::{Caller, Running, engines};

/// Octets of a session up to which it is also sent octet by octet.
const OCTET_BY_OCTET_MAX: usize = 5_000;

/// One sink for each engine and policy, started when first asked for; they end with the process.
static SINKS: Mutex<Option<HashMap<String, Ports>>> = Mutex::new(None);

type Ports = Vec<(EngineKind, SocketAddr)>;

fn ports(policy: &Policy) -> Ports {
    let mut sinks = SINKS.lock().unwrap();
    let start = || {
        let sink = |engine| (engine, Running::start(engine, std::slice::from_ref(policy), None));
        engines().into_iter().map(sink).map(|(engine, sink)| (engine, sink.ports[0])).collect()
    };
    sinks.get_or_insert_default().entry(format!("{policy:?}")).or_insert_with(start).clone()
}

/// Checks that sessions over sockets, cut in several ways, come to `expected`, which is what the
/// machine came to without one.
pub(super) fn check_live(policy: &Policy, wire: &[u8], expected: &Outcome) {
    let mut random = fastrand::Rng::with_seed(wire.len() as u64);
    let longest = random.usize(2..=wire.len().max(2));
    let cuts: Vec<_> = (0..40).map(|_| random.usize(1..=longest)).collect();
    for (engine, port) in ports(policy) {
        let session = |pieces: Vec<usize>, how: &str| {
            converse(port, wire, pieces, expected, &format!("{engine:?}, {how}"));
        };
        session(vec![], "in one write");
        session(cuts.clone(), "cut at random");
        if wire.len() <= OCTET_BY_OCTET_MAX {
            session(vec![1; wire.len()], "octet by octet");
        }
    }
}

fn converse(port: SocketAddr, wire: &[u8], pieces: Vec<usize>, expected: &Outcome, how: &str) {
    let shown = String::from_utf8_lossy(&wire[..wire.len().min(500)]);
    let mut caller = Caller::call(port);
    caller.send(wire, pieces);
    let lines = 1 + expected.wire.iter().filter(|&&b| b == b'\n').count();
    caller.read_lines(lines);
    let greeting = caller.received.iter().position(|&b| b == b'\n').expect("a greeting") + 1;
    let replies = read_replies(&caller.received[greeting..]);
    assert_eq!(replies, expected.replies, "{how}: {shown:?}");
    if expected.is_closed() {
        assert!(!caller.read(), "{how}: still open behind {shown:?}");
        return;
    }
    if !expected.awaits_more {
        caller.send(b"NOOP\r\n", []);
        caller.read_lines(lines + 1);
        let noop = caller.received.split_inclusive(|&b| b == b'\n').nth(lines);
        assert!(noop.is_some_and(|l| l.starts_with(b"250")), "{how}: closed behind {shown:?}");
    }
    let said = caller.received.len();
    caller.hang_up();
    let more = String::from_utf8_lossy(&caller.received[said..]);
    // The NOOP may have been the one too many.
    assert!(more.is_empty() || more.starts_with("421"), "{how}: {more:?} behind {shown:?}");
}
