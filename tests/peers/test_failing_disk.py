"""The disk fails: ext4 on a loop device whose image stands on a tmpfs that is full. The file system
believes that it has room, and each write that needs a new block of the image fails.

The kernel tells of a failed write-back once, and then says yes to every fsync of the file. So after the
first failed sync its segment gives no 250 any more, and each 250 that was ever given names a message
that is on the device.
"""

import os
import random
import time

import pytest
from disks import LoopDisk, remount, tmpfs
from harness import Sink, examine
from ledger import WRONGS, Ledger, told
from sender import Load

pytestmark = pytest.mark.alone
# For each engine.
RUNS = int(os.environ.get("RINGPOST_FAILING_DISKS", "2"))
SEED = int(os.environ.get("RINGPOST_SEED", "1"))
DISK_BYTES = 256 << 20
# What the image may take of memory, its own tables included.
UNDER_BYTES = (28 << 20, 44 << 20)
AFTER_S = 1.5


def segment_of(queue_id):
    return int(queue_id.split("-")[1])


def fail(sink, ledger, name):
    """Loads the sink until its disk fails, and goes on for a while."""
    load = Load(sink, ledger, name, SEED)
    load.go()
    load.wait_until("a refusal", lambda: any(sender.refusals for sender in load.senders))
    time.sleep(AFTER_S)
    assert sink.process.poll() is None or sink.process.returncode > 0, f"{sink} died: {sink.stderr}"
    refusals = load.stop()
    accepted = [accepted for sender in load.senders for accepted in sender.accepted]
    failed = min((refusal.at for refusal in refusals if "synced" in refusal.reply), default=None)
    if failed is not None:
        before = max(segment_of(accepted.queue_id) for accepted in accepted if accepted.at <= failed)
        # What ended when the failure had been read of.
        late = [a for a in accepted if a.ended > failed and segment_of(a.queue_id) <= before]
        assert not late, f"acknowledged after the failed sync: {late}"
    return {refusal.reply for refusal in refusals}


@pytest.mark.parametrize("errors", ["continue", "remount-ro"])
def test_a_250_is_on_the_device_or_was_not_given(engine, loop_devices, tmp_path, errors):
    rng = random.Random(SEED)
    for run in range(RUNS):
        directory = tmp_path / f"run-{run}"
        under_it = directory / "under"
        under_it.mkdir(parents=True)
        ledger = Ledger(directory / "ledger")
        with tmpfs(under_it, rng.randrange(*UNDER_BYTES)) as under:
            image = under.path / "image"
            with LoopDisk(directory, DISK_BYTES, image, f"loop,errors={errors}") as disk:
                spool = disk.path / "spool"
                # A ring would take segments back when the disk says that it is full.
                room = ["--cores", "1", "--segment-size", "4MiB", "--when-full", "refuse"]
                with Sink(engine, spool, *room, "--durability", "sync") as sink:
                    replies = fail(sink, ledger, b"%d" % run)
                    sink.terminate()
                    status = sink.wait()
                assert status >= 0, f"{sink} died of signal {-status}: {sink.stderr}"
                # Where it is the next segment that the disk has no room for, mail is refused and no more.
                unsynced = "could not be synced" in sink.stderr
                assert status == (74 if unsynced else 0), f"{status}: {sink.stderr}"
                assert unsynced or not any("synced" in reply for reply in replies), replies
                assert {reply[:9] for reply in replies} <= {"451 4.3.0", "452 4.3.1"}, replies
                disk.unmount()
                # Room for the journal's replay; what the image holds stays as it is.
                remount(under, f"size={DISK_BYTES}")
                disk.mount()
                verdict = told(f"{errors}, {'a sync' if unsynced else 'a new segment'} failed", ledger.verdict(examine(spool)[0]))
                assert not any(verdict[name] for name in WRONGS), f"seed {SEED}: {verdict}"
