"""Starts the programs that are measured, each on one core, reads their CPU time from the kernel, and ends them."""

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
BINARIES = Path(os.environ.get("RINGPOST_BINARIES", TARGET / "release"))

SESSIONS = 64
MESSAGE_BYTES = 1024
LARGE_BYTES = 64 * 1024
CHUNKED = ["--pipelining", "full", "--chunking", "--depth", "32"]
# A round of 1 KiB messages fills this ring some five times.
RING = ["--spool-limit", "512MiB"]
# Fills a ring of 512 MiB once and begins again.
PRIME = ["-n", 9_000, "--size", LARGE_BYTES, *CHUNKED[:3], "--depth", 4]
START_S, RUN_S, END_S = 20, 300, 30


class Process:
    """A child pinned to one core; `end()` gives the CPU seconds of its whole life."""

    def __init__(self, argv, core):
        self.argv = [str(argument) for argument in argv]
        self.output = tempfile.TemporaryFile()
        self.errors = tempfile.TemporaryFile()
        self.child = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.errors,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )

    def text(self, file):
        file.seek(0)
        return file.read().decode("utf-8", "replace")

    def end(self, limit, signal=None):
        """Waits (after the signal, if one is given) and reaps; kills by pid what does not end."""
        if signal:
            self.child.send_signal(signal)
        overdue = threading.Timer(limit, self.child.kill)
        overdue.start()
        _, status, usage = os.wait4(self.child.pid, 0)
        overdue.cancel()
        self.child.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime

    def cpu(self):
        """CPU seconds so far, of all its threads (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.child.pid << 3) | 2)

    def check(self, *allowed):
        if self.child.returncode not in (0, *allowed):
            raise SystemExit(
                f"compare: {' '.join(self.argv)} ended with {self.child.returncode}: "
                f"{self.text(self.errors)[-1000:]}"
            )

    def kill(self):
        if self.child.returncode is None:
            self.child.kill()
            self.end(END_S)


class Server(Process):
    def __init__(self, argv, core, port=None):
        super().__init__(argv, core)
        try:
            self.port = port or self.announced_port()
            wait_for_port(self.port)
        except BaseException:
            self.kill()
            raise

    def announced_port(self):
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.child.poll() is None:
            for line in self.text(self.errors).splitlines():
                if line.startswith("listening smtp://"):
                    return int(line.rpartition(":")[2])
            time.sleep(0.02)
        raise SystemExit(f"compare: {self.argv[0]} does not listen: {self.text(self.errors)[-1000:]}")


def wait_for_port(port):
    deadline = time.monotonic() + START_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"compare: nobody listens on port {port}") from None
            time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def two_cores():
    """One core for the server, one for the generator."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("compare: two cores are needed, one for the server and one for the generator")
    return cores[:2]


def ringpost_sink(binaries, core, engine, *keep):
    """A sink of one core; `keep` says where its messages go."""
    listen = ["--listen", "smtp://127.0.0.1:0", "--cores", "1", "--io", engine, "--json"]
    return Server([Path(binaries) / "ringpost-sink", *listen, *keep], core)


def ringpost_blast(binaries, core, port, *load):
    argv = [Path(binaries) / "ringpost-blast", f"127.0.0.1:{port}", "--cores", "1", "--json", *load]
    return Process(argv, core)


def measured(server, generate, messages, prime=None):
    """One run; CPU microseconds per message of both sides, and messages per second. `generate` and `prime`
    start a generator for a port; what `prime` sends fills the ring before anything is counted."""
    generator = None
    try:
        cpu_before = primed(server, prime) if prime else 0
        started = time.monotonic()
        generator = generate(server.port, messages)
        generator_cpu = generator.end(RUN_S)
        elapsed = time.monotonic() - started
        cpu_after = server.cpu()
        cpu_of_life = server.end(END_S, signal=15)
    finally:
        if generator:
            generator.kill()
        server.kill()
    generator.check()
    server.check(-15)
    server_cpu = cpu_after - cpu_before if prime else cpu_of_life
    if server.argv[0].endswith("ringpost-sink"):
        sent = messages + (PRIME[1] if prime else 0)
        taken = json.loads(server.text(server.output))["messages"]
        if taken != sent:
            raise SystemExit(f"compare: {sent} messages sent, {taken} taken")
    rate = messages / elapsed
    if generator.argv[0].endswith("ringpost-blast"):
        rate = json.loads(generator.text(generator.output))["rate_msg_s"]
    return {
        "server_us": server_cpu * 1e6 / messages,
        "generator_us": generator_cpu * 1e6 / messages,
        "rate_msg_s": rate,
    }


def primed(server, prime):
    """Fills the ring of a server; its CPU seconds so far."""
    filler = prime(server.port)
    filler.end(RUN_S)
    filler.check()
    return server.cpu()


def summary(results):
    return {
        name: {
            "median": statistics.median(result[name] for result in results),
            "min": min(result[name] for result in results),
            "max": max(result[name] for result in results),
        }
        for name in results[0]
    }


def machine():
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
    }


def machine_line(found):
    """What `machine` found, as the first line of a table."""
    return f"machine   {found['cpu']}, {found['cores']} cores, Linux {found['kernel']}, {found['memory_mib'] / 1024:.1f} GiB"


def note(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
