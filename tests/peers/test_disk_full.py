"""The disk fills up under load, at every point where the spool needs room, and is freed again.

No store into the map may end the sink with SIGBUS; while there is no room MAIL gets 452 4.3.1, and a
message that is under way when the room ends gets it at its end; when there is room again mail is taken;
and the ledger holds.

Who fills the disk, the filler or the sink that is faster, makes no difference to what is freed: the
filler has its share from the start.
"""

import os
import random
import time

import pytest
from disks import Filler, LoopDisk, tmpfs
from harness import Child, Sink, begun_segments, binary, deliver, examine, read_spool
from ledger import WRONGS, Ledger, told
from sender import SENDERS, Load

pytestmark = pytest.mark.alone
# For each file system and engine.
CYCLES = int(os.environ.get("RINGPOST_DISK_FULL_CYCLES", "7"))
SEED = int(os.environ.get("RINGPOST_SEED", "1"))
DISK_BYTES = 96 << 20
FILLER_BYTES = 32 << 20
SEGMENT_BYTES = 4 << 20
MID_LOAD = "filled in mid-load"
# Octets that the disk has left when the sink wants its third segment: nothing; a block for the name; too
# little for the segment, by much, by a little, by what describes its extents; enough for just one. Or the
# disk fills up at any moment.
STATES = [0, 4096, SEGMENT_BYTES // 2, SEGMENT_BYTES - 4096, SEGMENT_BYTES, SEGMENT_BYTES + 65536, MID_LOAD]
REFUSE = ["--when-full", "refuse", "--spool-limit", "4GiB"]
RING = ["--when-full", "recycle", "--spool-limit", "4GiB"]

DISKS = {
    "ext4": lambda directory: LoopDisk(directory, DISK_BYTES),
    "tmpfs": lambda directory: tmpfs(directory, DISK_BYTES),
}


def fill(load, filler, spool, state, rng):
    """Fills the disk so that all are refused."""
    filled = time.monotonic()
    if state == MID_LOAD:
        load.go()
        time.sleep(rng.uniform(0, 0.2))
        filler.fill()
    else:
        load.wait_until("a segment ready ahead", lambda: begun_segments(spool) == 2)
        filler.fill(leave=state)
        load.go()
    load.wait_for_refusals(filled)
    # Somewhere between two looks for room.
    time.sleep(rng.uniform(0.1, 0.8))
    assert load.sink.process.poll() is None, f"{load.sink} died: {load.sink.stderr}"
    if state != MID_LOAD:
        made = begun_segments(spool) - 2
        may_have_made = {0, 1} if state == SEGMENT_BYTES else {int(state > SEGMENT_BYTES)}
        assert made in may_have_made, f"{made} segments made of {state} octets"


def free(load, filler):
    """The seconds until mail was taken again."""
    load.hold()
    freed = time.monotonic()
    filler.free()
    return load.wait_for_mail(freed)


def check_refusals(refusals):
    assert {refusal.reply[:9] for refusal in refusals} == {"452 4.3.1"}, refusals
    under_way = [refusal for refusal in refusals if refusal.verb != "MAIL"]
    assert len(under_way) <= SENDERS, under_way


def check(spool, ledger, text):
    verdict = told(text, ledger.verdict(read_spool(spool)))
    assert not any(verdict[name] for name in WRONGS), f"{text}, seed {SEED}: {verdict}"


def open_sink(engine, spool, *options):
    return Sink(engine, spool, "--cores", "1", "--segment-size", str(SEGMENT_BYTES), *options)


@pytest.mark.parametrize("kind", DISKS)
def test_a_full_disk_refuses_mail_until_there_is_room(engine, loop_devices, tmp_path, kind):
    rng = random.Random(SEED)
    for cycle in range(CYCLES):
        directory = tmp_path / f"disk-{cycle}"
        directory.mkdir()
        ledger = Ledger(directory / "ledger")
        state = STATES[cycle % len(STATES)]
        # Each state with both, over two engines or twice as many cycles.
        durability = ("sync", "process")[(cycle + (engine == "epoll")) % 2]
        with DISKS[kind](directory) as disk:
            spool, filler = disk.path / "spool", Filler(disk.path, FILLER_BYTES)
            with open_sink(engine, spool, *REFUSE, "--durability", durability) as sink:
                load = Load(sink, ledger, b"%d" % cycle, SEED)
                fill(load, filler, spool, state, rng)
                back = free(load, filler)
                refusals = load.stop()
                check_refusals(refusals)
                sink.stop()
            slowest = max(refusal.seconds for refusal in refusals)
            times = f"mail again after {back:.2f} s, slowest of {len(refusals)} refusals {slowest:.2f} s"
            check(spool, ledger, f"{kind}, {durability}, {state}: {times}")


def test_a_start_without_room_deletes_no_mail_in_vain(engine, tmp_path):
    """The segments of earlier runs are smaller than a new one, and all of them together are too."""
    with tmpfs(tmp_path, 4 * SEGMENT_BYTES) as disk:
        spool, filler = disk.path / "spool", Filler(disk.path)
        for _ in range(3):
            with open_sink(engine, spool, *RING) as sink:
                deliver(sink, 20)
                sink.stop()
        filler.fill()
        for _ in range(2):
            options = ["--io", engine, "--cores", "1", "--segment-size", str(SEGMENT_BYTES), *RING]
            command = [binary("ringpost-sink"), "--listen", "smtp://127.0.0.1:0", "--spool", spool, *options]
            with Child(command) as sink:
                assert sink.wait() == 74 and "no space left" in sink.stderr, sink.stderr
            assert len(read_spool(spool)) == 60
        filler.free()
        with open_sink(engine, spool, *RING) as sink:
            deliver(sink, 20)
            sink.stop()
        assert len(read_spool(spool)) == 80


def test_a_ring_goes_on_over_its_own_segments(engine, loop_devices, tmp_path):
    """Also over those of an earlier run, of which none has the room of a new one."""
    ledger = Ledger(tmp_path / "ledger")
    with LoopDisk(tmp_path, DISK_BYTES // 2) as disk:
        spool, filler = disk.path / "spool", Filler(disk.path)
        for run in range(2):
            if run > 0:
                filler.fill()
            with open_sink(engine, spool, *RING) as sink:
                load = Load(sink, ledger, b"%d" % run, SEED)
                load.go()
                load.wait_until("three segments", lambda: len(list(spool.glob("*.seg"))) > 3)
                filled = time.monotonic()
                filler.fill()
                in_use = {path.name for path in spool.glob("*.seg")}
                load.wait_until("none of the old names", lambda: not in_use & {path.name for path in spool.glob("*.seg")})
                load.wait_for_mail(filled)
                assert load.stop() == []
                sink.stop()
            messages, report = examine(spool)
            assert report.damage == [] and len(messages) > 10


@pytest.mark.parametrize("kind", DISKS)
def test_a_sink_that_finds_no_room_says_so_and_takes_nothing_away(engine, loop_devices, tmp_path, kind):
    """Also after a crash, when opening the spool needs room."""
    ledger = Ledger(tmp_path / "ledger")
    with DISKS[kind](tmp_path) as disk:
        spool, filler = disk.path / "spool", Filler(disk.path, FILLER_BYTES)
        with open_sink(engine, spool, *REFUSE) as sink:
            load = Load(sink, ledger, b"before", SEED)
            load.go()
            time.sleep(0.1)
            sink.kill()
            load.end()
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
            load = Load(sink, ledger, b"after", SEED)
            load.stop()
            sink.stop()
        check(spool, ledger, f"{kind}, after it")
