"""AUTH between ringpost and other people's clients and servers."""

import asyncio
import json
import os
import smtplib
from pathlib import Path

import aiosmtplib
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from harness import BODIES, PEERS, Sink, binary, free_port, only_message, peer, read_spool, run

FROM = "a@example.test"
TO = "b@example.test"
USER, PASSWORD = "tim", "tanstaaf:tanstaaf"
MECHANISMS = ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]


@pytest.fixture
def accounts(tmp_path):
    file = tmp_path / "accounts"
    file.touch(mode=0o600)
    file.write_text(f"# who may come in\n{USER}:{PASSWORD}\nother:secret\n")
    return file


def stored(spool):
    meta = only_message(spool).meta
    return meta["auth"], meta["protocol"]


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN", "LOGIN"])
def test_smtplib_logs_in(engine, spool, accounts, mechanism):
    """login() tries CRAM-MD5, PLAIN and LOGIN, in this order, of what is offered."""
    options = ["--auth", accounts, "--auth-required", "--auth-mechanisms", mechanism]
    with Sink(engine, spool, *options) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            client.ehlo()
            with pytest.raises(smtplib.SMTPSenderRefused) as refusal:
                client.sendmail(FROM, [TO], BODIES["dots"])
            assert refusal.value.smtp_code == 530
            with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
                client.login(USER, "wrong")
            assert refusal.value.smtp_code == 535
            assert client.login(USER, PASSWORD)[0] == 235
            client.sendmail(FROM, [TO], BODIES["dots"])
        sink.stop()
    assert stored(spool) == (USER, "ESMTPA")


def test_smtplib_logs_in_with_any_password(engine, spool):
    with Sink(engine, spool, "--auth", "any") as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            client.login("someone", "whatever")
            client.sendmail(FROM, [TO], BODIES["dots"])
        sink.stop()
    assert stored(spool) == ("someone", "ESMTPA")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_swaks_logs_in(engine, spool, accounts, mechanism):
    def swaks(sink, password):
        login = ["--auth", mechanism, "--auth-user", USER, "--auth-password", password]
        envelope = ["--from", FROM, "--to", TO, "--ehlo", "client.example.test"]
        return run([peer("swaks"), "--server", sink.address, *envelope, *login], check=False)

    with Sink(engine, spool, "--auth", accounts, "--auth-required") as sink:
        refused = swaks(sink, "wrong")
        assert refused.returncode == 28 and "535 5.7.8" in refused.stdout, refused.stdout
        taken = swaks(sink, PASSWORD)
        assert taken.returncode == 0 and "235 2.7.0" in taken.stdout, taken.stdout
        sink.stop()
    assert stored(spool) == (USER, "ESMTPA")


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN", "LOGIN"])
def test_aiosmtplib_logs_in(engine, spool, accounts, mechanism):
    async def send(port):
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, timeout=60, start_tls=False) as client:
            with pytest.raises(aiosmtplib.SMTPAuthenticationError) as refusal:
                await client.login(USER, "wrong")
            assert refusal.value.code == 535
            await client.login(USER, PASSWORD)
            await client.sendmail(FROM, [TO], BODIES["dots"])

    with Sink(engine, spool, "--auth", accounts, "--auth-required", "--auth-mechanisms", mechanism) as sink:
        asyncio.run(send(sink.port))
        sink.stop()
    assert stored(spool) == (USER, "ESMTPA")


NODEMAILER = {
    "PLAIN": {"auth": {"user": USER, "pass": PASSWORD}, "authMethod": "PLAIN"},
    "LOGIN": {"auth": {"user": USER, "pass": PASSWORD}, "authMethod": "LOGIN"},
    "CRAM-MD5": {"auth": {"user": USER, "pass": PASSWORD}, "authMethod": "CRAM-MD5"},
    "XOAUTH2": {"auth": {"type": "OAuth2", "user": USER, "accessToken": PASSWORD}},
}


