"""What the generator sends is what it was given: mail kept by other programs, templates, one seed."""

import collections
import email
import mailbox
import re

import pytest
from aiosmtpd.controller import Controller
from crc32c import crc32c
from harness import BODIES, HEAD, Sink, SmtpSink, binary, blast, check_octets, free_port, read_spool, run

STAMP = re.compile(rb"\AX-Ringpost: v2 run=([0-9a-f]{16}) shard=\d+ core=(\d+) conn=\d+ seq=(\d+) due=(\d+) size=(\d+) crc=([0-9a-f]{8}) hcrc=[0-9a-f]{8}\r\n")
FILES = {
    "plain": HEAD + b"one line\r\n",
    "from": HEAD + b"first\r\n\r\nFrom here on it is text\r\n>From there too\r\n",
    "dots": BODIES["dots"],
    "eight bit": BODIES["eight bit"],
    "brace": HEAD + b"<style>b{margin:0}</style> {seq}\r\n",
}


def text_of(message):
    """A message without its stamp, which is checked."""
    stamp = STAMP.match(message.body)
    assert stamp, message.body[:200]
    body = message.body.partition(b"\r\n\r\n")[2]
    assert (int(stamp[5]), int(stamp[6], 16)) == (len(body), crc32c(body))
    return message.body[stamp.end() :]


def sent_to_spool(engine, spool, *options):
    with Sink(engine, spool, "--bare-newline", "keep") as sink:
        report = blast(sink.address, "-c", "2", "--io", engine, *options)
        assert report["messages_failed"] == 0, report["replies"]
        sink.stop()
    return read_spool(spool)


def mbox(path):
    box = mailbox.mbox(path)
    for octets in FILES.values():
        box.add(mailbox.mboxMessage(email.message_from_bytes(octets.replace(b"\r\n", b"\n"))))
    box.close()


def maildir(path):
    box = mailbox.Maildir(path)
    for octets in FILES.values():
        box.add(octets.replace(b"\r\n", b"\n"))
    box.close()


def directory(path):
    path.mkdir()
    for name, octets in FILES.items():
        (path / f"{name}.eml").write_bytes(octets)


@pytest.mark.parametrize("make", [mbox, maildir, directory], ids=lambda make: make.__name__)
def test_kept_mail_arrives_as_python_wrote_it(engine, make, tmp_path, spool):
    make(tmp_path / "corpus")
    messages = sent_to_spool(engine, spool, "--corpus", tmp_path / "corpus", "-n", "200")
    arrived = collections.Counter(text_of(message) for message in messages)
    expected = set(FILES.values())
    if make is mbox:
        # A reader cannot know who put the sign there; it takes one away, as mboxrd means it.
        expected = {octets.replace(b"\r\n>From", b"\r\nFrom") for octets in expected}
    assert len(messages) == 200
    assert set(arrived) == expected
    assert min(arrived.values()) > 10


def test_a_spool_is_sent_again_with_its_envelopes(engine, tmp_path, spool):
    first = tmp_path / "first"
    whole = ["20 MiB", "line of 1 MiB", "no newline at the end", "dots", "empty"]
    with Sink(engine, first) as sink:
        for n, name in enumerate(whole):
            (tmp_path / "body").write_bytes(BODIES[name])
            options = ["--from", f"{n}@from.example", "--to", f"{n}+@to.example", "--recipients", "2"]
            blast(sink.address, "--corpus", tmp_path / "body", "-n", "1", "-c", "1", *options)
        sink.stop()
    kept = {message.body: message for message in read_spool(first)}
    assert len(kept) == len(whole)
    again = sent_to_spool(engine, spool, "--corpus", first, "--recorded-envelopes", "-n", "60", "--chunking")
    found = set()
    for message in again:
        text = text_of(message)
        assert text in kept, text[:300]
        for field in ("reverse_path", "recipients"):
            assert message.meta[field] == kept[text].meta[field]
        found.add(text)
    assert found == set(kept)


def test_one_seed_makes_one_run(engine, tmp_path):
    (tmp_path / "who.csv").write_text("user,name\nada,Ada L.\nbob,Bob\n")
    shape = ["-n", "600", "--size", "lognormal:700,p99=20KiB", "--recipients", "1:3,4:1", "--csv", tmp_path / "who.csv"]
    shape += ["--to", "{csv.user}+{rand}@to.example:3", "--to", "x{seq:4}@to.example", "--subject", "{csv.name} {rand:20}"]

    def messages(name, seed):
        run_of = {}
        for message in sent_to_spool(engine, tmp_path / name, *shape, "--seed", seed):
            stamp = STAMP.match(message.body)
            text = message.body.replace(stamp[1], b"RUN").replace(stamp[4], b"DUE")
            text = re.sub(rb"\nDate: [^\r]*", b"\nDate: NOW", text)
            # Which connection takes a message depends on time; the header's checksum depends on run and date.
            text = re.sub(rb" (conn|hcrc)=\w+", rb" \1=", text, count=2)
            run_of[stamp[2], stamp[3]] = (text, tuple(message.meta["recipients"]), message.meta["reverse_path"])
        assert len(run_of) == 600
        return run_of

    one = messages("one", "5")
    assert one == messages("two", "5")
    other = messages("three", "6")
    assert all(one[key] != other[key] for key in one)


class Keeping:
    def __init__(self):
        self.envelopes = []

    async def handle_DATA(self, server, session, envelope):
        self.envelopes.append(envelope)
        return "250 2.0.0 Ok"


