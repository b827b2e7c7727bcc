"""kill -9 in the middle of load: nothing that was acknowledged is lost, nothing half-written is shown."""

import os
import random
import time

from harness import Sink, deliver, read_spool, verify
from ledger import Client, Ledger

KILLS = int(os.environ.get("RINGPOST_KILLS", "20"))
SEED = int(os.environ.get("RINGPOST_SEED", "1"))
KILLS_PER_SPOOL = 5
CLIENTS = 8


def one_life(engine, spool, ledger, life, rng):
    """Starts the sink on the spool, loads it, kills it at a random moment."""
    with Sink(engine, spool, "--segment-size", "16MiB") as sink:
        clients = [Client(sink.port, ledger, b"%d-%d" % (life, i), rng.random()) for i in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(rng.uniform(0.02, 0.7))
        sink.kill()
        for client in clients:
            client.join(30)
            assert not client.is_alive()
            assert client.failure is None, client.failure


def check(spool, ledger, text):
    verdict = ledger.verdict(read_spool(spool))
    print(f"{text}: " + " ".join(f"{name} {count}" for name, count in verdict.items()))
    wrong = {name: verdict[name] for name in ("lost", "dup", "corrupt", "misnamed")}
    assert not any(wrong.values()), f"{text}, seed {SEED}: {verdict}"
    return verdict


def test_acknowledged_messages_survive_kill_9(engine, tmp_path):
    rng = random.Random(SEED)
    acknowledged = 0
    for first in range(0, KILLS, KILLS_PER_SPOOL):
        spool, ledger = tmp_path / f"spool-{first}", Ledger()
        for life in range(first, min(first + KILLS_PER_SPOOL, KILLS)):
            one_life(engine, spool, ledger, life, rng)
            # Once as the crash left it, then again after the next life has recovered it.
            check(spool, ledger, f"kill {life + 1}")
        before = len(read_spool(spool))
        with Sink(engine, spool) as sink:
            deliver(sink, 1000)
            sink.stop()
        verify(spool)
        assert len(read_spool(spool)) == before + 1000
        acknowledged += len(ledger.acknowledged)
    assert acknowledged > KILLS * 20, f"only {acknowledged} messages were acknowledged: no load"
