"""Connections that break, at every point of a session and in every way: the sink lives, leaves no
descriptor behind, answers who still listens, and keeps whole messages or none."""

import os
import socket
import struct
import time

import pytest
from harness import Sink, deliver, read_spool, verify
from test_abuse import codes, everything, raw

BODY = b"Subject: whole\r\n\r\nto the end\r\n"
HELLO = b"EHLO broken.example.test\r\n"
MAIL = b"MAIL FROM:<a@example.test>\r\n"
RCPT = b"RCPT TO:<b@example.test>\r\n"
CHUNK = b"BDAT %d LAST\r\n" % len(BODY)
POINTS = {
    "silent": b"",
    "in a verb": b"EH",
    "in the greeting": HELLO[:-2],
    "greeted": HELLO,
    "in MAIL": HELLO + MAIL[:9],
    "behind MAIL": HELLO + MAIL,
    "behind RCPT": HELLO + MAIL + RCPT,
    "behind 354": HELLO + MAIL + RCPT + b"DATA\r\n",
    "in a message": HELLO + MAIL + RCPT + b"DATA\r\n" + BODY[:9],
    "before the dot": HELLO + MAIL + RCPT + b"DATA\r\n" + BODY,
    "behind the dot": HELLO + MAIL + RCPT + b"DATA\r\n" + BODY + b".\r",
    "in a chunk": HELLO + MAIL + RCPT + CHUNK + BODY[:9],
    "between chunks": HELLO + MAIL + RCPT + b"BDAT 9\r\n" + BODY[:9],
    "whole message": HELLO + MAIL + RCPT + b"DATA\r\n" + BODY + b".\r\n",
    "whole session": HELLO + MAIL + RCPT + CHUNK + BODY + b"QUIT\r\n",
}
WHOLE = ("whole message", "whole session")
ROUNDS = 20


def fin(connection):
    connection.close()


def rst(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def half(connection):
    connection.shutdown(socket.SHUT_WR)


def descriptors(sink):
    return len(os.listdir(f"/proc/{sink.pid}/fd"))


def settled(sink, base, seconds=5):
    """Descriptors, once they are back at `base` or the time is over."""
    end = time.monotonic() + seconds
    while (count := descriptors(sink)) > base and time.monotonic() < end:
        time.sleep(0.05)
    return count


@pytest.mark.parametrize("breaks", [fin, rst, half], ids=["FIN", "RST", "half-close"])
def test_a_session_may_break_anywhere(engine, spool, breaks):
    with Sink(engine, spool, "--cores", "2") as sink:
        deliver(sink, 10)
        base = settled(sink, 0, 0.5)
        for point, said in POINTS.items():
            open_ones = [raw(sink.port, said) for _ in range(ROUNDS)]
            if breaks is rst:
                # The greeting is here, so the session has begun.
                assert all(connection.recv(3) == b"220" for connection in open_ones)
            for connection in open_ones:
                breaks(connection)
            if breaks is half:
                for connection in open_ones:
                    answered(point, codes(everything(connection)))
        assert settled(sink, base) <= base
        deliver(sink, 10)
        report = sink.stop()
    messages = [message for message in read_spool(spool) if message.body == BODY]
    if breaks is half:
        assert len(messages) == len(WHOLE) * ROUNDS
    assert len(read_spool(spool)) == report["messages"]
    assert report["messages"] == len(messages) + 20, "a message in part"
    verify(spool)


def answered(point, replies):
    """Every whole command of a client that only closed its own direction has its answer."""
    expected = [220] + [250] * sum(POINTS[point].count(command) for command in (HELLO, MAIL, RCPT))
    expected += [354] * POINTS[point].count(b"DATA\r\n") + [250] * (point in WHOLE + ("between chunks",))
    expected += [221] * POINTS[point].count(b"QUIT")
    assert replies == expected, point


@pytest.mark.alone
def test_a_sink_out_of_descriptors_neither_spins_nor_stays_deaf(engine, spool):
    with Sink(engine, spool, "--cores", "1", before=["prlimit", "--nofile=64:64"]) as sink:
        callers = []
        for _ in range(300):
            caller = socket.socket()
            caller.settimeout(5)
            caller.connect(("127.0.0.1", sink.port))
            callers.append(caller)
        time.sleep(1)
        before = cpu_seconds(sink)
        time.sleep(2)
        assert cpu_seconds(sink) - before < 0.5, "it spins"
        for caller in callers:
            caller.close()
        end = time.monotonic() + 10
        while not greeted(sink):
            assert time.monotonic() < end, "nobody is accepted any more"
            time.sleep(0.1)
        run_one_message(sink)
        sink.stop()
    assert [message.body for message in read_spool(spool)] == [BODY]


def cpu_seconds(sink):
    with open(f"/proc/{sink.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def greeted(sink):
    connection = raw(sink.port)
    with connection:
        try:
            return connection.recv(3) == b"220"
        except OSError:
            return False


def run_one_message(sink):
    assert codes(everything(raw(sink.port, POINTS["whole session"]))) == [220, 250, 250, 250, 250, 221]
