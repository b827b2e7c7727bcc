"""What an operator gets wrong is answered by one clear line and the right status, and harms nothing."""

import json
import shutil
import smtplib
import socket
import time

import pytest
from harness import Child, Sink, binary, deliver, free_port, read_spool, run, wait_for_port

# sysexits.h
USAGE, BAD_DATA, UNAVAILABLE, CANNOT_CREATE, IO_FAILED = 64, 65, 69, 73, 74


def sink_fails(*options, cwd=None):
    """A sink that cannot start: its status and the one line it says."""
    with Child([binary("ringpost-sink"), *options], cwd=cwd) as sink:
        status = sink.wait(20)
        lines = sink.stderr.splitlines()
    assert sink.stdout == ""
    assert len(lines) == 1, f"one line expected: {lines}"
    assert "panicked" not in lines[0]
    return status, lines[0]


def fingerprint(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def fill(sink, count):
    """Replies to that many messages of 1 MiB, each on its own connection."""
    body = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 14_500
    codes = []
    for _ in range(count):
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=20) as client:
            client.ehlo()
            code, text = client.mail("a@example.org")
            if code == 250:
                client.rcpt("b@example.org")
                code, text = client.data(body)
        codes.append((code, text.split()[0].decode()))
    return codes


def test_a_directory_that_goes_away_is_told_once_and_mail_is_refused_until_it_is_back(engine, tmp_path):
    spool, away = tmp_path / "spool", tmp_path / "away"
    options = ["--cores", "1", "--segment-size", "4MiB", "--spool-limit", "64MiB"]
    with Sink(engine, spool, *options) as sink:
        codes = fill(sink, 1)
        spool.rename(away)
        codes += fill(sink, 16)
        assert codes[-1] == (451, "4.3.0"), codes
        # One with nothing in it is another.
        spool.mkdir()
        time.sleep(1)
        assert fill(sink, 1) == [(451, "4.3.0")]
        assert list(spool.iterdir()) == []
        told = [line for line in sink.stderr.splitlines() if "refuses mail" in line]
        assert len(told) == 1 and "cannot open the spool: No such file or directory" in told[0], told
        spool.rmdir()
        away.rename(spool)
        deadline = time.monotonic() + 20
        while (codes := codes + fill(sink, 1))[-1] != (250, "2.0.0"):
            assert time.monotonic() < deadline, sink.stderr
            time.sleep(0.1)
        assert "takes mail again" in sink.stderr
        accepted = codes.count((250, "2.0.0"))
        sink.terminate()
        assert sink.wait() == IO_FAILED, sink.stderr
        report = json.loads(sink.stdout)
        kept = report["cores"][0]["spool"]
        # Of the moved segment it was told how many messages were in it; they are back with it.
        assert (report["messages"], kept["removed"]) == (accepted, 1), report
        assert 0 < kept["removed_messages"] < accepted, report
    assert len(read_spool(spool)) == accepted


@pytest.mark.parametrize("option", [["--no-such-flag"], ["--io", "kqueue"], ["--listen", "gopher://x"], ["--segment-size", "65536"],
                                    ["--hostname", "a b"], ["--hostname", ""], ["--max-size", "0"],
                                    *([*of_spool, "--discard"] for of_spool in (
                                        ["--durability", "sync"], ["--keep", "*=all"], ["--when-full", "refuse"],
                                        ["--spool-limit", "1GiB"], ["--segment-size", "32MiB"], ["--spool", "here"]))])
def test_a_wrong_flag_is_a_usage_error(option, tmp_path):
    done = run([binary("ringpost-sink"), *option], check=False, cwd=tmp_path, timeout=20)
    assert done.returncode == USAGE, done.stderr
    assert option[-1].partition(":")[0] in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_flag_of_the_generator_is_status_2(tmp_path):
    for option in (["--no-such-flag"], ["-n", "many"], []):
        done = run([binary("ringpost-blast"), *option], check=False, cwd=tmp_path, timeout=20)
        assert done.returncode == 2, done.stderr


def test_a_target_that_nobody_listens_on_is_status_3(tmp_path):
    target = f"127.0.0.1:{free_port()}"
    done = run([binary("ringpost-blast"), target, "-n", "10"], check=False, cwd=tmp_path, timeout=60)
    assert done.returncode == 3, done.stderr
    assert target in done.stderr


def test_a_public_target_is_refused_before_anything_is_sent(tmp_path):
    done = run([binary("ringpost-blast"), "8.8.8.8:25", "-n", "1"], check=False, cwd=tmp_path, timeout=20)
    assert done.returncode == 2, done.stderr
    assert "--allow-target" in done.stderr


