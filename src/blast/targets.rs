//! The servers that a run sends to, and whose turn it is.

use crate::dial::Target;
use crate::limits::{TARGET_WEIGHT_MAX, TARGETS_MAX};

/// A server, and its part of the sessions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WeightedTarget {
    pub target: Target,
    pub weight: u32,
}

/// One server or several; sessions are dealt to them by weight.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Targets(Vec<WeightedTarget>);

/// Why a list of targets is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetsError {
    #[error(
        "'{text}' has no weight from 1 to {TARGET_WEIGHT_MAX}; write WEIGHT=TARGET, as in 3=127.0.0.1:25"
    )]
    Weight { text: String },
    #[error("these are too many targets, {count}; name up to {TARGETS_MAX}")]
    Many { count: usize },
    #[error("{url} is named twice; give it a weight instead, as in 2={url}")]
    Twice { url: String },
}

impl From<Target> for Targets {
    fn from(target: Target) -> Self {
        Self(vec![WeightedTarget { target, weight: 1 }])
    }
}

impl Targets {
    /// # Errors
    /// More than are kept apart, or one twice.
    ///
    /// # Panics
    /// Without a target.
    pub fn new(targets: Vec<WeightedTarget>) -> Result<Self, TargetsError> {
        assert!(!targets.is_empty(), "a run has a target");
        if targets.len() > TARGETS_MAX {
            return Err(TargetsError::Many { count: targets.len() });
        }
        let url = |index: usize| &targets[index].target.url;
        let twice = (0..targets.len()).find(|&n| (0..n).any(|before| url(before) == url(n)));
        match twice {
            Some(twice) => Err(TargetsError::Twice { url: url(twice).clone() }),
            None => Ok(Self(targets)),
        }
    }

    /// Never empty.
    pub fn all(&self) -> &[WeightedTarget] {
        &self.0
    }

    /// Whether there is more than one.
    pub fn several(&self) -> bool {
        self.0.len() > 1
    }

    /// The targets with their weights, as one line for a heading.
    pub fn names(&self) -> String {
        let each = |weighted: &WeightedTarget| match weighted.weight {
            1 => weighted.target.url.clone(),
            weight => format!("{weight}={}", weighted.target.url),
        };
        self.0.iter().map(each).collect::<Vec<_>>().join(", ")
    }
}

/// `WEIGHT=TARGET`, or a target alone. No host begins with digits and an equals sign, and a path has a
/// scheme before it.
///
/// # Errors
/// A number that is no weight.
pub fn weighted(text: &str) -> Result<(u32, &str), TargetsError> {
    let split = text.split_once('=').filter(|(number, _)| {
        !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit())
    });
    let Some((number, target)) = split else { return Ok((1, text)) };
    let weight = number.parse().ok().filter(|weight| (1..=TARGET_WEIGHT_MAX).contains(weight));
    let weight = weight.ok_or_else(|| TargetsError::Weight { text: text.to_owned() })?;
    Ok((weight, target))
}

/// Deals sessions to targets by weight and spreads each target's turns evenly (smooth weighted round
/// robin).
#[derive(Debug)]
pub(super) struct WeightedRoundRobin {
    weights: Vec<i64>,
    /// Turns that each target is owed, in parts of the sum of the weights. INVARIANT: they add up to zero.
    owed: Vec<i64>,
}

impl WeightedRoundRobin {
    pub(super) fn new(targets: &Targets) -> Self {
        let weights: Vec<i64> = targets.0.iter().map(|target| i64::from(target.weight)).collect();
        Self { owed: vec![0; weights.len()], weights }
    }

    /// The target whose turn it is, among those that are `able`, or among all where none is.
    pub(super) fn next(&mut self, able: impl Fn(usize) -> bool) -> usize {
        let Self { weights, owed } = self;
        let any = (0..owed.len()).any(&able);
        let (mut first, mut sum) = (None, 0);
        for index in (0..owed.len()).filter(|&index| !any || able(index)) {
            owed[index] += weights[index];
            sum += weights[index];
            if first.is_none_or(|first: usize| owed[index] > owed[first]) {
                first = Some(index);
            }
        }
        let first = first.unwrap_or_default();
        owed[first] -= sum;
        debug_assert_eq!(owed.iter().sum::<i64>(), 0, "what one is owed the others had");
        first
    }

    /// The target that lacks most of its part if there is one session more than are `held`: among those
    /// that are `able`, or among all where none is.
    pub(super) fn shortest(
        &self,
        held: impl Fn(usize) -> usize,
        able: impl Fn(usize) -> bool,
    ) -> usize {
        let any = (0..self.weights.len()).any(&able);
        let lacks = self.lacks(1, &held, |target| !any || able(target));
        lacks.into_iter().rev().max_by_key(|(_, lack)| *lack).map_or(0, |(target, _)| target)
    }

    /// Among the targets that are `able`, one that has more than its part of the sessions `held`, and one
    /// that lacks a whole session at least. The first has a session to give then.
    pub(super) fn unfair(
        &self,
        held: impl Fn(usize) -> usize,
        able: impl Fn(usize) -> bool,
    ) -> Option<(usize, usize)> {
        let lacks = self.lacks(0, &held, &able);
        let whole: i64 = lacks.iter().map(|(target, _)| self.weights[*target]).sum();
        let (to, most) = lacks.iter().max_by_key(|(_, lack)| *lack)?;
        let (from, _) = lacks.iter().min_by_key(|(_, lack)| *lack)?;
        let is_unfair = *most >= whole;
        debug_assert!(!is_unfair || (from != to && held(*from) > 0), "lacks add up to nothing");
        is_unfair.then_some((*from, *to))
    }

