"""The file system of a loaded sink becomes read-only, as ext4 does by itself when it meets an error.

The sink lives and says why it takes no mail; clients get 451 or 452; what was acknowledged is there for
as long as was promised: under sync after the file system was mounted anew, under process until then.
Afterwards mail is taken again.
"""

import os
import time

import pytest
from disks import LoopDisk, remount
from harness import Sink, deliver, examine
from ledger import WRONGS, Ledger, nothing, recycled_by_right, told
from sender import Load

pytestmark = pytest.mark.alone
SEED = int(os.environ.get("RINGPOST_SEED", "1"))
DISK_BYTES = 256 << 20
ROOMS = {
    "roomy": ["--spool-limit", "160MiB", "--when-full", "refuse"],
    # It has gone round when the disk turns.
    "ring": ["--spool-limit", "16MiB", "--when-full", "recycle"],
}
AFTER_S = 0.5


def latest_segment(load):
    return max(int(sender.accepted[-1].queue_id.split("-")[1]) for sender in load.senders)


def make_read_only(disk):
    """The polite way is refused while files are open for writing; then as after an error."""
    try:
        remount(disk, "ro")
    except AssertionError:
        remount(disk, "abort")


def check(spool, ledger, text):
    messages, report = examine(spool)
    recycled = recycled_by_right(spool, report) if "ring" in text else nothing
    verdict = told(text, ledger.verdict(messages, recycled))
    assert not any(verdict[name] for name in WRONGS), f"{text}: {verdict}, {report.damage}"


@pytest.mark.parametrize("durability", ["sync", "process"])
@pytest.mark.parametrize("room", ROOMS)
def test_a_read_only_file_system_refuses_mail_and_loses_none(engine, loop_devices, tmp_path, durability, room):
    ledger = Ledger(tmp_path / "ledger")
    with LoopDisk(tmp_path, DISK_BYTES) as disk:
        spool = disk.path / "spool"
        options = ["--cores", "1", "--segment-size", "4MiB", "--durability", durability, *ROOMS[room]]
        with Sink(engine, spool, *options) as sink:
            load = Load(sink, ledger, b"before", SEED)
            load.go()
            load.wait_until("some segments", lambda: latest_segment(load) > 6)
            turned = time.monotonic()
            make_read_only(disk)
            load.wait_for_refusals(turned)
            time.sleep(AFTER_S)
            refused = max(sender.first_refusal(turned) for sender in load.senders)
            assert sink.process.poll() is None, f"{sink} died: {sink.stderr}"
            refusals = load.stop()
            late = [a for sender in load.senders for a in sender.accepted if a.ended > refused]
            assert not late, f"mail was taken {len(late)} times: {sink.stderr}"
            if durability == "process":
                check(spool, ledger, f"{engine}, {durability}, {room}, before it is mounted anew")
            sink.terminate()
            status = sink.wait()
        assert {refusal.reply[:9] for refusal in refusals} <= {"451 4.3.0", "452 4.3.1"}, refusals
        words = ("could not be synced", "refuses mail", "lost pages", "could not be written back")
        lines = [line for line in sink.stderr.splitlines() if any(word in line for word in words)]
        print("\n".join(lines), flush=True)
        assert 1 <= len(lines) <= 4, sink.stderr
        assert status in (0, 74), f"{status}: {sink.stderr}"
        disk.unmount()
        disk.mount()
        if durability == "sync":
            check(spool, ledger, f"{engine}, {durability}, {room}, mounted anew")
        with Sink(engine, spool, *options) as sink:
            deliver(sink, 50)
            assert sink.stop()["messages"] == 50
