"""Mail that waits is handed on: ETRN and ATRN with other people's clients and servers.

fetchmail is a customer of both (`protocol ETRN`, and `protocol ODMR` for ATRN); smtp-sink, aiosmtpd, a real
Postfix and a second ringpost-sink are the next servers.
"""

import asyncio
import json
import os
import re
import shutil
import smtplib
import ssl
import tempfile
import time
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from harness import (
    BODIES,
    Sink,
    SmtpSink,
    as_text,
    binary,
    blast,
    check_octets,
    free_port,
    peer,
    read_spool,
    run,
    spool_reader,
    verify,
    with_newline,
)
from mta import Postfix, needs_root
from test_load import check_generated
from tls import TlsSink, authority, issue

WAIT_S = 30
TRACE = re.compile(rb"Received: from [^\r\n]+\r\n(?:[\t ][^\r\n]*\r\n)+")
UNREACHABLE = "smtp://127.0.0.1:1"


class Keeper:
    """An aiosmtpd handler that keeps what it is sent."""

    def __init__(self, pause=0, refuse=(), held=False):
        self.taken = []
        self.pause = pause
        self.refuse = refuse
        self.held = held

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refuse:
            return "550 5.1.1 No such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope):
        await asyncio.sleep(self.pause)
        while self.held:
            await asyncio.sleep(0.02)
        self.taken.append((list(envelope.rcpt_tos), envelope.original_content))
        return "250 2.0.0 Ok"


class Listening:
    """aiosmtpd with a handler, on a port of its own."""

    def __init__(self, handler, **options):
        options = {"hostname": "127.0.0.1", "port": free_port(), "data_size_limit": 1 << 26} | options
        self.controller = Controller(handler, **options)

    def __enter__(self):
        self.controller.start()
        return f"smtp://127.0.0.1:{self.controller.port}"

    def __exit__(self, *_):
        self.controller.stop()


class Dumps:
    """smtp-sink with a file for each message, in a folder that its unprivileged user may write to."""

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="ringpost-dumps-"))
        self.directory.chmod(0o777)
        self.sink = SmtpSink("-d", f"{self.directory}/m.")
        return self

    def __exit__(self, *_):
        self.sink.__exit__()
        shutil.rmtree(self.directory)

    def messages(self, count):
        """{recipients: content} once there are so many; smtp-sink turns CRLF into LF."""
        until(lambda: self.sink.messages() >= count, f"{count} messages")
        self.sink.terminate()
        self.sink.wait()
        found = {}
        for file in self.directory.iterdir():
            head, _, content = file.read_bytes().partition(b"\nReceived: ")
            recipients = re.findall(rb"^X-Rcpt-Args: <(.*)>$", head, re.MULTILINE)
            # Its own trace field comes first, ours behind it.
            content = content.partition(b"\nReceived: ")[2]
            content = re.sub(rb"\A[^\n]*\n(?:[\t ][^\n]*\n)*", b"", content)
            found[tuple(as_text(recipients))] = content
        assert len(found) == count, found.keys()
        return found


def until(holds, what):
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.02)


def send(sink, recipients, body, **options):
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=WAIT_S) as client:
        client.sendmail("me@z.example", recipients, body, **options)


def etrn(sink, node):
    """The reply to ETRN, from the standard library's client."""
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=WAIT_S) as client:
        client.ehlo()
        assert client.has_extn("ETRN")
        code, text = client.docmd("ETRN", node)
        return code, text.decode()


def ended(sink):
    """Deliveries that are over; each leaves a line."""
    return len(re.findall(r"^ringpost-sink: (?:ETRN|ATRN) .* recipients? delivered", sink.stderr, re.MULTILINE))


def settled(spool):
    """{recipient: fates} of all messages, by the independent reader."""
    told, found = spool_reader.deliveries(str(spool)), {}
    for message in read_spool(spool):
        for number, (path, _) in enumerate(message.meta["recipients"]):
            outcome = told.get((message.id, message.meta["sealed_ns"], number))
            if outcome:
                found.setdefault(path, []).append(outcome[:2])
    return found


def without_trace(content):
    trace = TRACE.match(content)
    assert trace, content[:200]
    return content[trace.end() :]


