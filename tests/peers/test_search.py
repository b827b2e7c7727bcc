"""`sweep` and `find-max` against servers whose limit is known: one of our own that lets so many messages
a second through, and aiosmtpd, which is slow by nature."""

import csv
import json
import socket
import threading
import time

import pytest
from aiosmtpd.controller import Controller
from harness import Child, Sink, binary, free_port, run

pytestmark = pytest.mark.alone
SHORT = ["-c", "16", "--settle", "300ms", "--measure", "1s", "--drain", "500ms"]


class Limited:
    """An SMTP server that answers the end of data as a bucket lets it: `rate` messages a second,
    whatever number of connections ask."""

    def __init__(self, rate):
        self.gap = 1 / rate
        self.free_at = 0.0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def pass_bucket(self):
        with self.lock:
            # A little may be saved up, so that the threads' own lateness is no limit.
            self.free_at = max(self.free_at, time.monotonic() - 0.05) + self.gap
            wait = self.free_at - time.monotonic()
        if wait > 0:
            time.sleep(wait)

    def serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            try:
                connection.sendall(b"220 limited\r\n")
                for line in lines:
                    verb = line[:4].upper()
                    if verb == b"DATA":
                        connection.sendall(b"354 go\r\n")
                        while next(lines) != b".\r\n":
                            pass
                        self.pass_bucket()
                    connection.sendall({b"QUIT": b"221 bye\r\n"}.get(verb, b"250 2.0.0 ok\r\n"))
            except (OSError, StopIteration):
                return


def task(name, address, *options, check=True, timeout=300):
    return run([binary("ringpost-blast"), name, address, *options], timeout=timeout, check=check)


def test_find_max_brackets_the_limit_of_a_server():
    with Limited(150) as server:
        done = task("find-max", server.address, "--slo", "p99<150ms,errors<1%", "--start", "40", "--precision", "20%", "--json", *SHORT, check=False)
    found = json.loads(done.stdout)
    kept = [step for step in found["steps"] if step["kept"]]
    missed = [step for step in found["steps"] if step["kept"] is False and step["verdict"] != "generator-limited"]
    assert kept, done.stdout
    # Twice the limit is never kept, and a third of it is never missed for the server's sake.
    assert all(step["asked_msg_s"] < 300 for step in kept), done.stdout
    assert all(step["asked_msg_s"] > 50 for step in missed), done.stdout
    assert done.returncode in (0, 4), done.stderr
    if done.returncode == 0:
        assert 75 < found["found_msg_s"] < 225, done.stdout
        assert any("between" in sentence for sentence in found["said"]), found["said"]


def test_a_sweep_goes_over_the_knee_and_says_where_it_is(tmp_path):
    out = tmp_path / "curve"
    with Limited(100) as server:
        # On a busy machine the generator may be the limit of a step, which is exit code 4.
        done = task("sweep", server.address, "--rates", "400,20,800,50,20", "--out", out, *SHORT, check=False)
        assert done.returncode in (0, 4), done.stderr
        # Each step is told once, and not on both.
        assert done.stdout.count("due/s") == 1 and "due/s" not in done.stderr
        again = task("find-max", server.address, "--slo", "failed<1", "--out", out, *SHORT, check=False)
        assert again.returncode == 2 and "already holds a run" in again.stderr
    told = json.loads((out / "sweep.json").read_text())
    rates = [step["asked_msg_s"] for step in told["steps"]]
    assert rates == [20, 50, 400, 800], done.stdout
    verdicts = [step["verdict"] for step in told["steps"]]
    assert set(verdicts[2:]) <= {"target-limited", "generator-limited"}, verdicts
    assert told["steps"][3]["rate_msg_s"] < 250
    # 400 and 800 are beyond it for certain.
    if verdicts[:2] != ["generator-limited"] * 2:
        assert told["found_msg_s"] in (20, 50), verdicts
    assert "knee" in done.stdout
    with open(out / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["asked_msg_s"]) for row in rows] == rates
    assert [int(row["response_p99_ns"]) if row["response_p99_ns"] else None for row in rows] == [step["response_p99_ns"] for step in told["steps"]]
    page = (out / "report.html").read_text()
    assert "<svg" in page and "Latency under load" in page and "<script" not in page
    steps = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert steps == ["step-01-20", "step-02-50", "step-03-400", "step-04-800"]
    for step in steps:
        assert (out / step / "run.json").exists() and (out / step / "report.html").exists()


def test_a_sweep_that_doubles_ends_when_it_has_seen_enough():
    with Limited(100) as server:
        done = task("sweep", server.address, "--start", "50", "--json", *SHORT)
    rates = [step["asked_msg_s"] for step in json.loads(done.stdout)["steps"]]
    assert rates[:3] == [50, 100, 200] and rates[-1] in (200, 400, 800), rates


