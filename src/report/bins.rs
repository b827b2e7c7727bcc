//! A histogram in a few bars, with edges at round numbers that are evenly spread on a log scale.

use hdrhistogram::Histogram;

/// Edges within a decade, coarse to fine. The finest set with few enough bars is used.
const EDGES: [&[f64]; 5] = [
    &[1.0],
    &[1.0, 3.0],
    &[1.0, 2.0, 5.0],
    &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
    &[1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 3.9, 4.7, 5.6, 6.8, 8.2],
];

/// Powers of ten up to the last that fits 64 bits: a log of another program may be read in any unit.
const DECADES: i32 = 19;

/// One bar: samples from `from_ns` on and below `to_ns`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bin {
    pub from_ns: u64,
    pub to_ns: u64,
    pub count: u64,
}

/// Cuts `histogram` into at most `bins_max` bars that hold all its samples. Empty for no samples.
pub fn bins(histogram: &Histogram<u64>, bins_max: usize) -> Vec<Bin> {
    if histogram.is_empty() {
        return Vec::new();
    }
    // A sample counts as the low end of its cell, everywhere alike: a cell may lie across an edge.
    let low = |value| histogram.lowest_equivalent(value);
    let (min, max) = (low(histogram.min()).max(1), low(histogram.max()).max(1));
    let edges = EDGES
        .iter()
        .rev()
        .map(|steps| edges(steps, min, max))
        .find(|edges| edges.len() <= bins_max + 1)
        .unwrap_or_else(|| thinned(edges(EDGES[0], min, max), bins_max));
    let mut bins: Vec<Bin> =
        edges.windows(2).map(|pair| Bin { from_ns: pair[0], to_ns: pair[1], count: 0 }).collect();
    for cell in histogram.iter_recorded() {
        let value = low(cell.value_iterated_to());
        let index = bins.partition_point(|bin| bin.to_ns <= value).min(bins.len() - 1);
        bins[index].count += cell.count_at_value();
    }
    bins
}

/// From the last edge at or below `min` to the first above `max`, or the highest number if none is.
fn edges(steps: &[f64], min: u64, max: u64) -> Vec<u64> {
    debug_assert!(1 <= min && min <= max, "the first edge of all is 1");
    let mut edges = Vec::new();
    let all =
        (0..=DECADES).flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
    // Below 10 ns the finer steps fall on the same integer.
    let mut last = 0;
    for edge in all.map(|edge| edge.round() as u64) {
        if edge == last {
            continue;
        }
        last = edge;
        if edge <= min {
            edges.clear();
        }
        edges.push(edge);
        if edge > max {
            return edges;
        }
    }
    edges.push(u64::MAX);
    edges
}

/// As many of the `edges` as `bins_max` bars need, evenly chosen, with the first and the last.
fn thinned(edges: Vec<u64>, bins_max: usize) -> Vec<u64> {
    let bars = edges.len() - 1;
    let every = bars.div_ceil(bins_max.max(1));
    let kept = edges.iter().enumerate().filter(|(n, _)| n % every == 0 || *n == bars);
    kept.map(|(_, edge)| *edge).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::LATENCY_NS_MAX;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_sample_is_in_a_bar_and_the_bars_are_few(
            samples in prop::collection::vec(
                prop_oneof![0..100u64, 0..LATENCY_NS_MAX, 0..i64::MAX as u64, Just(u64::MAX / 2)], 1..50,
            ),
        ) {
            let mut histogram = Histogram::new(3).unwrap();
            samples.iter().for_each(|&ns| histogram.record(ns).unwrap());
            let bins = bins(&histogram, 14);
            prop_assert!(bins.len() <= 14);
            prop_assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), samples.len() as u64);
            prop_assert!(bins.windows(2).all(|pair| pair[0].to_ns == pair[1].from_ns));
            prop_assert!(bins.first().unwrap().count > 0 && bins.last().unwrap().count > 0);
        }
    }

    #[test]
    fn a_cell_across_an_edge_leaves_no_bar_empty() {
        let mut histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).unwrap();
        histogram.record(1_199_369_617_408).unwrap();
        assert!(bins(&histogram, 14).iter().all(|bin| bin.count == 1));
    }

    #[test]
    fn a_narrow_range_gets_fine_bars_and_a_wide_one_coarse_bars() {
        let mut histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).unwrap();
        histogram.record_n(1_300_000, 10).unwrap();
        histogram.record_n(2_000_000, 5).unwrap();
        let narrow: Vec<u64> = bins(&histogram, 12).iter().map(|bin| bin.from_ns).collect();
        assert_eq!(narrow, [1_200_000, 1_500_000, 1_800_000]);
        histogram.record(90_000_000_000).unwrap();
        let wide: Vec<u64> = bins(&histogram, 12).iter().map(|bin| bin.from_ns).collect();
        assert_eq!(wide.len(), 10);
        assert_eq!(wide[..2], [1_000_000, 3_000_000]);
    }
}
