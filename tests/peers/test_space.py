"""Room in the spool belongs to mail that was acknowledged, whatever clients send."""

import socket

import pytest
from harness import Sink, blast, binary, read_spool, run, verify

MIB = 1 << 20
LINES = (b"x" * 78 + b"\r\n") * 1000
# More than half of what messages may take that are not complete, of which each takes 8 MiB.
FLOODS = 6
OPTIONS = ("--cores", "1", "--segment-size", "4MiB", "--spool-limit", "64MiB", "--max-size", "9MiB")


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.replies = self.socket.makefile("rb")
        self.reply()

    def say(self, octets):
        self.socket.sendall(octets)
        return self.reply()

    def reply(self):
        while (line := self.replies.readline())[3:4] == b"-":
            pass
        return line[:3]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.replies.close()
        self.socket.close()


def begin(port):
    client = Client(port)
    for line in (b"EHLO x.test\r\n", b"MAIL FROM:<a@x.test>\r\n", b"RCPT TO:<b@x.test>\r\n"):
        assert client.say(line) == b"250"
    return client


def pour(client, octets, chunks):
    for _ in range(octets // len(LINES)):
        if chunks:
            assert client.say(b"BDAT %d\r\n" % len(LINES) + LINES) == b"250"
        else:
            client.socket.sendall(LINES)


def too_large(port):
    with begin(port) as client:
        assert client.say(b"DATA\r\n") == b"354"
        pour(client, 10 * MIB, False)
        assert client.say(b".\r\n") == b"552"


def bare_newline(port):
    with begin(port) as client:
        assert client.say(b"DATA\r\n") == b"354"
        pour(client, 8 * MIB, False)
        assert client.say(b"a\nb\r\n.\r\n") == b"550"


def reset(port):
    with begin(port) as client:
        pour(client, 8 * MIB, True)
        assert client.say(b"RSET\r\n") == b"250"


def cut(port):
    with begin(port) as client:
        assert client.say(b"DATA\r\n") == b"354"
        pour(client, 8 * MIB, False)


def two_at_once(port):
    """Their fragments lie between each other, and a small message is taken between them."""
    with begin(port) as one, begin(port) as other, begin(port) as small:
        for client in (one, other):
            assert client.say(b"DATA\r\n") == b"354"
        for _ in range(20):
            for client in (one, other):
                pour(client, 200 * 1024, False)
        assert small.say(b"BDAT 5 LAST\r\nhello") == b"250"


WAYS = [too_large, bare_newline, reset, cut, two_at_once]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("mode", ["recycle", "refuse"])
def test_mail_that_is_not_acknowledged_takes_no_room_for_good(engine, tmp_path, way, mode):
    spool = tmp_path / "spool"
    options = (*OPTIONS, "--when-full", mode, "--bare-newline", "reject")
    for start in range(2):
        with Sink(engine, spool, *options) as sink:
            blast(sink.address, "-n", "300", "-c", "4", "--size", "1KiB")
            for _ in range(FLOODS):
                way(sink.port)
            blast(sink.address, "-n", "300", "-c", "4", "--size", "1KiB")
            sink.stop()
        verify(spool)
        small = FLOODS * (way is two_at_once)
        assert len(read_spool(spool)) == (start + 1) * (600 + small)


def test_room_for_open_messages_is_asked_for_at_the_start(engine, tmp_path):
    argv = [binary("ringpost-sink"), "--spool", tmp_path / "spool", "--listen", "127.0.0.1:0",
            "--cores", "1", "--spool-limit", "64MiB"]
    for more in (["--max-size", "60MiB"], ["--max-size", "20MiB", "--open-limit", "9MiB"]):
        ended = run([*argv, *more], check=False)
        assert ended.returncode == 64 and "--max-size" in ended.stderr, ended.stderr
    assert not (tmp_path / "spool").exists()
