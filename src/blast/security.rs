//! TLS of a run: which sessions go under it, and which of their handshakes resume a session.

use std::cell::Cell;

use crate::dial::{Security, TargetSecurity, TlsMode};

/// TLS of a run.
#[derive(Clone, Debug)]
pub struct TlsPlan {
    pub security: Security,
    /// Per cent of the sessions that go under TLS; `None` for all.
    pub share_percent: Option<f64>,
    /// Per cent of the handshakes that resume a session; `None` for none of them.
    pub resume_percent: Option<f64>,
    /// The options that change a handshake and have no field in the result, as they were given.
    pub options: Vec<String>,
}

/// Sessions in a row that TLS, or plain text, may fail before the next one is tried in the other way.
const SHARE_MISSES_MAX: u32 = 2;
/// The same of handshakes that resume a session, or do not. A server that has worked is not given up so soon.
const RESUME_MISSES_MAX: u32 = 16;

/// A part of all that comes, spread evenly: after each step, what was taken is as near to the part as whole numbers
/// can be. What came to nothing is made up for, so that the part is one of what is counted.
#[derive(Debug)]
pub(super) struct Proportion {
    percent: f64,
    /// What was decided, less what came to nothing. INVARIANT: `taken` is at most `seen`.
    seen: Cell<u64>,
    taken: Cell<u64>,
    misses_max: u32,
    /// Which way came to nothing last, and how often in a row.
    missed: Cell<(bool, u32)>,
}

impl Proportion {
    pub(super) fn new(percent: f64, misses_max: u32) -> Self {
        debug_assert!((0.0..=100.0).contains(&percent), "a part of the whole");
        let (seen, taken, missed) = (Cell::new(0), Cell::new(0), Cell::new((false, 0)));
        Self { percent, seen, taken, misses_max, missed }
    }

    /// Whether the next one is to be taken. Counts it as taken if so.
    pub(super) fn next(&self) -> bool {
        self.seen.set(self.seen.get() + 1);
        let due = (self.seen.get() as f64 * self.percent / 100.0).round() as u64;
        let takes = match self.percent {
            ..=0.0 => false,
            100.0.. => true,
            // Else a way that always fails would be tried for ever.
            _ => self.other_way().unwrap_or(self.taken.get() < due),
        };
        self.taken.set(self.taken.get() + u64::from(takes));
        takes
    }

    /// What has not failed, where the other way has too often.
    fn other_way(&self) -> Option<bool> {
        let (way, times) = self.missed.get();
        (times >= self.misses_max).then(|| {
            self.missed.set((way, 0));
            !way
        })
    }

    /// Says what became of one that was to be taken, or not to be: whether it counts as taken, or `None` where it
    /// does not count.
    pub(super) fn settle(&self, takes: bool, counted: Option<bool>) {
        let (way, times) = self.missed.get();
        let missed = match counted {
            None if way == takes => (way, times.saturating_add(1)),
            None => (takes, 1),
            Some(_) => (way, 0),
        };
        self.missed.set(missed);
        if counted.is_none() {
            self.seen.set(self.seen.get() - 1);
        }
        let taken = self.taken.get() - u64::from(takes) + u64::from(counted == Some(true));
        debug_assert!(taken <= self.seen.get(), "a part of the whole: {self:?}");
        self.taken.set(taken);
    }
}

/// The sessions of one core with one target under TLS.
#[derive(Debug)]
pub(super) struct SecuredSessions {
    pub(super) security: TargetSecurity,
    pub(super) share: Proportion,
    pub(super) resume: Proportion,
}

impl SecuredSessions {
    pub(super) fn new(security: TargetSecurity, plan: &TlsPlan) -> Self {
        Self {
            security,
            share: Proportion::new(plan.share_percent.unwrap_or(100.0), SHARE_MISSES_MAX),
            resume: Proportion::new(plan.resume_percent.unwrap_or(0.0), RESUME_MISSES_MAX),
        }
    }

    /// When the next session goes under TLS.
    pub(super) fn next_mode(&self) -> TlsMode {
        if self.share.next() { self.security.mode } else { TlsMode::Plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_spread_evenly_and_what_failed_is_made_up_for() {
        for percent in [0.0, 1.0, 12.5, 50.0, 80.0, 99.9, 100.0] {
            let part = Proportion::new(percent, 2);
            let mut taken = 0.0;
            for seen in 1..=2_000 {
                taken += f64::from(u8::from(part.next()));
                let due = f64::from(seen) * percent / 100.0;
                assert!((taken - due).abs() <= 0.5, "{taken} of {seen} at {percent} %");
            }
        }
        let part = Proportion::new(90.0, 2);
        // The first have nothing to resume.
        let first = (0..64).filter(|_| part.next()).count();
        (0..first).for_each(|_| part.settle(true, Some(false)));
        let later = (0..936).filter(|_| part.next()).count();
        assert_eq!(later, 900);
    }

    /// Of `tries` tries the part that counts as taken, in per cent, if `fails` says which come to nothing; some of
    /// them are under way at the same time.
    fn reached(percent: f64, tries: u64, mut fails: impl FnMut(bool) -> bool) -> f64 {
        let part = Proportion::new(percent, 8);
        let (mut counted, mut taken) = (0.0, 0.0);
        for _ in 0..tries / 4 {
            let under_way: Vec<bool> = (0..4).map(|_| part.next()).collect();
            for takes in under_way {
                let counts = !fails(takes);
                part.settle(takes, counts.then_some(takes));
                counted += f64::from(u8::from(counts));
                taken += f64::from(u8::from(counts && takes));
            }
        }
        100.0 * taken / counted
    }

    #[test]
    fn what_comes_to_nothing_changes_no_share_and_a_way_that_always_fails_is_left() {
        let mut random = fastrand::Rng::with_seed(7);
        for percent in [20.0, 50.0, 80.0] {
            for (of_taken, of_others) in [(0.3, 0.3), (0.5, 0.5), (0.3, 0.0), (0.0, 0.5)] {
                let fails = |takes| random.f64() < if takes { of_taken } else { of_others };
                let reached = reached(percent, 4_000, fails);
                assert!((reached - percent).abs() < 2.0, "{reached} of {percent}");
            }
        }
        for always in [true, false] {
            let reached = reached(50.0, 4_000, |takes| takes == always);
            assert_eq!(reached, if always { 0.0 } else { 100.0 }, "and not NaN: some counted");
        }
        // What must be under TLS is never in plain text, however often that fails.
        for (percent, takes) in [(100.0, true), (0.0, false)] {
            let part = Proportion::new(percent, 2);
            for _ in 0..100 {
                assert_eq!(part.next(), takes);
                part.settle(takes, None);
            }
        }
    }
}
