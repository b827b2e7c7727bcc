//! The runs that a sum was made from, side by side: a sum hides a shard that is unlike the others.

use crate::run::{Run, Shard};

/// With fewer shards, none can be called unlike the others.
const SHARDS_MIN: usize = 3;

/// A shard stands out if it is more robust standard deviations away from the median.
const DEVIATIONS: f64 = 3.5;

/// The median of absolute deviations, scaled to the standard deviation of a normal distribution.
const MAD_TO_SIGMA: f64 = 1.4826;

/// Within this share of the median a shard is like the others, however alike the others are.
const LIKE: f64 = 0.2;

/// `None` where a shard did not measure it.
type ShardFigure = fn(&Run) -> Option<f64>;

/// The figures in which shards are compared.
const FIGURES: [(&str, ShardFigure); 5] = [
    ("rate", |run| run.rate_msg_s),
    ("p50", |run| run.headline().p50.map(|ns| ns as f64)),
    ("p99", |run| run.headline().p99.map(|ns| ns as f64)),
    ("failed", |run| Some(run.counts.messages_failed as f64)),
    ("CPU", |run| run.cpu_busy),
];

/// For each shard, in order, the figures in which it is unlike the others.
pub fn outliers(shards: &[Shard]) -> Vec<Vec<&'static str>> {
    let mut found = vec![Vec::new(); shards.len()];
    if shards.len() < SHARDS_MIN {
        return found;
    }
    for (name, figure) in FIGURES {
        let values: Vec<(usize, f64)> = shards
            .iter()
            .enumerate()
            .filter_map(|(index, shard)| Some((index, figure(&shard.run)?)))
            .collect();
        if values.len() < SHARDS_MIN {
            continue;
        }
        let middle = median(values.iter().map(|(_, value)| *value).collect());
        let away = |value: f64| (value - middle).abs();
        let spread = MAD_TO_SIGMA * median(values.iter().map(|(_, v)| away(*v)).collect());
        let bound = (DEVIATIONS * spread).max(LIKE * middle);
        for (index, value) in values {
            if away(value) > bound {
                found[index].push(name);
            }
        }
    }
    found
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Counters;
    use crate::run::Latency;

    fn shard(rate_msg_s: f64, p99: u64, messages_failed: u64) -> Shard {
        let (p50, p99) = (Some(1_000_000), Some(p99));
        let service_ns = Latency { p50, p99, count: 900, ..Latency::default() };
        let counts = Counters { messages_failed, ..Counters::default() };
        let run = Run {
            rate_msg_s: Some(rate_msg_s),
            service_ns,
            counts,
            cpu_busy: Some(0.5),
            ..Run::default()
        };
        Shard { name: String::new(), run }
    }

    #[test]
    fn the_one_that_is_unlike_the_others_is_told_by_what() {
        let mut shards: Vec<Shard> =
            [100.0, 101.0, 99.5, 100.2].map(|rate| shard(rate, 2_000_000, 0)).into();
        assert!(outliers(&shards).iter().all(Vec::is_empty), "alike within a fifth");
        shards.push(shard(60.0, 9_000_000, 1));
        assert_eq!(outliers(&shards)[4], ["rate", "p99", "failed"]);
        assert!(outliers(&shards)[..4].iter().all(Vec::is_empty));
    }

    #[test]
    fn of_two_nobody_knows_which_is_odd() {
        assert_eq!(outliers(&[shard(1.0, 1, 0), shard(9.0, 9, 9)]), [[""; 0]; 2]);
    }
}
