//! A histogram in short: what its samples carry, and nothing else.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::limits::carries;

/// A histogram in short; all values but the count in nanoseconds. A percentile is `null` where too few
/// samples were measured to have one above it (p99 needs 100), and everything is where none was.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Latency {
    pub min: Option<u64>,
    pub mean: Option<f64>,
    pub p50: Option<u64>,
    pub p75: Option<u64>,
    pub p90: Option<u64>,
    pub p95: Option<u64>,
    pub p99: Option<u64>,
    pub p999: Option<u64>,
    pub p9999: Option<u64>,
    pub max: Option<u64>,
    pub count: u64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| Some(histogram.value_at_quantile(quantile));
        let all = Self {
            min: Some(histogram.min()),
            mean: Some(histogram.mean()),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: Some(histogram.max()),
            count: histogram.len(),
        };
        all.carried()
    }
}

impl Latency {
    /// Without what its samples do not carry, which files of earlier versions hold as the maximum or as 0.
    #[must_use]
    pub(super) fn carried(self) -> Self {
        let Self { min, mean, p50, p75, p90, p95, p99, p999, p9999, max, count } = self;
        let any = count > 0;
        let at = |ns: Option<u64>, quantile| ns.filter(|_| carries(count, quantile));
        Self {
            min: min.filter(|_| any),
            mean: mean.filter(|_| any),
            p50: at(p50, 0.5),
            p75: at(p75, 0.75),
            p90: at(p90, 0.9),
            p95: at(p95, 0.95),
            p99: at(p99, 0.99),
            p999: at(p999, 0.999),
            p9999: at(p9999, 0.9999),
            max: max.filter(|_| any),
            count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: u64) -> Latency {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=samples).for_each(|ns| histogram.record(ns).unwrap());
        Latency::from(&histogram)
    }

    #[test]
    fn nothing_measured_is_null_and_never_zero() {
        let json = serde_json::to_value(of(0)).unwrap();
        for (name, value) in json.as_object().unwrap() {
            assert!(if name == "count" { value == 0 } else { value.is_null() }, "{name}: {value}");
        }
        assert_eq!(of(0), Latency::default());
    }

    #[test]
    fn a_percentile_is_told_where_a_sample_is_above_it() {
        let one = of(1);
        assert_eq!((one.min, one.mean, one.max, one.p50), (Some(1), Some(1.0), Some(1), None));
        let few = of(20);
        assert_eq!((few.p50, few.p95, few.p99, few.p9999), (Some(10), Some(19), None, None));
        assert!(of(99).p99.is_none() && of(100).p99 == Some(99));
        assert!(of(9_999).p9999.is_none() && of(10_000).p9999.is_some());
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read_and_put_right() {
        let zeros = r#"{"min":0,"mean":0.0,"p50":0,"p75":0,"p90":0,"p95":0,"p99":0,"p999":0,"p9999":0,
            "max":0,"count":0}"#;
        let read: Latency = serde_json::from_str(zeros).unwrap();
        assert_eq!(read.carried(), Latency::default());
        let nines = zeros.replace(":0", ":9").replace("\"count\":9", "\"count\":20");
        let read = serde_json::from_str::<Latency>(&nines).unwrap().carried();
        assert_eq!((read.p95, read.p99, read.max, read.count), (Some(9), None, Some(9), 20));
    }
}
