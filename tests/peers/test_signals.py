"""Ends: SIGTERM drains, --max-messages and --max-sessions stop with the last reply sent."""

import json
import signal
import smtplib
import socket
import time

import pytest
from harness import BODIES, Child, Sink, binary, check_octets, only_message, peer, read_spool, run, verify

# What the sink gives open messages to finish, and some time to do so.
DRAIN_S = 10
END_S = DRAIN_S + 10


class Conversation:
    """A client that says one line at a time and is in no hurry. Its kernel takes `window` octets that it has not
    read."""

    def __init__(self, port, window=None):
        self.socket = socket.socket()
        if window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.settimeout(END_S)
        self.socket.connect(("127.0.0.1", port))
        self.replies = self.socket.makefile("rb")
        self.expect(220)
        self.say(b"EHLO client.example.test\r\n", 250)

    def expect(self, code):
        """The last line of the reply."""
        return self.reply(code)[-1]

    def reply(self, code):
        lines = []
        while not lines or lines[-1][3:4] == b"-":
            lines.append(self.replies.readline())
            assert lines[-1][:3] == b"%d" % code, f"{code} expected, got {lines[-1]!r}"
        return lines

    def send(self, octets):
        self.socket.sendall(octets)

    def say(self, line, code):
        self.send(line)
        return self.expect(code)

    def start_message(self):
        self.say(b"MAIL FROM:<a@example.test>\r\n", 250)
        self.say(b"RCPT TO:<b@example.test>\r\n", 250)
        self.say(b"DATA\r\n", 354)

    def closed(self):
        """Nothing more comes; a reset counts as closed."""
        try:
            return self.replies.read() == b""
        except ConnectionResetError:
            return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.replies.close()
        self.socket.close()


def test_sigterm_says_421_to_the_idle_and_lets_an_open_message_finish(engine, spool):
    body = BODIES["dots"]
    wire = body.replace(b"\r\n.", b"\r\n..")
    with Sink(engine, spool) as sink, Conversation(sink.port) as idle, Conversation(sink.port) as busy:
        busy.start_message()
        busy.send(wire[:40])
        time.sleep(0.2)
        sink.terminate()
        idle.expect(421)
        assert idle.closed()
        busy.send(wire[40:])
        busy.say(b".\r\n", 250)
        busy.expect(421)
        assert busy.closed()
        report = sink.finish(END_S)
    assert report["messages"] == 1
    check_octets(only_message(spool).body, body)
    verify(spool)


def test_sigterm_does_not_wait_for_ever_for_a_message_that_stalls(engine, spool):
    with Sink(engine, spool) as sink, Conversation(sink.port) as stalled:
        stalled.start_message()
        stalled.send(b"the rest never comes\r\n")
        time.sleep(0.2)
        started = time.monotonic()
        sink.terminate()
        report = sink.finish(END_S)
        assert time.monotonic() - started < END_S
    assert report["messages"] == 0
    assert read_spool(spool) == []


def test_sigterm_takes_no_new_connection(engine, spool):
    with Sink(engine, spool) as sink, Conversation(sink.port) as busy:
        busy.start_message()
        sink.terminate()
        time.sleep(0.5)
        with pytest.raises((ConnectionRefusedError, ConnectionResetError, AssertionError)):
            Conversation(sink.port)
        busy.say(b".\r\n", 250)
        sink.finish(END_S)


def test_max_messages_ends_with_the_last_reply_sent(engine, spool):
    with Sink(engine, spool, "--max-messages", "3") as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=END_S) as client:
            for _ in range(3):
                assert client.sendmail("a@example.test", ["b@example.test"], BODIES["dots"]) == {}
            report = sink.finish(END_S)
            client.close()
    assert report["messages"] == 3
    assert len(read_spool(spool)) == 3


def test_max_messages_under_load_answers_for_all_that_it_kept(engine, spool):
    """smtp-source ends with an error once the sink closes; the sink's number and its spool agree."""
    with Sink(engine, spool, "--max-messages", "5000") as sink:
        shape = ["-d", "-s", "20", "-m", "100000", "-l", "200", "-f", "a@example.test", "-t", "b@example.test"]
        run([peer("smtp-source"), *shape, sink.address], check=False)
        report = sink.finish(END_S)
    assert report["messages"] >= 5000
    assert len(read_spool(spool)) == report["messages"]


def test_max_sessions_ends_after_the_last_goodbye(engine, spool):
    with Sink(engine, spool, "--max-sessions", "4") as sink:
        for _ in range(4):
            with Conversation(sink.port) as client:
                client.say(b"QUIT\r\n", 221)
        report = sink.finish(END_S)
    assert report["connections"] == 4


def blast(engine, sink, out, *before):
    """A run of a minute with a few messages a second."""
    shape = ["-q", "20", "-c", "2", "-z", "60s", "--live", "lines", "--json", "--out", out]
    return Child([*before, binary("ringpost-blast"), "--io", engine, *shape, sink.address])


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGTERM", "SIGINT"])
def test_a_run_that_is_asked_to_end_leaves_its_report_and_artefacts(engine, name, tmp_path):
    with Sink(engine) as sink, blast(engine, sink, tmp_path / "run") as generator:
        # The second line each second says that messages flow.
        wait_for_lines(generator, 2)
        generator.process.send_signal(getattr(signal, name))
        # It ended by itself, whatever the figures are on a busy machine.
        assert generator.wait(END_S) in (0, 1, 4), generator.stderr
        report = json.loads(generator.stdout)
        assert report["messages_ok"] > 0
        stored = json.loads((tmp_path / "run" / "run.json").read_text())
        assert stored["messages_ok"] == report["messages_ok"]
        assert (tmp_path / "run" / "report.html").exists()


def test_a_hangup_that_nohup_keeps_away_ends_nothing(engine, tmp_path):
    with Sink(engine) as sink, blast(engine, sink, tmp_path / "run", "nohup") as generator:
        wait_for_lines(generator, 2)
        generator.process.send_signal(signal.SIGHUP)
        wait_for_lines(generator, len(generator.stderr.splitlines()) + 2)
        assert generator.process.poll() is None
        generator.process.send_signal(signal.SIGTERM)
        # It ended by itself, whatever the figures are on a busy machine.
        assert generator.wait(END_S) in (0, 1, 4), generator.stderr


def wait_for_lines(generator, count):
    deadline = time.monotonic() + END_S
    while len(generator.stderr.splitlines()) < count:
        assert time.monotonic() < deadline, generator.stderr
        time.sleep(0.05)
