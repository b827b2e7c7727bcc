"""TLS of the sink under the clients of other people: each checks the certificate, and sends a message with
STARTTLS and with TLS from the first octet on."""

import asyncio
import hashlib
import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import time
from pathlib import Path

import aiosmtplib
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from harness import PEERS, Sink, check_octets, only_message, peer, read_spool, run, verify
from mta import Postfix, needs_root
from tls import TlsSink, authority, issue, listed, s_client, stored_tls

FROM, TO = "a@example.test", "b@example.test"
BODY = b"From: a@example.test\r\nSubject: octets\r\n\r\n.dots\r\n..\r\n" + b"x" * 40_000 + b"\r\n.\r\n"
WAYS = ["starttls", "implicit"]
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


def context(ca=None, **settings):
    made = ssl.create_default_context(cafile=ca)
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def connect(sink, way, tls, name="127.0.0.1"):
    """A client of smtplib under TLS. The name is what it asks for and checks; it is never looked up."""
    client = smtplib.SMTP(timeout=60) if way == "starttls" else smtplib.SMTP_SSL(context=tls, timeout=60)
    client._host = name
    if way == "starttls":
        client.connect("127.0.0.1", sink.ports[way])
        client._host = name
        client.starttls(context=tls)
    else:
        client.sock = tls.wrap_socket(
            socket.create_connection(("127.0.0.1", sink.ports[way]), 60), server_hostname=name
        )
        assert client.getreply()[0] == 220
    return client


def send_with_smtplib(sink, way, file):
    with connect(sink, way, context(sink.ca)) as client:
        client.sendmail(FROM, [TO], file.read_bytes())


def send_with_aiosmtplib(sink, way, file):
    async def send():
        upgrade = {"start_tls": True} if way == "starttls" else {"use_tls": True}
        async with aiosmtplib.SMTP(
            hostname="127.0.0.1", port=sink.ports[way], timeout=60, tls_context=context(sink.ca), **upgrade
        ) as client:
            await client.sendmail(FROM, [TO], file.read_bytes())

    asyncio.run(send())


def send_with_curl(sink, way, file):
    scheme = "smtp" if way == "starttls" else "smtps"
    url = f"{scheme}://127.0.0.1:{sink.ports[way]}/client.example.test"
    run(["curl", "-sS", "--ssl-reqd", "--cacert", sink.ca, url, "--mail-from", FROM, "--mail-rcpt", TO, "-T", file])


def send_with_swaks(sink, way, file):
    wire = file.with_suffix(".wire")
    wire.write_bytes(stuffed(file.read_bytes()) + b".")
    tls = ["--tls" if way == "starttls" else "--tls-on-connect", "--tls-verify", "--tls-ca-path", sink.ca]
    envelope = ["--from", FROM, "--to", TO, "--ehlo", "client.example.test"]
    data = ["--no-data-fixup", "--data", f"@{wire}"]
    server = ["--server", f"127.0.0.1:{sink.ports[way]}"]
    run([peer("swaks"), "--silent", "2", *server, *tls, *envelope, *data])


def send_with_nodemailer(sink, way, file):
    script = Path(__file__).with_name("send_nodemailer.js")
    options = {"tls": {"ca": sink.ca.read_text()}, "ignoreTLS": False}
    options |= {"requireTLS": True} if way == "starttls" else {"secure": True}
    environment = os.environ | {
        "NODE_PATH": str(PEERS / "node_modules"),
        "NODEMAILER_OPTIONS": json.dumps(options),
    }
    # It numbers the recipients.
    run([peer("node"), script, sink.ports[way], 1, 1, file], env=environment)


def dialogue(file, hello=True):
    """What a client sends that knows the replies beforehand."""
    lead = b"EHLO client.example.test\r\n" if hello else b""
    envelope = f"MAIL FROM:<{FROM}>\r\nRCPT TO:<{TO}>\r\nDATA\r\n".encode()
    return lead + envelope + stuffed(file.read_bytes()) + b".\r\nQUIT\r\n"


def send_with_openssl(sink, way, file):
    checks = ["-CAfile", sink.ca, "-verify_return_error", "-verify_ip", "127.0.0.1", "-quiet"]
    text = dialogue(file).decode()
    assert "250 2.0.0 Ok: queued as" in s_client(sink, *checks, way=way, text=text)