def fetchmail(tmp_path, protocol, sink, domains, onward=None):
    """fetchmail to its end, and what it said."""
    rc = tmp_path / "fetchmailrc"
    smtphost = f'smtphost "127.0.0.1/{onward}"' if onward else ""
    rc.write_text(
        f'poll 127.0.0.1 protocol {protocol} port {sink.port} timeout {WAIT_S}\n'
        f'  user "ada" password "secret" fetchdomains {domains} sslproto "" {smtphost}\n'
    )
    rc.chmod(0o600)
    environment = {**os.environ, "HOME": str(tmp_path), "LC_ALL": "C"}
    pid = tmp_path / "fetchmail.pid"
    command = [peer("fetchmail"), "-f", rc, "--nodetach", "-v", "--pidfile", pid]
    return run(command, check=False, env=environment, timeout=60)


def test_smtp_sink_gets_exactly_the_mail_of_the_domain(engine, spool):
    with Dumps() as dumps:
        with Sink(engine, spool, "--etrn", f"a.example=smtp://{dumps.sink.address}") as sink:
            send(sink, ["x@a.example", "y@b.example"], b"Subject: 1\r\n\r\n.one\r\n")
            send(sink, ["y@b.example", "z@sub.a.example"], b"Subject: 2\r\n\r\ntwo\r\n")
            send(sink, ["v@a.example", "w@A.EXAMPLE"], b"Subject: 3\r\n\r\nthree\r\n")
            assert etrn(sink, "a.example") == (253, "2.0.0 OK, 2 pending messages for node a.example started")
            found = dumps.messages(2)
            until(lambda: ended(sink) == 1, "the end of the delivery")
            assert etrn(sink, "a.example")[0] == 251
            assert etrn(sink, "b.example")[0] == 459
            assert etrn(sink, "nonsense")[0] == 501
            report = sink.stop()
    assert found == {
        ("x@a.example",): b"Subject: 1\n\n.one\n\n",
        ("v@a.example", "w@A.EXAMPLE"): b"Subject: 3\n\nthree\n\n",
    }
    assert settled(spool) == {who: [("delivered", 250)] for who in ("x@a.example", "v@a.example", "w@A.EXAMPLE")}
    relay = report["relay"]
    assert (relay["runs"], relay["messages"], relay["delivered"], relay["left"]) == (1, 2, 3, 0)
    verify(spool)


def test_aiosmtpd_gets_every_octet(engine, spool):
    keeper = Keeper(refuse=("gone@a.example",))
    # aiosmtpd takes no line of more than 1,000 octets (RFC 5321 §4.5.3.1.6).
    bodies = {name: body for name, body in BODIES.items() if name != "line of 1 MiB"}
    with Listening(keeper) as target, Sink(engine, spool, "--etrn", f"@a.example={target}") as sink:
        for name, body in bodies.items():
            options = ["BODY=8BITMIME"] if any(octet > 127 for octet in body) else []
            who = name.replace(" ", ".")
            send(sink, [f"{who}@mx.a.example", "gone@a.example"], body, mail_options=options)
        assert etrn(sink, "@a.example")[0] == 253
        until(lambda: len(keeper.taken) == len(bodies), "all bodies")
        until(lambda: len(settled(spool)) == len(bodies) + 1, "the marks")
        sink.stop()
    for recipients, content in keeper.taken:
        (who,) = recipients
        body = bodies[who.partition("@")[0].replace(".", " ")]
        check_octets(without_trace(content), with_newline(body), who)
    assert settled(spool)["gone@a.example"] == [("refused", 550)] * len(bodies)


@needs_root
def test_a_real_postfix_takes_what_waits_in_chunks(engine, spool):
    with Postfix() as postfix, Sink(engine, spool, "--etrn", f"a.example=smtp://{postfix.address}") as sink:
        blast(sink.address, "-n", "500", "-c", "4", "--size", "200..4000", "--to", "x@a.example")
        assert etrn(sink, "a.example")[0] == 253
        assert postfix.deliveries(500) == 500
        until(lambda: len(spool_reader.deliveries(str(spool))) == 500, "the marks")
        report = sink.stop()
    assert (report["relay"]["delivered"], report["relay"]["left"]) == (500, 0)


