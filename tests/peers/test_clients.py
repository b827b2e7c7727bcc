"""Every mail client here sends what breaks mail software, and each message is read back from the
spool octet for octet."""

import asyncio
import os
import re
import smtplib
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest
from harness import (
    BODIES,
    PEERS,
    Sink,
    check_octets,
    only_message,
    peer,
    read_spool,
    run,
    verify,
    with_newline,
)

FROM = "a@example.test"


def recipient(i):
    return f"b{i}@example.test"


def stuffed(body):
    return re.sub(rb"^\.", b"..", body, flags=re.MULTILINE)


def send_with_smtplib(sink, files):
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
        for i, file in enumerate(files):
            client.sendmail(FROM, [recipient(i)], file.read_bytes())


def send_with_aiosmtplib(sink, files):
    async def send():
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=sink.port, timeout=60, start_tls=False) as client:
            for i, file in enumerate(files):
                await client.sendmail(FROM, [recipient(i)], file.read_bytes())

    asyncio.run(send())


def send_with_curl(sink, files):
    for i, file in enumerate(files):
        url = f"smtp://127.0.0.1:{sink.port}/client.example.test"
        run(["curl", "-sS", url, "--mail-from", FROM, "--mail-rcpt", recipient(i), "-T", file])


def send_with_swaks(sink, files):
    # swaks' own massaging of the data loses a last line that is a dot, and adds an empty one, so
    # it is given the octets as they go over the wire.
    for i, file in enumerate(files):
        wire = file.with_suffix(".wire")
        wire.write_bytes(stuffed(with_newline(file.read_bytes())) + b".")
        envelope = ["--from", FROM, "--to", recipient(i), "--ehlo", "client.example.test"]
        data = ["--no-data-fixup", "--data", f"@{wire}"]
        run([peer("swaks"), "--silent", "2", "--server", sink.address, *envelope, *data])


def send_with_nodemailer(sink, files):
    nodemailer(sink, 4, 1, files)


def nodemailer(sink, connections, repeats, files):
    script = Path(__file__).with_name("send_nodemailer.js")
    environment = os.environ | {"NODE_PATH": str(PEERS / "node_modules")}
    return run([peer("node"), script, sink.port, connections, repeats, *files], env=environment)


# Client, and how it words an empty message: DATA cannot carry a body without its last CRLF, so most
# clients send an empty line.
CLIENTS = {
    "smtplib": (send_with_smtplib, b"\r\n"),
    "aiosmtplib": (send_with_aiosmtplib, b"\r\n"),
    "curl": (send_with_curl, b""),
    "swaks": (send_with_swaks, b"\r\n"),
    "nodemailer": (send_with_nodemailer, b"\r\n"),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_read_back_octet_for_octet(engine, client, spool, tmp_path):
    send, empty = CLIENTS[client]
    files = []
    for name, body in BODIES.items():
        files.append(tmp_path / f"{name.replace(' ', '_')}.eml")
        files[-1].write_bytes(body)
    with Sink(engine, spool) as sink:
        send(sink, files)
        report = sink.stop()
    assert report["messages"] == len(BODIES)
    found = {message.meta["recipients"][0][0]: message for message in read_spool(spool)}
    for i, (name, body) in enumerate(BODIES.items()):
        message = found[recipient(i)]
        assert message.meta["reverse_path"] == FROM
        check_octets(message.body, with_newline(body) if body else empty, f"{client}, {name}")
    assert len(found) == len(BODIES)
    verify(spool)


def test_two_thousand_pooled_nodemailer_messages_are_all_there(engine, spool, tmp_path):
    file = tmp_path / "one.eml"
    file.write_bytes(BODIES["dots"])
    with Sink(engine, spool) as sink:
        done = nodemailer(sink, 8, 2000, [file])
        report = sink.stop()
    assert done.stdout.split() == ["2000"]
    assert report["messages"] == 2000
    messages = read_spool(spool)
    assert len(messages) == 2000
    assert {message.body for message in messages} == {BODIES["dots"]}


def test_an_eight_bit_message_of_smtplib_keeps_its_octets(engine, spool):
    body = BODIES["eight bit"]
    with Sink(engine, spool) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            client.sendmail(FROM, [recipient(0)], body, mail_options=["BODY=8BITMIME"])
        sink.stop()
    message = only_message(spool)
    check_octets(message.body, body)
    assert "BODY=8BITMIME" in message.meta["reverse_params"].upper()


def test_smtplib_may_give_the_smtputf8_parameter_twice(engine, spool):
    """Python's send_message() adds SMTPUTF8 to options that name it already."""
    message = EmailMessage()
    message["From"] = "jürgen@example.test"
    message["To"] = "δοκιμή@example.test"
    message["Subject"] = "東京"
    message.set_content("Grüße\n", cte="8bit")
    with Sink(engine, spool) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            assert client.ehlo()[0] == 250 and client.has_extn("smtputf8")
            client.send_message(message, mail_options=["SMTPUTF8"])
        sink.stop()
    stored = only_message(spool)
    assert stored.meta["reverse_path"] == "jürgen@example.test"
    assert stored.meta["recipients"][0][0] == "δοκιμή@example.test"
    assert "Grüße".encode() in stored.body and "東京".encode() in stored.body


def test_a_message_of_many_recipients_keeps_them_in_order(engine, spool):
    recipients = [recipient(i) for i in range(500)]
    with Sink(engine, spool) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as client:
            assert client.sendmail(FROM, recipients, BODIES["dots"]) == {}
        sink.stop()
    message = only_message(spool)
    assert [path for path, _ in message.meta["recipients"]] == recipients
