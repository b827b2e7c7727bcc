"""Somebody cuts a segment that a loaded sink writes through its map, and maybe makes it longer again. The
sink must live, say so once, acknowledge nothing more from it, and go on in another segment. What was
acknowledged before and lay below the cut is there, what was refused is not, and what is missing shows.
"""

import os
import random
import time

import pytest
from harness import END_S, Sink, deliver, examine
from ledger import Ledger, told
from sender import Load

pytestmark = pytest.mark.alone
SEED = int(os.environ.get("RINGPOST_SEED", "1"))
SEGMENT_BYTES = 32 << 20
AFTER_S = 1.0
# Where to cut, by where the log of the live segment ends.
CUTS = {
    "to nothing": lambda end: 0,
    "inside of the header": lambda end: 40,
    "to whole pages": lambda end: end // 2 & ~4095,
    "inside of a page": lambda end: end // 2 | 77,
    "in the page that is written": lambda end: end - 1,
    "ahead of the log": lambda end: SEGMENT_BYTES - (1 << 20),
    "by an octet": lambda end: SEGMENT_BYTES - 1,
}


def place(queue_id):
    _, segment, offset = map(int, queue_id.split("-"))
    return segment, offset


def last_accepted(load):
    return max(place(sender.accepted[-1].queue_id) for sender in load.senders)


def cut_live_segment(spool, load, where, again):
    """(number of the segment, octets left of it, when)"""
    settled = last_accepted(load)[0]
    load.wait_until("a young segment", lambda: last_accepted(load)[0] > settled)
    number, end = last_accepted(load)
    left = where(end)
    path = spool / f"c000-{number:08}.seg"
    os.truncate(path, left)
    when = time.monotonic()
    if again:
        os.truncate(path, SEGMENT_BYTES)
    return number, left, when


def check(spool, load, ledger, cuts, text):
    accepted = [accepted for sender in load.senders for accepted in sender.accepted]
    late = [a for a in accepted for number, left, when in cuts
            if place(a.queue_id)[0] == number and a.ended > when]
    assert not late, f"{text}: acknowledged from a segment that was cut: {late}"
    left_of = {number: left for number, left, _ in cuts}
    places = sorted(place(a.queue_id) for a in accepted)
    next_place = dict(zip(places, places[1:]))

    def may_be_lost(queue_id):
        number, offset = place(queue_id)
        after = next_place.get((number, offset), (number + 1, 0))
        end = after[1] if after[0] == number else SEGMENT_BYTES
        # A message that ended here may have begun in the segment before it.
        return number in left_of and end > left_of[number] or number - 1 in left_of and offset < 1 << 20

    messages, report = examine(spool)
    verdict = told(text, ledger.verdict(messages, may_be_lost))
    assert not any(verdict[name] for name in ("lost", "dup", "corrupt")), f"{text}: {verdict}, {report.damage}"
    acknowledged = set(ledger.acknowledged().values())
    refused = [message.id for message in messages if message.id not in acknowledged]
    assert not refused, f"{text}: refused, and in the spool: {refused}"
    return verdict


@pytest.mark.parametrize("again", [False, True], ids=["cut", "cut-and-longer-again"])
@pytest.mark.parametrize("durability", ["process", "sync"])
def test_a_live_segment_is_cut_under_load(engine, durability, again, spool, tmp_path):
    ledger, cuts = Ledger(tmp_path / "ledger"), []
    options = ["--cores", "1", "--spool-limit", "2GiB", "--durability", durability]
    with Sink(engine, spool, *options, "--segment-size", "32MiB") as sink:
        load = Load(sink, ledger, b"cut", SEED)
        load.go()
        for name, where in CUTS.items():
            number, left, when = cut_live_segment(spool, load, where, again)
            cuts.append((number, left, when))
            load.wait_until(f"a new segment after a cut {name}", lambda: last_accepted(load)[0] > number)
            assert sink.process.poll() is None, f"{name}: {sink} died: {sink.stderr}"
        time.sleep(AFTER_S)
        replies = {refusal.reply[:9] for refusal in load.stop()}
        sink.terminate()
        status = sink.wait(2 * END_S)
    assert status == 74, f"{sink} ended with {status}: {sink.stderr}"
    assert replies <= {"451 4.3.0"}, replies
    for number, left, _ in cuts:
        lines = [line for line in sink.stderr.splitlines() if f"-{number:08}.seg: was cut" in line]
        # It may be met in between.
        said = f"to {left} of {SEGMENT_BYTES} bytes" in lines[0] or again and "made longer again" in lines[0]
        assert len(lines) == 1 and said, sink.stderr
    verdict = check(spool, load, ledger, cuts, f"{engine}, {durability}, {len(cuts)} cuts, {again=}")
    assert verdict["acked"] > 100
    with Sink(engine, spool, *options) as sink:
        deliver(sink, 50)
        assert sink.stop()["messages"] == 50


@pytest.mark.parametrize("durability", ["process", "sync"])
def test_a_segment_cut_while_nobody_sends_costs_no_message(engine, durability, spool):
    rng = random.Random(SEED)
    with Sink(engine, spool, "--cores", "1", "--durability", durability) as sink:
        for _ in range(6):
            deliver(sink, 20)
            number = max(place(message.id)[0] for message in examine(spool)[0])
            os.truncate(spool / f"c000-{number:08}.seg", rng.randrange(SEGMENT_BYTES - 4096))
        deliver(sink, 20)
        sink.terminate()
        status = sink.wait()
        assert status == 74 and '"messages":140' in sink.stdout, f"{status}: {sink.stderr}"
    assert sink.stderr.count("was cut from outside") == 6, sink.stderr