    /// For each target that is `able`, how much it lacks of its part of all sessions that they hold and
    /// `more`. The unit is a session divided by the sum of their weights.
    fn lacks(
        &self,
        more: usize,
        held: impl Fn(usize) -> usize,
        able: impl Fn(usize) -> bool,
    ) -> Vec<(usize, i64)> {
        let able: Vec<usize> = (0..self.weights.len()).filter(|&target| able(target)).collect();
        let whole: i64 = able.iter().map(|&target| self.weights[target]).sum();
        let all = (able.iter().map(|&target| held(target)).sum::<usize>() + more) as i64;
        let lack = |target: usize| all * self.weights[target] - whole * held(target) as i64;
        able.into_iter().map(|target| (target, lack(target))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn targets(weights: &[u32]) -> Targets {
        let target = |(n, &weight)| {
            let target = Target::parse(&format!("smtp://127.0.0.1:{n}"), &[]).unwrap();
            WeightedTarget { target, weight }
        };
        Targets::new(weights.iter().enumerate().map(target).collect()).unwrap()
    }

    #[test]
    fn turns_are_by_weight_and_spread_evenly() {
        let mut turns = WeightedRoundRobin::new(&targets(&[5, 1, 1]));
        let dealt: Vec<usize> = (0..7).map(|_| turns.next(|_| true)).collect();
        assert_eq!(dealt, [0, 0, 1, 0, 2, 0, 0]);
        let mut turns = WeightedRoundRobin::new(&targets(&[3, 1]));
        let second = (0..4_000).filter(|_| turns.next(|_| true) == 1).count();
        assert_eq!(second, 1_000);
    }

    #[test]
    fn who_is_away_has_no_turn_unless_all_are() {
        let mut turns = WeightedRoundRobin::new(&targets(&[3, 1, 1]));
        let dealt: Vec<usize> = (0..4).map(|_| turns.next(|index| index != 0)).collect();
        assert_eq!(dealt, [1, 2, 1, 2]);
        assert_eq!((0..5).filter(|_| turns.next(|_| false) == 0).count(), 3);
    }

    #[test]
    fn sessions_that_stay_are_dealt_by_weight_and_come_back_to_who_lacks_them() {
        let turns = WeightedRoundRobin::new(&targets(&[3, 1, 1]));
        let mut held = [0; 3];
        for _ in 0..10 {
            held[turns.shortest(|target| held[target], |_| true)] += 1;
        }
        assert_eq!(held, [6, 2, 2]);
        // The first is gone and comes back.
        let mut held = [0, 5, 5];
        assert_eq!(turns.unfair(|target| held[target], |target| target > 0), None);
        let mut moved = 0;
        while let Some((from, to)) = turns.unfair(|target| held[target], |_| true) {
            held[from] -= 1;
            held[to] += 1;
            moved += 1;
        }
        assert_eq!((held, moved), ([6, 2, 2], 6));
        assert_eq!(turns.shortest(|target| [6, 3, 2][target], |target| target < 2), 0);
        assert_eq!(
            turns.shortest(|target| [0, 9, 9][target], |_| false),
            0,
            "all where none is able"
        );
    }

    proptest! {
        #[test]
        fn what_was_made_fair_stays_and_nobody_lacks_a_whole_session(
            parts in prop::collection::vec((1..9u32, 0..40usize), 1..8),
        ) {
            let (weights, mut held): (Vec<u32>, Vec<usize>) = parts.into_iter().unzip();
            let all: usize = held.iter().sum();
            let turns = WeightedRoundRobin::new(&targets(&weights));
            let mut moves = 0;
            while let Some((from, to)) = turns.unfair(|target| held[target], |_| true) {
                held[from] -= 1;
                held[to] += 1;
                moves += 1;
                prop_assert!(moves <= all, "{held:?}");
            }
            let whole: usize = weights.iter().map(|&weight| weight as usize).sum();
            for (held, weight) in held.iter().zip(weights) {
                prop_assert!((held + 1) * whole > all * weight as usize);
            }
        }
    }

    #[test]
    fn a_weight_stands_before_the_target_and_nothing_else_is_one() {
        for (text, expected) in [
            ("127.0.0.1:25", Ok((1, "127.0.0.1:25"))),
            ("3=127.0.0.1:25", Ok((3, "127.0.0.1:25"))),
            ("12=smtp+unix:/run/a=3", Ok((12, "smtp+unix:/run/a=3"))),
            ("smtp+unix:/run/3=4", Ok((1, "smtp+unix:/run/3=4"))),
            ("=127.0.0.1:25", Ok((1, "=127.0.0.1:25"))),
        ] {
            assert_eq!(weighted(text), expected, "{text}");
        }
        for text in ["0=a:25", "1001=a:25", "99999999999=a:25"] {
            assert!(weighted(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_target_that_is_named_twice_and_too_many_of_them_are_refused() {
        let one = targets(&[1]).0;
        let twice = Targets::new([one.clone(), one].concat()).unwrap_err();
        assert!(twice.to_string().contains("named twice"), "{twice}");
        let weights = [1; TARGETS_MAX + 1];
        let target = |(n, &weight): (usize, &u32)| {
            let target = Target::parse(&format!("smtp+unix:/{n}"), &[]).unwrap();
            WeightedTarget { target, weight }
        };
        let many = Targets::new(weights.iter().enumerate().map(target).collect()).unwrap_err();
        assert_eq!(many, TargetsError::Many { count: TARGETS_MAX + 1 });
    }
}
