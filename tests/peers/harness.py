"""What the peer tests share: programs started, watched and always ended; spools read back by the
independent reader; the bodies that every client sends.

Everything here is bounded: a program that does not say or do what is waited for is a failure that
quotes what it said, never a hang.
"""

import errno
import itertools
import json
import os
import random
import re
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import spool_reader

REPO = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("RINGPOST_PEERS", REPO / ".peers")).resolve()
BINARIES = Path(
    os.environ.get("RINGPOST_BINARIES")
    or Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target")) / "release"
).resolve()

# What takes a second may take minutes on a busy machine.
START_S = 120
END_S = 120
COMMAND_S = 180

PORTS_FIRST, PORTS_WORKERS, PORTS_EACH = 12_000, 20, 1_000
# The first port is random, because another run on this machine may use the same range.
_ports = itertools.count(random.randrange(PORTS_EACH))


def environment():
    """The environment of a program. Python's readline puts COLUMNS and LINES into the environment that children
    inherit, behind the back of os.environ: the programs would take that for a width and leave columns out."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}


def peer(name):
    return str(PEERS / "bin" / name)


def binary(name):
    return str(BINARIES / name)


class Child:
    """A program that is ended with its `with` block; threads collect its output."""

    def __init__(self, argv, **popen):
        self.argv = [str(argument) for argument in argv]
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=popen.pop("env", None) or environment(),
            **popen,
        )
        self.pid = self.process.pid
        self._said = threading.Condition()
        self._output = {"stdout": bytearray(), "stderr": bytearray()}
        self._threads = [
            threading.Thread(target=self._collect, args=(name,), daemon=True) for name in self._output
        ]
        for thread in self._threads:
            thread.start()

    def _collect(self, name):
        stream = getattr(self.process, name)
        while piece := os.read(stream.fileno(), 65536):
            with self._said:
                self._output[name] += piece
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def text(self, name):
        with self._said:
            return self._output[name].decode("utf-8", "replace")

    @property
    def stdout(self):
        return self.text("stdout")

    @property
    def stderr(self):
        """Whole lines only while the program may still write: what was read so far ends anywhere."""
        ended = not self._threads[1].is_alive()
        said = self.text("stderr")
        return said if ended else said[: said.rfind("\n") + 1]

    def wait_for_line(self, start, timeout=START_S):
        """The first line on stderr that begins with `start`."""
        deadline = time.monotonic() + timeout
        with self._said:
            while True:
                whole = self.stderr
                for line in whole.splitlines():
                    if line.startswith(start):
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or self.process.poll() is not None and not self._threads[1].is_alive():
                    raise AssertionError(f"no line '{start}…' from {self}: {whole}")
                self._said.wait(min(left, 0.1))

    def wait(self, timeout=END_S):
        """The exit status; a program that does not end is killed and fails the test."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self} did not end within {timeout} s: {self.stderr}") from None
        for thread in self._threads:
            thread.join(END_S)
        return status

    def terminate(self):
        self.process.terminate()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(END_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        for thread in self._threads:
            thread.join(END_S)
        self.process.stdout.close()
        self.process.stderr.close()

    def __str__(self):
        return f"{Path(self.argv[0]).name} (pid {self.pid})"


class Stunnel(Child):
    """stunnel from a free port to `address`; `lines` of its configuration say which side of TLS it is."""

    def __init__(self, address, *lines):
        self.port = free_port()
        head = ["foreground = yes", "pid =", "debug = info", "syslog = no", "[tunnel]"]
        ends = [f"accept = 127.0.0.1:{self.port}", f"connect = {address}"]
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write("\n".join([*head, *ends, *lines, ""]))
            file.flush()
            super().__init__([peer("stunnel"), file.name])
            try:
                wait_for_port(self.port)
            except BaseException:
                self.__exit__()
                raise


class Sink(Child):
    """ringpost-sink on a free port; with `spool=None` it discards."""

    # Whether a sink without other wishes listens under TLS, and clients in plain text reach it through a tunnel.
    tunnelled = os.environ.get("RINGPOST_TUNNEL") == "1"

    def __init__(self, engine, spool=None, *options, listen=None, before=(), **popen):
        self.tunnel = None
        keep = ["--spool", spool] if spool else ["--discard"]
        tunnelled = self.tunnelled and listen is None
        if tunnelled:
            options = ("--tls-self-signed", *options)
        listen = listen or f"{'smtps' if tunnelled else 'smtp'}://127.0.0.1:0"
        super().__init__(
            [*before, binary("ringpost-sink"), "--listen", listen, "--io", engine, "--json", *keep, *options],
            **popen,
        )
        try:
            self.listening = self.wait_for_line("listening ").split()[1]
            if tunnelled:
                self.tunnel = Stunnel(self.listening.partition("://")[2], "client = yes")
                self.listening = f"smtp://127.0.0.1:{self.tunnel.port}"
        except BaseException:
            self.__exit__()
            raise
        host_port = self.listening.partition("://")[2]
        self.port = int(host_port.rpartition(":")[2]) if ":" in host_port else None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def addresses(self, count):
        """The addresses of its `count` listeners, in the order of the command line."""
        listening = re.compile(r"^listening \w+://(\S+)$", re.MULTILINE)
        deadline = time.monotonic() + START_S
        while len(found := listening.findall(self.stderr)) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} listeners: {self.stderr}"
            time.sleep(0.01)
        return found

    def __exit__(self, *told):
        super().__exit__(*told)
        if self.tunnel:
            self.tunnel.__exit__(*told)

    def stop(self):
        """Sends SIGTERM; the report that the sink printed. An exit status other than 0 fails."""
        self.terminate()
        return self.finish()

    def finish(self, timeout=END_S):
        """The report of a sink that is ending by itself."""
        status = self.wait(timeout)
        assert status == 0, f"{self} ended with {status}: {self.stderr}"
        return json.loads(self.stdout)


