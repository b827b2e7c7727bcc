"""`ringpost spool export`: what it writes is read back by Python's own mail modules, octet for octet, and
compared with the independent reader of the spool and with real dumps of smtp-sink."""

import base64
import email
import email.policy
import email.utils
import json
import mailbox
import os
import re
import signal
import smtplib
import socket
import subprocess
import time
from datetime import datetime, timezone

import pytest
from harness import (
    BODIES,
    HEAD,
    Child,
    Sink,
    binary,
    blast,
    check_octets,
    free_port,
    peer,
    read_spool,
    run,
    wait_for_port,
)

HOST = "mx.example.test"
EXPORTS = 2

# Beyond what every client can carry, sent in BDAT: it takes any octets.
ODD_BODIES = {
    **{name: body for name, body in BODIES.items() if name not in ("20 MiB",)},
    "separators": HEAD + b"From here\r\n>From there\r\n>>From\r\n From\r\nFromage\r\nx From y\r\n\r\nFrom x\r\n",
    "separator first": b"From a@b Thu Jan  1 00:00:00 1970\r\n" + HEAD + b"x\r\n",
    "separator last": HEAD + b"\r\n\r\nFrom ",
    "nul": HEAD + b"a\0b\0\r\n\0",
    "lone cr and lf": HEAD + b"a\rb\nc\r\r\nd\n\r\ne\n\nFrom lf\r",
    "empty lines at the end": HEAD + b"x\r\n\r\n\r\n\r\n",
    "newline only": b"\r\n",
    "encoded subject": b"Subject: =?iso-8859-1?q?Z=FCrich?= =?utf-8?b?5p2x5Lqs?=\r\n\r\nx\r\n",
}
SENDERS = ["a@example.test", "", '"a b"@example.test', "From@example.test"]


def ringpost(*args, check=True):
    return run([binary("ringpost"), "spool", *args], check=check)


def ask(connection, replies, wire, code):
    connection.sendall(wire)
    while True:
        line = replies.readline()
        assert line.startswith(code), f"{code!r} expected for {wire[:60]!r}, got {line!r}"
        if line[3:4] != b"-":
            return line


def send_all(port, bodies):
    """Each body in one chunk, the senders and one or two recipients in turn."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        replies = connection.makefile("rb")
        ask(connection, replies, b"", b"220")
        ask(connection, replies, b"EHLO client.example.test\r\n", b"250")
        for number, body in enumerate(bodies):
            sender = SENDERS[number % len(SENDERS)].encode()
            ask(connection, replies, b"MAIL FROM:<%s> BODY=8BITMIME\r\n" % sender, b"250")
            for to in range(1 + number % 2):
                ask(connection, replies, b"RCPT TO:<b%d@example.test>\r\n" % to, b"250")
            ask(connection, replies, b"BDAT %d LAST\r\n%s" % (len(body), body), b"250")
        ask(connection, replies, b"QUIT\r\n", b"221")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A spool with every odd body; its directory and its messages, in the order of their sending."""
    spool = tmp_path_factory.mktemp("export") / "spool"
    with Sink("auto", spool, "--bare-newline", "keep", "--cores", "1") as sink:
        send_all(sink.port, ODD_BODIES.values())
        sink.stop()
    messages = read_spool(spool)
    assert [message.body for message in messages] == list(ODD_BODIES.values())
    return spool, messages


def check_trace(lines, message):
    """The two fields in front, against the RFC's grammar and the spool's envelope."""
    meta = message.meta
    assert lines[0] == f"Return-Path: <{meta['reverse_path']}>"
    received = " ".join(lines[1:])
    stamp = re.fullmatch(
        r"Received: from client\.example\.test \(\[127\.0\.0\.1\]\) \tby mx\.example\.test \(ringpost\)"
        r" with ESMTP id (\S+?)(?: \tfor <(\S+)>)?; \t(.*)",
        received,
    )
    assert stamp, received
    assert stamp[1] == message.id
    only = meta["recipients"][0][0] if len(meta["recipients"]) == 1 else None
    assert stamp[2] == only
    assert re.search(r" [+-]\d{4}$", stamp[3]), stamp[3]
    at = email.utils.parsedate_to_datetime(stamp[3])
    assert int(at.timestamp()) == meta["received_ns"] // 10**9


def split_trace(octets, newline):
    """The lines in front of the message, and the message."""
    count = 5 if b"\tfor <" in octets.split(newline, 4)[3] else 4
    *lines, rest = octets.split(newline, count)
    return [line.decode() for line in lines], rest


