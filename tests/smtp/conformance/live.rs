//! The rows of the conformance tables again, over TCP against live sinks on each engine, in plain text and under TLS.

use std::collections::HashMap;
use std::sync::Mutex;

use ringpost::engine::EngineKind;
use ringpost::smtp::server::{Policy, TlsPolicy};

use super::harness::{Outcome, read_replies, run_secured};
use crate::sink::engines;
use crate::under_tls::{Door, Doors, takes_all};

/// Octets of a session up to which it is also sent octet by octet.
const OCTET_BY_OCTET_MAX: usize = 5_000;

/// One sink for each engine and policy, started when first asked for; they end with the process.
static SINKS: Mutex<Option<HashMap<String, Vec<EngineDoors>>>> = Mutex::new(None);

type EngineDoors = (EngineKind, Vec<Door>);

fn doors(policy: &Policy) -> Vec<EngineDoors> {
    let mut sinks = SINKS.lock().unwrap();
    let open = |engine| Doors::open(engine, std::slice::from_ref(policy), None).of.remove(0);
    let start = || engines().into_iter().map(|engine| (engine, open(engine))).collect();
    sinks.get_or_insert_default().entry(format!("{policy:?}")).or_insert_with(start).clone()
}

/// Checks that sessions over sockets, cut in several ways, come to `expected`, which is what the
/// machine came to without one.
pub(super) fn check_live(policy: &Policy, wire: &[u8], expected: &Outcome) {
    let mut random = fastrand::Rng::with_seed(wire.len() as u64);
    let longest = random.usize(2..=wire.len().max(2));
    let cuts: Vec<_> = (0..40).map(|_| random.usize(1..=longest)).collect();
    let mut ways = vec![(vec![], "in one write"), (cuts, "cut at random")];
    if wire.len() <= OCTET_BY_OCTET_MAX {
        ways.push((vec![1; wire.len()], "octet by octet"));
    }
    let secured = under_tls(policy, wire, expected);
    for (engine, doors) in doors(policy) {
        let (plain, secure) = doors.split_first().expect("a door in plain text");
        // One row takes one way through one of the doors, another row the next.
        let turn = wire.len() % (ways.len() * secure.len());
        for (nth, (pieces, how)) in ways.iter().enumerate() {
            converse(plain, wire, pieces, expected, &format!("{engine:?}, {how}"));
            for (door, number) in secure.iter().zip(nth * secure.len()..) {
                if number == turn || takes_all() {
                    let how = format!("{engine:?}, {}, {how}", door.name());
                    converse(door, wire, pieces, &secured, &how);
                }
            }
        }
    }
}

/// What the machine comes to under TLS, which is the same but for what is about TLS.
fn under_tls(policy: &Policy, wire: &[u8], plain: &Outcome) -> Outcome {
    let secured = run_secured(policy, wire);
    let says = |word: &str| {
        wire.windows(word.len()).any(|octets| octets.eq_ignore_ascii_case(word.as_bytes()))
    };
    if policy.tls == TlsPolicy::default() && !says("STARTTLS") && !says("REQUIRETLS") {
        assert_eq!(secured.replies, plain.replies, "{:?}", String::from_utf8_lossy(wire));
    }
    secured
}

fn converse(door: &Door, wire: &[u8], pieces: &[usize], expected: &Outcome, how: &str) {
    let shown = String::from_utf8_lossy(&wire[..wire.len().min(500)]);
    let mut caller = door.call();
    caller.send(wire, pieces.iter().copied());
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