def test_templates_as_aiosmtpd_reads_them(tmp_path):
    (tmp_path / "who.csv").write_text('user,"First Name"\nada,Ada\nbob,"Bob, B."\n')
    (tmp_path / "body").write_text("To: {rcpt}\nFrom: {from}\nDate: {date}\n\n.Dear {csv.First Name},\n{seq:6}{{}\n{rand:64}\n")
    handler = Keeping()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        report = blast(
            f"127.0.0.1:{controller.port}", "-n", "50", "-c", "2", "--csv", tmp_path / "who.csv", "--body", tmp_path / "body",
            "--to", "{csv.user}{seq:3}@to.example", "--from", "b-{rcpt}", "--subject", "to {csv.First Name}",
        )  # fmt: skip
    finally:
        controller.stop()
    assert report["messages_ok"] == 50
    numbers, names, texts = set(), collections.Counter(), set()
    for envelope in handler.envelopes:
        message = email.message_from_bytes(envelope.original_content)
        (recipient,) = envelope.rcpt_tos
        user, number = re.fullmatch(r"(ada|bob)(\d{3})@to\.example", recipient).groups()
        name = {"ada": "Ada", "bob": "Bob, B."}[user]
        assert envelope.mail_from == f"b-{recipient}" == message["From"]
        assert (message["To"], message["Subject"]) == (recipient, f"to {name}")
        assert email.utils.parsedate_to_datetime(message["Date"])
        lines = message.get_payload().splitlines()
        assert lines[:2] == [f".Dear {name},", f"000{number}{{}}"]
        numbers.add(number)
        names[user] += 1
        texts.add(lines[2])
    assert numbers == {f"{n:03}" for n in range(1, 51)}
    assert len(texts) == 50 and min(names.values()) > 10


def test_lists_and_weights_against_smtp_sink(tmp_path):
    (tmp_path / "list").write_text("# who\na@to.example:3\n\nb@to.example\n")
    with SmtpSink() as sink:
        sent = blast(sink.address, "-n", "2000", "-c", "4", "--to-file", tmp_path / "list", "--size", "1KiB:9,100KiB:1")
        sink.terminate()
        sink.wait()
        assert sink.messages() == sent["messages_ok"] == 2000
    mean = sent["bytes"] / 2000
    assert 0.7 < mean / (1024 * 0.9 + 102400 * 0.1) < 1.3


def test_weights_of_a_list_are_met(engine, tmp_path, spool):
    (tmp_path / "list").write_text("# who\na@to.example:3\n\nb@to.example\n")
    messages = sent_to_spool(engine, spool, "-n", "4000", "--to-file", tmp_path / "list", "--to-domain", "x.example:9", "--to-domain", "y.example")
    found = collections.Counter(message.meta["recipients"][0][0] for message in messages)
    for address, share in {"a@x.example": 0.675, "b@x.example": 0.225, "a@y.example": 0.075, "b@y.example": 0.025}.items():
        assert abs(found[address] / 4000 - share) < 0.025, found


@pytest.mark.parametrize(
    ("files", "options", "says"),
    [
        ({"w.csv": 'user\nada\n"bob\r\nRCPT TO:<x@y>"\n'}, ["--csv", "w.csv", "--to", "{csv.user}@to.example"], "w.csv line 3, column 'user' holds a CR, LF or NUL"),
        ({"w.csv": "user\nada\nb b\n"}, ["--csv", "w.csv", "--to", "{csv.user}@to.example"], "--to (w.csv line 3) gives 'b b@to.example'"),
        ({"w.csv": "user\na\0b\n"}, ["--csv", "w.csv", "--subject", "{csv.user}"], "w.csv line 2, column 'user' holds a CR, LF or NUL"),
        ({"list": "a@to.example\nb\0@to.example\n"}, ["--to-file", "list"], "list line 2 holds a CR, LF or NUL"),
        ({"list": "<a@to.example>\n"}, ["--from-file", "list"], "list line 1 gives '<a@to.example>'"),
        ({"w.csv": "user\nada\n"}, ["--csv", "w.csv", "--to", "{csv.name}"], "no column 'name'; it has user"),
        ({"w.csv": "user,name\nada\n"}, ["--csv", "w.csv"], "w.csv is no CSV file"),
        ({}, ["--to", "{csv.user}"], "needs --csv"),
        ({}, ["--subject", "{nonsense}"], "there is no {nonsense}"),
        ({}, ["--to", "{from}"], "{from} is not known here"),
        ({"body": "a\n\n{margin:0}\n"}, ["--body", "body"], "body: there is no {margin:0}"),
        ({"mail": "a\n\nb\n"}, ["--corpus", "mail", "--recorded-envelopes"], "mail is no spool"),
        ({"mail": "a\n\nb\n" * 1000}, ["--corpus", "mail", "--corpus-memory", "4k"], "mail holds more than 4096 octets"),
        ({}, ["--size", "1MiB..2MiB", "--corpus-memory", "4MiB"], "raise --corpus-memory"),
        ({}, ["--header", "no colon"], "is no header line"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_before_anything_is_opened(files, options, says, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    done = run([binary("ringpost-blast"), f"127.0.0.1:{free_port()}", "-n", "1", *options], check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") <= 2, done.stderr


def test_connections_come_from_every_source(engine, spool):
    messages = sent_to_spool(engine, spool, "-n", "200", "--per-connection", "1", "--close", "rst", "--source", "127.1.0.0/29", "--source", "127.9.9.9")
    peers = collections.Counter(message.meta["peer"].rpartition(":")[0] for message in messages)
    assert len(messages) == 200
    assert set(peers) == {"127.9.9.9", *(f"127.1.0.{n}" for n in range(1, 7))}, peers
