"""The generator under TLS against other people's servers and our own sink: what it counts is what they count."""

import json
import time

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from harness import SmtpSink, Stunnel, binary, read_spool, run
from mta import Postfix, needs_root
from test_misbehave import GOOD
from tls import HOSTNAME, TlsSink, authority, issue, stored_tls

MESSAGES = 200
ONE_EACH = ["-c", "8", "--per-connection", "1", "--live", "off"]


def secured(target, ca, engine, *options, check=True, name=HOSTNAME):
    """A run under TLS; its report."""
    trust = ["--tls-ca", ca, "--tls-servername", name]
    done = run([binary("ringpost-blast"), target, "--json", "--io", engine, *trust, *options], check=False)
    # A busy machine makes the generator the limit, which is a run all the same.
    assert not check or done.returncode in (0, 4), done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def signer(tmp_path):
    return authority(tmp_path, "signer")


class Front(Stunnel):
    """stunnel in front of the server at `address`, after STARTTLS or from the first octet on."""

    def __init__(self, address, pair, way):
        protocol = ["protocol = smtp"] if way == "starttls" else []
        super().__init__(address, f"cert = {pair[0]}", f"key = {pair[1]}", *protocol)

    def handshakes(self, expected):
        """Full and resumed handshakes of its log; waits until there are `expected` of both."""
        deadline = time.monotonic() + 60
        while True:
            full, resumed = (self.stderr.count(f"accepted: {kind}") for kind in ("new session", "previous session"))
            if full + resumed >= expected or time.monotonic() > deadline:
                return full, resumed
            time.sleep(0.05)


@pytest.mark.parametrize("way", ["starttls", "implicit"])
def test_stunnel_before_smtp_sink_counts_the_same_handshakes(engine, way, signer, tmp_path):
    pair = issue(tmp_path, HOSTNAME, signer)
    with SmtpSink() as server, Front(server.address, pair, way) as front:
        options = ["--tls", way, "-n", MESSAGES, *ONE_EACH, "--tls-resume", "90%"]
        told = secured(f"127.0.0.1:{front.port}", signer[2], engine, *options)
        assert told["messages_ok"] == MESSAGES and not told["errors"], told
        ours = (told["tls"]["full"], told["tls"]["resumed"])
        assert sum(ours) == MESSAGES == server.messages()
        assert abs(told["tls"]["resume_percent"] - 90) <= 1, told["tls"]
        assert front.handshakes(MESSAGES) == ours


@needs_root
def test_postfix_takes_what_is_sent_under_tls(engine, signer, tmp_path):
    pair = issue(tmp_path, HOSTNAME, signer)
    with Postfix(pair=pair) as server:
        options = ["--tls", "starttls", "-n", MESSAGES, *ONE_EACH, "--tls-resume", "50%"]
        told = secured(server.address, signer[2], engine, *options)
        assert told["messages_ok"] == MESSAGES and not told["errors"], told
        assert server.deliveries(MESSAGES) == MESSAGES
        assert server.log().count("TLS connection established from") == told["tls"]["full"] + told["tls"]["resumed"]
    assert abs(told["tls"]["resume_percent"] - 50) <= 1, told["tls"]


@pytest.mark.parametrize("scheme", ["smtps", "lmtps"])
def test_our_sink_counts_the_same_handshakes_on_two_cores(engine, scheme, spool, tmp_path):
    with TlsSink(engine, spool, tmp_path, "--cores", "2", "--listen", "lmtps://127.0.0.1:0") as sink:
        address = sink.addresses(3)[1 if scheme == "smtps" else 2]
        options = ["-n", "1000", "-c", "16", *ONE_EACH[2:], "--tls-resume", "90%", "--cores", "2"]
        told = secured(f"{scheme}://{address}", sink.ca, engine, *options)
        assert told["messages_ok"] == 1000 and not told["errors"], told
        report = sink.stop()
    tls = told["tls"]
    assert (report["tls_sessions"], report["tls_resumed"]) == (tls["full"] + tls["resumed"], tls["resumed"])
    assert abs(tls["resume_percent"] - 90) <= 1, tls
    assert (report["messages"], report["tls_failed"], report["tls_truncated"]) == (1000, 0, 0)
    messages = read_spool(spool)
    assert {message.meta["protocol"] for message in messages} == {scheme.upper().replace("SMTPS", "ESMTPS")}
    assert sum(stored_tls(message).get("resumed") == "yes" for message in messages) == tls["resumed"]


