//! Whether the machine was in time: on each CPU a thread sleeps for a millisecond again and again, and notes how much
//! longer that took. Where it took much longer, other programs had the CPUs, and a run that shows times far from their
//! law shows the machine, not the generator.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ringpost::host;

use super::server::{now_ns, sleep_until};
use super::statistics::at_quantile;

/// A machine is late where one sleep of ten takes longer than asked by more than this.
const LATE_S: f64 = 0.000_5;
/// And where any took longer by more than this: one stall holds up all messages in flight, which are more than one
/// of a hundred in a short run.
const STALL_S: f64 = 0.004;
/// And where the generator waited for its CPU for more than this part of its time.
const WAIT_MAX: f64 = 0.03;

/// Measures from its start to its end.
pub(crate) struct Pulse {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<f64>>>,
}

impl Pulse {
    pub(crate) fn start() -> Self {
        let over = Arc::<AtomicBool>::default();
        let beat = |cpu: usize| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                // A thread that is not pinned sees some of the stalls too.
                drop(host::pin(cpu));
                let mut late = Vec::new();
                while !over.load(Relaxed) {
                    let until_ns = now_ns() + Duration::from_millis(1).as_nanos() as u64;
                    sleep_until(until_ns);
                    late.push((now_ns() - until_ns) as f64 / 1e9);
                }
                late
            })
        };
        let threads = host::allowed().unwrap().into_iter().map(beat).collect();
        Self { over, threads }
    }

    /// Whether the machine was late. `waited` is the part of its time for which the generator waited for a CPU.
    pub(crate) fn was_late(self, waited: f64, limited: bool) -> bool {
        self.over.store(true, Relaxed);
        let beat_late = |thread: JoinHandle<Vec<f64>>| {
            let mut late = thread.join().unwrap();
            late.sort_by(f64::total_cmp);
            late.last().is_none_or(|most| *most > STALL_S) || at_quantile(&late, 0.9) > LATE_S
        };
        // All are joined, whatever the first says.
        let late: Vec<bool> = self.threads.into_iter().map(beat_late).collect();
        limited || waited > WAIT_MAX || late.contains(&true)
    }
}

/// How a run went that is to be judged by a law.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Judged {
    Holds,
    /// The machine was late, so that the run says nothing about the law.
    Late,
    /// The machine was in time, and the run does not follow its law.
    Fails,
}

impl Judged {
    pub(crate) fn of(holds: bool, was_late: bool) -> Self {
        match (holds, was_late) {
            (true, _) => Self::Holds,
            (false, true) => Self::Late,
            (false, false) => Self::Fails,
        }
    }
}

/// Tries of what a late machine may spoil.
const TRIES: u64 = 4;

/// All laws of the bench.
const LAWS: [&str; 13] = [
    "M/D/1 at 50 %",
    "M/D/1 at 80 %",
    "M/D/1 at 95 %",
    "M/M/1 at 50 %",
    "M/M/1 at 80 %",
    "M/M/1 at 95 %",
    "exponential",
    "stalls",
    "constant",
    "32 connections of 400 ms take 80 messages a second",
    "an idle server keeps 26 messages a second",
    "the knee is at 75",
    "the highest rate is above 75",
];

/// The laws that were tried so far, and whether each was judged.
static TRIED: Mutex<Vec<(&str, bool)>> = Mutex::new(Vec::new());

/// Tries `one` until it holds. Fails where it never held, unless the machine was late each time: then the law is not
/// judged, which is told. Under `FIGURES_JUDGED=1` it must hold, which asks for a machine that does nothing else.
/// Fails too where all laws of the bench were tried and none was judged.
pub(crate) fn judge(what: &str, one: impl Fn(u64) -> Judged) {
    let law = LAWS.into_iter().find(|law| *law == what).expect("a law of the bench");
    let seed = super::conservation::number("FIGURES_SEED", 1) * 100;
    let mut tries = Vec::new();
    while tries.len() < TRIES as usize && tries.last() != Some(&Judged::Holds) {
        tries.push(one(seed + tries.len() as u64));
    }
    let holds = tries.last() == Some(&Judged::Holds);
    assert!(holds || !tries.contains(&Judged::Fails), "{what}: {tries:?}");
    let strict = super::conservation::number("FIGURES_JUDGED", 0) == 1;
    assert!(
        holds || !strict,
        "{what}: the machine was late each time, and FIGURES_JUDGED asks for a judgement"
    );
    if !holds {
        tell(&format!("{what}: not judged, because the machine was late {TRIES} times"));
    }
    let mut tried = TRIED.lock().unwrap();
    tried.push((law, holds));
    if tried.len() == LAWS.len() {
        let late: Vec<&str> =
            tried.iter().filter(|(_, judged)| !judged).map(|(law, _)| *law).collect();
        let judged = LAWS.len() - late.len();
        tell(&format!("{judged} of {} laws judged; not judged: {late:?}", LAWS.len()));
        assert!(judged > 0, "no law was judged: the machine was late all the time");
    }
}

/// Prints a line also where the test passes, which `eprintln!` does not.
pub(crate) fn tell(line: &str) {
    // Nobody has to read it.
    drop(writeln!(std::io::stderr(), "figures: {line}"));
}
