"""TLS under strangers, signals and kill -9: what is half is bounded and ends, and what is whole goes on."""

import os
import random
import resource
import select
import signal
import socket
import ssl
import time

import pytest
from harness import Child, Sink, binary, examine, verify
from ledger import WRONGS, Ledger, join, start_clients, told
from test_abuse import codes, rss_kib
from tls import HOSTNAME, TlsSink, authority, issue, port_of

HALVES = int(os.environ.get("RINGPOST_HALF_HANDSHAKES", "2000"))
KILLS = int(os.environ.get("RINGPOST_TLS_KILLS", "8"))
SEED = int(os.environ.get("RINGPOST_SEED", "1"))
# What a core keeps of all records that are cut, and the steps of its allocator.
CORE_KIB = 16 * 1024 + 2 * 2048
# What each costs besides: TLS itself, its session and its small buffers.
HALF_KIB = 17


def context(ca):
    made = ssl.create_default_context(cafile=ca)
    made.check_hostname = False
    return made


def client_hello(tls):
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        tls.wrap_bio(theirs, ours, server_hostname="localhost").do_handshake()
    return ours.read()


class Session:
    """A client under TLS that says one line at a time."""

    def __init__(self, port, tls):
        self.socket = tls.wrap_socket(socket.create_connection(("127.0.0.1", port), 60))
        self.replies = self.socket.makefile("rb")
        assert self.replies.readline().startswith(b"220 ")

    def say(self, line):
        self.socket.sendall(line)
        return self.replies.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.replies.close()
        self.socket.close()


def wait_for_ends(connections, timeout):
    """Waits until the sink has closed all of them; how many it did not."""
    poll = select.poll()
    waiting = {connection.fileno(): connection for connection in connections}
    for number in waiting:
        poll.register(number, select.POLLIN)
    deadline = time.monotonic() + timeout
    while waiting and time.monotonic() < deadline:
        for number, _ in poll.poll(500):
            try:
                ended = not waiting[number].recv(65536)
            except ConnectionError:
                ended = True
            if ended:
                poll.unregister(number)
                del waiting[number]
    return len(waiting)


def test_half_handshakes_are_bounded_and_end_while_sessions_go_on(engine, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, HALVES + 500)), hard))
    with TlsSink(engine, None, tmp_path, "--cores", "1") as sink:
        tls, port = context(sink.ca), sink.ports["implicit"]
        # The hello of somebody who says no more, and a long one, each octet in a record of its own.
        long = b"\x01\x00\x40\x00" + b"\x00" * 5_000
        hello, long = client_hello(tls), b"".join(b"\x16\x03\x01\x00\x01%c" % octet for octet in long)
        with Session(port, tls) as kept:
            assert kept.say(b"NOOP\r\n").startswith(b"250 ")
            before = rss_kib(sink)
            halves = []
            for number in range(HALVES):
                halves.append(socket.create_connection(("127.0.0.1", port), 60))
                try:
                    halves[-1].sendall(long if number % 10 else hello)
                except ConnectionError:
                    # There was no room for it.
                    pass
                if number % 100 == 0:
                    assert kept.say(b"NOOP\r\n").startswith(b"250 ")
            assert kept.say(b"NOOP\r\n").startswith(b"250 ")
            grown = rss_kib(sink) - before
            # The clients do nothing more: the sink ends each of them.
            assert wait_for_ends(halves, 120) == 0
            assert kept.say(b"RSET\r\n").startswith(b"250 ")
            with Session(port, tls) as later:
                assert later.say(b"NOOP\r\n").startswith(b"250 ")
        for half in halves:
            half.close()
        report = sink.stop()
    assert (report["tls_failed"], report["tls_sessions"]) == (HALVES, 2), report
    # The oldest make room for those that come, and keep nothing while they linger.
    faults = report["tls_faults"]
    assert set(faults) <= {"timeout", "no_room"} and faults["timeout"] >= HALVES // 10, faults
    assert grown <= HALVES * HALF_KIB + CORE_KIB, f"{grown} KiB for {HALVES}"
    print(f"{grown} KiB for {HALVES} half handshakes: {faults}")


def test_certificates_change_under_load_and_no_handshake_fails(engine, tmp_path):
    signer = authority(tmp_path, "signer")
    files = [tmp_path / "current.pem", tmp_path / "current.key"]

    def change():
        for source, target in zip(issue(tmp_path, HOSTNAME, signer), files):
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)

    change()
    reread = "SIGHUP: read the certificate again"
    with TlsSink(engine, None, tmp_path, "--cores", "2", certificates=[files]) as sink:
        target = f"smtps://127.0.0.1:{sink.ports['implicit']}"
        trust = ["--tls-ca", signer[2], "--tls-servername", HOSTNAME, "--tls-resume", "50%"]
        shape = ["-q", "100", "-n", "400", "-c", "8", "--per-connection", "1", "--json", "--live", "off"]
        with Child([binary("ringpost-blast"), target, "--io", engine, *shape, *trust]) as load:
            changes = 0
            while load.process.poll() is None:
                change()
                sink.process.send_signal(signal.SIGHUP)
                changes += 1
                deadline = time.monotonic() + 60
                while sink.stderr.count(reread) < changes:
                    assert time.monotonic() < deadline, sink.stderr
                    time.sleep(0.02)
            assert load.wait() in (0, 4), load.stderr
        report = sink.stop()
    assert changes >= 2
    assert (report["messages"], report["tls_failed"], report["tls_sessions"]) == (400, 0, 400)
    # Tickets from before a change are good after it.
    assert report["tls_resumed"] == 200, report