def test_sums_add_up_what_was_agreed_on(engine, tmp_path):
    parts = [tmp_path / name for name in ("a", "b")]
    with TlsSink(engine, None, tmp_path, "--cores", "1") as sink:
        target = f"smtps://127.0.0.1:{sink.ports['implicit']}"
        options = ["-n", "100", *ONE_EACH]
        told = [
            secured(target, sink.ca, engine, *options, "--out", part, *more)
            for part, more in zip(parts, [["--tls-versions", "1.2"], ["--tls-resume", "50%"]])
        ]
        report = sink.stop()
    run([binary("ringpost"), "report", "merge", *parts, "-o", tmp_path / "sum", "--mixed"], check=False)
    total = json.loads((tmp_path / "sum" / "run.json").read_text())["tls"]
    for name in ("full", "resumed", "plain"):
        assert total[name] == sum(one["tls"][name] for one in told)
    assert (total["full"] + total["resumed"], total["resumed"]) == (report["tls_sessions"], report["tls_resumed"])
    assert {agreed["version"] for agreed in total["agreed"]} == {"TLSv1.2", "TLSv1.3"}
    shown = run([binary("ringpost"), "report", "show", tmp_path / "sum"]).stdout
    assert "200 handshakes" in shown and "TLSv1.2" in shown, shown


def test_certificates_of_the_generator(engine, signer, spool, tmp_path):
    """What it shows is what the sink asked for, and without it nothing is sent."""
    client = issue(tmp_path, "client.example.test", signer, ExtendedKeyUsageOID.CLIENT_AUTH)
    shows = ["--tls-client-cert", client[0], "--tls-client-key", client[1]]
    for policy, options, taken, subject in [
        ("require", shows, 20, "CN=client.example.test"),
        ("require", [], 0, None),
        ("request", shows, 20, "CN=client.example.test"),
        ("request", [], 20, None),
        ("none", shows, 20, None),
    ]:
        directory = tmp_path / f"{policy}-{len(options)}"
        directory.mkdir()
        asks = ["--tls-client-auth", policy] + (["--tls-client-ca", signer[2]] if policy != "none" else [])
        with TlsSink(engine, directory / "spool", directory, "--cores", "1", *asks) as sink:
            target = f"smtps://127.0.0.1:{sink.ports['implicit']}"
            told = secured(target, sink.ca, engine, "-n", "20", *ONE_EACH, *options, check=taken > 0)
            sink.stop()
        assert told["messages_ok"] == taken, (policy, told)
        assert taken or set(told["errors"]) == {"tls_alert"}, told["errors"]
        messages = read_spool(directory / "spool")
        assert {stored_tls(message).get("client-subject") for message in messages} == ({subject} if taken else set())


@pytest.mark.parametrize("way", ["starttls", "implicit"])
def test_clients_that_misbehave_are_answered_under_tls_as_in_plain_text(engine, way, tmp_path):
    with TlsSink(engine, None, tmp_path, "--cores", "1", "--max-size", "1MiB") as sink:
        target = f"{'smtps' if way == 'implicit' else 'smtp'}://127.0.0.1:{sink.ports[way]}"
        options = ["--tls", way, *GOOD, "-z", "4s", "--misbehave", "all"]
        told = secured(target, sink.ca, engine, *options, check=False)
        report = sink.stop()
    assert told["messages_ok"] > 0 and not told["errors"], told
    assert len(told["misbehaviour"]) == 34
    for met in told["misbehaviour"]:
        assert not (met["wrong"] or met["garbled"] or met["silent"] or met["not_offered"] or met["prevented"]), met
        assert met["sessions"] + met["unfinished"] > 0, met
    # Some leave before the last part of their handshake.
    assert set(report["tls_faults"]) <= {"cut"}, report["tls_faults"]
