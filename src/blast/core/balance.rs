//! Which target a session is opened to, and how a target that was unreachable gets its part of the
//! long sessions back.

use super::LoadCore;
use crate::blast::policy::Reconnect;

impl LoadCore {
    /// The target of the next session, which it holds until [`Self::let_go`].
    pub(in crate::blast) fn deal(&self, now_ns: u64) -> usize {
        let target = match self.targets.len() {
            1 => 0,
            _ if self.work.sessions_stay() => self.turns.shortest(
                |target| self.targets[target].held.get(),
                |target| self.is_able(target, now_ns),
            ),
            _ => self.turns.next(|target| self.targets[target].away_until_ns.get() <= now_ns),
        };
        self.targets[target].held.set(self.targets[target].held.get() + 1);
        target
    }

    /// Ends what [`Self::deal`] began.
    pub(in crate::blast) fn let_go(&self, target: usize) {
        let held = &self.targets[target].held;
        debug_assert!(held.get() > 0, "a session lets its target go once");
        held.set(held.get() - 1);
    }

    /// Whether a target may have another session. A target whose last sessions all failed is tried by one
    /// session at a time.
    fn is_able(&self, index: usize, now_ns: u64) -> bool {
        let target = &self.targets[index];
        target.away_until_ns.get() <= now_ns && !(target.is_in_doubt() && target.held.get() > 0)
    }

    /// Asks sessions to leave a target that has too many while another target lacks some: nothing else
    /// ends a long session.
    pub(super) fn balance(&self, now_ns: u64) {
        let fixed = !self.work.sessions_stay() || self.policy.reconnect == Reconnect::Never;
        if self.targets.len() == 1 || fixed {
            return;
        }
        let all = 0..self.targets.len();
        let able: Vec<bool> = all.map(|target| self.is_able(target, now_ns)).collect();
        let mut held: Vec<usize> = self.targets.iter().map(|target| target.held.get()).collect();
        self.targets.iter().for_each(|target| target.surplus.set(0));
        while let Some((from, to)) = self.turns.unfair(|target| held[target], |target| able[target])
        {
            held[from] -= 1;
            held[to] += 1;
            self.targets[from].surplus.set(self.targets[from].surplus.get() + 1);
            if self.targets[to].is_in_doubt() {
                break;
            }
        }
    }

    /// Whether a session with this target must leave so that another target gets it.
    #[inline]
    pub(in crate::blast) fn is_surplus(&self, target: usize) -> bool {
        let surplus = &self.targets[target].surplus;
        let is_one = surplus.get() > 0;
        if is_one {
            surplus.set(surplus.get() - 1);
        }
        is_one
    }
}