@pytest.mark.parametrize("durability", ["process", "sync"])
@pytest.mark.parametrize("listen", ["smtp://127.0.0.1:0", "lmtp+unix:{}/lmtp"], ids=["smtp", "lmtp-unix"])
def test_a_second_sink_gets_each_message_once(engine, listen, durability, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with Sink(engine, second, listen=listen.format(tmp_path)) as target:
        route = f"a.example={target.listening}"
        with Sink(engine, first, "--etrn", route, "--durability", durability) as sink:
            blast(sink.address, "-n", "1000", "-c", "8", "--size", "200..4000", "--to", "x@a.example")
            assert etrn(sink, "a.example")[0] == 253
            until(lambda: ended(sink) == 1, "the end of the delivery")
            assert etrn(sink, "a.example")[0] == 251
            sink.stop()
        report = target.stop()
    # Size and checksum in each message are those of its body: no octet of it changed.
    assert report["messages"] == 1000 and check_generated(second, 1000)


def test_fetchmail_starts_a_delivery_with_etrn(engine, spool, tmp_path):
    keeper = Keeper()
    with Listening(keeper) as target, Sink(engine, spool, "--etrn", f"a.example={target}") as sink:
        send(sink, ["x@a.example"], b"Subject: 1\r\n\r\none\r\n")
        done = fetchmail(tmp_path, "ETRN", sink, "a.example")
        assert "ETRN> ETRN a.example" in done.stdout + done.stderr, done
        until(lambda: len(keeper.taken) == 1, "the message")
        until(lambda: len(settled(spool)) == 1, "the mark")
        done = fetchmail(tmp_path, "ETRN", sink, "b.example")
        assert "459" in done.stdout + done.stderr
        sink.stop()
    assert keeper.taken[0][0] == ["x@a.example"]


def test_fetchmail_is_sent_its_mail_by_atrn(engine, spool, tmp_path):
    accounts = tmp_path / "accounts"
    accounts.write_text("ada:secret\ntim:other\n")
    accounts.chmod(0o600)
    options = ["--auth", accounts, "--atrn", "ada=a.example,@b.example", "--atrn", "tim=c.example"]
    with Dumps() as dumps, Sink(engine, spool, *options) as sink:
        send(sink, ["x@a.example", "q@c.example"], b"Subject: 1\r\n\r\n.one\r\n")
        send(sink, ["y@mx.b.example"], b"Subject: 2\r\n\r\ntwo\r\n")
        send(sink, ["q@c.example"], b"Subject: 3\r\n\r\nthree\r\n")
        # Not hers: all or nothing.
        done = fetchmail(tmp_path, "ODMR", sink, "a.example,c.example", dumps.sink.port)
        assert done.returncode not in (0, 1) and "ATRN request refused" in done.stdout + done.stderr, done
        assert settled(spool) == {}
        done = fetchmail(tmp_path, "ODMR", sink, "a.example,mx.b.example", dumps.sink.port)
        assert done.returncode == 0, done
        assert set(settled(spool)) == {"x@a.example", "y@mx.b.example"}
        done = fetchmail(tmp_path, "ODMR", sink, "a.example,mx.b.example", dumps.sink.port)
        assert "You have no mail" in done.stderr, done
        found = dumps.messages(2)
        sink.stop()
    assert found == {
        ("x@a.example",): b"Subject: 1\n\n.one\n\n",
        ("y@mx.b.example",): b"Subject: 2\n\ntwo\n\n",
    }


def test_a_customer_in_python_serves_the_connection_that_turned(engine, spool):
    keeper = Keeper()
    with Sink(engine, spool, "--auth", "any", "--atrn", "ada=a.example", "--allow-any-atrn") as sink:
        for number in range(20):
            send(sink, ["x@a.example"], b"Subject: %d\r\n\r\n.\r\n" % number)
        client = smtplib.SMTP("127.0.0.1", sink.port, timeout=WAIT_S)
        client.login("ada", "secret")
        code, text = client.docmd("ATRN", "a.example")
        assert code == 250, text
        asyncio.run(serve(client.sock, keeper))
        client.close()
        assert settled(spool) == {"x@a.example": [("delivered", 250)] * 20}
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=WAIT_S) as client:
            client.ehlo()
            assert client.has_extn("ATRN")
            assert client.docmd("ATRN")[0] == 530
        report = sink.stop()
    assert report["relay"]["delivered"] == 20
    bodies = {without_trace(content) for _, content in keeper.taken}
    assert bodies == {b"Subject: %d\r\n\r\n.\r\n" % number for number in range(20)}


async def serve(sock, handler):
    """aiosmtpd's protocol on a connection that is there already, until the other end closes it."""
    over = asyncio.Event()

    class Customer(SMTP):
        def connection_lost(self, error):
            super().connection_lost(error)
            over.set()

    sock.setblocking(False)
    make = lambda: Customer(handler, hostname="customer.example")  # noqa: E731
    await asyncio.get_running_loop().connect_accepted_socket(make, sock)
    await asyncio.wait_for(over.wait(), WAIT_S)


