"""`ringpost report compare` and `show` with interval logs that other programs wrote: HdrHistogram's Python
and JavaScript packages, and our own `run.hlog` on its own."""

import json
import random
import subprocess

import pytest
from harness import PEERS, Sink, binary, peer, run
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter

VALUES = 20_000
SECONDS = 12

JS = """
const { writeFileSync } = require("node:fs");
const hdr = require(process.argv[2] + "/node_modules/hdr-histogram-js");
const [out, plan] = [process.argv[3], JSON.parse(require("node:fs").readFileSync(0, "utf8"))];
const lines = [];
const writer = new hdr.HistogramLogWriter((text) => lines.push(text));
writer.outputLogFormatVersion();
writer.outputStartTime(plan.start * 1000);
writer.outputLegend();
plan.intervals.forEach(([tag, values], second) => {
  const histogram = hdr.build({ bitBucketSize: 64, highestTrackableValue: 3600000000000, numberOfSignificantValueDigits: 3 });
  values.forEach((value) => histogram.recordValue(value));
  if (tag) histogram.tag = tag;
  histogram.startTimeStampMsec = (plan.start + second) * 1000;
  histogram.endTimeStampMsec = (plan.start + second + 1) * 1000;
  writer.outputIntervalHistogram(histogram);
});
writeFileSync(out, lines.join(""));
"""

START = 1_790_000_000