class SmtpSink(Child):
    """Postfix's smtp-sink, which counts messages and stores none."""

    def __init__(self, *options):
        self.port = free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        super().__init__([peer("smtp-sink"), "-c", *user, *options, f"127.0.0.1:{self.port}", "1024"])
        try:
            wait_for_port(self.port)
        except BaseException:
            self.__exit__()
            raise

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def messages(self):
        """The highest count of messages that it printed; it writes `sess=1 quit=1 mesg=20` again and again."""
        counters = self.stdout.replace("\r", "\n").split()
        counts = [int(word[5:]) for word in counters if word.startswith("mesg=")]
        return max(counts, default=0)


def run(argv, timeout=COMMAND_S, check=True, **options):
    """Runs a program to its end, with its output as text. A status other than 0 fails and quotes the output."""
    argv = [str(argument) for argument in argv]
    done = subprocess.run(
        argv,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        env=options.pop("env", None) or environment(),
        capture_output=True,
        timeout=timeout,
        text=True,
        errors="replace",
        **options,
    )
    if check:
        assert done.returncode == 0, (
            f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done


def blast(address, *options, timeout=COMMAND_S, check=True):
    """Runs ringpost-blast to its end; its report."""
    done = run([binary("ringpost-blast"), address, "--json", *options], timeout=timeout, check=check)
    return json.loads(done.stdout)


def deliver(server, count):
    """Sends `count` messages with any content."""
    shape = ["-d", "-s", "2", "-m", count, "-l", "1024", "-M", "client.example.test"]
    run([peer("smtp-source"), *shape, "-f", "a@example.test", "-t", "b@example.test", server.address])


def verify(spool):
    """Runs `ringpost spool verify`, which ends with 0 only if it finds no damage; its output."""
    return run([binary("ringpost"), "spool", "verify", spool]).stdout


def free_port():
    """A free port, for programs that cannot choose one, and for tests in which nothing listens. It lies below
    the ports that the kernel assigns (from 32768), so that no other program gets it later. Each worker of
    pytest-xdist has a range of its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    for _ in range(PORTS_EACH):
        port = PORTS_FIRST + worker % PORTS_WORKERS * PORTS_EACH + next(_ports) % PORTS_EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError as error:
                assert error.errno == errno.EADDRINUSE, error
    raise AssertionError(f"no port is free from {PORTS_FIRST} on")


def wait_for_port(port, timeout=START_S):
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise AssertionError(f"nobody listens on port {port}") from None
            time.sleep(0.05)


@dataclass(frozen=True)
class Message:
    id: str
    meta: dict
    body: bytes


def examine(directory):
    """Every message of a spool, through the reader that shares no code with the sink, and what else
    that reader met."""
    report = spool_reader.Report()
    messages = [
        Message(id, {name: as_text(value) for name, value in meta.items()}, bytes(body))
        for id, meta, body in spool_reader.messages(str(directory), report)
    ]
    return messages, report


def read_spool(directory):
    """Every message of a spool in which nothing may be damaged, not even after a crash: a message that was
    half-written then is not committed, which is no damage."""
    messages, report = examine(directory)
    assert report.damage == [], report.damage
    return messages


def begun(directory):
    """(core, number) of each segment that has begun its life, in order. One whose header is another's was
    being recycled when the power went."""
    for core, number, name in spool_reader.segment_files(str(directory)):
        with open(Path(directory) / name, "rb") as file:
            header = file.read(64)
        try:
            if any(header):
                spool_reader.segment_header(header, core, number)
                yield core, number
        except spool_reader.Torn:
            pass
        except spool_reader.Doubt:
            yield core, number


def begun_segments(directory):
    return sum(1 for _ in begun(directory))


def oldest_segments(directory):
    """{core: lowest number of a segment that has begun its life}."""
    oldest = {}
    for core, number in begun(directory):
        oldest.setdefault(core, number)
    return oldest


def as_text(value):
    """Octets as text, also within lists and pairs."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_text, value))
    return value


def only_message(directory):
    messages = read_spool(directory)
    assert len(messages) == 1, f"one message expected, {len(messages)} found"
    return messages[0]


def check_octets(found, sent, what=""):
    """Equality, with a failure that names the first octet instead of printing megabytes."""
    if found == sent:
        return
    at = next((i for i, (a, b) in enumerate(zip(found, sent)) if a != b), min(len(found), len(sent)))
    raise AssertionError(
        f"{what}: {len(found)} octets found, {len(sent)} sent; first difference at {at}: "
        f"{found[at : at + 40]!r} instead of {sent[at : at + 40]!r}"
    )


HEAD = b"From: a@example.test\r\nTo: b@example.test\r\nSubject: octets\r\n\r\n"

# Bodies that have broken mail software. Each is empty or ends with CRLF, unless its name says otherwise:
# most clients add a missing CRLF.
BODIES = {
    "empty": b"",
    "head only": HEAD,
    "dots": HEAD + b".\r\n..\r\n...\r\n.x\r\nx.\r\n..x\r\n. \r\n .\r\n\r\n.\r\n",
    "dot first": b".\r\n" + HEAD + b".",
    "eight bit": HEAD + "Zürich, 東京, Ελλάδα\r\n".encode() + bytes(range(0x80, 0x100)) + b"\r\n",
    "line of 1 MiB": HEAD + b"y" * (1 << 20) + b"\r\n",
    "20 MiB": HEAD + (b"".join(b"%07d " % i for i in range(124)) + b"\r\n") * (20 * (1 << 20) // 994),
    "no newline at the end": HEAD + b"the end",
}


def with_newline(body):
    """The body as a client must send it with DATA, which cannot carry a body without a last CRLF."""
    return body if body.endswith(b"\r\n") else body + b"\r\n"

