//! `run.hgrm`: percentiles as text, in the form that HdrHistogram's own `outputPercentileDistribution`
//! prints and its plotters read. Values are milliseconds.

use std::io::{self, Write};

use hdrhistogram::Histogram;

/// Rows per halving of the distance to 100 %, as HdrHistogram's tools print by default.
const TICKS_PER_HALF: u32 = 5;

const NS_PER_MS: f64 = 1e6;

/// Writes `histogram`, whose values are nanoseconds. Six decimals keep each of them exact.
pub fn write(out: &mut dyn Write, histogram: &Histogram<u64>) -> io::Result<()> {
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        total += step.count_since_last_iteration();
        let value_ms = step.value_iterated_to() as f64 / NS_PER_MS;
        let quantile = step.quantile_iterated_to();
        write!(out, "{value_ms:12.6} {quantile:2.12} {total:10}")?;
        // The last row has no fourth column: it would be infinite. Plotters skip rows of three.
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let sub_buckets = (2 * 10u64.pow(u32::from(histogram.sigfig()))).next_power_of_two();
    writeln!(
        out,
        "#[Mean    = {:12.6}, StdDeviation   = {:12.6}]\n\
         #[Max     = {:12.6}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.mean() / NS_PER_MS,
        histogram.stdev() / NS_PER_MS,
        histogram.max() as f64 / NS_PER_MS,
        histogram.len(),
        histogram.buckets(),
        sub_buckets,
    )
}
