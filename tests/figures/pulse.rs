//! Whether the machine was in time: on each CPU a thread sleeps for a millisecond again and again, and notes how much
//! longer that took. Where it took much longer, other programs had the CPUs, and a run that shows times far from their
//! law shows the machine, not the generator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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

/// Tries `one` until it holds. Fails where it never held, unless the machine was late each time. Under
/// `FIGURES_JUDGED=1` it must hold, which asks for a machine that does nothing else.
pub(crate) fn judge(what: &str, one: impl Fn(u64) -> Judged) {
    let seed = super::conservation::number("FIGURES_SEED", 1) * 100;
    let tries: Vec<Judged> = {
        let mut tries = Vec::new();
        for n in 0..TRIES {
            tries.push(one(seed + n));
            if tries.last() == Some(&Judged::Holds) {
                return;
            }
        }
        tries
    };
    assert!(!tries.contains(&Judged::Fails), "{what}: {tries:?}");
    let strict = super::conservation::number("FIGURES_JUDGED", 0) == 1;
    assert!(
        !strict,
        "{what}: the machine was late each time, and FIGURES_JUDGED asks for a judgement"
    );
    eprintln!("{what}: not judged, because the machine was late {TRIES} times");
}
