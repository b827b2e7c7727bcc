"""The disk fills up under load, at every point where the spool needs room, and is freed again.

No store into the map may end the sink with SIGBUS; while there is no room MAIL gets 452 4.3.1, at once;
two seconds after there is room again mail is taken; and the ledger holds.
"""

import os
import random
import time

import pytest
from disks import Filler, LoopDisk, tmpfs
from harness import Child, Sink, binary, examine, read_spool
from ledger import WRONGS, Ledger, told
from sender import WAIT_S, start_senders, stop_senders, wait_until

# For each file system and engine.
CYCLES = int(os.environ.get("RINGPOST_DISK_FULL_CYCLES", "4"))
SEED = int(os.environ.get("RINGPOST_SEED", "1"))
CYCLES_PER_DISK = 1
DISK_BYTES = 96 << 20
SEGMENT_BYTES = 4 << 20
# Octets that the disk has left when the sink wants its next segment: nothing; a block for the name; too
# little for the segment, by much, by a little, by what describes its extents; enough for just one.
LEFT = [0, 4096, SEGMENT_BYTES // 2, SEGMENT_BYTES - 4096, SEGMENT_BYTES, SEGMENT_BYTES + 65536]
REFUSE = ["--when-full", "refuse", "--spool-limit", "4GiB"]
RING = ["--when-full", "recycle", "--spool-limit", "4GiB"]
REPLY_S, BACK_S = 1.0, 2.0

DISKS = {
    "ext4": lambda directory: LoopDisk(directory, DISK_BYTES),
    "tmpfs": lambda directory: tmpfs(directory, DISK_BYTES),
}


def fill_and_free(sink, senders, filler, left):
    """One cycle; the seconds until mail was taken again."""
    filled = time.monotonic()
    filler.fill(leave=left)
    wait_until("a refusal", lambda: all(sender.first_refusal(filled) for sender in senders))
    time.sleep(0.3)
    assert sink.process.poll() is None, f"{sink} died: {sink.stderr}"
    filler.free()
    freed = time.monotonic()
    wait_until("mail taken again", lambda: all(sender.first_accepted(freed) for sender in senders))
    return max(sender.first_accepted(freed) for sender in senders) - freed


def check(spool, ledger, text):
    verdict = told(text, ledger.verdict(read_spool(spool)))
    assert not any(verdict[name] for name in WRONGS), f"{text}, seed {SEED}: {verdict}"


def open_sink(engine, spool, *options):
    return Sink(engine, spool, "--cores", "1", "--segment-size", str(SEGMENT_BYTES), *options)


@pytest.mark.parametrize("kind", DISKS)
def test_a_full_disk_refuses_mail_until_there_is_room(engine, loop_devices, tmp_path, kind):
    rng = random.Random(SEED)
    for first in range(0, CYCLES, CYCLES_PER_DISK):
        directory = tmp_path / f"disk-{first}"
        directory.mkdir()
        ledger = Ledger(directory / "ledger")
        with DISKS[kind](directory) as disk:
            spool, filler = disk.path / "spool", Filler(disk.path)
            with open_sink(engine, spool, *REFUSE, "--durability", rng.choice(("sync", "process"))) as sink:
                senders = start_senders(sink, ledger, b"%d" % first, SEED)
                for cycle in range(first, min(first + CYCLES_PER_DISK, CYCLES)):
                    left = LEFT[cycle % len(LEFT)]
                    back = fill_and_free(sink, senders, filler, left)
                    print(f"{kind}, {left} octets left: mail taken again after {back:.2f} s", flush=True)
                    assert back <= BACK_S
                refusals = stop_senders(senders)
                assert {line[:9] for _, _, line in refusals} == {"452 4.3.1"}, refusals
                assert max(seconds for _, seconds, _ in refusals) <= REPLY_S
                sink.stop()
            check(spool, ledger, f"{kind}, {len(refusals)} refusals")


def test_a_ring_goes_on_over_its_own_segments(engine, loop_devices, tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    with LoopDisk(tmp_path, DISK_BYTES // 2) as disk:
        spool = disk.path / "spool"
        with open_sink(engine, spool, *RING) as sink:
            senders = start_senders(sink, ledger, b"ring", SEED)
            wait_until("three segments", lambda: len(list(spool.glob("*.seg"))) > 3)
            filled = time.monotonic()
            Filler(disk.path).fill()
            in_use = {path.name for path in spool.glob("*.seg")}
            wait_until("none of the old names", lambda: not in_use & {path.name for path in spool.glob("*.seg")})
            refusals = stop_senders(senders)
            assert all(sender.first_accepted(filled) for sender in senders)
            assert refusals == []
            sink.stop()
        messages, report = examine(spool)
        assert report.damage == [] and len(messages) > 10


@pytest.mark.parametrize("kind", DISKS)
def test_a_sink_that_finds_no_room_says_so_and_takes_nothing_away(engine, loop_devices, tmp_path, kind):
    """Also after a crash, when opening the spool needs room."""
    ledger = Ledger(tmp_path / "ledger")
    with DISKS[kind](tmp_path) as disk:
        spool, filler = disk.path / "spool", Filler(disk.path)
        with open_sink(engine, spool, *REFUSE) as sink:
            senders = start_senders(sink, ledger, b"before", SEED)
            sink.kill()
        for sender in senders:
            sender.join(WAIT_S)
        filler.fill()
        for _ in range(3):
            start = [binary("ringpost-sink"), "--io", engine, "--listen", "smtp://127.0.0.1:0", "--spool", spool]
            with Child([*start, "--cores", "1", "--segment-size", "32MiB", *REFUSE]) as refused:
                status = refused.wait()
            assert status in (73, 74), f"{status}: {refused.stderr}"
            assert "no space left" in refused.stderr.lower(), refused.stderr
        check(spool, ledger, f"{kind}, refused at the start")
        filler.free()
        with open_sink(engine, spool, *REFUSE) as sink:
            stop_senders(start_senders(sink, ledger, b"after", SEED))
            sink.stop()
        check(spool, ledger, f"{kind}, after it")
