"""Reads a run's artefacts with HdrHistogram's own Python package; prints what it found as JSON.

Usage: read_hlog.py RUN_DIR
"""

import json
import math
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

LOWEST = 1
HIGHEST = 3_600_000_000_000
DIGITS = {None: 3, "service": 3, "send_lag": 3, "warmup": 3, "warmup.send_lag": 3}


def read_log(path):
    """Sums the histograms of each tag; the untagged lines are filed under the empty name."""
    found = {}
    reader = HistogramLogReader(path, HdrHistogram(LOWEST, HIGHEST, 3))
    while True:
        histogram = reader.get_next_interval_histogram()
        if histogram is None:
            break
        tag = histogram.get_tag()
        total = found.setdefault(tag, HdrHistogram(LOWEST, HIGHEST, DIGITS.get(tag, 2)))
        total.add(histogram)
    reader.close()
    return found


def value_at(histogram, percentile):
    """The value at a rank. This package rounds a percentile's rank to the nearest, other HdrHistograms round
    it up; so the rank itself is computed here."""
    count = histogram.get_total_count()
    rank = max(1, math.ceil(count * percentile / 100))
    return histogram.get_value_at_percentile(100 * rank / count)


def summary(histogram):
    return {
        "count": histogram.get_total_count(),
        "p50": value_at(histogram, 50),
        "p90": value_at(histogram, 90),
        "p99": value_at(histogram, 99),
        "p999": value_at(histogram, 99.9),
        "max": histogram.get_max_value(),
    }


def read_percentiles(path):
    """The rows of four numbers that HdrHistogram's plotter reads, and the count in the last row."""
    rows = []
    last = 0
    with open(path, encoding="ascii") as lines:
        for line in lines:
            words = line.split()
            if line.startswith("#") or not words or words[0] == "Value":
                continue
            numbers = [float(word) for word in words]
            last = int(numbers[2])
            if len(numbers) == 4:
                rows.append(numbers[:2])
    assert rows == sorted(rows), "values and percentiles rise together"
    return {"rows": len(rows), "count": last}


def main():
    run = sys.argv[1]
    log = read_log(run + "/run.hlog")
    found = {tag or "": summary(histogram) for tag, histogram in log.items()}
    json.dump({"log": found, "hgrm": read_percentiles(run + "/run.hgrm")}, sys.stdout)


main()
