"""`ringpost spool ls`, `stat` and `export` pick the messages that a naive filter over the independent
reader picks."""

import email.header
import json
import random
import re
import smtplib
from datetime import datetime, timezone

import pytest
from harness import Sink, binary, blast, read_spool, run

SEED = 7
DOMAINS = ["one.test", "two.test", "sub.two.test", "Three.TEST"]
SUBJECTS = {
    "plain words": "plain words",
    "=?utf-8?q?Z=C3=BCrich_hbf?=": "zürich hbf",
    "=?iso-8859-1?b?WvxyaWNo?=": "zürich",
    "folded\r\n over lines": "folded over lines",
    "": "",
}


@pytest.fixture(scope="module")
def spool(tmp_path_factory):
    spool = tmp_path_factory.mktemp("pick") / "spool"
    rng = random.Random(SEED)
    with Sink("auto", spool, "--cores", "2", "--bare-newline", "keep", "--keep", "three.test=headers") as sink:
        for _ in range(6):
            with smtplib.SMTP("127.0.0.1", sink.port, timeout=30) as client:
                client.ehlo()
                for _ in range(60):
                    sender = rng.choice(["", "a@one.test", "A@two.TEST", "x@sub.two.test"])
                    to = [f"u{rng.randrange(3)}@{rng.choice(DOMAINS)}" for _ in range(rng.randrange(1, 4))]
                    subject = rng.choice(list(SUBJECTS))
                    text = rng.choice([b"x", b"\xe4", b"\0", b"a\nb"]) * rng.randrange(3000)
                    client.mail(sender, ["BODY=8BITMIME"])
                    for one in to:
                        client.rcpt(one)
                    header = f"Subject: {subject}\r\n" if subject else ""
                    code, reply = client.data(header.encode() + b"From: x@y\r\n\r\n" + text + b"\r\n")
                    assert code == 250, reply
        for _ in range(2):
            blast(sink.address, "-n", "50", "-c", "2", "--size", "600", "--chunking")
        sink.stop()
    messages = read_spool(spool)
    runs = sorted({run_id(message) for message in messages} - {None})
    assert len(runs) == 2
    return spool, messages, runs


def ids(spool, *options):
    done = run([binary("ringpost"), "spool", "ls", spool, "--json", *options])
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def domain(path):
    return path.rpartition("@")[2].lower() if "@" in path else None


def paths(message):
    return [path for path, _ in message.meta["recipients"]]


def sent(message):
    return message.meta.get("sent_bytes", len(message.body))


def subject(message):
    head = message.body.split(b"\r\n\r\n")[0].decode("latin-1")
    found = re.search(r"^Subject: ?([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", head, re.M)
    if not found:
        return ""
    parts = email.header.decode_header(found[1].replace("\r\n", "").strip())
    return str(email.header.make_header(parts)).lower()


def run_id(message):
    found = re.search(rb"^X-Ringpost: v2 run=([0-9a-f]{16}) ", message.body, re.M)
    return found and found[1].decode()


