"""`--keep`: what the spool keeps of a message is chosen by the domains of its recipients."""

import smtplib
import subprocess

import pytest
from harness import BODIES, HEAD, Sink, binary, check_octets, read_spool, run

RULES = ("--keep", "load.test=none", "--keep", "read.test=headers", "--keep", "*=all")
HEADER_DOMAIN, NO_DOMAIN, ALL_DOMAIN = "x@Read.Test", "x@load.test", "x@elsewhere.test"


def send(client, to, body):
    """The queue id that the sink gave."""
    client.mail("a@example.test", ["BODY=8BITMIME"])
    for one in to:
        client.rcpt(one)
    code, text = client.data(body)
    assert code == 250, text
    return text.decode().rpartition(" ")[2]


@pytest.mark.parametrize("durability", ["process", "sync"])
def test_each_domain_gets_what_its_rule_says_and_the_most_generous_wins(engine, durability, spool):
    bodies = [body for name, body in BODIES.items() if name != "20 MiB"] + [HEAD + b"z" * 300_000 + b"\r\n"]
    bodies = [body if body.endswith(b"\r\n") else body + b"\r\n" for body in bodies]
    expected = {}
    with Sink(engine, spool, *RULES, "--cores", "1", "--durability", durability) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=30) as client:
            client.ehlo()
            for body in bodies:
                head, empty, _ = body.partition(b"\r\n\r\n")
                if body.startswith(b"\r\n"):
                    head, empty = b"", b"\r\n"
                cut = head + empty
                assert send(client, [NO_DOMAIN], body) == "discarded"
                expected[send(client, [NO_DOMAIN, HEADER_DOMAIN], body)] = (cut, len(body))
                expected[send(client, [HEADER_DOMAIN, ALL_DOMAIN, NO_DOMAIN], body)] = (body, len(body))
        report = sink.stop()
    assert report["messages"] == 3 * len(bodies)
    assert report["headers_only"] == report["forgotten"] == len(bodies)
    assert report["bytes"] == 3 * sum(map(len, bodies))
    found = {message.id: message for message in read_spool(spool)}
    assert found.keys() == expected.keys()
    for name, (body, sent) in expected.items():
        message = found[name]
        check_octets(message.body, body, name)
        left_out = len(body) < sent
        assert ("headers-only" in message.meta["flags"]) == left_out
        assert message.meta.get("sent_bytes", len(message.body)) == sent
        cat = [binary("ringpost"), "spool", "cat", spool, name]
        check_octets(subprocess.run(cat, capture_output=True, timeout=30, check=True).stdout, body, name)


def test_a_rule_that_cannot_be_read_is_refused(spool):
    for rule in ("load.test", "load.test=some", "=all", "a@load.test=all"):
        done = run([binary("ringpost-sink"), "--spool", spool, "--keep", rule], check=False)
        assert done.returncode == 64 and "write DOMAIN=all" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
