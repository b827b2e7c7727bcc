"""Other people's mail servers deliver a thousand messages into the sink, and each is there unharmed."""

import random
import re
import smtplib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Sink, check_octets, read_spool, verify
from mta import Exim, OpenSmtpd, Postfix, needs_root

MESSAGES = 1000
CLIENTS = 4
# OpenSMTPD takes a hundred on one connection, and sends a hundred. It waits for five seconds before it
# opens the next one to the same address, so that it gets an address for each domain.
PER_CONNECTION = 50
DOMAINS = [f"{way}{i}.test" for way in ("data", "bdat") for i in range(6)]
ADDRESSES = [f"127.0.0.{i}" for i in range(1, len(DOMAINS) + 1)]
SENDER = "a@sender.test"
NUMBER = re.compile(rb"^Subject: number (\d+)\r\n", re.MULTILINE)
# Header fields that say which way a message came, and nothing else before the first that was sent.
TRACE = re.compile(rb"(?:(?:Received|Delivered-To|Return-Path): [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+\Z")
# Lines that break mail software.
LINES = [
    b"",
    b".",
    b"..",
    b"...",
    b".dot",
    b"dot.",
    b". ",
    b" .",
    b"From here to there",
    b"\t",
    b"x" * 998,
    b"." * 998,
    b"y" * 5000,
    "Zürich, 東京, Ελλάδα".encode(),
    bytes(range(0xA0, 0x100)),
]
# Octets of text, most messages small, as mail is.
SIZES = [0, 10, 200, 1000, 1000, 1000, 3000, 3000, 8000, 20_000, 100_000]


class Sent:
    """One of the thousand: whom it went to, and its octets."""

    def __init__(self, number):
        rng = random.Random(number)
        # One domain, so that a server which sorts by domain has no reason to split it.
        domain = DOMAINS[number % len(DOMAINS)]
        self.number = number
        self.recipients = [f"b{i}@{domain}" for i in range(rng.choice([1, 1, 1, 2, 5, 20]))]
        head = f"From: {SENDER}\r\nTo: {self.recipients[0]}\r\nSubject: number {number}\r\n"
        head += f"Date: Mon, 4 May 2026 12:30:00 +0000\r\nMessage-ID: <{number}@sender.test>\r\n"
        self.octets = head.encode() + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        self.octets += b"Content-Transfer-Encoding: 8bit\r\n\r\n"
        size = len(self.octets) + rng.choice(SIZES)
        while len(self.octets) < size:
            line = rng.choice(LINES) if rng.random() < 0.4 else rng.randbytes(rng.randrange(40)).hex().encode()
            self.octets += line + b"\r\n"


def inject(server, messages):
    def send(share):
        with smtplib.SMTP("127.0.0.1", server.port, timeout=60) as client:
            for message in share:
                client.sendmail(SENDER, message.recipients, message.octets, mail_options=["BODY=8BITMIME"])

    shares = [messages[i : i + PER_CONNECTION] for i in range(0, len(messages), PER_CONNECTION)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(send, shares))


def check_arrived(messages, found):
    """Every message went to every recipient once, with trace fields in front and no other change."""
    arrived = Counter()
    for one in found:
        number = int(NUMBER.search(one.body)[1])
        sent = messages[number]
        trace = len(one.body) - len(sent.octets)
        check_octets(one.body[trace:], sent.octets, f"message {number}")
        assert TRACE.match(one.body[:trace]), f"message {number} begins with {one.body[:trace]!r}"
        assert one.meta["reverse_path"] == SENDER
        arrived.update((number, path) for path, _ in one.meta["recipients"])
    assert arrived == Counter((sent.number, path) for sent in messages for path in sent.recipients)


# Scheme and addresses that the sink listens on, and the server that delivers there.
SERVERS = {
    "exim": ("smtp", ADDRESSES[:1], lambda to: Exim(*to)),
    "opensmtpd": ("smtp", ADDRESSES, lambda to: OpenSmtpd(dict(zip(DOMAINS, to)))),
    "postfix-smtp": ("smtp", ADDRESSES[:1], lambda to: Postfix("smtp:[{}]:{}".format(*to[0].split(":")))),
    "postfix-lmtp": ("lmtp", ADDRESSES[:1], lambda to: Postfix(f"lmtp:inet:{to[0]}")),
}


@needs_root
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_delivers_a_thousand_messages_unharmed(engine, name, spool):
    scheme, addresses, server = SERVERS[name]
    messages = [Sent(number) for number in range(MESSAGES)]
    first, *others = [f"{scheme}://{address}:0" for address in addresses]
    others = [word for url in others for word in ("--listen", url)]
    with Sink(engine, spool, *others, listen=first) as sink:
        with server(sink.addresses(len(addresses))) as mta:
            inject(mta, messages)
            mta.wait_until_empty()
            log = mta.log()
        report = sink.stop()
    found = read_spool(spool)
    check_arrived(messages, found)
    assert report["messages"] == len(found)
    # What the server wrote down as its receipt is where the message is.
    assert {one.id for one in found} == set(re.findall(r"queued as (\d+-\d+-\d+)", log))
    verify(spool)
