"""The power goes in the middle of load: ext4 on a loop device is shut down with nothing flushed, and
mounted again.

Under --durability sync every acknowledged message is there, each time. Under process any may be lost,
and still none is shown that was not sent, or not as it was sent; nor does opening the spool again take
away what could be read before.
"""

import os
import random
import time

import pytest
from disks import CUT_AFTER_JOURNAL, CUT_AT_ONCE, LoopDisk, write_back_some
from harness import Sink, deliver, examine
from ledger import WRONGS, Ledger, join, nothing, recycled_by_right, start_clients, told

pytestmark = pytest.mark.alone
CUTS = int(os.environ.get("RINGPOST_CUTS", "100"))
SEED = int(os.environ.get("RINGPOST_SEED", "1"))
DISK_BYTES = 256 << 20
# Room for all of the cuts of a disk, or for so little that segments are recycled all the time.
ROOMY = ["--spool-limit", "192MiB"]
RING = ["--spool-limit", "12MiB", "--cores", "1"]
CUTS_PER_DISK = 5
# Durability, room, and how many of ten cuts.
KINDS = {
    "sync": ("sync", ROOMY, 4),
    "sync in a ring": ("sync", RING, 3),
    "process": ("process", ROOMY, 2),
    "process in a ring": ("process", RING, 1),
}


def load_and_cut(disk, sink, spool, ledger, name, rng, scatter):
    clients = start_clients(sink, ledger, name, rng)
    time.sleep(rng.uniform(0, 0.4))
    if scatter:
        write_back_some(spool, rng)
    ledger.closed = True
    disk.cut_power(rng.choice((CUT_AFTER_JOURNAL, CUT_AT_ONCE)))
    sink.kill()
    join(clients)
    ledger.closed = False


class Drill:
    """One disk, its spool, and the power cuts that they live through."""

    def __init__(self, engine, directory, kind, rng):
        self.engine, self.directory, self.kind, self.rng = engine, directory, kind, rng
        self.durability, self.room, _ = KINDS[kind]
        self.ledger = Ledger(directory / "ledger")
        self.shown = set()

    def sink(self, spool):
        return Sink(
            self.engine, spool, "--segment-size", "4MiB", *self.room, "--durability", self.durability
        )

    def run(self, cuts):
        with LoopDisk(self.directory, DISK_BYTES) as disk:
            spool = disk.path / "spool"
            for cut in range(cuts):
                with self.sink(spool) as sink:
                    self.check_opened(spool)
                    scatter = self.durability == "process" or cut % 2 == 0
                    load_and_cut(disk, sink, spool, self.ledger, b"%d" % cut, self.rng, scatter)
                disk.unmount()
                disk.mount()
                self.check(spool, f"{self.kind}, cut {cut + 1}")
            with self.sink(spool) as sink:
                deliver(sink, 200)
                assert sink.stop()["messages"] == 200

    def check_opened(self, spool):
        """Opening the spool again takes nothing away, except that a ring goes round."""
        if self.room is ROOMY:
            gone = self.shown - {message.id for message in examine(spool)[0]}
            assert not gone, f"{self.kind}, seed {SEED}: opening the spool took {gone}"

    def check(self, spool, text):
        messages, report = examine(spool)
        recycled = recycled_by_right(spool, report) if self.room is RING else nothing
        verdict = told(text, self.ledger.verdict(messages, recycled))
        may_lose = ("lost", "misnamed") if self.durability == "process" else ()
        wrong = [name for name in WRONGS if verdict[name] and name not in may_lose]
        assert not wrong, f"{text}, seed {SEED}: {verdict}, {report.damage}"
        self.shown = {message.id for message in messages}


@pytest.mark.parametrize("kind", KINDS)
def test_power_cuts(engine, loop_devices, tmp_path, kind):
    rng = random.Random(SEED)
    # The two engines share the cuts.
    cuts = -(-CUTS * KINDS[kind][2] // 20)
    for first in range(0, cuts, CUTS_PER_DISK):
        directory = tmp_path / f"disk-{first}"
        directory.mkdir()
        drill = Drill(engine, directory, kind, rng)
        drill.run(min(CUTS_PER_DISK, cuts - first))
