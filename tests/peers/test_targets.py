"""One run against several servers: sessions are dealt by weight, each server has its own figures, and one
that is down is told by name while the others go on."""

import json
import signal
import time
from pathlib import Path

import pytest
from harness import END_S, Child, Sink, SmtpSink, binary, free_port, run
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from test_search import Limited

ONE_EACH = ["--per-connection", "1", "-c", "8", "--cores", "1", "--live", "off"]


@pytest.fixture
def sinks(engine):
    with Sink(engine, None, "--cores", "1") as first, Sink(engine, None, "--cores", "1") as second:
        yield first, second


def several(addresses, engine, *options):
    done = run([binary("ringpost-blast"), *addresses, "--json", "--io", engine, *options], check=False)
    # A busy machine makes the generator the limit, which is a run all the same.
    assert done.returncode in (0, 4), done.stderr
    return json.loads(done.stdout)


def by_target(told):
    return [(one["messages_ok"], one["messages_failed"]) for one in told["targets"]]


def test_sessions_are_dealt_by_weight_to_the_last_one(engine, sinks, tmp_path):
    first, second = sinks
    addresses = [f"3={first.address}", second.address]
    outs = [tmp_path / name for name in ("a", "b")]
    for out in outs:
        told = several(addresses, engine, "-n", "400", *ONE_EACH, "--out", out)
        assert by_target(told) == [(300, 0), (100, 0)]
        assert [one["connections_opened"] for one in told["targets"]] == [300, 100]
        assert [one["headline_ns"]["count"] for one in told["targets"]] == [300, 100]
        assert [(one["target"], one["weight"]) for one in told["targets"]] == [
            (f"smtp://{first.address}", 3), (f"smtp://{second.address}", 1),
        ]  # fmt: skip
        assert abs(sum(one["rate_msg_s"] for one in told["targets"]) - told["rate_msg_s"]) < 0.01
    logged = HistogramLogReader(str(outs[0] / "run.hlog"), HdrHistogram(1, 3_600_000_000_000, 2))
    counts = {}
    while (histogram := logged.get_next_interval_histogram()) is not None:
        counts[histogram.get_tag()] = counts.get(histogram.get_tag(), 0) + histogram.get_total_count()
    assert (counts["target.1"], counts["target.2"]) == (300, 100), counts

    shown = run([binary("ringpost"), "report", "show", outs[0]]).stdout
    row = next(line for line in shown.splitlines() if line.strip().startswith(f"smtp://{second.address}"))
    assert row.split()[1:5] == ["1", "100", "100", "0"], shown
    assert "<h2>Targets</h2>" in (outs[0] / "report.html").read_text()
    compared = run([binary("ringpost"), "report", "compare", *outs]).stdout
    assert f"smtp://{second.address} p99" in compared, compared
    run([binary("ringpost"), "report", "merge", *outs, "-o", tmp_path / "sum", "--mixed"], check=False)
    whole = json.loads((tmp_path / "sum" / "run.json").read_text())
    assert by_target(whole) == [(600, 0), (200, 0)]
    assert [one["headline_ns"]["count"] for one in whole["targets"]] == [600, 200]
    assert (first.stop()["messages"], second.stop()["messages"]) == (600, 200)


def test_open_loops_and_long_sessions_add_up(engine, sinks):
    told = several([f"2={sinks[0].address}", sinks[1].address], engine, "-z", "2s", "-q", "300", "-c", "9", "--cores", "1", "--live", "off")
    assert sum(one["messages_ok"] for one in told["targets"]) == told["messages_ok"] > 0
    assert [one["connections_opened"] for one in told["targets"]] == [6, 3]
    assert sum(one["headline_ns"]["count"] for one in told["targets"]) == told["response_ns"]["count"]
    assert told["plan"]["targets"] == [
        {"target": f"smtp://{sinks[0].address}", "weight": 2}, {"target": f"smtp://{sinks[1].address}", "weight": 1},
    ]  # fmt: skip


def test_one_that_is_down_is_told_by_name_while_the_other_goes_on(engine, sinks):
    down = f"127.0.0.1:{free_port()}"
    told = several([sinks[0].address, down], engine, "-n", "200", *ONE_EACH)
    assert told["messages_ok"] == 200 and by_target(told) == [(200, 0), (0, 0)]
    assert told["targets"][1]["connections_opened"] == 0
    assert told["verdict"] == "failures"
    assert any(f"cannot reach smtp://{down}" in reason for reason in told["verdict_reasons"]), told["verdict_reasons"]


def test_without_any_there_is_no_run(engine):
    downs = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    done = run([binary("ringpost-blast"), *downs, "-n", "10", "--io", engine], check=False)
    assert done.returncode == 3 and "cannot reach" in done.stderr, done.stderr


