"""File systems that a test may fill, shut down and break: ext4 on a loop device, and tmpfs.

Mounting needs root and a loop device; `why_not()` says in a line what is missing. Whatever was mounted
is unmounted when its `with` block ends, however it ends; the image goes with the directory it is in.
"""

import errno
import fcntl
import mmap
import os
import struct
import subprocess
import tempfile
import time
from pathlib import Path

# linux/fs/ext4/ioctl.h: _IOR('X', 125, __u32) and its flags.
EXT4_IOC_SHUTDOWN = 0x8004587D
CUT_AFTER_JOURNAL, CUT_AT_ONCE = 1, 2
UNMOUNT_S = 120
PAGE_BYTES = mmap.PAGESIZE
# At most so many segments are written back in part before a cut, because each page waits for the disk.
SCATTERED_MAX = 6


class Mount:
    """One mounted file system; `path` is its root."""

    def __init__(self, directory, options, source, kind=None):
        self.path = Path(directory) / "mount"
        self._mounted = False
        self._mount_argv = ["mount", *(["-t", kind] if kind else []), "-o", options, str(source), str(self.path)]
        self.path.mkdir()

    def mount(self):
        call(self._mount_argv)
        self._mounted = True

    def unmount(self):
        """Tries again for a while: the ring of a killed program may keep a file open after the program's end."""
        deadline = time.monotonic() + UNMOUNT_S
        while self._mounted:
            done = subprocess.run(["umount", str(self.path)], capture_output=True, text=True)
            self._mounted = done.returncode != 0
            if self._mounted:
                assert time.monotonic() < deadline, done.stderr
                time.sleep(0.02)

    def __enter__(self):
        self.mount()
        return self

    def __exit__(self, *_):
        try:
            self.unmount()
        except AssertionError:
            call(["umount", "--lazy", str(self.path)])
            self._mounted = False
            raise


class LoopDisk(Mount):
    """ext4 in an image file. `image` may stand on another small file system."""

    def __init__(self, directory, size, image=None, options="loop"):
        self.image = Path(image or Path(directory) / "image")
        with open(self.image, "wb") as file:
            file.truncate(size)
        # All tables are written now, so that the kernel writes none of them to the image later.
        lazy = "lazy_itable_init=0,lazy_journal_init=0"
        call(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", lazy, str(self.image)])
        super().__init__(directory, options, self.image)

    def cut_power(self, how=CUT_AT_ONCE):
        """After this nothing reaches the image; pages that the kernel has not written back are lost."""
        root = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(root, EXT4_IOC_SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(root)


def tmpfs(directory, size):
    return Mount(directory, f"size={size}", "tmpfs", kind="tmpfs")


def remount(mounted, options):
    call(["mount", "-o", f"remount,{options}", str(mounted.path)])


def open_segments(spool):
    """Every segment file of a live spool, open. A ring gives its files new names all the time: one that
    is gone from a listing is in the next, and is the same file under whatever name it was opened."""
    files, complete = {}, False
    while not complete:
        complete = True
        for path in spool.glob("*.seg"):
            try:
                file = open(path, "r+b")
            except FileNotFoundError:
                complete = False
                continue
            if files.setdefault(os.fstat(file.fileno()).st_ino, file) is not file:
                file.close()
    return list(files.values())


def write_back_some(spool, rng):
    """Has the kernel write back the start of some segments and single pages behind it, and no others: what
    a cut then leaves is in no order."""
    files = open_segments(spool)
    rng.shuffle(files)
    for file in files[SCATTERED_MAX:]:
        file.close()
    for file in files[:SCATTERED_MAX]:
        with file:
            pages = os.fstat(file.fileno()).st_size // PAGE_BYTES
            if pages == 0:
                continue
            with mmap.mmap(file.fileno(), pages * PAGE_BYTES) as view:
                start = rng.randrange(1, min(pages, 256) + 1)
                view.flush(0, start * PAGE_BYTES)
                for _ in range(rng.randrange(40)):
                    view.flush(min(start + rng.randrange(64), pages - 1) * PAGE_BYTES, PAGE_BYTES)


class Filler:
    """A file that takes all the room there is, and gives it back: `share` octets at least, which it has
    before anybody else can fill the disk."""

    def __init__(self, directory, share=0):
        self.path = Path(directory) / "filler"
        with open(self.path, "wb") as file:
            if share:
                os.posix_fallocate(file.fileno(), 0, share)

    def fill(self, leave=0):
        """Leaves at most `leave` octets free, to the block."""
        # Without a buffer, so that close() does not write again what the disk has refused.
        with open(self.path, "ab", buffering=0) as file:
            step = 1 << 20
            while step >= 512:
                space = os.statvfs(self.path.parent)
                if space.f_bavail * space.f_frsize - leave < step:
                    step //= 2
                    continue
                try:
                    file.write(bytes(step))
                    os.fdatasync(file.fileno())
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error
                    step //= 2

    def free(self):
        os.truncate(self.path, 0)


def call(argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(argv)} ended with {done.returncode}: {done.stderr}"


def why_not():
    """What this machine lacks for the drills on loop devices; None if they can run."""
    if os.geteuid() != 0:
        return "mounting a loop device needs root"
    with tempfile.TemporaryDirectory(prefix="ringpost-disk-") as directory:
        try:
            with LoopDisk(directory, 16 << 20) as disk:
                disk.cut_power()
        except (AssertionError, OSError) as error:
            return f"no ext4 on a loop device whose power can be cut: {error}"
    return None