def rfc3339(ns):
    return datetime.fromtimestamp(ns // 10**9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ns % 10**9:09d}Z"


def test_every_filter_picks_what_the_naive_one_picks(spool):
    directory, messages, runs = spool
    times = sorted(message.meta["received_ns"] for message in messages)
    early, late = times[len(times) // 3], times[2 * len(times) // 3]
    cases = [
        (["--from", "a@one.test"], lambda m: m.meta["reverse_path"] == "a@one.test"),
        (["--from", "two.test"], lambda m: domain(m.meta["reverse_path"]) == "two.test"),
        (["--from", "<>"], lambda m: m.meta["reverse_path"] == ""),
        (
            ["--from", "<>", "--from", "@ONE.test"],
            lambda m: m.meta["reverse_path"] == "" or domain(m.meta["reverse_path"]) == "one.test",
        ),
        (["--to", "u1@two.test"], lambda m: "u1@two.test" in paths(m)),
        (["--to", ".two.test"], lambda m: any(domain(p) == "sub.two.test" for p in paths(m))),
        (["--to", "three.test"], lambda m: any(domain(p) == "three.test" for p in paths(m))),
        (["--size", "1000..2000"], lambda m: 1000 <= sent(m) <= 2000),
        (["--size", "2k.."], lambda m: sent(m) >= 2048),
        (["--size", "..500"], lambda m: sent(m) <= 500),
        (["--since", rfc3339(early)], lambda m: m.meta["received_ns"] >= early),
        (["--until", rfc3339(early)], lambda m: m.meta["received_ns"] < early),
        (
            ["--since", rfc3339(early), "--until", rfc3339(late)],
            lambda m: early <= m.meta["received_ns"] < late,
        ),
        (["--since", "1h"], lambda m: True),
        (["--until", "1h"], lambda m: False),
        (["--subject", "ZÜRICH"], lambda m: "zürich" in subject(m)),
        (["--subject", "folded over"], lambda m: "folded over" in subject(m)),
        (["--subject", "measure"], lambda m: run_id(m) is not None),
        (["--run", runs[0]], lambda m: run_id(m) == runs[0]),
        (["--run", runs[1], "--flag", "bdat"], lambda m: run_id(m) == runs[1]),
        (["--flag", "8bit"], lambda m: "8bit" in m.meta["flags"]),
        (["--flag", "nul,headers-only"], lambda m: {"nul", "headers-only"} <= set(m.meta["flags"])),
        (["--no-flag", "bdat,8bit"], lambda m: not {"bdat", "8bit"} & set(m.meta["flags"])),
        (
            ["--from", "two.test", "--to", "one.test", "--size", "..2000", "--no-flag", "nul", "--subject", "i"],
            lambda m: domain(m.meta["reverse_path"]) == "two.test"
            and any(domain(p) == "one.test" for p in paths(m))
            and sent(m) <= 2000
            and "nul" not in m.meta["flags"]
            and "i" in subject(m),
        ),
    ]
    trivial = 0
    for options, wanted in cases:
        expected = {message.id for message in messages if wanted(message)}
        trivial += len(expected) in (0, len(messages))
        found = ids(directory, *options)
        assert len(found) == len(set(found))
        assert set(found) == expected, options
        statistics = json.loads(run([binary("ringpost"), "spool", "stat", directory, "--json", *options]).stdout)
        assert statistics["messages"] == len(expected)
    assert trivial == 2, "a filter that takes all or nothing proves little"


@pytest.mark.parametrize("command", [["ls"], ["stat"], ["export", "--format", "jsonl", "-o", "-"]], ids=lambda c: c[0])
@pytest.mark.parametrize(("since", "until"), [("2026-02-01", "2026-01-01"), ("1m", "10m"), ("2026-01-01", "2026-01-01")])
def test_a_span_that_ends_before_it_begins_is_a_usage_error(command, since, until, tmp_path):
    done = run([binary("ringpost"), "spool", *command, "--since", since, "--until", until, tmp_path], check=False)
    assert done.returncode == 64 and "exchange the two" in done.stderr, done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1


def test_messages_come_in_the_order_of_time_whatever_the_core(spool):
    directory, messages, _ = spool
    assert len({message.id.split("-")[0] for message in messages}) == 2, "one core took everything"
    order = sorted(messages, key=lambda m: (m.meta["sealed_ns"], int(m.id.split("-")[0])))
    expected = [message.id for message in order]
    assert ids(directory) == expected
    assert ids(directory, "--reverse") == expected[::-1]
    assert ids(directory, "--reverse", "-n", "5") == expected[: -6 : -1]
    newest = [name for name in expected[::-1] if name in set(ids(directory, "--to", "one.test"))]
    assert ids(directory, "--reverse", "-n", "3", "--to", "one.test") == newest[:3]


def test_stat_counts_what_is_there(spool):
    directory, messages, _ = spool
    found = json.loads(run([binary("ringpost"), "spool", "stat", directory, "--json", "--top", "2"]).stdout)
    assert found["messages"] == len(messages)
    assert found["bytes"] == sum(len(message.body) for message in messages)
    assert sum(slot["messages"] for slot in found["rate"]) == len(messages)
    counts = {}
    for message in messages:
        name = domain(message.meta["reverse_path"]) or "<>"
        counts[name] = counts.get(name, 0) + 1
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    others = sum(count for _, count in top[2:])
    expected = [{"name": name, "count": count} for name, count in [*top[:2], ("others", others)]]
    assert found["senders"] == expected
    for flag in ("8bit", "nul", "bdat", "headers-only"):
        assert found["flags"][flag] == sum(flag in message.meta["flags"] for message in messages)
    sizes = sorted(map(sent, messages))
    assert abs(found["sizes"]["p50"] - sizes[len(sizes) // 2]) <= sizes[len(sizes) // 2] * 0.01 + 1
    assert abs(found["sizes"]["max"] - sizes[-1]) <= sizes[-1] * 0.001 + 1
    text = run([binary("ringpost"), "spool", "stat", directory]).stdout
    assert f"messages   {len(messages):,}\n" in text and "\nrate       " in text and "█" in text


def test_cat_shows_headers_and_envelope(spool):
    directory, messages, _ = spool
    for message in messages[:: len(messages) // 10]:
        head = message.body[: message.body.index(b"\r\n\r\n") + 4].decode("latin-1")
        shown = run([binary("ringpost"), "spool", "cat", directory, message.id, "--headers"], encoding="latin-1")
        assert shown.stdout == head.replace("\r\n", "\n")
        envelope = json.loads(run([binary("ringpost"), "spool", "cat", directory, message.id, "--envelope"]).stdout)
        assert [to["path"] for to in envelope["to"]] == paths(message)
        assert envelope["sent_bytes"] == sent(message)
