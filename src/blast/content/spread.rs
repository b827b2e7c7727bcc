//! How sizes and counts are spread over messages: dealt out by quantile rather than drawn, so that a
//! few hundred messages have the shape that was asked for.

use statrs::distribution::{ContinuousCDF, Normal};

/// The quantile of the standard normal distribution by which `p99=` gives sigma.
const Z_P99: f64 = 2.326_347_874_040_841;

/// Whole numbers of an even spread up to which messages come in whole rounds of them.
const EVEN_ROUND_MAX: u64 = 64;

/// What values there are and how often.
#[derive(Clone, Debug, PartialEq)]
pub enum Spread {
    /// Every whole number between the two, both included, as often as the next.
    Even(u64, u64),
    /// The logarithm is normal: half of the values below `median`; `sigma` is the deviation of the
    /// natural logarithm.
    Lognormal { median: u64, sigma: f64 },
    /// Values with their weights, none of which is zero; never empty.
    List(Vec<(u64, u32)>),
}

impl Spread {
    /// The same value for every message.
    pub fn one(value: u64) -> Self {
        Self::Even(value, value)
    }

    /// Of which 99 % are below `p99`.
    pub fn lognormal_to_p99(median: u64, p99: u64) -> Self {
        Self::Lognormal { median, sigma: (p99 as f64 / median as f64).ln() / Z_P99 }
    }

    /// Whether there is one value only.
    pub fn is_one(&self) -> bool {
        match self {
            Self::Even(least, most) => least == most,
            Self::Lognormal { sigma, .. } => *sigma == 0.0,
            Self::List(list) => list.len() == 1,
        }
    }

    /// The least and the greatest value that can occur; a lognormal spread has no bounds of its own.
    pub fn bounds(&self) -> Option<(u64, u64)> {
        match self {
            Self::Even(least, most) => Some((*least, *most)),
            Self::Lognormal { .. } => None,
            Self::List(list) => {
                let values = || list.iter().map(|(value, _)| *value);
                values().min().zip(values().max())
            }
        }
    }

    /// The mean of the values.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Even(least, most) => *least as f64 / 2.0 + *most as f64 / 2.0,
            Self::Lognormal { median, sigma } => *median as f64 * (sigma * sigma / 2.0).exp(),
            Self::List(list) => {
                let total: f64 = list.iter().map(|(_, weight)| f64::from(*weight)).sum();
                list.iter().map(|(value, weight)| *value as f64 * f64::from(*weight)).sum::<f64>()
                    / total
            }
        }
    }

    /// The least number of values that can have the shape exactly, where that is
    /// a small number.
    pub fn unit(&self) -> usize {
        match self {
            Self::List(list) => unit(list.iter().map(|(_, weight)| *weight)),
            Self::Even(least, most) if most - least < EVEN_ROUND_MAX => (most - least + 1) as usize,
            _ => 1,
        }
    }

    /// `count` values of this shape, in rising order where it is continuous, none below `least` or
    /// above `most`.
    pub fn deal(&self, count: usize, least: u64, most: u64) -> Vec<u64> {
        assert!(least <= most, "no value is between {least} and {most}");
        let within = |value: u64| value.clamp(least, most);
        match self {
            Self::Even(low, high) => {
                let width = u128::from(high - low) + 1;
                // Where there are fewer values than messages, each value has the same share of them.
                // Otherwise the messages go in even steps from the least value to the greatest.
                let (span, steps) = match count as u128 {
                    count if width <= count => (width, count),
                    count => (width - 1, (count - 1).max(1)),
                };
                (0..count).map(|n| within(low + (span * n as u128 / steps) as u64)).collect()
            }
            Self::Lognormal { sigma, .. } => {
                // Each value stands for an equal share of all, and is the mean of that share: so few values
                // keep the mean of a long tail, which the middle of each share would lose. The mean up to a
                // quantile is the whole mean times the distribution moved by sigma.
                let normal = Normal::standard();
                let up_to = |n: usize| match n {
                    0 => 0.0,
                    n if n == count => 1.0,
                    n => normal.cdf(normal.inverse_cdf(n as f64 / count as f64) - sigma),
                };
                let whole = self.mean() * count as f64;
                let value = |n: usize| within((whole * (up_to(n + 1) - up_to(n))).round() as u64);
                (0..count).map(value).collect()
            }
            Self::List(list) => {
                let weights: Vec<u32> = list.iter().map(|(_, weight)| *weight).collect();
                deal(&weights, count).into_iter().map(|index| within(list[index].0)).collect()
            }
        }
    }
}

/// As the user would write it, sizes in octets.
impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Even(least, most) if least == most => least.fmt(f),
            Self::Even(least, most) => write!(f, "{least}..{most}"),
            Self::Lognormal { median, sigma } => write!(f, "lognormal:{median},{sigma:.3}"),
            Self::List(list) => {
                let items: Vec<_> =
                    list.iter().map(|(v, weight)| format!("{v}:{weight}")).collect();
                f.write_str(&items.join(","))
            }
        }
    }
}