def check_delivered(octets, message, newline):
    lines, rest = split_trace(octets, newline)
    check_trace(lines, message)
    body = message.body if newline == b"\r\n" else message.body.replace(b"\r\n", b"\n")
    check_octets(rest, body, message.id)


@pytest.mark.parametrize("newline", ["lf", "crlf"])
def test_a_maildir_is_read_by_pythons_mailbox(kept, tmp_path, newline):
    spool, messages = kept
    target = tmp_path / "Maildir"
    ringpost("export", spool, "--format", "maildir", "-o", target, "--newline", newline, "--hostname", HOST)
    assert sorted(os.listdir(target)) == ["cur", "new", "tmp"]
    assert os.listdir(target / "tmp") == os.listdir(target / "cur") == []
    assert os.stat(target).st_mode & 0o777 == 0o700
    box = mailbox.Maildir(target, create=False)
    found = {}
    for key in box.keys():
        message = box.get_message(key)
        assert (message.get_subdir(), message.get_flags()) == ("new", "")
        path = target / "new" / key
        assert path.stat().st_mode & 0o777 == 0o600
        name = re.fullmatch(r"(\d+)\.M(\d{6})R(\S+?)\.mx\.example\.test", key)
        found[name[3]] = path.read_bytes()
        assert int(path.stat().st_mtime) == int(name[1])
    assert found.keys() == {message.id for message in messages}
    for message in messages:
        check_delivered(found[message.id], message, b"\n" if newline == "lf" else b"\r\n")