def test_a_taken_port_is_named(engine, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = ["--io", engine, "--listen", f"smtp://127.0.0.1:{port}"]
        status, line = sink_fails(*listen, "--spool", tmp_path / "spool")
    assert status == UNAVAILABLE, line
    assert str(port) in line


def test_the_port_of_another_sink_is_taken(engine, tmp_path):
    """SO_REUSEPORT must not let a second sink steal half of the connections."""
    with Sink(engine, tmp_path / "one") as first:
        listen = ["--io", engine, "--listen", f"smtp://127.0.0.1:{first.port}"]
        status, line = sink_fails(*listen, "--spool", tmp_path / "two")
        assert status == UNAVAILABLE, line
        deliver(first, 100)
        assert first.stop()["messages"] == 100


@pytest.mark.parametrize("where", ["below a file", "in /sys"])
def test_a_spool_that_cannot_be_written_is_named(where, tmp_path):
    (tmp_path / "file").write_text("mine")
    spool = {"below a file": tmp_path / "file" / "spool", "in /sys": "/sys/ringpost-spool"}[where]
    status, line = sink_fails("--listen", "smtp://127.0.0.1:0", "--spool", spool)
    assert status == CANNOT_CREATE, line
    assert str(spool) in line
    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    before = fingerprint(tmp_path)
    status, line = sink_fails("--listen", "smtp://127.0.0.1:0", "--spool", tmp_path)
    assert status == CANNOT_CREATE, line
    assert str(tmp_path) in line
    assert fingerprint(tmp_path) == before


def test_a_spool_of_another_version_is_left_alone(engine, spool):
    with Sink(engine, spool) as sink:
        deliver(sink, 100)
        sink.stop()
    marker = spool / "SPOOL"
    marker.write_text(marker.read_text().replace(" 2", " 999", 1))
    before = fingerprint(spool)
    status, line = sink_fails("--listen", "smtp://127.0.0.1:0", "--spool", spool)
    assert status == BAD_DATA, line
    assert str(spool) in line and "999" in line
    assert fingerprint(spool) == before


def test_a_log_on_a_full_disk_costs_no_mail(engine, tmp_path):
    """stderr takes nothing: neither the start nor a core that refuses mail may fall over it."""
    spool = tmp_path / "spool"
    options = ["--cores", "1", "--segment-size", "4MiB", "--spool-limit", "64MiB"]
    argv = [binary("ringpost-sink"), "--io", engine, "--spool", spool, *options]
    port = free_port()
    argv = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh", *argv, "--listen", f"127.0.0.1:{port}"]
    with Child(argv) as sink:
        wait_for_port(port)
        sink.port = port
        assert fill(sink, 1) == [(250, "2.0.0")]
        spool.rename(tmp_path / "away")
        taken = 1 + fill(sink, 16).count((250, "2.0.0"))
        assert taken < 17
        sink.terminate()
        # A segment was moved away.
        assert sink.wait() == IO_FAILED
        assert sink.stdout.startswith(f"sink     {taken} message"), sink.stdout


def test_a_report_that_cannot_be_printed_is_status_74(engine):
    with Sink(engine, None, "--max-messages", "1", before=["sh", "-c", 'exec "$@" >/dev/full', "sh"]) as sink:
        deliver(sink, 1)
        assert sink.wait() == IO_FAILED
        assert sink.stderr.splitlines()[-1].startswith("ringpost-sink: cannot write the report: No space left")


def test_a_reader_of_the_report_who_has_gone_is_no_failure(engine):
    with Sink(engine, None, "--max-messages", "1", before=["bash", "-c", 'exec "$@" > >(exit)', "bash"]) as sink:
        deliver(sink, 1)
        assert sink.wait() == 0, sink.stderr
        assert "report" not in sink.stderr


def test_a_condition_that_failed_is_told_to_who_reads_no_report(engine, tmp_path):
    """As in `… --fail-if … | head -1` under pipefail."""
    with Sink(engine, None) as sink:
        for name in ("a", "b"):
            run([binary("ringpost-blast"), "-n", "20", "--out", tmp_path / name, sink.address])
        for program in (
            [binary("ringpost-blast"), "-n", "20", "--fail-if", "p50>1ns", sink.address],
            [binary("ringpost"), "report", "compare", "--fail-if", "p50>1ns", tmp_path / "a", tmp_path / "b"],
        ):
            with Child(["bash", "-c", 'exec "$@" > >(exit)', "bash", *program]) as child:
                assert child.wait() == 1, child.stderr


def test_a_second_sink_on_the_same_spool_is_refused(engine, spool):
    with Sink(engine, spool) as first:
        deliver(first, 100)
        status, line = sink_fails("--io", engine, "--listen", "smtp://127.0.0.1:0", "--spool", spool)
        assert status == CANNOT_CREATE, line
        assert str(spool) in line
        deliver(first, 100)
        assert first.stop()["messages"] == 200
    assert len(read_spool(spool)) == 200


def test_a_spool_can_be_copied_and_read_elsewhere(engine, spool, tmp_path):
    with Sink(engine, spool) as sink:
        deliver(sink, 100)
        sink.stop()
    shutil.copytree(spool, tmp_path / "copy")
    assert len(read_spool(tmp_path / "copy")) == 100
