"""VRFY, EXPN, HELP and the parameters of MAIL and RCPT, asked for by clients that others wrote."""

import smtplib
import socket

import pytest
from harness import Sink, binary, blast, only_message, peer, run

pytestmark = pytest.mark.usefixtures("both_ways")
PEOPLE = """\
mailbox ada@example.test Ada Lovelace
busy charles@example.test Charles Babbage
forward byron@example.test byron@elsewhere.test
moved mary@example.test mary@new.test
list engines@example.test ada@example.test charles@example.test
"""


@pytest.fixture
def people(tmp_path):
    file = tmp_path / "people.txt"
    file.write_text(PEOPLE)
    return file


def test_smtplib_asks_who_is_there(engine, people):
    with Sink(engine, None, "--directory", people) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            client.ehlo()
            assert client.has_extn("vrfy") and client.has_extn("expn")
            assert client.verify("Lovelace") == (250, b"2.1.5 Ada Lovelace <ada@example.test>")
            assert client.vrfy("nobody")[0] == 550
            assert client.vrfy("byron")[0] == 251
            assert client.vrfy("mary")[0] == 551
            code, text = client.expn("engines")
            assert code == 250 and text.count(b"\n") == 1 and b"<charles@example.test>" in text
            assert client.expn("ada")[0] == 550
            assert b"RSET" in client.help() and b"BODY" in client.help("MAIL")
            assert client.docmd("HELP", "STATUS")[0] == 211
            assert client.docmd("HELP", "XYZZY")[0] == 504
        sink.stop()


def test_without_a_directory_nothing_is_told(engine):
    with Sink(engine, None) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            client.ehlo()
            assert not client.has_extn("vrfy") and not client.has_extn("expn")
            assert client.vrfy("ada")[0] == 252
            assert client.expn("engines")[0] == 502
        sink.stop()


def test_recipients_are_judged_by_the_directory(engine, people, spool):
    names = ["ada", "charles", "byron", "mary", "nobody", "postmaster"]
    everyone = [f"{name}@example.test" for name in names]
    with Sink(engine, spool, "--directory", people, "--recipients", "known") as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            refused = client.sendmail("a@example.test", everyone, b"Subject: x\r\n\r\nx\r\n")
        sink.stop()
    codes = {who.partition("@")[0]: code for who, (code, _) in refused.items()}
    assert codes == {"charles": 450, "mary": 551, "nobody": 550}
    taken = [who for who, _ in only_message(spool).meta["recipients"]]
    assert taken == ["ada@example.test", "byron@example.test", "postmaster@example.test"]


def test_swaks_asks_for_delivery_status_notifications(engine, spool):
    # swaks knows no parameters, but puts the address into brackets as it is: the last bracket ends
    # up in a value that may hold one.
    sender, to = "a@example.test> RET=HDRS ENVID=e+20f", "b@example.test> ORCPT=rfc822;b@example.test"
    with Sink(engine, spool) as sink:
        run([peer("swaks"), "--server", sink.address, "--ehlo", "client.example.test", "--from", sender, "--to", to])
        sink.stop()
    message = only_message(spool)
    assert message.meta["reverse_params"] == "RET=HDRS ENVID=e+20f>"
    assert message.meta["recipients"] == [("b@example.test", "ORCPT=rfc822;b@example.test>")]


def test_smtplib_asks_for_delivery_status_notifications(engine, spool):
    with Sink(engine, spool) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            mail, rcpt = ["RET=HDRS", "ENVID=e+20f"], ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;b@example.test"]
            client.sendmail("a@example.test", ["b@example.test"], b"x\r\n", mail, rcpt)
        sink.stop()
    message = only_message(spool)
    assert message.meta["reverse_params"].endswith("RET=HDRS ENVID=e+20f")
    assert message.meta["recipients"] == [("b@example.test", " ".join(rcpt))]


def test_a_server_of_rfc_821_is_spoken_to_with_helo(engine, spool):
    with Sink(engine, spool, "--esmtp", "off") as sink:
        with socket.create_connection(("127.0.0.1", sink.port), 20) as probe:
            assert b"ESMTP" not in probe.recv(512)
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            client.sendmail("a@example.test", ["b@example.test"], b"x\r\n")
            assert client.helo_resp and not client.does_esmtp
        report = blast(sink.address, "-n", "10", "-c", "1")
        sink.stop()
    assert report["messages_ok"] == 10


def test_the_generator_sends_parameters_and_addresses_in_utf_8(engine, spool):
    with Sink(engine, spool) as sink:
        params = ["--param", "MAIL:RET=HDRS", "--param", "RCPT:NOTIFY=NEVER"]
        report = blast(sink.address, "-n", "1", "-c", "1", "--to", "jürgen@example.test", *params)
        sink.stop()
    assert report["messages_ok"] == 1
    meta = only_message(spool).meta
    assert "SMTPUTF8" in meta["reverse_params"] and meta["reverse_params"].endswith("RET=HDRS")
    assert [who for who, _ in meta["recipients"]] == ["jürgen@example.test"]
    assert [said for _, said in meta["recipients"]] == ["NOTIFY=NEVER"]


def test_the_generator_wants_smtputf8_from_the_server(engine):
    with Sink(engine, None, "--no-ext", "SMTPUTF8") as sink:
        command = [binary("ringpost-blast"), sink.address, "-n", "1", "--from", "jürgen@example.test"]
        done = run(command, check=False)
        sink.stop()
    assert done.returncode == 3 and "SMTPUTF8" in done.stderr, done.stderr


@pytest.mark.parametrize("text", ["a@b\r\nRSET", "a@b\n", "a b"])
def test_the_generator_forges_no_command(text):
    for option in (["--from", text], ["--to", text], ["--param", f"MAIL:{text}"], ["--helo", text]):
        done = run([binary("ringpost-blast"), "127.0.0.1:1", "-n", "1", *option], check=False)
        assert done.returncode == 2, option


def test_a_bad_command_line_is_told_in_one_line(tmp_path):
    bad = tmp_path / "people.txt"
    bad.write_text("mailbox ada@example.test\npostbox x@y\n")
    for options, status, word in [
        (["--directory", bad], 65, "line 2"),
        (["--directory", tmp_path / "none"], 66, "none"),
        (["--recipients", "known"], 64, "--directory"),
        (["--no-ext", "XYZZY"], 64, "MT-PRIORITY"),
        (["--esmtp", "off", "--listen", "lmtp://127.0.0.1:0"], 64, "LMTP"),
        (["--hold-max", "2000000000s"], 64, "--hold-max"),
    ]:
        listen = [] if "--listen" in options else ["--listen", "smtp://127.0.0.1:0"]
        done = run([binary("ringpost-sink"), *listen, "--discard", *options], check=False, timeout=20)
        assert done.returncode == status and word in done.stderr, (options, done.stderr)
