"""io_uring refused, as Docker (EPERM) and Podman (ENOSYS) refuse it: the sink says so and serves."""

import smtplib
import sys
from pathlib import Path

import pytest
from harness import BODIES, Child, Sink, binary, check_octets, only_message

UNAVAILABLE = 69

pytestmark = pytest.mark.parametrize("errno", ["EPERM", "ENOSYS"])


def refused(errno):
    return [sys.executable, str(Path(__file__).with_name("deny_io_uring.py")), errno, "--"]


def lines_about_it(text, errno):
    return [line for line in text.splitlines() if errno in line and "io_uring" in line]


def test_auto_serves_on_epoll_and_says_why_in_one_line(errno, spool):
    with Sink("auto", spool, before=refused(errno)) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            client.sendmail("a@example.test", ["b@example.test"], BODIES["dots"])
        report = sink.stop()
        assert len(lines_about_it(sink.stderr, errno)) == 1, sink.stderr
    assert report["engine"] == "epoll"
    assert report["messages"] == 1
    check_octets(only_message(spool).body, BODIES["dots"])


def test_uring_on_demand_is_status_69_with_cause_and_cure(errno, tmp_path):
    command = [binary("ringpost-sink"), "--io", "uring", "--listen", "smtp://127.0.0.1:0"]
    with Child([*refused(errno), *command, "--spool", tmp_path / "spool"]) as sink:
        assert sink.wait(20) == UNAVAILABLE, sink.stderr
        lines = sink.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines_about_it(lines[0], errno)
    assert "seccomp" in lines[0]
    assert not (tmp_path / "spool").exists()


def test_the_generator_falls_back_too(errno):
    with Sink("auto") as sink:
        command = [binary("ringpost-blast"), sink.address, "-n", "1000", "-c", "4", "--json"]
        with Child([*refused(errno), *command]) as generator:
            assert generator.wait(60) == 0, generator.stderr
            assert '"messages_ok"' in generator.stdout
        assert sink.stop()["messages"] == 1000
