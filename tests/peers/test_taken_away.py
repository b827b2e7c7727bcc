"""Somebody removes, moves away or replaces the segment that a loaded sink writes. The sink must notice, say
once what happened and how many messages it had acknowledged there, acknowledge nothing more from it, and go
on in another segment. Nothing else is lost.
"""

import json
import os
import re
import shutil
import signal
import time

import pytest
from harness import END_S, Sink, deliver, examine
from ledger import Ledger, told
from sender import Load
from test_truncated import SEED, last_accepted, place

pytestmark = pytest.mark.alone


def remove(path, _aside):
    path.unlink()


def move(path, aside):
    path.rename(aside / path.name)


def move_over(path, aside):
    other = aside / "other"
    other.write_bytes(b"of another program")
    other.rename(path)


def replace(path, aside):
    """As an editor does, or `sed -i`."""
    copy = aside / "copy"
    shutil.copyfile(path, copy)
    copy.rename(path)


WAYS = {
    "was removed": remove,
    "was moved away": move,
    "was replaced": move_over,
    "was replaced by another file": replace,
}


def messages_told(sink, spool, number):
    """How many the one line about this segment says there were."""
    lines = [line for line in sink.stderr.splitlines() if f"c000-{number:08}.seg: was" in line]
    assert len(lines) == 1 and "while it was written" in lines[0], sink.stderr
    return int(re.search(r"the (\d+) messages? acknowledged in it", lines[0])[1])


@pytest.mark.parametrize("durability", ["process", "sync"])
def test_a_live_segment_is_taken_away_under_load(engine, durability, spool, tmp_path):
    aside, ledger, taken = tmp_path / "aside", Ledger(tmp_path / "ledger"), {}
    aside.mkdir()
    options = ["--cores", "1", "--spool-limit", "2GiB", "--durability", durability]
    with Sink(engine, spool, *options, "--segment-size", "64MiB") as sink:
        load = Load(sink, ledger, b"taken", SEED)
        load.go()
        for what, take in WAYS.items():
            settled = last_accepted(load)[0]
            load.wait_until("a young segment", lambda: last_accepted(load)[0] > settled)
            # The sink stands still meanwhile: it could leave the segment while this copies it.
            sink.process.send_signal(signal.SIGSTOP)
            try:
                number = last_accepted(load)[0]
                path = spool / f"c000-{number:08}.seg"
                take(path, aside)
            finally:
                sink.process.send_signal(signal.SIGCONT)
            sink.wait_for_line(f"ringpost-sink: {path}: {what}")
            noticed = time.monotonic()
            load.wait_until(f"mail again after it {what}", lambda: last_accepted(load)[0] > number)
            taken[number] = (take, noticed)
        replies = {refusal.reply[:9] for refusal in load.stop()}
        sink.terminate()
        assert sink.wait(2 * END_S) == 74, f"{sink}: {sink.stderr}"
    assert replies <= {"451 4.3.0"}, replies
    accepted = [a for sender in load.senders for a in sender.accepted]
    late = [a for a in accepted if (at := place(a.queue_id)[0]) in taken and a.ended > taken[at][1]]
    assert not late, f"acknowledged from a segment that was known to be gone: {late}"

    counts = {number: sum(place(a.queue_id)[0] == number for a in accepted) for number in taken}
    assert {number: messages_told(sink, spool, number) for number in taken} == counts
    [core] = json.loads(sink.stdout)["cores"]
    assert core["spool"]["removed"] == len(taken) and core["spool"]["removed_messages"] == sum(counts.values())

    # What was only moved is all there, and the copy is as old as it is.
    for number, (take, _) in taken.items():
        name = f"c000-{number:08}.seg"
        if take is move:
            os.replace(aside / name, spool / name)
        elif take is move_over:
            (spool / name).unlink()
    messages, report = examine(spool)
    gone = {number for number, (take, _) in taken.items() if take is not move}
    verdict = told(f"{engine}, {durability}", ledger.verdict(messages, lambda id: place(id)[0] in gone))
    assert not any(verdict[name] for name in ("lost", "dup", "corrupt")), f"{verdict}, {report.damage}"
    # A copy may hold messages that waited for their sync and got 451.
    acknowledged = set(ledger.acknowledged().values())
    copied = sum(place(message.id)[0] in gone and message.id in acknowledged for message in messages)
    assert verdict["recycled"] + copied == sum(counts[number] for number in gone)
    with Sink(engine, spool, *options) as sink:
        deliver(sink, 50)
        assert sink.stop()["messages"] == 50


@pytest.mark.parametrize("durability", ["process", "sync"])
def test_a_segment_removed_while_nobody_sends_is_noticed_and_costs_no_other_message(engine, durability, spool):
    with Sink(engine, spool, "--cores", "1", "--durability", durability) as sink:
        for take in range(3):
            deliver(sink, 20)
            number = max(place(message.id)[0] for message in examine(spool)[0])
            path = spool / f"c000-{number:08}.seg"
            path.unlink()
            sink.wait_for_line(f"ringpost-sink: {path}: was removed while it was written: the 20 messages")
        deliver(sink, 20)
        sink.terminate()
        assert sink.wait() == 74 and '"messages":80' in sink.stdout, f"{sink.stdout}: {sink.stderr}"
    assert len(examine(spool)[0]) == 20


def test_a_spool_that_is_moved_away_as_a_whole_takes_no_mail(engine, spool, tmp_path):
    """Nobody would find it there."""
    with Sink(engine, spool, "--cores", "1") as sink:
        deliver(sink, 20)
        spool.rename(tmp_path / "elsewhere")
        sink.wait_for_line(f"ringpost-sink: {spool}/c000-")
        assert "was moved away while it was written: the 20 messages" in sink.stderr
        (tmp_path / "elsewhere").rename(spool)
        load = Load(sink, Ledger(tmp_path / "ledger"), b"back", SEED)
        load.go()
        load.stop()
        sink.terminate()
        assert sink.wait() == 74, sink.stderr
