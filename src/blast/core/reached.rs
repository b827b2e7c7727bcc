//! Which targets can be reached, and what follows if one cannot.

use std::sync::atomic::Ordering::Relaxed;

use super::LoadCore;
use crate::blast::failure::Failure;
use crate::blast::shared::lock;

/// Time without a turn for a target that is out of reach while others are not.
const TARGET_AWAY_NS: u64 = 1_000_000_000;

impl LoadCore {
    /// A session's greeting is done.
    pub(in crate::blast) fn session_works(&self, index: usize) {
        let target = &self.targets[index];
        target.failures.set(0);
        target.working.set(target.working.get() + 1);
        debug_assert!(target.working.get() <= target.held.get(), "a session that works is held");
        self.shared.reached[index].store(true, Relaxed);
        if target.away_until_ns.take() > 0 {
            lock(&self.shared.away).remove(&index);
        }
    }

    /// A session whose greeting was done has ended.
    pub(in crate::blast) fn session_ended(&self, target: usize, now_ns: u64) {
        self.work.session_ended();
        let target = &self.targets[target];
        debug_assert!(target.working.get() > 0, "a session that worked ends once");
        target.working.set(target.working.get() - 1);
        target.worked_ns.set(now_ns);
    }

    pub(super) fn reached(&self, target: usize) -> bool {
        self.shared.reached[target].load(Relaxed)
    }

    /// Whether a target has failed so often, or for so long, that it is given up.
    fn is_hopeless(&self, index: usize, now_ns: u64) -> bool {
        let target = &self.targets[index];
        if target.away_until_ns.get() == u64::MAX {
            return true;
        }
        // While nothing failed, nothing showed that the target was out of reach.
        let since_ns = target.worked_ns.get().max(target.failing_ns.get());
        let idle_max_ns = self.idle_max.as_nanos() as u64;
        match self.reached(index) {
            // First attempts go side by side; one that takes long may be the one that is let in. That holds
            // for a while only: others may wait for their turn to connect.
            false => {
                let tried = now_ns > idle_max_ns || !self.work.has_untried();
                target.failures.get() >= self.connect_options.tries && tried
            }
            true => {
                let is_long = now_ns.saturating_sub(since_ns) > idle_max_ns;
                target.failures.get() > 0 && target.working.get() == 0 && is_long
            }
        }
    }

    /// A session ended before it did any work. Gives its target up if there is no hope for it.
    pub(in crate::blast) fn failed(&self, index: usize, why: Failure) {
        let target = &self.targets[index];
        let now_ns = self.clock.elapsed_ns();
        if target.failures.get() == 0 {
            target.failing_ns.set(now_ns);
        }
        target.failures.set(target.failures.get().saturating_add(1));
        self.work.doubt(now_ns);
        if !self.reached(index) && self.policy.stop_on_error {
            self.shared.give_up(why);
        } else if self.is_hopeless(index, now_ns) {
            let why = match self.reached(index) {
                true => why.after_success(self.idle_max.as_secs()),
                false => why,
            };
            self.go_without(index, why, now_ns, now_ns + TARGET_AWAY_NS);
        } else if self.work.sessions_stay() {
            // Otherwise the session would be dealt to the same target at once, because that target lacks
            // it, and would do nothing for the others.
            target.away_until_ns.set(now_ns + TARGET_AWAY_NS);
        }
    }

    /// Nothing is left to do, and the server has not greeted the session. That is the end of it, unless
    /// no session was ever greeted.
    pub(in crate::blast) fn never_greeted(&self, index: usize, why: Failure) {
        lock(&self.shared.ungreeted).entry(index).or_insert(why);
    }

    /// No session with this target can do what is asked.
    pub(in crate::blast) fn unfit(&self, index: usize, why: Failure) {
        self.go_without(index, why, self.clock.elapsed_ns(), u64::MAX);
    }

    /// Uses the target no more until `until_ns`, or ends the run if there is no hope for the others either.
    fn go_without(&self, index: usize, why: Failure, now_ns: u64, until_ns: u64) {
        self.targets[index].away_until_ns.set(until_ns);
        if (0..self.targets.len()).all(|target| self.is_hopeless(target, now_ns)) {
            self.shared.give_up(why);
        } else {
            lock(&self.shared.away).insert(index, why);
        }
    }
}
