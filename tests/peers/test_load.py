"""Numbers agree: what the generators say they sent, what the sink says it took, what the spool holds,
and what other people's servers count."""

import re

import pytest
from aiosmtpd.controller import Controller
from crc32c import crc32c
from harness import (
    Sink,
    SmtpSink,
    blast,
    free_port,
    peer,
    read_spool,
    run,
    spool_reader,
    verify,
)
from mta import Postfix, needs_root

pytestmark = pytest.mark.alone
SOURCE_MESSAGES = 20_000
LARGE_RUN = 200_000
STAMP = re.compile(
    rb"^X-Ringpost: v2 run=([0-9a-f]{16}) shard=(\d+) core=(\d+) conn=\d+ seq=(\d+) due=\d+ size=(\d+) crc=([0-9a-f]{8}) hcrc=[0-9a-f]{8}\r\n",
    re.MULTILINE,
)
SHAPES = {
    "unpipelined": ["--pipelining", "none"],
    "commands": ["--pipelining", "commands"],
    "full": ["--pipelining", "full"],
}
CHUNKED = ["--pipelining", "full", "--chunking", "--depth", "32"]


@pytest.mark.parametrize("reuse", [["-d"], []], ids=["reusing-connections", "a-connection-each"])
def test_smtp_source_and_the_spool_agree_on_twenty_thousand(engine, reuse, spool):
    shape = ["-s", "64", "-m", SOURCE_MESSAGES, "-l", "1024", "-f", "a@example.test", "-t", "b@example.test"]
    with Sink(engine, spool) as sink:
        run([peer("smtp-source"), *reuse, *shape, "-M", "client.example.test", sink.address])
        report = sink.stop()
    assert report["messages"] == SOURCE_MESSAGES
    assert report["connections"] == 64 if reuse else report["connections"] >= SOURCE_MESSAGES
    identities, octets = set(), 0
    for message in read_spool(spool):
        head, _, body = message.body.partition(b"\r\n\r\n")
        # `-l` counts the body alone, without its last CRLF: numbered lines of X.
        assert len(body) == 1026 and not body.strip(b"0123456789X\r\n")
        identities.add(re.search(rb"^Message-Id: (.*)\r$", head + b"\r\n", re.MULTILINE | re.IGNORECASE)[1])
        octets += len(message.body)
    assert len(identities) == SOURCE_MESSAGES
    assert octets == report["bytes"]
    verify(spool)


def check_generated(spool, expected):
    """Every generated message once, with the size and checksum that its own header names."""
    identities, count, octets = set(), 0, 0
    for _, _, body in spool_reader.messages(str(spool)):
        body = bytes(body)
        stamp = STAMP.search(body)
        run_id, shard, core, sequence, size, checksum = stamp.groups()
        identities.add((run_id, shard, core, sequence))
        _, _, payload = body.partition(b"\r\n\r\n")
        assert crc32c(payload) == int(checksum, 16), f"checksum of message {sequence}"
        assert int(size) == len(payload), f"size of message {sequence}"
        count += 1
        octets += len(body)
    assert (count, len(identities)) == (expected, expected)
    return octets


def test_two_hundred_thousand_generated_messages_are_all_in_the_spool(engine, spool):
    with Sink(engine, spool) as sink:
        sent = blast(sink.address, "-n", LARGE_RUN, "-c", "64", "--size", "1024", *CHUNKED)
        report = sink.stop()
    assert (sent["messages_ok"], sent["messages_failed"]) == (LARGE_RUN, 0)
    assert report["messages"] == LARGE_RUN
    assert check_generated(spool, LARGE_RUN) == report["bytes"]
    assert re.search(rf"\b{LARGE_RUN}\b", verify(spool).replace(",", ""))


@pytest.mark.parametrize("shape", SHAPES)
def test_generator_and_sink_agree_in_every_shape(engine, shape, spool):
    with Sink(engine, spool) as sink:
        sent = blast(sink.address, "-n", "20000", "-c", "32", "--size", "200..4000", *SHAPES[shape])
        report = sink.stop()
    assert (sent["messages_ok"], sent["messages_failed"]) == (20_000, 0)
    assert check_generated(spool, 20_000) == report["bytes"]


@pytest.mark.parametrize("shape", SHAPES)
def test_generator_and_smtp_sink_count_the_same(engine, shape):
    with SmtpSink() as sink:
        sent = blast(sink.address, "-n", "20000", "-c", "32", "--size", "1024", "--io", engine, *SHAPES[shape])
        sink.terminate()
        sink.wait()
        assert (sent["messages_ok"], sent["messages_failed"]) == (20_000, 0)
        assert sink.messages() == 20_000


@needs_root
@pytest.mark.parametrize("shape", [*SHAPES.values(), CHUNKED], ids=[*SHAPES, "chunked"])
def test_generator_and_a_real_postfix_count_the_same(shape):
    with Postfix() as postfix:
        sent = blast(postfix.address, "-n", "1000", "-c", "16", "--size", "1024", *shape)
        assert (sent["messages_ok"], sent["messages_failed"]) == (1000, 0)
        assert postfix.deliveries(1000) == 1000


@pytest.mark.parametrize("client", ["smtp-source", "ringpost-blast"])
def test_nothing_changes_for_a_client_when_each_250_is_synced(engine, client, spool):
    with Sink(engine, spool, "--durability", "sync") as sink:
        if client == "smtp-source":
            shape = ["-d", "-s", "32", "-m", 2000, "-l", "1024", "-f", "a@example.test", "-t", "b@example.test"]
            run([peer("smtp-source"), *shape, sink.address])
        else:
            sent = blast(sink.address, "-n", "2000", "-c", "32", "--io", engine, *CHUNKED)
            assert (sent["messages_ok"], sent["messages_failed"]) == (2000, 0)
        report = sink.stop()
    assert report["durability"] == "sync"
    assert "durability sync" in sink.stderr
    assert report["messages"] == len(read_spool(spool)) == 2000
    verify(spool)


class Counting:
    messages = 0
    octets = 0

    async def handle_DATA(self, server, session, envelope):
        self.messages += 1
        self.octets += len(envelope.original_content)
        return "250 2.0.0 Ok"


def test_generator_and_aiosmtpd_count_the_same():
    handler = Counting()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        sent = blast(f"127.0.0.1:{controller.port}", "-n", "2000", "-c", "8", "--size", "1024")
    finally:
        controller.stop()
    assert (sent["messages_ok"], sent["messages_failed"]) == (2000, 0)
    assert handler.messages == 2000