/// `count` indices of `weights`, each as often as its weight asks. Shares are rounded down, and what is
/// left over goes to the largest remainders.
pub fn deal(weights: &[u32], count: usize) -> Vec<usize> {
    let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let share = |index: usize| count as u128 * u128::from(weights[index]);
    let mut counts: Vec<usize> = (0..weights.len()).map(|n| (share(n) / total) as usize).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(share(index) % total));
    let left = count - counts.iter().sum::<usize>();
    debug_assert!(left == 0 || left < weights.len(), "each remainder is less than one");
    order.iter().take(left).for_each(|&index| counts[index] += 1);
    (0..weights.len()).flat_map(|index| std::iter::repeat_n(index, counts[index])).collect()
}

/// The sum of the weights after division by their greatest common divisor: among so many, each can have
/// its exact share.
pub fn unit(weights: impl Iterator<Item = u32> + Clone) -> usize {
    let divisor = weights.clone().fold(0, gcd).max(1);
    weights.map(|weight| (weight / divisor) as usize).sum()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lognormal_spread_has_its_median_and_its_p99() {
        let spread = Spread::lognormal_to_p99(20_000, 1_000_000);
        let values = spread.deal(10_001, 1, u64::MAX);
        assert!((19_990..20_010).contains(&values[5_000]), "{}", values[5_000]);
        assert!((970_000..1_030_000).contains(&values[9_900]), "{}", values[9_900]);
        let mean = values.iter().sum::<u64>() as f64 / values.len() as f64;
        assert!((mean / spread.mean() - 1.0).abs() < 0.01, "{mean} {}", spread.mean());
        assert!(values.is_sorted());
        assert!(spread.deal(100, 5_000, 9_000).iter().all(|v| (5_000..=9_000).contains(v)));
    }

    #[test]
    fn however_few_values_keep_the_mean_of_a_long_tail() {
        for (sigma, count) in [(0.5, 8), (1.49, 21), (1.49, 4_096), (2.5, 8), (2.5, 256)] {
            let spread = Spread::Lognormal { median: 1 << 20, sigma };
            let values = spread.deal(count, 1, u64::MAX);
            let mean = values.iter().map(|value| *value as f64).sum::<f64>() / count as f64;
            assert!((mean / spread.mean() - 1.0).abs() < 1e-3, "{sigma} {count}: {mean}");
            assert!(values.is_sorted());
            let middle = values[count / 2] as f64 / f64::from(1 << 20);
            assert!((0.7..2.0).contains(&middle), "{sigma} {count}: {middle}");
        }
    }

    #[test]
    fn an_even_spread_goes_from_end_to_end() {
        assert_eq!(Spread::Even(10, 50).deal(5, 0, 99), [10, 20, 30, 40, 50]);
        assert_eq!(Spread::Even(0, u64::MAX).deal(2, 0, u64::MAX), [0, u64::MAX]);
        assert_eq!(Spread::one(7).deal(3, 0, 99), [7, 7, 7]);
    }

    #[test]
    fn every_whole_number_of_an_even_spread_comes_as_often_as_the_next() {
        let spreads = [(1, 5), (1, 2), (0, 6), (3, 100), (1, 1_000), (512, 4_607), (7, 7)];
        for (low, high) in spreads {
            for count in [4_096, 4_097, 5_000, 256 * 1_024] {
                let dealt = Spread::Even(low, high).deal(count, 0, u64::MAX);
                let mut counts = vec![0_u64; (high - low + 1) as usize];
                dealt.iter().for_each(|value| counts[(value - low) as usize] += 1);
                let (least, most) = (counts.iter().min(), counts.iter().max());
                assert!(most.unwrap() - least.unwrap() <= 1, "{low}..{high} of {count}");
                let mean = dealt.iter().sum::<u64>() as f64 / count as f64;
                let due = Spread::Even(low, high).mean();
                assert!((mean - due).abs() <= due / 1_000.0, "{low}..{high}: {mean}");
            }
        }
        // More values than messages: bins of equal width get equal shares.
        for (low, high) in [(512, 1_048_576), (0, u64::MAX), (1, 257)] {
            let width = (u128::from(high - low) + 1) as f64;
            let mut bins = [0_u64; 8];
            for value in Spread::Even(low, high).deal(256, 0, u64::MAX) {
                bins[(((value - low) as f64 / width * 8.0) as usize).min(7)] += 1;
            }
            assert!(bins.iter().all(|bin| (31..=33).contains(bin)), "{low}..{high}: {bins:?}");
        }
        assert_eq!(Spread::Even(1, 4).mean(), 2.5);
    }

    #[test]
    fn weights_are_made_small() {
        assert_eq!(Spread::List(vec![(1, 70), (2, 25), (3, 5)]).unit(), 20);
        assert_eq!(Spread::one(4).unit(), 1);
    }

    proptest! {
        #[test]
        fn shares_are_within_one_of_their_due_and_exact_in_whole_units(
            weights in prop::collection::vec(1u32..1_000, 1..20), units in 1usize..4,
            count in 1usize..5_000,
        ) {
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            for (count, exact) in [(count, false), (units * unit(weights.iter().copied()), true)] {
                let dealt = deal(&weights, count);
                prop_assert_eq!(dealt.len(), count);
                for (index, weight) in weights.iter().enumerate() {
                    let got = dealt.iter().filter(|&&n| n == index).count() as f64;
                    let due = count as f64 * f64::from(*weight) / total as f64;
                    let slack = if exact { 0.01 } else { 1.0 };
                    prop_assert!((got - due).abs() < slack, "{got} instead of {due}");
                }
            }
        }
    }
}
