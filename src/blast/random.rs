//! Random numbers of a run. Each purpose has a stream of its own on each core: two purposes that drew from
//! one stream would depend on each other.

use crate::smtp::blank::mix;

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RandomPurpose {
    /// When work is due.
    Arrivals = 1,
    /// How many messages a connection sends.
    Sessions = 2,
    /// How long a session pauses.
    Pauses = 3,
    /// What the messages are.
    Content = 4,
}

/// The stream of one purpose on one core. The same arguments give the same stream.
pub(super) fn stream(seed: u64, purpose: RandomPurpose, core: usize) -> fastrand::Rng {
    fastrand::Rng::with_seed(mix(mix(mix(seed) ^ purpose as u64) ^ core as u64))
}

/// The seed of run `number`, from 1 on, of many of one plan, so that no two have the same arrivals. The first
/// has the seed of the plan. It is a whole number that JSON readers keep.
pub(super) fn seed_of_step(seed: u64, number: usize) -> u64 {
    match number {
        0 | 1 => seed,
        _ => mix(mix(seed) ^ number as u64) >> 11,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use statrs::distribution::{ChiSquared, ContinuousCDF};

    use super::*;

    /// Fails unless `counts` look like draws that all values share evenly: chi-square at one in 100,000.
    pub(in crate::blast) fn assert_even(counts: &[u64], what: &str) {
        let due = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
        assert!(due >= 5.0, "{what}: too few draws for a test");
        let square = |&count: &u64| (count as f64 - due).powi(2) / due;
        let statistic: f64 = counts.iter().map(square).sum();
        let freedom = ChiSquared::new((counts.len() - 1) as f64).unwrap();
        assert!(freedom.sf(statistic) > 1e-5, "{what}: {statistic} from {counts:?}");
    }

    #[test]
    fn no_two_steps_have_the_same_seed_and_the_first_has_that_of_the_plan() {
        let seeds = |seed| (1..=200).map(move |number| seed_of_step(seed, number));
        let all: std::collections::BTreeSet<u64> = seeds(42).chain(seeds(43)).collect();
        assert_eq!((all.len(), seed_of_step(42, 1)), (400, 42));
        assert!(seeds(42).all(|seed| seed < 1 << 53), "as JSON numbers they are exact");
    }

    #[test]
    fn streams_are_repeated_and_do_not_follow_each_other() {
        let purposes = [
            RandomPurpose::Arrivals,
            RandomPurpose::Sessions,
            RandomPurpose::Pauses,
            RandomPurpose::Content,
        ];
        let draws = |seed, purpose, core| {
            let mut random = stream(seed, purpose, core);
            (0..4_096).map(|_| random.u8(..8)).collect::<Vec<_>>()
        };
        let all = |seed| {
            purposes
                .into_iter()
                .flat_map(move |purpose| (0..3).map(move |core| (seed, purpose, core)))
        };
        let keys: Vec<_> = all(0).chain(all(1)).collect();
        for (n, &(seed, purpose, core)) in keys.iter().enumerate() {
            let one = draws(seed, purpose, core);
            assert_eq!(one, draws(seed, purpose, core));
            for &(seed, purpose, core) in &keys[n + 1..] {
                // Where one stream followed the other, few of the 64 pairs would occur.
                let mut pairs = [0; 64];
                for (a, b) in one.iter().zip(draws(seed, purpose, core)) {
                    pairs[usize::from(*a) * 8 + usize::from(b)] += 1;
                }
                assert_even(&pairs, "pairs of two streams");
            }
        }
    }
}
