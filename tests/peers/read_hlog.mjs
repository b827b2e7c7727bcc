// Reads a run's interval log with hdr-histogram-js; prints what it found as JSON.
//
// Usage: node read_hlog.mjs NODE_MODULES RUN_DIR

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, run] = process.argv.slice(2);
const hdr = createRequire(`${modules}/`)("hdr-histogram-js");

const reader = new hdr.HistogramLogReader(readFileSync(`${run}/run.hlog`, "utf8"));
const sums = new Map();
for (let one = reader.nextIntervalHistogram(); one; one = reader.nextIntervalHistogram()) {
  const tag = one.tag === "NO TAG" || !one.tag ? "" : one.tag;
  if (!sums.has(tag)) {
    sums.set(tag, hdr.build({
      bitBucketSize: 64,
      lowestDiscernibleValue: 1,
      highestTrackableValue: 3_600_000_000_000,
      numberOfSignificantValueDigits: one.numberOfSignificantValueDigits,
    }));
  }
  sums.get(tag).add(one);
}

const log = {};
for (const [tag, histogram] of sums) {
  log[tag] = {
    count: histogram.totalCount,
    p50: histogram.getValueAtPercentile(50),
    p90: histogram.getValueAtPercentile(90),
    p99: histogram.getValueAtPercentile(99),
    p999: histogram.getValueAtPercentile(99.9),
    max: histogram.maxValue,
  };
}
console.log(JSON.stringify({ log }));