def test_find_max_of_aiosmtpd():
    class Discarding:
        async def handle_DATA(self, server, session, envelope):
            return "250 2.0.0 Ok"

    controller = Controller(Discarding(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        done = task(
            "find-max", f"127.0.0.1:{controller.port}", "--slo", "p99<500ms,errors<1%", "--start", "25", "--precision", "50%",
            "--repeats", "1", "--json", *SHORT, check=False,
        )  # fmt: skip
    finally:
        controller.stop()
    assert done.returncode in (0, 4), done.stderr
    found = json.loads(done.stdout)
    kept = [step["asked_msg_s"] for step in found["steps"] if step["kept"]]
    assert kept and found["found_msg_s"] == max(kept)
    # No machine of ours lets one Python thread take that many.
    assert max(kept) < 20_000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["find-max", "127.0.0.1:1"], "--slo"),
        (["find-max", "127.0.0.1:1", "--slo", "p98<20ms"], "'p98' is not a figure"),
        (["find-max", "127.0.0.1:1", "--slo", "p99<20ms", "--precision", "5"], "is not a precision"),
        (["sweep", "127.0.0.1:1", "--rates", "1k,x"], "'x' is not a rate"),
        (["sweep", "8.8.8.8:25"], "public address"),
    ],
)
def test_what_cannot_be_searched_is_a_usage_error(arguments, says):
    done = run([binary("ringpost-blast"), *arguments], check=False)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_a_target_that_goes_away_leaves_the_curve_up_to_there(engine):
    with Sink(engine, None, "--cores", "1") as sink:
        rates = ",".join(str(rate) for rate in range(50, 70))
        arguments = ["sweep", sink.address, "--rates", rates, "--json", "--io", engine, *SHORT]
        with Child([binary("ringpost-blast"), *arguments]) as sweep:
            sweep.wait_for_line("      50.0")
            sink.kill()
            assert sweep.wait() == 3, sweep.stderr
    told = json.loads(sweep.stdout)
    assert told["steps"][0]["messages_ok"] > 0
    assert told["steps"][-1]["verdict"] == "unreachable" and len(told["steps"]) < 20, told
    assert any(f"smtp://{sink.address}" in sentence for sentence in told["said"]), told["said"]


def test_a_step_that_was_broken_off_decides_nothing(engine):
    with Sink(engine, None, "--cores", "1") as sink:
        for step, settle in (("first", "60s"), ("second", "1s")):
            lengths = ["--settle", settle, "--measure", "4s"]
            arguments = ["sweep", sink.address, "--rates", "50,60", "--json", "--io", engine, *lengths]
            with Child([binary("ringpost-blast"), *arguments]) as sweep:
                if step == "first":
                    time.sleep(2)
                else:
                    sweep.wait_for_line("      50.0")
                sweep.terminate()
                assert sweep.wait() == 1, sweep.stderr
            told = json.loads(sweep.stdout)
            assert len(told["steps"]) == 1 and "broken off" in told["said"][-2], told
            assert "SIGTERM ended the run after" in told["said"][-1], told
            assert ("knee" in told["said"][0]) == (step == "second"), told["said"]


def test_several_servers_share_the_steps_and_one_that_is_down_is_named(engine):
    down = f"127.0.0.1:{free_port()}"
    with Sink(engine, None, "--cores", "1") as first, Sink(engine, None, "--cores", "1") as second:
        done = task("sweep", f"2={first.address}", second.address, down, "--rates", "100,200", "--json", "--io", engine, *SHORT)
        told = json.loads(done.stdout)
        arrived = [first.stop()["messages"], second.stop()["messages"]]
    for step in told["steps"]:
        parts = step["targets"]
        assert [part["weight"] for part in parts] == [2, 1, 1]
        assert parts[0]["messages_ok"] > 0 and parts[1]["messages_ok"] > 0 and parts[2]["messages_ok"] == 0, parts
    # What settles is sent and not counted.
    assert sum(step["messages_ok"] for step in told["steps"]) <= sum(arrived) and min(arrived) > 0
    assert any(sentence == f"smtp://{down} had no connection in 2 of 2 steps." for sentence in told["said"]), told["said"]


@pytest.mark.parametrize("kind", ["sweep", "find-max"])
def test_a_target_out_of_reach_ends_the_task_and_leaves_nothing_in_the_way(kind, tmp_path):
    out = tmp_path / "curve"
    options = ["--start", "100", "--most", "100", "--out", out, *SHORT]
    options += ["--slo", "failed<1"] if kind == "find-max" else []
    done = task(kind, f"127.0.0.1:{free_port()}", *options, check=False)
    assert done.returncode == 3 and "cannot reach" in done.stderr
    assert not out.exists() and done.stdout == ""
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    task(kind, f"127.0.0.1:{free_port()}", *options, check=False)
    assert [file.name for file in out.iterdir()] == ["notes.txt"]
    with Limited(1000) as server:
        done = task(kind, server.address, *options, check=False)
    assert (out / f"{kind}.json").exists(), done.stderr
    shown = run([binary("ringpost"), "report", "show", out]).stdout
    assert shown.startswith(f"{kind} of ") and "due/s" in shown
