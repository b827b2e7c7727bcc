//! The receiver against a slow one written from the RFCs, on random client streams cut at random.
//!
//! `FUZZ_RUNS` says how many, `FUZZ_SEED` where to start; a failure prints the seed of the one run
//! that shows it. Run `n` of seed `s` is run 0 of seed `s + n`.

use std::rc::Rc;
use std::time::Instant;

use fastrand::Rng;
use ringpost::smtp::server::Policy;

use crate::drive::drive;
use crate::reference::world::Circumstances;
use crate::reference::{Quirk, Reference, Seen};
use crate::stream::{random_policy, random_session};

const RUNS_DEFAULT: u64 = 40_000;

/// Runs in which each planted mistake must have been noticed.
const CANARY_RUNS: u64 = 20_000;

struct Run {
    policy: Rc<Policy>,
    circumstances: Circumstances,
    wire: Vec<u8>,
    pieces: Vec<usize>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let policy = random_policy(&mut random);
        let circumstances = Circumstances {
            trusted: random.u8(..3) == 0,
            implicit_tls: random.u8(..8) == 0,
            crowded: random.u8(..12) == 0,
        };
        let (wire, pieces) = random_session(&mut random, &policy);
        Self { policy: Rc::new(policy), circumstances, wire, pieces }
    }

    fn fast(&self) -> Seen {
        drive(&self.policy, self.circumstances, &self.wire, self.pieces.iter().copied())
    }

    fn slow(&self, quirk: Option<Quirk>) -> Seen {
        let slow = Reference::new(&self.policy, self.circumstances, quirk);
        slow.run(&self.wire, self.pieces.iter().copied())
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn the_receiver_does_what_a_slow_one_does() {
    let first = from_environment("FUZZ_SEED", 1);
    let runs = from_environment("FUZZ_RUNS", RUNS_DEFAULT);
    let started = Instant::now();
    let (mut octets, mut replies, mut stored, mut closed) = (0, 0, 0, 0);
    for seed in first..first + runs {
        let run = Run::new(seed);
        let (fast, slow) = (run.fast(), run.slow(None));
        if fast != slow {
            panic!(
                "FUZZ_SEED={seed} FUZZ_RUNS=1 shows it\n{:?} {:?}\nsent {:?}\nin pieces {:?}\n\
                 the receiver: {fast:?}\nthe slow one: {slow:?}",
                run.policy,
                run.circumstances,
                run.wire.escape_ascii().to_string(),
                run.pieces,
            );
        }
        octets += run.wire.len();
        replies += fast.replies.len();
        stored += fast.stored.len();
        closed += usize::from(fast.closed);
    }
    println!(
        "{runs} runs from seed {first} in {:.1?}: {octets} octets, {replies} replies, \
         {stored} messages, {closed} sessions closed by the server",
        started.elapsed()
    );
    // A generator that no longer gets anywhere proves nothing.
    assert!(runs < 1_000 || (stored > runs as usize / 4 && closed > runs as usize / 50));
}

#[test]
fn every_planted_mistake_is_noticed() {
    let mut unseen = Quirk::ALL.to_vec();
    for seed in 1..=CANARY_RUNS {
        let run = Run::new(seed);
        let right = run.fast();
        unseen.retain(|quirk| run.slow(Some(*quirk)) == right);
        if unseen.is_empty() {
            return;
        }
    }
    panic!("{CANARY_RUNS} runs did not show {unseen:?}");
}