def test_one_that_comes_up_later_is_taken_in(engine, sinks):
    port = free_port()
    late = f"127.0.0.1:{port}"
    arguments = [sinks[0].address, late, "-z", "8s", "-q", "200", "--json", "--io", engine, *ONE_EACH]
    with Child([binary("ringpost-blast"), *arguments]) as generator:
        time.sleep(1)
        with Sink(engine, None, "--cores", "1", listen=f"smtp://{late}"):
            assert generator.wait() in (0, 4), generator.stderr
    told = json.loads(generator.stdout)
    assert told["targets"][1]["messages_ok"] > 0, told["targets"]
    assert not any(late in reason for reason in told["verdict_reasons"]), told["verdict_reasons"]


def connections(port):
    """Established connections to a port of 127.0.0.1, as its server sees them."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1] == f"0100007F:{port:04X}" and row[3] == "01" for row in rows)


def until(true, what):
    deadline = time.monotonic() + END_S
    while not true():
        assert time.monotonic() < deadline, f"not within {END_S} s: {what}"
        time.sleep(0.05)


@pytest.mark.parametrize("load", [[], ["-q", "400"]], ids=["closed", "open"])
@pytest.mark.parametrize("away_s", [0, 13], ids=["restarted", "given-up"])
def test_one_that_comes_back_gets_its_part_of_sessions_that_stay(engine, load, away_s):
    port = free_port()
    other = f"127.0.0.1:{port}"
    again = [engine, None, "--cores", "1"]
    with Sink(*again) as first:
        arguments = [first.address, f"3={other}", "-z", "300s", "-c", "8", "--cores", "1", "--json", "--io", engine, "--live", "off", *load]
        with Sink(*again, listen=f"smtp://{other}") as gone:
            generator = Child([binary("ringpost-blast"), *arguments])
            with generator:
                until(lambda: (connections(first.port), connections(port)) == (2, 6), "dealt by weight")
                gone.kill()
                until(lambda: connections(first.port) >= 7, "the other takes its part")
                time.sleep(away_s)
                with Sink(*again, listen=f"smtp://{other}") as back:
                    until(lambda: (connections(first.port), connections(port)) == (2, 6), "has its part again")
                    generator.process.send_signal(signal.SIGINT)
                    assert generator.wait() in (1, 4), generator.stderr
                    assert back.stop()["messages"] > 0
    told = json.loads(generator.stdout)
    assert not any(other in reason for reason in told["verdict_reasons"]), told["verdict_reasons"]


def test_sessions_that_never_end_stay_where_they_were_dealt(engine, sinks):
    told = several([sinks[0].address, f"2={sinks[1].address}"], engine, "-z", "3s", "-c", "9", "--cores", "1", "--live", "off")
    assert [one["connections_opened"] for one in told["targets"]] == [3, 6]


def test_one_that_lacks_what_is_asked_is_left_alone(engine, sinks):
    with SmtpSink() as plain:
        told = several([plain.address, sinks[0].address], engine, "-n", "100", "--chunking", *ONE_EACH)
    assert told["messages_ok"] == 100 and by_target(told) == [(0, 0), (100, 0)]
    assert any(f"smtp://{plain.address} does not offer CHUNKING" in reason for reason in told["verdict_reasons"])


@pytest.mark.alone
def test_a_slow_one_has_its_own_times_and_its_own_part(engine, sinks):
    with Limited(25) as slow:
        told = several([f"3={sinks[0].address}", slow.address], engine, "-n", "80", *ONE_EACH)
    assert by_target(told) == [(60, 0), (20, 0)]
    fast, late = (one["headline_ns"] for one in told["targets"])
    assert late["p50"] > 20_000_000 and late["p50"] > 2 * fast["p50"], told["targets"]


def test_a_dry_run_shows_the_parts():
    shown = run([binary("ringpost-blast"), "3=127.0.0.1:2525", "smtp+unix:/run/a=b", "--dry-run"]).stdout
    rows = [line.split(None, 1)[1] for line in shown.splitlines() if line.strip().startswith("target")]
    assert rows == ["smtp://127.0.0.1:2525 (127.0.0.1:2525), 75 % of the sessions", "smtp+unix:/run/a=b (/run/a=b), 25 % of the sessions"], shown


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        (["127.0.0.1:1", "0=127.0.0.1:2"], "has no weight"),
        (["127.0.0.1:1", "smtp://127.0.0.1:1"], "named twice"),
        (["127.0.0.1:1", "2=8.8.8.8:25"], "public address"),
        ([f"127.0.0.1:{port}" for port in range(1, 34)], "too many targets, 33; name up to 32"),
    ],
)
def test_what_is_no_set_of_targets_is_a_usage_error(targets, says):
    done = run([binary("ringpost-blast"), *targets], check=False)
    assert done.returncode == 2 and says in done.stderr, done.stderr
