//! Tests of distributions. Each answers a probability: how often a sample that follows the law would look as
//! odd as this one, or odder.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

/// Samples that less than one in so many would resemble are called wrong. A run makes some hundred tests, and
/// has a seed, so that it is right for ever once it is right.
pub(crate) const ODD: f64 = 1e-6;

fn normal_tails(z: f64) -> f64 {
    2.0 * Normal::standard().sf(z.abs())
}

fn rising(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The value at `quantile` as HdrHistogram counts it: the smallest at or below which so large a part lies.
pub(crate) fn at_quantile(rising: &[f64], quantile: f64) -> f64 {
    let rank = (quantile * rising.len() as f64).ceil().max(1.0) as usize;
    rising[rank.min(rising.len()) - 1]
}

/// Kolmogorov and Smirnov: whether `values` follow the continuous law of which `cdf` is the distribution.
pub(crate) fn kolmogorov_smirnov(values: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let count = values.len() as f64;
    let apart = rising(values).iter().enumerate().fold(0.0, |most: f64, (n, &value)| {
        let law = cdf(value);
        most.max((law - n as f64 / count).abs()).max((law - (n + 1) as f64 / count).abs())
    });
    // The series of the limit, with Stephens' correction for samples that are finite.
    let lambda = (count.sqrt() + 0.12 + 0.11 / count.sqrt()) * apart;
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * f64::from(k * k) * lambda * lambda).exp()
    };
    if lambda < 0.3 { 1.0 } else { (2.0 * (1..=40).map(term).sum::<f64>()).clamp(0.0, 1.0) }
}

/// Chi-square: whether `counts` fell into their classes with the odds of `weights`.
pub(crate) fn chi_square(counts: &[u64], weights: &[f64]) -> f64 {
    assert_eq!(counts.len(), weights.len(), "each class has its weight");
    let (total, whole) = (counts.iter().sum::<u64>() as f64, weights.iter().sum::<f64>());
    let square = |(&count, &weight): (&u64, &f64)| {
        let due = total * weight / whole;
        assert!(due >= 5.0, "a class of {due} is too small for this test");
        (count as f64 - due).powi(2) / due
    };
    let statistic = counts.iter().zip(weights).map(square).sum();
    ChiSquared::new((counts.len() - 1) as f64).unwrap().sf(statistic)
}

/// Index of dispersion: whether counts of windows of one length scatter as those of a Poisson process. Both
/// tails count: arrivals that are too even are as wrong as those that come in crowds.
pub(crate) fn dispersion(counts: &[u64]) -> f64 {
    let values: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
    let mean = mean(&values);
    let statistic = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / mean;
    let law = ChiSquared::new((counts.len() - 1) as f64).unwrap();
    2.0 * law.cdf(statistic).min(law.sf(statistic))
}

/// Ranks from 1 on; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for same in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = before as f64 + (same.len() + 1) as f64 / 2.0;
        same.iter().for_each(|&index| ranks[index] = rank);
        before += same.len();
    }
    ranks
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product: f64 = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    let square = |values: &[f64], mean: f64| values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    product / (square(a, mean_a) * square(b, mean_b)).sqrt()
}

/// Spearman's rank correlation: whether `a` and `b` are independent of each other. Every monotone dependence
/// shows, not only a linear one.
pub(crate) fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "values come in pairs");
    let rho = correlation(&ranks(a), &ranks(b));
    if rho.is_nan() { 1.0 } else { normal_tails(rho * ((a.len() - 1) as f64).sqrt()) }
}

/// Fails with a name where a probability says that the sample is odd.
pub(crate) fn assert_usual(probability: f64, what: &str) {
    assert!(probability >= ODD, "{what}: the odds of such a sample are {probability:.1e}");
}

mod tests {
    use super::*;

    fn exponentials(count: usize) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(11);
        (0..count).map(|_| -(1.0 - random.f64()).ln()).collect()
    }

    #[test]
    fn each_test_passes_what_follows_its_law_and_finds_what_does_not() {
        let cdf = |value: f64| 1.0 - (-value).exp();
        let values = exponentials(4_000);
        assert!(kolmogorov_smirnov(&values, cdf) > 1e-3);
        let stretched: Vec<f64> = values.iter().map(|value| value * 1.2).collect();
        assert!(kolmogorov_smirnov(&stretched, cdf) < ODD);

        let mut random = fastrand::Rng::with_seed(12);
        let mut even = [0; 8];
        (0..8_000).for_each(|_| even[random.usize(..8)] += 1);
        assert!(chi_square(&even, &[1.0; 8]) > 1e-3);
        even[3] += 250;
        assert!(chi_square(&even, &[1.0; 8]) < ODD);

        let mut windows = vec![0; 500];
        let mut time = 0.0;
        for gap in exponentials(20_000) {
            time += gap / 40.0;
            if let Some(window) = windows.get_mut(time as usize) {
                *window += 1;
            }
        }
        assert!(dispersion(&windows[..490]) > 1e-3);
        assert!(dispersion(&[40; 490]) < ODD, "a clock is no Poisson process");
        let crowds: Vec<u64> = (0..490).map(|n| if n % 10 == 0 { 400 } else { 0 }).collect();
        assert!(dispersion(&crowds) < ODD);
    }

    #[test]
    fn dependence_is_found_and_independence_is_not() {
        let (a, mut b) = (exponentials(1_000), exponentials(2_000).split_off(1_000));
        assert!(rank_correlation(&a, &b) > 1e-3);
        assert_eq!(rank_correlation(&a, &[1.0; 1_000]), 1.0);
        for (a, b) in a.iter().zip(&mut b) {
            *b += a * 0.3;
        }
        assert!(rank_correlation(&a, &b) < ODD);
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    }

    #[test]
    fn a_quantile_is_the_smallest_value_with_so_much_at_or_below_it() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        let at = |quantile| at_quantile(&values, quantile);
        assert_eq!((at(0.0), at(0.5), at(0.99), at(1.0)), (1.0, 50.0, 99.0, 100.0));
    }
}