def intervals(unit_ns, tag=None, slow=1):
    """Latencies around 2 ms, second by second, and what they come to in nanoseconds."""
    draw = random.Random(7)
    seconds = [[max(1, round(draw.lognormvariate(14.5, 0.6) * slow / unit_ns)) for _ in range(VALUES // SECONDS)] for _ in range(SECONDS)]
    return [(tag, values) for values in seconds], sorted(value * unit_ns for values in seconds for value in values)


def python_log(path, intervals):
    """Without a start time and without tags: the package cannot write the one and does not write the others."""
    with open(path, "w") as out:
        writer = HistogramLogWriter(out)
        writer.output_log_format_version()
        writer.output_legend()
        for second, (_, values) in enumerate(intervals):
            histogram = HdrHistogram(1, 3_600_000_000_000, 3)
            for value in values:
                histogram.record_value(value)
            histogram.set_start_time_stamp((START + second) * 1000)
            histogram.set_end_time_stamp((START + second + 1) * 1000)
            writer.output_interval_histogram(histogram)
    return path


def js_log(path, intervals):
    plan = json.dumps({"start": START, "intervals": intervals})
    script = path.with_suffix(".cjs")
    script.write_text(JS)
    done = subprocess.run([peer("node"), script, PEERS, path], input=plan, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return path


WRITERS = {"python": python_log, "js": js_log}


def report(*arguments, status=0):
    done = run([binary("ringpost"), "report", *arguments], check=False)
    assert done.returncode == status, f"{done.stdout}{done.stderr}"
    return done.stdout if status in (0, 1) else done.stderr


def ns(text):
    number, unit = text.split()
    return float(number.replace(",", "")) * {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}[unit]


def cells(shown, name):
    """The columns of a row: A, B, change."""
    line = next(line for line in shown.splitlines() if line.strip().startswith(name))
    rest = line.strip()[len(name):]
    return [" ".join(part.split()) for part in rest.split("  ") if part.strip()]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(("unit", "unit_ns"), [("ns", 1), ("us", 1_000), ("ms", 1_000_000)])
def test_a_log_is_shown_in_its_unit(writer, unit, unit_ns, tmp_path):
    lines, sorted_ns = intervals(unit_ns)
    log = WRITERS[writer](tmp_path / "their.hlog", lines)
    shown = report("show", log, "--unit", unit)
    assert "a log of another program" in shown and "begun 2026-09-21" in shown, shown
    assert f"{len(sorted_ns):,} values in 12.0 s, 1,666 a second" in shown, shown
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        line = next(line for line in shown.splitlines() if line.strip().startswith(f"{name} "))
        told = ns(" ".join(line.split()[1:3]))
        exact = sorted_ns[min(len(sorted_ns) - 1, round(share * len(sorted_ns)))]
        assert abs(told / exact - 1) < 0.03 or abs(told - exact) <= unit_ns, (name, told, exact)


@pytest.mark.parametrize("writer", WRITERS)
def test_two_logs_of_different_units_compare_with_noise(writer, tmp_path):
    fast = WRITERS[writer](tmp_path / "fast.hlog", intervals(1_000)[0])
    slow = WRITERS[writer](tmp_path / "slow.hlog", intervals(1, slow=2)[0])
    page = tmp_path / "page.html"
    shown = report("compare", fast, slow, "--unit", "us,ns", "--html", page)
    a, b, change, *noise = cells(shown, "latency p50")
    assert abs(ns(b) / ns(a) - 2) < 0.05 and change.startswith("+"), shown
    # A change by two over twelve seconds is no noise.
    assert not noise, shown
    assert cells(shown, "not accepted")[:2] == ["unknown", "unknown"]
    assert cells(shown, "generator CPU per message")[:2] == ["unknown", "unknown"]
    assert "same plan" not in shown and "differs:" not in shown
    assert "│" in shown and "A" in shown, "the curves"
    assert "<svg" in page.read_text() and "unknown" in page.read_text()
    report("compare", fast, slow, "--unit", "us,ns", "--fail-if", "p99>+10%", status=1)
    refused = report("compare", fast, slow, "--fail-if", "failed>0", status=64)
    assert "'failed>0' needs a figure that a log does not hold" in refused


def test_a_run_compares_with_a_log_and_with_its_own(tmp_path):
    out = tmp_path / "run"
    with Sink("epoll", None, "--cores", "1") as sink:
        run([binary("ringpost-blast"), sink.address, "-n", "500", "--live", "off", "--out", out])
    told = json.loads((out / "run.json").read_text())
    log = python_log(tmp_path / "their.hlog", intervals(1)[0])
    shown = report("compare", out, log)
    assert cells(shown, "not accepted")[:2] == ["0 %", "unknown"], shown
    assert cells(shown, "latency p99")[0] != "unknown"
    own = report("compare", out, out / "run.hlog")
    a, b, *_ = cells(own, "latency p99")
    assert a == b, own
    shown = report("show", out / "run.hlog")
    assert "another program" not in shown and "the log of a run of ringpost, begun" in shown, shown
    assert f"{told['messages_ok']} values" in shown
    assert f"The whole run: ringpost report show {out}" in shown
    assert "the log of a run of ringpost" in own and "another program" not in own, own
    tagged = report("show", out / "run.hlog", "--tag", "end_of_data")
    assert f"{told['messages_ok']} values" in tagged


def test_tags_choose_the_lines(tmp_path):
    (fast, _), (slow, _) = intervals(1, "fast"), intervals(1, "slow", slow=10)
    log = js_log(tmp_path / "two.hlog", [line for pair in zip(fast, slow) for line in pair])
    assert "name one with --tag: fast, slow" in report("show", log, status=65)
    assert "no line has the tag 'quick'; there are fast, slow" in report("show", log, "--tag", "quick", status=65)
    p50 = [ns(" ".join(next(line for line in report("show", log, "--tag", tag).splitlines() if " p50 " in line).split()[1:3])) for tag in ("fast", "slow")]
    assert abs(p50[1] / p50[0] - 10) < 0.3
    alone = js_log(tmp_path / "one.hlog", fast)
    assert "values in 12.0 s" in report("show", alone), "the only tag needs no name"


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"", "it holds no interval of an HdrHistogram log"),
        (b"#[Histogram log format version 1.3]\n", "it holds no interval of an HdrHistogram log"),
        (b"p50 12\np99 40\n", "not a line of an interval log: 'p50 12'"),
        (b"\x7fELF\x00\x01\n", "not a line of an interval log: '?ELF??'"),
        (b"0.000,1.000,5,HISTFAAAA\n", "interval 1: "),
        (b"0.000,1.000,5,!!!!\n", "interval 1: "),
    ],
)
def test_what_is_no_log_is_one_clear_line(octets, says, tmp_path):
    log = tmp_path / "bad.hlog"
    log.write_bytes(octets)
    for arguments in (["show", log], ["compare", log, log]):
        said = report(*arguments, status=65)
        assert said.startswith(f"ringpost: {log}: ") and says in said and said.count("\n") == 1, said
    assert "leave out --json" in report("show", python_log(tmp_path / "good.hlog", intervals(1)[0]), "--json", status=64)
    assert "no such directory or log" in report("show", tmp_path / "none.hlog", status=66)