def send_with_gnutls(sink, way, file):
    starttls = ["--starttls-proto=smtp"] if way == "starttls" else []
    options = [f"--x509cafile={sink.ca}", "--verify-hostname=localhost", f"--port={sink.ports[way]}"]
    done = subprocess.run(
        [peer("gnutls-cli"), *starttls, *options, "127.0.0.1"],
        input=dialogue(file),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0 and b"queued as" in done.stdout, done


def stuffed(body):
    return b"".join(b"." + line if line.startswith(b".") else line for line in body.splitlines(keepends=True))


CLIENTS = {
    "smtplib": send_with_smtplib,
    "aiosmtplib": send_with_aiosmtplib,
    "curl": send_with_curl,
    "swaks": send_with_swaks,
    "nodemailer": send_with_nodemailer,
    "openssl": send_with_openssl,
    "gnutls": send_with_gnutls,
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_checks_the_certificate_and_is_read_back(engine, client, spool, tmp_path):
    file = tmp_path / "message.eml"
    file.write_bytes(BODY)
    with TlsSink(engine, spool, tmp_path, "--cores", "1") as sink:
        for way in WAYS:
            CLIENTS[client](sink, way, file)
        report = sink.stop()
    assert report["messages"] == 2
    messages = read_spool(spool)
    assert len(messages) == 2
    for message, shown in zip(messages, listed(spool)):
        check_octets(message.body, BODY, client)
        assert message.meta["protocol"] == "ESMTPS" and "tls" in message.meta["flags"]
        tls = stored_tls(message)
        assert tls["version"] == "TLSv1.3" and tls["suite"] == "TLS_AES_128_GCM_SHA256", tls
        assert (shown["tls"]["version"], shown["tls"]["group"]) == (tls["version"], tls["group"])
        assert shown["tls"]["resumed"] is False and shown["tls"]["client"] is None
    if client == "nodemailer":
        assert tls["group"] == "X25519MLKEM768", "Node 24 offers the hybrid group"
    verify(spool)


FAULTS = {
    "expired": "certificate has expired",
    "not-yet": "certificate is not yet valid",
    "wrong-name": "IP address mismatch",
    "unknown-ca": "unable to get local issuer certificate",
    "weak": None,
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("way", WAYS)
def test_clients_notice_what_is_wrong_with_a_certificate(engine, kind, way, tmp_path):
    with TlsSink(engine, None, tmp_path, "--cores", "1", kind=kind) as sink:
        if FAULTS[kind]:
            with pytest.raises(ssl.SSLCertVerificationError, match=FAULTS[kind]):
                connect(sink, way, context(sink.ca))
        else:
            connect(sink, way, context(sink.ca)).quit()
            demanding = context(sink.ca)
            demanding.set_ciphers("DEFAULT:@SECLEVEL=3")
            with pytest.raises(ssl.SSLError, match="key too weak"):
                connect(sink, way, demanding)
        # Whoever does not look is served.
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        connect(sink, way, unchecked).quit()
        sink.stop()


def test_a_client_without_the_certificate_that_is_required_is_turned_away(engine, spool, tmp_path):
    signer, stranger = authority(tmp_path, "signer"), authority(tmp_path, "stranger")
    good = issue(tmp_path, "client.example.test", signer, CLIENT)
    bad = issue(tmp_path, "other.example.test", stranger, CLIENT)
    options = ["--tls-client-auth", "require", "--tls-client-ca", signer[2], "--cores", "1"]
    with TlsSink(engine, spool, tmp_path, *options) as sink:
        for certificate in (None, bad):
            tls = context(sink.ca)
            if certificate:
                tls.load_cert_chain(*certificate)
            # Under TLS 1.3 the client learns of it after its own handshake.
            with pytest.raises((ssl.SSLError, smtplib.SMTPServerDisconnected, ConnectionError)):
                connect(sink, "starttls", tls).ehlo_or_helo_if_needed()
        tls = context(sink.ca)
        tls.load_cert_chain(*good)
        with connect(sink, "implicit", tls) as client:
            client.sendmail(FROM, [TO], BODY)
        sink.stop()
    tls = stored_tls(only_message(spool))
    assert tls["client-subject"] == "CN=client.example.test"
    der = ssl.PEM_cert_to_DER_cert(good[0].read_text())
    assert tls["client-sha256"] == hashlib.sha256(der).hexdigest()


def test_the_name_that_is_asked_for_chooses_the_certificate(engine, spool, tmp_path):
    signer = authority(tmp_path, "signer")
    pairs = [issue(tmp_path, name, signer) for name in ("one.example.test", "two.example.test")]
    with TlsSink(engine, spool, tmp_path, "--cores", "1", certificates=pairs) as sink:
        for name in ("two.example.test", "one.example.test"):
            with connect(sink, "starttls", context(signer[2]), name) as client:
                client.sendmail(FROM, [TO], BODY)
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(sink, "starttls", context(signer[2]), "three.example.test")
        sink.stop()
    assert [stored_tls(message)["sni"] for message in read_spool(spool)] == [
        "two.example.test",
        "one.example.test",
    ]


def test_sessions_are_resumed_on_every_core_and_after_a_reload(engine, spool, tmp_path):
    signer = authority(tmp_path, "signer")
    certificate = tmp_path / "current.pem"
    key = tmp_path / "current.key"

    def show(name):
        for source, target in zip(issue(tmp_path, name, signer), (certificate, key)):
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)

    show("one.example.test")
    session = tmp_path / "session"
    # A ticket is good for the name that was asked for, and no other.
    checks = ["-CAfile", signer[2], "-verify_return_error", "-servername", "one.example.test"]
    with TlsSink(engine, spool, tmp_path, "--cores", "2", certificates=[(certificate, key)]) as sink:
        # s_client writes the session when it gets the ticket.
        said = s_client(sink, *checks, "-sess_out", session)
        assert "New, TLSv1.3" in said, said
        for _ in range(8):
            said = s_client(sink, *checks, "-sess_in", session, "-sess_out", session)
            assert "Reused, TLSv1.3" in said, said
        show("two.example.test")
        sink.process.send_signal(signal.SIGHUP)
        sink.wait_for_line("ringpost-sink: SIGHUP: read the certificate again")
        deadline = time.monotonic() + 60
        while "CN = two.example.test" not in s_client(sink, *checks):
            assert time.monotonic() < deadline, "the cores go on with the certificate that was replaced"
        assert "Reused, TLSv1.3" in s_client(sink, *checks, "-sess_in", session)
        certificate.write_text("this is no certificate\n")
        sink.process.send_signal(signal.SIGHUP)
        line = sink.wait_for_line("ringpost-sink: SIGHUP: certificate")
        assert "not PEM" in line and "what was read before stays" in line
        assert "CN = two.example.test" in s_client(sink, *checks)
        sink.stop()


def test_old_versions_and_other_ciphers_are_spoken_only_if_they_were_chosen(engine, tmp_path):
    options = ["--tls-versions", "1.2", "--tls-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305", "--tls-groups", "P-384"]
    with TlsSink(engine, None, tmp_path, *options, "--cores", "1") as sink:
        said = s_client(sink, "-CAfile", sink.ca)
        assert "ECDHE-ECDSA-CHACHA20-POLY1305" in said and "ECDH, secp384r1" in said, said
        assert "handshake failure" in s_client(sink, "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", check=False)
        assert "protocol version" in s_client(sink, "-tls1_3", check=False)
        sink.stop()
    with TlsSink(engine, None, tmp_path, "--cores", "1") as sink:
        for old in ("-tls1_1", "-tls1"):
            said = s_client(sink, old, "-cipher", "ALL:@SECLEVEL=0", check=False)
            assert "no peer certificate available" in said and "alert" in said, said
        sink.stop()


def test_a_key_log_lets_the_connection_be_read(engine, tmp_path):
    log = tmp_path / "keys"
    with TlsSink(engine, None, tmp_path, "--tls-keylog", log, "--cores", "1") as sink:
        s_client(sink, "-keylogfile", tmp_path / "theirs")
        sink.stop()
    theirs = [line for line in (tmp_path / "theirs").read_text().splitlines() if line[:1] != "#"]
    ours = log.read_text().splitlines()
    assert ours and set(ours) <= set(theirs)


@needs_root
@pytest.mark.parametrize("level", ["encrypt", "verify"])
def test_postfix_delivers_under_tls(engine, level, spool, tmp_path):
    with TlsSink(engine, spool, tmp_path, "--require-tls", "--cores", "1") as sink:
        transport = f"smtp:[localhost]:{sink.ports['starttls']}"
        # Its parts run under another account.
        ca = sink.ca.read_text()
        with Postfix(transport, tls=(level, ca)) as postfix:
            with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as client:
                for _ in range(20):
                    client.sendmail(FROM, [TO], BODY)
            postfix.wait_until_empty()
            assert postfix.deliveries(20) == 20, postfix.log()
            trusted = "Verified TLS connection" if level == "verify" else "TLS connection established to localhost"
            assert trusted in postfix.log()
        report = sink.stop()
    assert report["messages"] == 20
    assert {message.meta["protocol"] for message in read_spool(spool)} == {"ESMTPS"}


def test_plain_text_is_refused_where_tls_is_required(engine, spool, tmp_path):
    options = ["--require-tls", "--auth", "any", "--auth-tls-only", "--cores", "1"]
    with TlsSink(engine, spool, tmp_path, *options) as sink:
        with smtplib.SMTP("127.0.0.1", sink.ports["starttls"], timeout=60) as client:
            client.ehlo()
            assert client.has_extn("starttls") and not client.has_extn("auth")
            with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                client.sendmail(FROM, [TO], BODY)
            assert refused.value.smtp_code == 530
            client.starttls(context=context(sink.ca))
            client.login("ada", "secret")
            client.sendmail(FROM, [TO], BODY)
        sink.stop()
    message = only_message(spool)
    assert message.meta["protocol"] == "ESMTPSA" and message.meta["auth"] == "ada"


def test_a_sink_without_a_certificate_says_what_would_help(engine):
    with Sink(engine, None) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            client.ehlo()
            assert not client.has_extn("starttls") and client.docmd("STARTTLS")[0] == 502
        line = sink.wait_for_line("ringpost-sink: a client")
        assert "--tls-self-signed" in line
        sink.stop()
