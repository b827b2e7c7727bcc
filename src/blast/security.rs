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

/// A part of all that comes, spread evenly: after each step, what was taken is as near to the part as whole numbers
/// can be.
#[derive(Debug)]
pub(super) struct Proportion {
    percent: f64,
    seen: Cell<u64>,
    taken: Cell<u64>,
}

impl Proportion {
    pub(super) fn new(percent: f64) -> Self {
        debug_assert!((0.0..=100.0).contains(&percent), "a part of the whole");
        Self { percent, seen: Cell::new(0), taken: Cell::new(0) }
    }

    /// Whether the next one is to be taken. Counts it as taken if so.
    pub(super) fn next(&self) -> bool {
        self.seen.set(self.seen.get() + 1);
        let due = (self.seen.get() as f64 * self.percent / 100.0).round() as u64;
        let takes = self.taken.get() < due;
        self.taken.set(self.taken.get() + u64::from(takes));
        takes
    }

    /// One that was to be taken could not be: the next ones make up for it.
    pub(super) fn give_back(&self) {
        debug_assert!(self.taken.get() > 0, "what was not taken");
        self.taken.set(self.taken.get() - 1);
    }
}

/// The sessions of one core with one target under TLS.
#[derive(Debug)]
pub(super) struct SecuredSessions {
    pub(super) security: TargetSecurity,
    share: Proportion,
    resume: Proportion,
}

impl SecuredSessions {
    pub(super) fn new(security: TargetSecurity, plan: &TlsPlan) -> Self {
        Self {
            security,
            share: Proportion::new(plan.share_percent.unwrap_or(100.0)),
            resume: Proportion::new(plan.resume_percent.unwrap_or(0.0)),
        }
    }

    /// When the next session goes under TLS.
    pub(super) fn next_mode(&self) -> TlsMode {
        if self.share.next() { self.security.mode } else { TlsMode::Plain }
    }

    /// Whether the next handshake is to resume a session.
    pub(super) fn resumes_next(&self) -> bool {
        self.resume.next()
    }

    /// A handshake that was to resume a session did not.
    pub(super) fn not_resumed(&self) {
        self.resume.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_spread_evenly_and_what_failed_is_made_up_for() {
        for percent in [0.0, 1.0, 12.5, 50.0, 80.0, 99.9, 100.0] {
            let part = Proportion::new(percent);
            let mut taken = 0.0;
            for seen in 1..=2_000 {
                taken += f64::from(u8::from(part.next()));
                let due = f64::from(seen) * percent / 100.0;
                assert!((taken - due).abs() <= 0.5, "{taken} of {seen} at {percent} %");
            }
        }
        let part = Proportion::new(90.0);
        // The first have nothing to resume.
        let first = (0..64).filter(|_| part.next()).count();
        (0..first).for_each(|_| part.give_back());
        let later = (0..936).filter(|_| part.next()).count();
        assert_eq!(later, 900);
    }
}
