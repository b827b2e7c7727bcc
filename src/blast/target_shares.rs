//! How the sessions of all cores are shared out to several targets: one decision for the whole run, whichever
//! cores the sessions are on.

use super::targets::{Targets, WeightedRoundRobin};

/// The turns of the targets and the sessions that they have, of all cores together. Used once at the begin
/// and once at the end of a connection, and a few times a second.
#[derive(Debug)]
pub(super) struct TargetShares {
    turns: WeightedRoundRobin,
    /// Sessions that are open to each target or being opened.
    held: Vec<usize>,
    /// Of these, those that were asked to leave, or may be. INVARIANT: at most `held`.
    leaving: Vec<usize>,
}

impl TargetShares {
    pub(super) fn new(targets: &Targets) -> Self {
        let none = vec![0; targets.all().len()];
        Self { turns: WeightedRoundRobin::new(targets), held: none.clone(), leaving: none }
    }

    /// The target whose turn it is, among those that are `able`, or among all where none is. It holds the
    /// session until [`Self::let_go`].
    pub(super) fn deal_in_turn(&mut self, able: impl Fn(usize) -> bool) -> usize {
        let target = self.turns.next(able);
        self.held[target] += 1;
        target
    }

    /// The target that lacks a session most, likewise.
    pub(super) fn deal_to_lacking(&mut self, able: impl Fn(usize) -> bool) -> usize {
        let target = self.turns.shortest(|target| self.held[target], able);
        self.held[target] += 1;
        target
    }

    /// A session has ended; `was_leaving` says whether it was asked to leave. Gives up `asked` more sessions
    /// that were to be asked.
    pub(super) fn let_go(&mut self, target: usize, was_leaving: bool, asked: usize) {
        assert!(self.held[target] > 0, "a session lets its target go once");
        self.held[target] -= 1;
        self.leaving[target] -= usize::from(was_leaving) + asked;
        debug_assert!(self.leaving[target] <= self.held[target], "who leaves is held");
    }

    /// How many sessions of each target must leave so that another target gets them, besides those that
    /// leave already, and of no target more than are `own`. They count as leaving from now on; `unasked` of each
    /// have counted so since the last look, and were not asked. A target that is `in_doubt` gets one session.
    pub(super) fn surplus(
        &mut self,
        able: impl Fn(usize) -> bool,
        in_doubt: impl Fn(usize) -> bool,
        own: impl Fn(usize) -> usize,
        unasked: impl Fn(usize) -> usize,
    ) -> Vec<usize> {
        let mut after = self.held.clone();
        while let Some((from, to)) = self.turns.unfair(|target| after[target], &able) {
            after[from] -= 1;
            after[to] += 1;
            if in_doubt(to) {
                break;
            }
        }
        let surplus = |target: usize| {
            self.leaving[target] -= unasked(target);
            let all = self.held[target].saturating_sub(after[target]);
            let more = all.saturating_sub(self.leaving[target]).min(own(target));
            self.leaving[target] += more;
            more
        };
        (0..self.held.len()).map(surplus).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blast::targets::WeightedTarget;
    use crate::dial::Target;

    fn shares(weights: &[u32]) -> TargetShares {
        let target = |(n, &weight)| {
            let url = format!("smtp://127.0.0.1:{n}");
            let target = Target::parse(&url, &[]).unwrap();
            WeightedTarget { target, weight }
        };
        TargetShares::new(&Targets::new(weights.iter().enumerate().map(target).collect()).unwrap())
    }

    #[test]
    fn the_first_sessions_are_dealt_by_weight_whichever_core_asks() {
        for (weights, expected) in
            [(&[1, 1][..], &[1, 1][..]), (&[3, 1], &[3, 1]), (&[1, 1, 1], &[2, 1, 1])]
        {
            let mut shares = shares(weights);
            let sessions: usize = expected.iter().sum();
            for _ in 0..sessions {
                shares.deal_in_turn(|_| true);
            }
            assert_eq!(shares.held, expected);
        }
        // Also where each has ended before the next begins.
        let mut shares = shares(&[3, 1]);
        let dealt: Vec<usize> = (0..4)
            .map(|_| {
                let target = shares.deal_in_turn(|_| true);
                shares.let_go(target, false, 0);
                target
            })
            .collect();
        assert_eq!(dealt.iter().filter(|target| **target == 1).count(), 1, "{dealt:?}");
    }

    /// Two cores have ten sessions between them, all with the first target when the second comes back.
    #[test]
    fn several_cores_ask_for_no_more_sessions_than_one_would() {
        let mut shares = shares(&[1, 1]);
        for _ in 0..10 {
            shares.deal_to_lacking(|target| target == 0);
        }
        let mut look = |own: usize, unasked: usize| {
            let surplus =
                shares.surplus(|_| true, |_| false, |_| own, |target| [unasked, 0][target]);
            assert_eq!(surplus[1], 0);
            surplus[0]
        };
        assert_eq!(look(3, 0), 3, "no more than the core has");
        assert_eq!(look(7, 0), 2, "the rest of five");
        assert_eq!(look(7, 0), 0, "none twice");
        // The first core asked none of its three meanwhile; the second has a session less.
        assert_eq!(look(3, 3), 3);
        // Five leave, one after the other, and are dealt again.
        for _ in 0..5 {
            shares.let_go(0, true, 0);
            assert_eq!(shares.deal_to_lacking(|_| true), 1);
            assert_eq!(shares.surplus(|_| true, |_| false, |_| 9, |_| 0), [0, 0]);
        }
        assert_eq!((shares.held, shares.leaving), (vec![5, 5], vec![0, 0]));
    }

    #[test]
    fn a_target_that_is_in_doubt_gets_one_session_of_all_cores() {
        let mut shares = shares(&[1, 1]);
        for _ in 0..10 {
            shares.deal_to_lacking(|target| target == 0);
        }
        let mut look = |in_doubt| shares.surplus(|_| true, |_| in_doubt, |_| 5, |_| 0)[0];
        assert_eq!([look(true), look(true), look(false)], [1, 0, 4]);
    }

    #[test]
    fn what_a_core_was_to_ask_and_has_no_session_for_is_left_to_others() {
        let mut shares = shares(&[1, 1]);
        for _ in 0..4 {
            shares.deal_to_lacking(|target| target == 0);
        }
        assert_eq!(shares.surplus(|_| true, |_| false, |_| 2, |_| 0), [2, 0]);
        // One of the two breaks, and the core has one session left.
        shares.let_go(0, false, 1);
        assert_eq!(
            shares.surplus(|_| true, |_| false, |_| 3, |_| 0),
            [0, 0],
            "one of three leaves"
        );
        shares.let_go(0, false, 1);
        assert_eq!(shares.surplus(|_| true, |_| false, |_| 3, |_| 0), [1, 0]);
    }
}
