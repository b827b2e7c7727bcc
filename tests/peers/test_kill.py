"""kill -9 in the middle of load: nothing that was acknowledged is lost, nothing half-written is shown."""

import os
import random
import time

from harness import Sink, deliver, examine, verify
from ledger import WRONGS, Ledger, join, nothing, recycled_by_right, start_clients, told

KILLS = int(os.environ.get("RINGPOST_KILLS", "200"))
SEED = int(os.environ.get("RINGPOST_SEED", "1"))
KILLS_PER_SPOOL = 5
ROOMY = ["--segment-size", "16MiB"]
# Segments are recycled all the time.
RING = ["--segment-size", "4MiB", "--spool-limit", "12MiB", "--cores", "1"]


def one_life(engine, spool, room, ledger, life, rng):
    """Starts the sink on the spool, loads it, kills it at a random moment."""
    with Sink(engine, spool, *room) as sink:
        clients = start_clients(sink, ledger, b"%d" % life, rng)
        time.sleep(rng.uniform(0, 0.25))
        sink.kill()
        join(clients)


def check(spool, room, ledger, text):
    """The messages found; not even after a crash is anything damaged, since what was half-written is
    not committed."""
    messages, report = examine(spool)
    assert report.damage == [], f"{text}, seed {SEED}: {report.damage}"
    recycled = recycled_by_right(spool, report) if room is RING else nothing
    verdict = told(text, ledger.verdict(messages, recycled))
    wrong = {name: verdict[name] for name in WRONGS}
    assert not any(wrong.values()), f"{text}, seed {SEED}: {verdict}"
    return messages


def test_acknowledged_messages_survive_kill_9(engine, tmp_path):
    rng = random.Random(SEED)
    # The two engines share the kills.
    kills = -(-KILLS // 2)
    for first in range(0, kills, KILLS_PER_SPOOL):
        room = RING if first // KILLS_PER_SPOOL % 3 == 2 else ROOMY
        spool, ledger = tmp_path / f"spool-{first}", Ledger(tmp_path / f"ledger-{first}")
        for life in range(first, min(first + KILLS_PER_SPOOL, kills)):
            one_life(engine, spool, room, ledger, life, rng)
            # Once as the crash left it, then again after the next life has recovered it.
            found = check(spool, room, ledger, f"kill {life + 1}")
        with Sink(engine, spool, *room) as sink:
            deliver(sink, 1000)
            sink.stop()
        verify(spool)
        shown = {message.id for message in examine(spool)[0]}
        assert room is RING or shown.issuperset(message.id for message in found)
        assert room is RING or len(shown) == len(found) + 1000