@pytest.mark.parametrize("newline", ["lf", "crlf"])
def test_an_mbox_is_read_by_pythons_mailbox(kept, tmp_path, newline):
    spool, messages = kept
    target = tmp_path / "mbox"
    ringpost("export", spool, "--format", "mbox", "-o", target, "--newline", newline, "--hostname", HOST)
    end = b"\n" if newline == "lf" else b"\r\n"
    box = mailbox.mbox(target, create=False)
    assert len(box) == len(messages)
    for key, message in zip(box.keys(), messages):
        with box.get_file(key, from_=True) as file:
            octets = file.read()
        separator, _, octets = octets.partition(end)
        sender = message.meta["reverse_path"].replace(" ", "_") or "MAILER-DAEMON"
        at = datetime.fromtimestamp(message.meta["received_ns"] // 10**9, timezone.utc)
        assert separator.decode() == f"From {sender} {at.strftime('%a %b %e %H:%M:%S %Y')}"
        # What the module leaves of the empty line that separates messages.
        octets = re.sub(rb"^>(>*From )", rb"\1", octets, flags=re.M)
        if octets.endswith(end) and newline == "crlf":
            octets = octets[: -len(end)]
        body = message.body if newline == "crlf" else message.body.replace(b"\r\n", b"\n")
        lines, rest = split_trace(octets, end)
        check_trace(lines, message)
        # A message without a last line end gets one: mbox knows no other end.
        if body and not body.endswith(b"\n"):
            body += end
        check_octets(rest, body, message.id)


def test_eml_files_are_read_by_pythons_email(kept, tmp_path):
    spool, messages = kept
    target = tmp_path / "eml"
    ringpost("export", spool, "--format", "eml", "-o", target, "--hostname", HOST)
    assert sorted(os.listdir(target)) == sorted(f"{message.id}.eml" for message in messages)
    for name, message in zip(ODD_BODIES, messages):
        octets = (target / f"{message.id}.eml").read_bytes()
        check_delivered(octets, message, b"\r\n")
        parsed = email.message_from_bytes(octets, policy=email.policy.default)
        assert parsed["Return-Path"] == f"<{message.meta['reverse_path']}>"
        assert message.id in parsed["Received"]
        if name == "encoded subject":
            assert parsed["Subject"] == "Zürich東京"


def test_json_lines_hold_every_octet(kept, tmp_path):
    spool, messages = kept
    target = tmp_path / "all.jsonl"
    ringpost("export", spool, "--format", "jsonl", "-o", target)
    to_stdout = ringpost("export", spool, "--format", "jsonl", "-o", "-")
    lines = target.read_text().split("\n")
    assert lines.pop() == "" and to_stdout.stdout == target.read_text()
    assert len(lines) == len(messages)
    for name, line, message in zip(ODD_BODIES, lines, messages):
        found = json.loads(line)
        text = found["message"]
        octets = base64.b64decode(text) if found["message_encoding"] == "base64" else text.encode()
        check_octets(octets, message.body, message.id)
        valid = message.body.decode("utf-8", "ignore").encode() == message.body
        assert found["message_encoding"] == ("utf-8" if valid else "base64")
        assert (found["id"], found["bytes"]) == (message.id, len(message.body))
        assert found["received_ns"] == message.meta["received_ns"]
        at = datetime.fromisoformat(found["received"])
        assert int(at.timestamp() * 10**6 + 0.5) == message.meta["received_ns"] // 1000
        assert found["flags"] == message.meta["flags"]
        assert found["from"]["path"] == message.meta["reverse_path"]
        assert [to["path"] for to in found["to"]] == [path for path, _ in message.meta["recipients"]]
        if name == "encoded subject":
            assert found["subject"] == "Zürich東京"


def test_nothing_is_overwritten_and_nothing_is_left_behind(kept, tmp_path):
    spool, messages = kept
    for format in ("maildir", "eml", "mbox", "jsonl"):
        target = tmp_path / format
        ringpost("export", spool, "--format", format, "-o", target)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        done = ringpost("export", spool, "--format", format, "-o", target, check=False)
        assert done.returncode == 73 and len(done.stderr.splitlines()) == 1, done.stderr
        assert f"{target} exists, and nothing is overwritten" in done.stderr
        assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert not [path for path in tmp_path.rglob("*") if "part" in path.name or path.name.startswith(".")]
    for wrong, code in (
        (["--format", "eml", "-o", "-"], 64),
        (["--format", "mbox", "-o", tmp_path / "x", "--shared"], 64),
        (["--format", "jsonl", "-o", tmp_path / "x", "--newline", "lf"], 64),
        (["--format", "smtp-sink", "-o", tmp_path / "%"], 64),
        (["--format", "mbox", "-o", tmp_path / "no" / "where"], 73),
    ):
        done = ringpost("export", spool, *wrong, check=False)
        assert done.returncode == code and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_full_disk_leaves_no_half_file(kept, tmp_path):
    spool, _ = kept
    # 64 KiB may be written to one file: the long line does not fit.
    for format, name in (("mbox", "box"), ("jsonl", "lines"), ("eml", "dir")):
        limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 64; exec "$@"', "-"]
        command = [binary("ringpost"), "spool", "export", spool, "--format", format, "-o", tmp_path / name]
        done = run([*limited, *command], check=False)
        assert done.returncode == 74 and "cannot write" in done.stderr, done.stderr
    assert not (tmp_path / "box").exists() and not (tmp_path / "lines").exists()
    complete = {name: path.read_bytes() for path in (tmp_path / "dir").iterdir() for name in [path.stem]}
    for message in read_spool(spool):
        if message.id in complete:
            check_delivered_loosely(complete.pop(message.id), message)
    assert complete == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir"]


def check_delivered_loosely(octets, message):
    assert octets.endswith(message.body) and octets.startswith(b"Return-Path: <")


MASKS = [
    (rb" id [0-9a-f]{8};", b" id ID;"),
    (rb"\t\w{3}, [ \d]\d \w{3} \d{4} [\d:]{8} [+-]\d{4} \(\w+\)", b"\tDATE"),
    (rb"X-Client-Addr: 127\.0\.0\.1", b"X-Client-Addr: ADDR"),
]


def masked(octets):
    for pattern, word in MASKS:
        octets, count = re.subn(pattern, word, octets)
        assert count, (pattern, octets[:400])
    return octets


def smtp_mail(port):
    """The same mail for both: EHLO and HELO, several recipients, parameters, dots, eight bits, nothing."""
    with smtplib.SMTP("127.0.0.1", port, timeout=30, local_hostname="client.example.test") as client:
        client.ehlo()
        for name, body in BODIES.items():
            if name in ("20 MiB", "line of 1 MiB"):
                continue
            client.mail("a@example.test", ["BODY=8BITMIME"] if name == "eight bit" else [])
            client.rcpt("b@example.test")
            client.rcpt("c@example.test", ["NOTIFY=NEVER"] if name == "dots" else [])
            code, text = client.data(body)
            assert code == 250, text
        client.helo("plain.example.test")
        client.mail("")
        client.rcpt("b@example.test")
        assert client.data(HEAD)[0] == 250


@pytest.mark.parametrize("shared", [False, True])
def test_dumps_are_those_of_smtp_sink(tmp_path, shared):
    real, ours, spool = tmp_path / "real", tmp_path / "ours", tmp_path / "spool"
    real.mkdir()
    port = free_port()
    template = "%Y/dump." if not shared else "%Y/all"
    # It changes to nobody and must reach the folder then.
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    for folder in (tmp_path, real, *tmp_path.parents):
        if folder.owner() != "root" or folder.is_relative_to(tmp_path):
            folder.chmod(0o777)
    command = [peer("smtp-sink"), *user, "-h", HOST, "-D" if shared else "-d", f"{template}"]
    with Child([*command, f"127.0.0.1:{port}", "64"], cwd=real):
        wait_for_port(port)
        smtp_mail(port)
    with Sink("auto", spool, "--cores", "1") as sink:
        smtp_mail(sink.port)
        sink.stop()
    options = ["--shared"] if shared else []
    ringpost("export", spool, "--format", "smtp-sink", "-o", ours / template, "--hostname", HOST, *options)
    year = datetime.now().strftime("%Y")
    theirs = sorted(path.read_bytes() for path in (real / year).iterdir())
    mine = sorted(path.read_bytes() for path in (ours / year).iterdir())
    assert len(theirs) == len(mine) == (1 if shared else len(BODIES) - 1)
    assert sorted(map(masked, mine)) == sorted(map(masked, theirs))
    names = [path.name for path in (ours / year).iterdir()]
    assert all(re.fullmatch(r"all" if shared else r"dump\.[0-9a-f]{8}", name) for name in names)


def test_a_spool_is_exported_while_the_sink_writes(engine, spool, tmp_path):
    """What was acknowledged before the export began is in it, whole; what came meanwhile may be."""
    with Sink(engine, spool, "--segment-size", "4MiB", "--spool-limit", "1GiB") as sink:
        before = blast(sink.address, "-n", "1000", "-c", "8", "--size", "500..5000", "--to", "before@example.test")
        load = [binary("ringpost-blast"), sink.address, "-z", "4s", "-q", "1500", "-c", "8", "--size", "500..5000"]
        with Child([*load, "--to", "during@example.test"]) as during:
            for number in range(EXPORTS):
                target = tmp_path / f"{number}.mbox"
                ringpost("export", spool, "--format", "mbox", "-o", target)
                ringpost("export", spool, "--format", "jsonl", "-o", tmp_path / f"{number}.jsonl")
                ids = [json.loads(line)["id"] for line in (tmp_path / f"{number}.jsonl").open()]
                assert len(ids) == len(set(ids)) >= before["messages_ok"]
                assert len(mailbox.mbox(target, create=False)) >= before["messages_ok"]
            assert len(ids) > before["messages_ok"], "no load while it was exported"
            # 4: the machine was too busy to keep the schedule, which matters to nobody here.
            assert during.wait() in (0, 4)
        sink.stop()
    messages = {message.id: message for message in read_spool(spool)}
    for number in range(EXPORTS):
        found = {}
        for line in (tmp_path / f"{number}.jsonl").open():
            one = json.loads(line)
            found[one["id"]] = one["message"].encode()
        for name, octets in found.items():
            check_octets(octets, messages[name].body, name)
        first = {name for name, one in messages.items() if one.meta["recipients"][0][0].startswith("before")}
        assert len(first) == before["messages_ok"] and first <= found.keys()


def test_an_interrupted_export_leaves_no_file_under_its_name(kept, tmp_path):
    """Killed at any moment, it has put nothing where a reader would look."""
    spool, messages = kept
    for wait_s in (0, 0.001, 0.003, 0.01, 0.03):
        for format in ("mbox", "eml"):
            target = tmp_path / f"{format}-{wait_s}"
            command = [binary("ringpost"), "spool", "export", str(spool), "--format", format, "-o", str(target)]
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
                try:
                    process.wait(wait_s)
                except subprocess.TimeoutExpired:
                    process.kill()
            if format == "mbox" and target.exists():
                assert len(mailbox.mbox(target, create=False)) == len(messages)
            whole = {message.id: message for message in messages}
            for path in target.glob("*.eml") if format == "eml" else ():
                check_delivered_loosely(path.read_bytes(), whole[path.stem])


def test_a_signal_takes_away_what_is_not_complete(engine, tmp_path):
    with Sink(engine, tmp_path / "spool", "--cores", "1") as sink:
        blast(sink.address, "-n", "60000", "-c", "4", "--chunking", "--depth", "32")
        sink.stop()
    for name, number in (("a.mbox", signal.SIGINT), ("b.mbox", signal.SIGTERM)):
        command = ["spool", "export", tmp_path / "spool", "--format", "mbox", "-o", tmp_path / name]
        with Child([binary("ringpost"), *command]) as export:
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob(".ringpost-export-*")):
                assert time.monotonic() < deadline and export.process.poll() is None, export.stderr
            export.process.send_signal(number)
            assert export.wait() == 128 + number and "stopped by a signal" in export.stderr, export.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["spool"]
