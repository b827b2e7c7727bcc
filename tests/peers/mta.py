"""Other people's mail servers, each taking mail on one port and passing all of it on to another.

The programs come from the packages that scripts/peers extracted. Exim and OpenSMTPD have their paths and
accounts compiled in, so each runs in a directory of its own that it takes for the whole machine: its
program, the libraries it needs, two devices, its accounts. Nothing outside of that directory is touched,
and none of it needs a mount. `chroot` needs root, as do the three servers themselves.
"""

import os
import platform
import re
import shutil
import signal
import stat
import tempfile
import time
from pathlib import Path

import pytest
from harness import PEERS, REPO, Child, free_port, run, wait_for_port

ROOT = PEERS / "root"
ARCH = f"{platform.machine()}-linux-gnu"
LIBRARIES = ":".join(str(ROOT / place) for place in ("usr/lib/postfix", f"usr/lib/{ARCH}", f"lib/{ARCH}"))
MESSAGE_BYTES_MAX = 50 * 1024 * 1024

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="Exim, OpenSMTPD and Postfix change user for each of their parts, which takes root"
)


class Mta:
    """A server that is ended with its `with` block and keeps its state in `self.directory`.

    `self.port` takes mail.
    """

    # Folders with waiting messages, below the directory.
    queues = ()

    def __init__(self):
        self.port = free_port()

    def __enter__(self):
        # Not below pytest's folder, which the unprivileged parts of the servers may not enter.
        self.directory = Path(tempfile.mkdtemp(prefix=f"ringpost-{type(self).__name__.lower()}-"))
        self.directory.chmod(0o755)
        try:
            self.start()
            wait_for_port(self.port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def waiting(self):
        """Files of messages that are not delivered yet. Folders may disappear during this search."""
        return [
            Path(folder, name)
            for queue in self.queues
            for folder, _, names in os.walk(self.directory / queue)
            for name in names
        ]

    def wait_until_empty(self, timeout=120):
        deadline = time.monotonic() + timeout
        # Looks twice: the first look may miss a message that moves from one queue to another.
        while left := self.waiting() or self.waiting():
            assert time.monotonic() < deadline, f"{len(left)} files still in the queue\n{self.log()[-3000:]}"
            time.sleep(0.1)


class Postfix(Mta):
    """Postfix, started by scripts/postfix; all mail goes to `transport`, as Postfix writes it."""

    script = str(REPO / "scripts" / "postfix")
    queues = [f"queue/{name}" for name in ("maildrop", "incoming", "active", "deferred", "hold", "corrupt")]

    def __init__(self, transport="discard:", tls=None, pair=()):
        super().__init__()
        self.transport = transport
        # What it demands of the server that it passes mail on to, as Postfix names it, and the text of a CA.
        self.tls = tls
        # Files of a certificate and its key, with which it offers STARTTLS.
        self.pair = pair

    def start(self):
        more = []
        if self.tls:
            level, ca = self.tls
            file = self.directory / "ca.pem"
            file.write_text(ca)
            more = [level, file]
        elif self.pair:
            more = ["none", ""]
        run([self.script, "start", self.directory, self.port, self.transport, *more, *self.pair])

    def stop(self):
        run([self.script, "stop", self.directory])

    def log(self):
        return (self.directory / "mail.log").read_text()

    def deliveries(self, expected, timeout=60):
        """How many recipients its log calls delivered; waits until they are `expected` or the time is over."""
        deadline = time.monotonic() + timeout
        while True:
            count = int(run([self.script, "count", self.directory]).stdout)
            if count >= expected or time.monotonic() > deadline:
                return count
            time.sleep(0.2)


class Jailed(Mta):
    """A server that believes its directory to be the whole machine."""

    program = ""
    # Names and numbers of the accounts that it changes to; the machine need not have them.
    accounts = {}

    def start(self):
        self.build()
        self.configure()
        # In a process group of its own, so that its deliveries end with it.
        self.child = Child(["chroot", self.directory, *self.command], start_new_session=True)

    def stop(self):
        if not hasattr(self, "child"):
            return
        self.child.terminate()
        try:
            self.child.wait(10)
        finally:
            try:
                os.killpg(self.child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.child.__exit__()

    def build(self):
        program = ROOT / self.program
        shown = run(["ldd", program], env=os.environ | {"LD_LIBRARY_PATH": LIBRARIES}).stdout
        for library in re.findall(r"(/\S+) \(0x", shown):
            # The program names the path of the loader; all libraries are in one folder.
            kept = library if "/ld-" in library else f"/lib/{ARCH}/{Path(library).name}"
            self.copy(library, kept)
        self.copy(program, self.program)
        for name, minor in (("null", 3), ("urandom", 9)):
            device = self.place(f"dev/{name}")
            try:
                os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            except PermissionError as error:
                pytest.skip(f"root of a container that may not make devices: {error}")
            device.chmod(0o666)
        accounts = {"root": 0, **self.accounts}
        self.write("etc/passwd", "".join(f"{name}:x:{id}:{id}::/:/bin/false\n" for name, id in accounts.items()))
        self.write("etc/group", "".join(f"{name}:x:{id}:\n" for name, id in accounts.items()))
        self.write("etc/hosts", "127.0.0.1 localhost\n")
        self.folder("tmp", 0o1777)
        self.folder("var/run")

    def place(self, path):
        place = self.directory / str(path).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def copy(self, file, path):
        shutil.copy(file, self.place(path))

    def write(self, path, text):
        self.place(path).write_text(text)

    def folder(self, path, mode=0o755, owner=0):
        place = self.place(path)
        place.mkdir(exist_ok=True)
        place.chmod(mode)
        os.chown(place, owner, owner)


class Exim(Jailed):
    """Exim; it sends to the address `target`, with DATA for domains that begin with `data`, otherwise with BDAT."""

    program = "usr/sbin/exim4"
    command = ["/usr/sbin/exim4", "-bdf", "-q5s"]
    accounts = {"Debian-exim": 10}
    queues = ["var/spool/exim4/input"]

    def __init__(self, target):
        super().__init__()
        self.target = target

    def configure(self):
        for path in ("var/spool/exim4", "var/log/exim4"):
            self.folder(path, 0o750, self.accounts["Debian-exim"])
        host, target = self.target.split(":")
        text = EXIM.format(port=self.port, host=host, target=target, size=MESSAGE_BYTES_MAX)
        self.write("etc/exim4/exim4.conf", text)

    def log(self):
        return "".join(path.read_text() for path in (self.directory / "var/log/exim4").glob("*"))


# Exim is not set-uid root here: with deliver_drop_privilege its own account makes each delivery.
EXIM = """
primary_hostname = exim.test
deliver_drop_privilege
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
host_lookup =
acl_smtp_rcpt = accept
message_size_limit = {size}
tls_advertise_hosts =
keep_environment =
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
log_selector = +smtp_confirmation
begin routers
data:
  driver = manualroute
  domains = ^data
  transport = with_data
  route_list = * {host}
  self = send
rest:
  driver = manualroute
  transport = with_bdat
  route_list = * {host}
  self = send
begin transports
with_bdat:
  driver = smtp
  port = {target}
  allow_localhost
  message_linelength_limit = {size}
with_data:
  driver = smtp
  port = {target}
  allow_localhost
  message_linelength_limit = {size}
  hosts_try_chunking =
begin retry
* * F,1h,1s
"""


class OpenSmtpd(Jailed):
    """`targets`: for each domain, the address that its mail goes to."""

    program = "usr/sbin/smtpd"
    command = ["/usr/sbin/smtpd", "-d"]
    accounts = {"opensmtpd": 10, "opensmtpq": 13}
    queues = [f"var/spool/smtpd/{name}" for name in ("queue", "incoming", "temporary", "corrupt")]

    def __init__(self, targets):
        super().__init__()
        self.targets = targets

    def configure(self):
        self.folder("var/spool/smtpd", 0o711)
        self.folder("var/lib/opensmtpd/empty")
        self.write("etc/mailname", "opensmtpd.test\n")
        lines = [OPENSMTPD.format(port=self.port, size=MESSAGE_BYTES_MAX)]
        for domain, target in self.targets.items():
            lines.append(f'action "{domain}" relay host smtp://{target}\n')
            lines.append(f'match from any for domain "{domain}" action "{domain}"\n')
        self.write("etc/smtpd.conf", "".join(lines))

    def log(self):
        return self.child.stderr + self.child.stdout


OPENSMTPD = """
smtp max-message-size {size}
listen on 127.0.0.1 port {port} hostname opensmtpd.test
"""
