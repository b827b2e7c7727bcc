"""Peers that mean no good, or nothing at all: what they get is bounded, and others do not notice."""

import socket
import struct
import time

import pytest
from harness import Sink, binary, deliver, only_message, peer, read_spool, run, verify
from test_signals import Conversation

KIB = 1024
# What one hostile connection may cost: its buffers, its queued replies, and some slack of the allocator.
CONNECTION_KIB = 128
# The heap grows by huge pages, a few of them for nothing that a connection did.
HEAP_STEPS_KIB = 4 * 2048
# The watch keeps deadlines to two beats of 250 ms; a machine that does other things besides is later.
LATE_S = 1.5
MUCH_LATER_S = 60
ENVELOPE = b"EHLO abuse.example.test\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\n"


def rss_kib(sink):
    with open(f"/proc/{sink.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def raw(port, octets=b"", timeout=10):
    """A connection that has sent `octets` and read nothing yet."""
    connection = socket.create_connection(("127.0.0.1", port), timeout)
    connection.sendall(octets)
    return connection


def everything(connection):
    """What comes until the end of the stream; a reset fails."""
    with connection, connection.makefile("rb") as replies:
        return replies.read()


def codes(octets):
    return [int(line[:3]) for line in octets.splitlines() if line[3:4] != b"-"]


def pour(connection, octets, seconds=3):
    """Sends as long as the other side takes it, and for so long at most; how much went."""
    connection.settimeout(0.3)
    view, sent, end = memoryview(octets), 0, time.monotonic() + seconds
    try:
        while sent < len(view) and time.monotonic() < end:
            sent += connection.send(view[sent : sent + 256 * KIB])
    except OSError:
        pass
    return sent


FLOODS = {
    "a million pipelined NOOPs": b"NOOP\r\n" * 1_000_000,
    "100,000 RCPT": ENVELOPE + b"RCPT TO:<c@example.test>\r\n" * 100_000,
    "100,000 chunks of one octet": ENVELOPE + b"BDAT 1\r\nx" * 100_000,
    "a chunk of 2^64-1 octets": ENVELOPE + b"BDAT 18446744073709551615\r\n" + b"x" * (8 << 20),
    "64 MiB without CRLF": b"x" * (64 << 20),
    "10,000 HELO": b"HELO abuse.example.test\r\n" * 10_000,
    "a message without end": ENVELOPE + b"DATA\r\n" + b"x" * (32 << 20),
}


@pytest.mark.alone
@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_costs_little_memory_and_nobody_else_notices(engine, flood):
    connections = 96
    with Sink(engine, None, "--cores", "1", "--max-size", "1MiB") as sink:
        deliver(sink, 50)
        # What the core takes once: its large receive buffer, and the steps of the allocator.
        with raw(sink.port) as first:
            pour(first, FLOODS[flood])
        before = rss_kib(sink)
        hostile = [raw(sink.port) for _ in range(connections)]
        try:
            peak = before
            for connection in hostile:
                pour(connection, FLOODS[flood])
                peak = max(peak, rss_kib(sink))
            deliver(sink, 20)
            peak = max(peak, rss_kib(sink))
        finally:
            for connection in hostile:
                connection.close()
        report = sink.stop()
    assert peak - before < connections * CONNECTION_KIB + HEAP_STEPS_KIB, f"{before} KiB grew to {peak} KiB"
    assert report["messages"] == 70


@pytest.mark.usefixtures("both_ways")
def test_octets_of_a_line_that_does_not_end_buy_no_time(engine):
    with Sink(engine, None, "--timeout", "2s", "--cores", "1") as sink:
        with Conversation(sink.port) as slow:
            started = time.monotonic()
            slow.socket.settimeout(0.2)
            answer = b""
            while not answer:
                assert time.monotonic() - started < MUCH_LATER_S
                slow.send(b"x")
                try:
                    answer = slow.socket.recv(999)
                except TimeoutError:
                    pass
            assert time.monotonic() - started > 1.8
            assert answer.startswith(b"421 4.4.2 ")
        assert sink.stop()["timeouts"] == 1


def test_a_client_that_finishes_its_commands_may_take_its_time(engine):
    with Sink(engine, None, "--timeout", "4s", "--cores", "1") as sink:
        with Conversation(sink.port) as slow:
            for _ in range(3):
                for piece in (b"NO", b"O", b"P"):
                    slow.send(piece)
                    time.sleep(0.6)
                slow.say(b"\r\n", 250)
        assert sink.stop()["timeouts"] == 0


@pytest.mark.parametrize(("rate", "ends"), [("500", True), ("0", False), ("5", False)])
def test_a_message_must_keep_its_rate(engine, rate, ends):
    with Sink(engine, None, "--timeout", "1s", "--min-data-rate", rate, "--cores", "1") as sink:
        with Conversation(sink.port) as slow:
            slow.start_message()
            answer, started = b"", time.monotonic()
            slow.socket.settimeout(0.2)
            patience = MUCH_LATER_S if ends else 1 + LATE_S + 0.5
            while not answer and time.monotonic() - started < patience:
                slow.send(b"x")
                try:
                    answer = slow.socket.recv(999)
                except TimeoutError:
                    pass
            assert answer.startswith(b"421 4.4.2 ") == ends
            if not ends:
                slow.socket.settimeout(10)
                slow.say(b"\r\n.\r\n", 250)
        report = sink.stop()
    assert (report["timeouts"], report["messages"]) == (int(ends), int(not ends))


@pytest.mark.alone
def test_a_peer_that_never_reads_is_ended(engine):
    """Its replies fill both sockets; then the sink waits in a send, and the watch ends it."""
    with Sink(engine, None, "--timeout", "1s", "--cores", "1") as sink:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", sink.port))
        # Accepted messages, because anything else would end the session as junk.
        message = ENVELOPE.partition(b"\r\n")[2] + b"BDAT 0 LAST\r\n"
        sent = pour(deaf, ENVELOPE.partition(b"\r\n")[0] + b"\r\n" + message * 400_000, 6)
        assert sent < 400_000 * len(message)
        ended, deadline = False, time.monotonic() + MUCH_LATER_S
        while not ended:
            assert time.monotonic() < deadline
            try:
                deaf.send(b"x" * 65536)
            except TimeoutError:
                pass
            except OSError:
                ended = True
        deaf.close()
        deliver(sink, 5)
        assert sink.stop()["timeouts"] == 1


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("said", [b"QUIT\r\n", b"BDAT x\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00"])
def test_the_last_reply_survives_what_the_client_still_sends(engine, said):
    last = {b"Q": 221, b"B": 521}.get(said[:1], 554)
    with Sink(engine, None, "--cores", "1") as sink:
        for _ in range(20):
            connection = raw(sink.port, said + b"x" * 30_000)
            try:
                connection.sendall(b"x" * 10_000)
            except OSError:
                pass
            time.sleep(0.01)
            assert codes(everything(connection)) == [220, last]
        sink.stop()


@pytest.mark.usefixtures("both_ways")
def test_a_client_that_talks_early_is_turned_away(engine):
    with Sink(engine, None, "--greet-delay", "1s", "--cores", "1") as sink:
        assert codes(everything(raw(sink.port, b"EHLO early.example.test\r\n"))) == [554]
        started = time.monotonic()
        with Conversation(sink.port) as patient:
            assert time.monotonic() - started >= 1
            patient.say(b"QUIT\r\n", 221)
        report = sink.stop()
    assert report["early_talkers"] == 1
    with Sink(engine, None) as sink:
        answers = codes(everything(raw(sink.port, b"EHLO early.example.test\r\nQUIT\r\n")))
        assert answers == [220, 250, 221]


def test_one_address_has_a_number_of_places(engine):
    with Sink(engine, None, "--max-connections-per-peer", "2", "--cores", "2") as sink:
        with Conversation(sink.port) as first, Conversation(sink.port):
            answer = everything(raw(sink.port))
            assert answer.startswith(b"421 4.7.0 ")
            first.say(b"QUIT\r\n", 221)
            assert first.closed()
            first.__exit__()
            time.sleep(0.3)
            with Conversation(sink.port) as third:
                third.say(b"NOOP\r\n", 250)
        report = sink.stop()
    assert report["peer_limited"] == 1


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BLOCK = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.8") + struct.pack("!HH", 40000, 25)
HEADERS = {
    b"PROXY TCP4 192.0.2.7 192.0.2.8 40000 25\r\n": "192.0.2.7:40000",
    b"PROXY TCP6 2001:db8::7 2001:db8::8 40000 25\r\n": "[2001:db8::7]:40000",
    b"PROXY UNKNOWN\r\n": None,
    SIGNATURE + b"\x21\x11\0\x0c" + BLOCK: "192.0.2.7:40000",
    SIGNATURE + b"\x21\x11\0\x13" + BLOCK + b"\x04\0\x04\0\0\0\0": "192.0.2.7:40000",
    SIGNATURE + b"\x20\0\0\0": None,
}
MESSAGE = ENVELOPE + b"BDAT 2 LAST\r\n\r\nQUIT\r\n"


@pytest.mark.parametrize("header", HEADERS)
def test_a_proxy_names_the_client(engine, header, spool):
    with Sink(engine, spool, "--proxy-protocol", "10.0.0.0/8,127.0.0.0/8") as sink:
        # Whole with the first commands behind it, and octet by octet.
        assert codes(everything(raw(sink.port, header + MESSAGE))) == [220, 250, 250, 250, 250, 221]
        connection = raw(sink.port)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in header:
            connection.sendall(bytes([octet]))
        connection.sendall(MESSAGE)
        assert codes(everything(connection))[-1] == 221
        sink.stop()
    for message in read_spool(spool):
        if HEADERS[header]:
            assert message.meta["peer"] == HEADERS[header]
        else:
            assert message.meta["peer"].startswith("127.0.0.1:")
    verify(spool)


def test_a_proxy_without_a_good_header_is_closed_without_a_word(engine):
    with Sink(engine, None, "--proxy-protocol", "127.0.0.1", "--timeout", "1s") as sink:
        for bad in (b"EHLO x.example\r\n", b"PROXY TCP4 x y 1 2\r\n", SIGNATURE + b"\x21\x11\xff\xff", b"PROXY "):
            connection = raw(sink.port, bad)
            try:
                assert connection.recv(1) == b""
            except ConnectionResetError:
                pass
            connection.close()
        assert sink.stop()["proxy_errors"] == 4


def test_strangers_may_not_name_another_client(engine, spool):
    with Sink(engine, spool, "--proxy-protocol", "192.0.2.0/24", "--xclient", "192.0.2.0/24") as sink:
        lies = b"PROXY TCP4 192.0.2.7 192.0.2.8 40000 25\r\nXCLIENT ADDR=192.0.2.7\r\n"
        answers = codes(everything(raw(sink.port, lies + MESSAGE)))
        assert answers == [220, 500, 550, 250, 250, 250, 250, 221]
        sink.stop()
    assert only_message(spool).meta["peer"].startswith("127.0.0.1:")


def swaks(sink, *options):
    envelope = ["--from", "a@example.test", "--to", "b@example.test", "--ehlo", "client.example.test"]
    run([peer("swaks"), "--silent", "2", "--server", sink.address, *envelope, *options])


@pytest.mark.usefixtures("both_ways")
def test_swaks_names_another_client_with_xclient(engine, spool):
    with Sink(engine, spool, "--xclient", "127.0.0.0/8") as sink:
        attributes = ["--xclient-addr", "192.0.2.7", "--xclient-port", "4711", "--xclient-name", "[UNAVAILABLE]"]
        swaks(sink, *attributes, "--xclient-helo", "relayed.example.test", "--xclient-login", "a+b=c")
        sink.stop()
    meta = only_message(spool).meta
    assert meta["peer"] == "192.0.2.7:4711"
    assert meta["helo"] == "relayed.example.test"
    assert meta["auth"] == "a+b=c"


@pytest.mark.parametrize("version", ["1", "2"])
def test_swaks_names_another_client_with_proxy(engine, spool, version):
    with Sink(engine, spool, "--proxy-protocol", "127.0.0.1") as sink:
        ends = ["--proxy-family", "TCP4" if version == "1" else "AF_INET"]
        ends += ["--proxy-source", "192.0.2.7", "--proxy-source-port", "4711"]
        ends += ["--proxy-dest", "192.0.2.8", "--proxy-dest-port", "25"]
        swaks(sink, "--proxy-version", version, *ends)
        sink.stop()
    assert only_message(spool).meta["peer"] == "192.0.2.7:4711"


@pytest.mark.usefixtures("both_ways")
def test_xclient_starts_the_session_anew(engine):
    with Sink(engine, None, "--xclient", "127.0.0.1") as sink, Conversation(sink.port) as client:
        client.say(b"MAIL FROM:<a@example.test>\r\n", 250)
        client.say(b"XCLIENT ADDR=192.0.2.7\r\n", 503)
        client.say(b"RSET\r\n", 250)
        for bad in (b"", b" ADDR", b" ADDR=x", b" COLOUR=red", b" PORT=65536", b" LOGIN=+0", b" PROTO=LMTP"):
            client.say(b"XCLIENT" + bad + b"\r\n", 501)
        client.say(b"XCLIENT ADDR=IPV6:2001:db8::7 PROTO=ESMTP\r\n", 220)
        client.say(b"MAIL FROM:<a@example.test>\r\n", 503)
        client.say(b"EHLO x.example\r\n", 250)
        client.say(b"MAIL FROM:<a@example.test>\r\n", 250)


def test_lmtp_refuses_the_port_of_smtp(engine, tmp_path):
    listen = ["--listen", "lmtp://127.0.0.1:25", "--discard"]
    done = run([binary("ringpost-sink"), *listen], check=False, cwd=tmp_path)
    assert done.returncode == 64 and "RFC 2033" in done.stderr
