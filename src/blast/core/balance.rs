//! Which target a session is opened to, and how one that was gone gets its part back of sessions that
//! stay.

use super::Core;
use crate::blast::policy::Reconnect;

impl Core {
    /// The target of the next session, which it holds until [`Self::let_go`].
    pub(in crate::blast) fn deal(&self, now_ns: u64) -> usize {
        let goal = match self.goals.len() {
            1 => 0,
            _ if self.work.sessions_stay() => self
                .turns
                .shortest(|goal| self.goals[goal].held.get(), |goal| self.is_able(goal, now_ns)),
            _ => self.turns.next(|goal| self.goals[goal].away_until_ns.get() <= now_ns),
        };
        self.goals[goal].held.set(self.goals[goal].held.get() + 1);
        goal
    }

    pub(in crate::blast) fn let_go(&self, goal: usize) {
        self.goals[goal].held.set(self.goals[goal].held.get() - 1);
    }

    /// Whether a target may have another session. One that did nothing but fail of late is tried by a
    /// single one at a time.
    fn is_able(&self, index: usize, now_ns: u64) -> bool {
        let goal = &self.goals[index];
        goal.away_until_ns.get() <= now_ns && !(goal.is_in_doubt() && goal.held.get() > 0)
    }

    /// Asks sessions to leave of which their target has too many while another lacks them: nothing else
    /// ends a session that stays.
    pub(super) fn balance(&self, now_ns: u64) {
        let fixed = !self.work.sessions_stay() || self.policy.reconnect == Reconnect::Never;
        if self.goals.len() == 1 || fixed {
            return;
        }
        let all = 0..self.goals.len();
        let able: Vec<bool> = all.map(|goal| self.is_able(goal, now_ns)).collect();
        let mut held: Vec<usize> = self.goals.iter().map(|goal| goal.held.get()).collect();
        self.goals.iter().for_each(|goal| goal.surplus.set(0));
        while let Some((from, to)) = self.turns.unfair(|goal| held[goal], |goal| able[goal]) {
            held[from] -= 1;
            held[to] += 1;
            self.goals[from].surplus.set(self.goals[from].surplus.get() + 1);
            if self.goals[to].is_in_doubt() {
                break;
            }
        }
    }

    /// Whether a session with this target is to leave, for another target to have it.
    #[inline]
    pub(in crate::blast) fn is_surplus(&self, goal: usize) -> bool {
        let surplus = &self.goals[goal].surplus;
        let is_one = surplus.get() > 0;
        if is_one {
            surplus.set(surplus.get() - 1);
        }
        is_one
    }
}