@pytest.mark.parametrize("mechanism", NODEMAILER)
def test_nodemailer_logs_in(engine, spool, accounts, mechanism, tmp_path):
    file = tmp_path / "one.eml"
    file.write_bytes(BODIES["dots"])

    def nodemailer(sink, login):
        script = Path(__file__).with_name("send_nodemailer.js")
        environment = os.environ | {"NODE_PATH": str(PEERS / "node_modules"), "NODEMAILER_OPTIONS": json.dumps(login)}
        return run([peer("node"), script, sink.port, 1, 1, file], check=False, env=environment)

    good = NODEMAILER[mechanism]
    secret = "accessToken" if mechanism == "XOAUTH2" else "pass"
    bad = good | {"auth": good["auth"] | {secret: "wrong"}}
    with Sink(engine, spool, "--auth", accounts, "--auth-required", "--auth-mechanisms", mechanism) as sink:
        refused = nodemailer(sink, bad)
        assert refused.returncode == 1 and "535" in refused.stderr, refused.stderr
        taken = nodemailer(sink, good)
        assert taken.stdout.split() == ["1"], taken.stderr
        sink.stop()
    assert stored(spool) == (USER, "ESMTPA")


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_curl_logs_in_with_a_token(engine, spool, accounts, mechanism, tmp_path):
    file = tmp_path / "one.eml"
    file.write_bytes(BODIES["dots"])

    def curl(sink, token):
        login = ["--user", USER, "--oauth2-bearer", token, "--login-options", f"AUTH={mechanism}"]
        envelope = ["--mail-from", FROM, "--mail-rcpt", TO, "--upload-file", file, "--crlf"]
        argv = ["curl", "-sv", "--max-time", "60", *login, *envelope, f"smtp://{sink.address}"]
        return run(argv, check=False)

    with Sink(engine, spool, "--auth", accounts, "--auth-required", "--auth-mechanisms", mechanism) as sink:
        refused = curl(sink, "wrong")
        # curl cancels the exchange, or answers the challenge as RFC 7628 wants it.
        assert refused.returncode == 67 and "\n< 334 ey" in refused.stderr, refused.stderr
        taken = curl(sink, PASSWORD)
        assert taken.returncode == 0, taken.stderr
        sink.stop()
    assert stored(spool) == (USER, "ESMTPA")


def test_smtplib_is_told_why_its_token_is_bad(engine, accounts):
    """RFC 7628: a challenge in JSON, the answer of one octet, and 535."""

    def login(client, token):
        challenges = []

        def answer(challenge=None):
            if challenge is None:
                return f"n,a={USER},\x01host=127.0.0.1\x01auth=Bearer {token}\x01\x01"
            challenges.append(challenge)
            return "\x01"

        try:
            return client.auth("OAUTHBEARER", answer)[0], challenges
        except smtplib.SMTPAuthenticationError as refusal:
            return refusal.smtp_code, challenges

    with Sink(engine, None, "--auth", accounts) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            client.ehlo()
            code, challenges = login(client, "wrong")
            assert code == 535 and json.loads(challenges[0])["status"] == "invalid_token"
            assert login(client, PASSWORD) == (235, [])


def blast(address, login, *options):
    argv = [binary("ringpost-blast"), address, "--json", "-n", "40", "-c", "4", "--auth", login]
    return run([*argv, *options], check=False)


@pytest.mark.parametrize("mechanism", [None, *MECHANISMS])
def test_blast_logs_in_to_the_sink(engine, spool, accounts, mechanism):
    login = f"{USER}:{PASSWORD}" + (f":{mechanism}" if mechanism else "")
    with Sink(engine, spool, "--auth", accounts, "--auth-required") as sink:
        done = blast(sink.address, login, "--io", engine)
        sink.stop()
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["messages_ok"] == 40
    assert PASSWORD not in done.stdout
    messages = read_spool(spool)
    assert len(messages) == 40
    assert {message.meta["auth"] for message in messages} == {USER}


def test_blast_says_why_it_cannot_log_in(engine, accounts):
    with Sink(engine, None, "--auth", accounts) as sink:
        wrong = blast(sink.address, f"{USER}:wrong", "--io", engine)
    assert wrong.returncode == 3
    assert "refuses the login with SCRAM-SHA-256: 535 5.7.8" in wrong.stderr, wrong.stderr
    with Sink(engine) as sink:
        none = blast(sink.address, f"{USER}:{PASSWORD}", "--io", engine)
    assert none.returncode == 3 and "does not offer AUTH" in none.stderr, none.stderr
    with Sink(engine, None, "--auth", "any") as sink:
        named = blast(sink.address, f"{USER}:{PASSWORD}:SCRAM-SHA-256", "--io", engine)
    assert named.returncode == 3 and "does not offer AUTH SCRAM-SHA-256" in named.stderr, named.stderr


class Count:
    messages = 0

    async def handle_DATA(self, server, session, envelope):
        assert session.authenticated
        self.messages += 1
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == USER.encode() and data.password == PASSWORD.encode()
    return AuthResult(success=good, handled=False)


@pytest.mark.parametrize("mechanism", [None, "PLAIN", "LOGIN"])
def test_blast_logs_in_to_aiosmtpd(engine, mechanism):
    handler = Count()
    options = {"auth_require_tls": False, "auth_required": True, "authenticator": authenticate}
    controller = Controller(handler, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        login = f"{USER}:{PASSWORD}" + (f":{mechanism}" if mechanism else "")
        done = blast(f"127.0.0.1:{controller.port}", login, "--io", engine)
    finally:
        controller.stop()
    assert done.returncode == 0, done.stderr
    assert handler.messages == json.loads(done.stdout)["messages_ok"] == 40
