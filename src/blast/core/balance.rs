//! Which target a session is opened to, and how a target that was unreachable gets its part of the
//! long sessions back.

use std::cell::Cell;

use super::LoadCore;
use crate::blast::policy::Reconnect;
use crate::blast::shared::lock;

/// The place of a session with its target, from before its connect to after its end.
#[derive(Debug)]
pub(in crate::blast) struct TargetHold {
    pub(in crate::blast) target: usize,
    /// Whether it was asked to leave.
    leaves: Cell<bool>,
}

impl LoadCore {
    /// Deals a session to a target, which holds it until [`Self::let_go`]. Where sessions stay, the turns decide
    /// for the `first` session of a connection, so that it makes no difference which core is earlier; a later
    /// one goes to the target that lacks most.
    pub(in crate::blast) fn deal(&self, now_ns: u64, first: bool) -> TargetHold {
        let target = match self.targets.len() {
            1 => 0,
            _ => {
                let stay = self.work.sessions_stay();
                let mut shares = lock(&self.shared.target_shares);
                let able = |target| self.is_able(target, now_ns);
                match stay {
                    true if first => shares.deal_in_turn(able),
                    true => shares.deal_to_lacking(able),
                    false => shares
                        .deal_in_turn(|target| self.targets[target].away_until_ns.get() <= now_ns),
                }
            }
        };
        self.targets[target].held.set(self.targets[target].held.get() + 1);
        TargetHold { target, leaves: Cell::new(false) }
    }

    /// Ends what [`Self::deal`] began.
    pub(in crate::blast) fn let_go(&self, hold: TargetHold) {
        let TargetHold { target: index, leaves } = hold;
        let (target, leaves) = (&self.targets[index], leaves.get());
        debug_assert!(target.held.get() > 0, "a session lets its target go once");
        target.held.set(target.held.get() - 1);
        target.leaving.set(target.leaving.get() - usize::from(leaves));
        // No more can be asked than are there.
        let surplus = target.surplus.get().min(target.held.get() - target.leaving.get());
        let less = target.surplus.replace(surplus) - surplus;
        if self.targets.len() > 1 {
            lock(&self.shared.target_shares).let_go(index, leaves, less);
        }
    }

    /// Whether a target may have another session. A target whose last sessions all failed is tried by one
    /// session at a time.
    fn is_able(&self, index: usize, now_ns: u64) -> bool {
        let target = &self.targets[index];
        target.away_until_ns.get() <= now_ns && !(target.is_in_doubt() && target.held.get() > 0)
    }

    /// Asks sessions to leave a target that has too many while another target lacks some: nothing else
    /// ends a long session. What is too many, all cores decide together.
    pub(super) fn balance(&self, now_ns: u64) {
        let fixed = !self.work.sessions_stay() || self.policy.reconnect == Reconnect::Never;
        if self.targets.len() == 1 || fixed {
            return;
        }
        let surplus = lock(&self.shared.target_shares).surplus(
            |target| self.is_able(target, now_ns),
            |target| self.targets[target].is_in_doubt(),
            |target| self.targets[target].held.get() - self.targets[target].leaving.get(),
            |target| self.targets[target].surplus.get(),
        );
        for (target, surplus) in self.targets.iter().zip(surplus) {
            target.surplus.set(surplus);
        }
    }

    /// Whether the session of `hold` must leave its target so that another target gets it.
    #[inline]
    pub(in crate::blast) fn is_surplus(&self, hold: &TargetHold) -> bool {
        let target = &self.targets[hold.target];
        let is_one = target.surplus.get() > 0;
        if is_one {
            debug_assert!(!hold.leaves.get(), "a session that was asked leaves");
            target.surplus.set(target.surplus.get() - 1);
            target.leaving.set(target.leaving.get() + 1);
            hold.leaves.set(true);
        }
        is_one
    }
}