def test_acknowledged_messages_survive_kill_9_under_tls(engine, tmp_path):
    rng, signer = random.Random(SEED), authority(tmp_path, "signer")
    pair, tls = issue(tmp_path, HOSTNAME, signer), context(signer[2])
    options = ["--tls-cert", pair[0], "--tls-key", pair[1], "--segment-size", "16MiB"]
    options += ["--listen", "smtps://127.0.0.1:0"]
    spool, ledger = tmp_path / "spool", Ledger(tmp_path / "ledger")
    # The two engines share the kills.
    for life in range(-(-KILLS // 2)):
        with Sink(engine, spool, *options) as sink:
            port = port_of(sink.addresses(2)[1])
            clients = start_clients(sink, ledger, b"%d" % life, rng, port, tls.wrap_socket)
            time.sleep(rng.uniform(0, 0.25))
            sink.kill()
            join(clients)
        messages, report = examine(spool)
        assert report.damage == [], report.damage
        verdict = told(f"kill {life + 1}", ledger.verdict(messages))
        assert not any(verdict[name] for name in WRONGS), f"seed {SEED}: {verdict}"
        assert {message.meta["protocol"] for message in messages} == {"ESMTPS"}
    with Sink(engine, spool, *options) as sink:
        sink.stop()
    verify(spool)


EHLO = b"EHLO injected.example.test\r\n"
MAIL = b"MAIL FROM:<evil@example.test>\r\nRCPT TO:<b@example.test>\r\n"
# What stands behind STARTTLS in one segment with it.
INJECTED = {
    "noop": b"NOOP\r\n",
    "a line without its end": b"NOOP",
    "an octet": b"\n",
    "ehlo": EHLO,
    "a message": EHLO + MAIL + b"DATA\r\n\r\nevil\r\n.\r\n",
    "a login": EHLO + b"AUTH PLAIN AGV2aWwAZXZpbA==\r\n",
    "starttls again": b"STARTTLS\r\n",
    "the lead of a chunk": EHLO + MAIL + b"BDAT 1000000\r\n",
    "a client hello": None,
}


@pytest.mark.parametrize("case", INJECTED)
def test_what_is_injected_behind_starttls_is_never_carried_out(engine, case, tmp_path):
    with TlsSink(engine, None, tmp_path, "--cores", "1", "--auth", "any") as sink:
        tls = context(sink.ca)
        injected = INJECTED[case] or client_hello(tls)
        # In one segment with it, and with all that comes before it.
        for lead in (EHLO + b"STARTTLS\r\n", EHLO + MAIL + b"RSET\r\nSTARTTLS\r\n"):
            with socket.create_connection(("127.0.0.1", sink.ports["starttls"]), 60) as plain:
                plain.sendall(lead + injected)
                replies = plain.makefile("rb").read()
            assert codes(replies)[-1] == 554 and b"220 2.0.0" not in replies, replies
        # After the 220 and before the handshake: it is no record of TLS.
        if INJECTED[case]:
            with socket.create_connection(("127.0.0.1", sink.ports["starttls"]), 60) as plain:
                replies = plain.makefile("rb")
                plain.sendall(EHLO + b"STARTTLS\r\n")
                while not replies.readline().startswith(b"220 2.0.0"):
                    pass
                plain.sendall(injected + client_hello(tls))
                rest = replies.read()
            # An alert at most, never a handshake.
            assert rest[:1] in (b"", b"\x15"), rest
        report = sink.stop()
    assert (report["messages"], report["tls_sessions"]) == (0, 0)


def test_what_was_said_before_starttls_counts_no_more(engine, tmp_path):
    with TlsSink(engine, None, tmp_path, "--cores", "1", "--auth", "any") as sink:
        plain = socket.create_connection(("127.0.0.1", sink.ports["starttls"]), 60)
        replies = plain.makefile("rb")
        plain.sendall(EHLO)
        while not replies.readline().startswith(b"250 "):
            pass
        plain.sendall(b"AUTH PLAIN AGV2aWwAZXZpbA==\r\n")
        assert replies.readline().startswith(b"235 ")
        plain.sendall(b"STARTTLS\r\n")
        while not replies.readline().startswith(b"220 2.0.0"):
            pass
        with context(sink.ca).wrap_socket(plain) as secure, secure.makefile("rb") as replies:
            for line, lead in [
                (b"MAIL FROM:<a@example.test>\r\n", b"503 "),
                (b"AUTH PLAIN AGV2aWwAZXZpbA==\r\n", b"503 "),
                (b"STARTTLS\r\n", b"554 5.5.1"),
                (b"NOOP\r\n", b"250 "),
            ]:
                secure.sendall(line)
                assert replies.readline().startswith(lead), line
            secure.sendall(EHLO)
            offers = [replies.readline()]
            while offers[-1][3:4] == b"-":
                offers.append(replies.readline())
            assert not any(b"STARTTLS" in line for line in offers) and any(b"AUTH " in line for line in offers)
        sink.stop()