@pytest.mark.parametrize("way", ["starttls", "implicit"])
def test_aiosmtpd_gets_mail_under_tls_once_it_is_trusted(engine, way, spool, tmp_path):
    signer, other = authority(tmp_path, "signer"), authority(tmp_path, "other")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*issue(tmp_path, "next.example.test", signer))
    tls = {"tls_context": context, "require_starttls": True} if way == "starttls" else {"ssl_context": context}
    keeper = Keeper()
    named = ["--relay-tls-servername", "next.example.test"]
    with Listening(keeper, **tls) as target:
        route = ["--etrn", f"a.example={target}", "--relay-tls", way]
        for options, why in [
            ([*named, "--relay-tls-ca", other[2]], "not to be trusted"),
            (["--relay-tls-ca", signer[2]], "not to be trusted"),
            ([*named, "--relay-tls-ca", signer[2]], None),
        ]:
            with Sink(engine, spool, *route, *options) as sink:
                if not read_spool(spool):
                    send(sink, ["x@a.example"], b"Subject: 1\r\n\r\n.one\r\n")
                assert etrn(sink, "a.example")[0] == 253
                until(lambda: ended(sink) == 1, "the end of the delivery")
                sink.stop()
                told = next(line for line in sink.stderr.splitlines() if "ETRN a.example to" in line)
            if why:
                assert why in told and "1 left" in told, told
                assert keeper.taken == [] and settled(spool) == {}
    ((recipients, content),) = keeper.taken
    assert recipients == ["x@a.example"] and without_trace(content) == b"Subject: 1\r\n\r\n.one\r\n"
    assert settled(spool) == {"x@a.example": [("delivered", 250)]}


def serve_simply(sock, taken):
    """A server in a few lines, on a connection of any kind, until QUIT; `taken` gets what it is sent."""
    stream = sock.makefile("rwb", buffering=0)
    lines = sock.makefile("rb")
    stream.write(b"220 customer.example\r\n")
    while line := lines.readline():
        if line == b"DATA\r\n":
            stream.write(b"354 Go on\r\n")
            taken.append(b"".join(iter(lines.readline, b".\r\n")))
        stream.write(b"221 Bye\r\n" if line == b"QUIT\r\n" else b"250 Ok\r\n")


def test_a_customer_under_tls_is_sent_its_mail_on_the_same_connection(engine, spool, tmp_path):
    with TlsSink(engine, spool, tmp_path, "--auth", "any", "--atrn", "ada=a.example", "--allow-any-atrn") as sink:
        for number in range(20):
            send(sink, ["x@a.example"], b"Subject: %d\r\n\r\nx\r\n" % number)
        context = ssl.create_default_context(cafile=sink.ca)
        client = smtplib.SMTP_SSL("localhost", sink.ports["implicit"], timeout=WAIT_S, context=context)
        client.login("ada", "secret")
        code, text = client.docmd("ATRN", "a.example")
        assert code == 250, text
        taken = []
        # An end without close_notify would be an error.
        client.sock.suppress_ragged_eofs = False
        serve_simply(client.sock, taken)
        client.close()
        assert settled(spool) == {"x@a.example": [("delivered", 250)] * 20}
        sink.stop()
    assert [without_trace(content) for content in taken] == [b"Subject: %d\r\n\r\nx\r\n" % n for n in range(20)]


def test_a_server_that_is_down_costs_a_line_and_no_message(engine, spool):
    with Sink(engine, spool, "--etrn", f"a.example={UNREACHABLE}") as sink:
        for _ in range(3):
            send(sink, ["x@a.example"], b"Subject: 1\r\n\r\none\r\n")
        for attempt in range(2):
            assert etrn(sink, "a.example")[1].startswith("2.0.0 OK, 3 pending")
            until(lambda: ended(sink) == attempt + 1, "the line")
        report = sink.stop()
        lines = [line for line in sink.stderr.splitlines() if "ETRN a.example to" in line]
    assert len(lines) == 2 and "no connection" in lines[0] and "3 left" in lines[0], lines
    relay = report["relay"]
    assert (relay["runs"], relay["messages"], relay["left"]) == (2, 0, 6)
    assert settled(spool) == {} and len(read_spool(spool)) == 3
    with Listening(keeper := Keeper()) as target, Sink(engine, spool, "--etrn", f"a.example={target}") as sink:
        etrn(sink, "a.example")
        until(lambda: len(keeper.taken) == 3, "what waited")
        sink.stop()


def test_kill_9_costs_no_message_and_one_twice_at_most(engine, spool):
    """Marks outlive the sink; what it had sent and not marked when it died is sent again."""
    count, kills = 60, 3
    keeper = Keeper(pause=0.01)
    with Listening(keeper) as target:
        options = ["--etrn", f"a.example={target}"]
        for life in range(kills + 1):
            with Sink(engine, spool, *options) as sink:
                if life == 0:
                    for number in range(count):
                        send(sink, ["x@a.example"], b"Subject: %d\r\n\r\nx\r\n" % number)
                before = len(keeper.taken)
                assert etrn(sink, "a.example")[0] == 253
                if life < kills:
                    until(lambda: len(keeper.taken) >= before + 10, "ten messages")
                    sink.kill()
                    continue
                until(lambda: len(settled(spool).get("x@a.example", [])) == count, "all marks")
                sink.stop()
    subjects = [re.search(rb"Subject: (\d+)", content)[1] for _, content in keeper.taken]
    assert set(subjects) == {b"%d" % number for number in range(count)}
    assert len(subjects) <= count + kills, "more than one message twice for a kill"
    verify(spool)


def test_a_sink_that_ends_finishes_the_open_message_and_says_quit(engine, spool):
    keeper = Keeper(pause=0.3)
    with Listening(keeper) as target, Sink(engine, spool, "--etrn", f"a.example={target}") as sink:
        for number in range(10):
            send(sink, ["x@a.example"], b"Subject: %d\r\n\r\nx\r\n" % number)
        etrn(sink, "a.example")
        until(lambda: len(keeper.taken) == 1, "the first message")
        report = sink.stop()
    delivered = report["relay"]["delivered"]
    assert 1 <= delivered < 10 and report["relay"]["left"] == 10 - delivered
    # What it took is marked, and what is marked it took.
    assert delivered == len(keeper.taken) == len(settled(spool)["x@a.example"])


def test_other_sessions_do_not_wait_for_a_delivery(engine, spool):
    keeper = Keeper(held=True)
    with Listening(keeper) as target, Sink(engine, spool, "--cores", "1", "--etrn", f"a.example={target}") as sink:
        send(sink, ["x@a.example"], b"Subject: 1\r\n\r\nx\r\n")
        etrn(sink, "a.example")
        report = blast(sink.address, "-n", "500", "-c", "4", "--to", "y@b.example")
        assert report["messages_ok"] == 500
        assert etrn(sink, "a.example")[0] == 252
        assert not keeper.taken
        keeper.held = False
        until(lambda: len(keeper.taken) == 1, "the message")
        sink.stop()


def test_ls_tells_what_waits(engine, spool):
    keeper = Keeper(refuse=("gone@a.example",))
    with Listening(keeper) as target, Sink(engine, spool, "--etrn", f"a.example={target}") as sink:
        send(sink, ["x@a.example", "y@b.example", "gone@a.example"], b"Subject: 1\r\n\r\nx\r\n")
        send(sink, ["x@a.example"], b"Subject: 2\r\n\r\nx\r\n")
        etrn(sink, "a.example")
        until(lambda: len(settled(spool)) == 2, "the marks")
        until(lambda: len(settled(spool)["x@a.example"]) == 2, "the marks")
        sink.stop()
    waits = run([binary("ringpost"), "spool", "ls", spool, "--undelivered"]).stdout.splitlines()
    assert len(waits) == 2 and " settled-2/3 " in waits[1], waits
    everything = run([binary("ringpost"), "spool", "ls", spool]).stdout.splitlines()
    assert len(everything) == 3 and sum(" settled-1/1 " in line for line in everything) == 1
    rows = run([binary("ringpost"), "spool", "ls", spool, "--json", "--undelivered"]).stdout.splitlines()
    told = {to["path"]: to.get("delivery") for to in json.loads(rows[0])["to"]}
    assert told["y@b.example"] is None
    assert (told["x@a.example"]["fate"], told["x@a.example"]["code"]) == ("delivered", 250)
    assert (told["gone@a.example"]["fate"], told["gone@a.example"]["code"]) == ("refused", 550)
