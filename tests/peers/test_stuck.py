"""Ends of a sink in which something hangs: the disk, the next hop, a client, or the reader of stderr. It ends
after the time of its drain, at the second signal at once, and always with its report. And who waits for the sink
itself runs out of no time.

The times here are generous: what hangs does so for good, and a sink that waited for it would never end."""

import contextlib
import fcntl
import functools
import json
import os
import pty
import shutil
import socket
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest
from harness import REPO, START_S, Sink, binary, environment, only_message
from test_signals import Conversation

# The sink is told to drain so long, and has three seconds more for itself; the rest is for a busy machine.
DRAIN_S = 1
SOON_S = DRAIN_S + 3 + 20
# A drain that the second signal has to cut short.
LONG_DRAIN_S = 300


@pytest.fixture(scope="session")
def stall(tmp_path_factory):
    """The library that makes calls hang."""
    if not (compiler := shutil.which("cc")):
        pytest.skip("there is no C compiler for the library that makes calls hang")
    library = tmp_path_factory.mktemp("stall") / "stall.so"
    source = REPO / "tests" / "peers" / "stall.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@contextlib.contextmanager
def stalling(library, what, folder):
    """An environment in which calls of this kind hang from the time that the file is made, and the file."""
    switch = folder / "stalled"
    try:
        yield environment() | {"LD_PRELOAD": str(library), what: str(switch)}, switch
    finally:
        switch.unlink(missing_ok=True)


def send_message(client):
    client.start_message()
    client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")


def stuck_sync(stack, drain, folder, stall):
    """A message waits for its sync. The engine is epoll, whose syncs a library can keep."""
    env, switch = stack.enter_context(stalling(stall, "STALL_SYNC", folder))
    sink = stack.enter_context(
        Sink("epoll", folder / "spool", "--drain-timeout", drain, "--durability", "sync", env=env)
    )
    client = stack.enter_context(Conversation(sink.port))
    switch.touch()
    send_message(client)
    time.sleep(0.3)
    return sink


def stuck_reading(stack, drain, folder, stall):
    """ETRN counts the messages, and the spool cannot be read."""
    env, switch = stack.enter_context(stalling(stall, "STALL_READ", folder))
    options = ["--drain-timeout", drain, "--etrn", "b.example=smtp://127.0.0.1:9"]
    sink = stack.enter_context(Sink("epoll", folder / "spool", *options, env=env))
    client = stack.enter_context(Conversation(sink.port))
    send_message(client)
    client.expect(250)
    switch.touch()
    client.send(b"ETRN b.example\r\n")
    time.sleep(0.3)
    return sink


def stuck_next_hop(stack, drain, folder, stall):
    """The server that ETRN delivers to takes the connection and says nothing."""
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    target = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
    sink = stack.enter_context(
        Sink("epoll", folder / "spool", "--drain-timeout", drain, "--etrn", f"b.example={target}")
    )
    client = stack.enter_context(Conversation(sink.port))
    client.say(b"MAIL FROM:<a@b.example>\r\n", 250)
    client.say(b"RCPT TO:<b@b.example>\r\n", 250)
    client.say(b"DATA\r\n", 354)
    client.say(b"Subject: x\r\n\r\nx\r\n.\r\n", 250)
    client.send(b"ETRN b.example\r\n")
    silent.settimeout(START_S)
    stack.callback(silent.accept()[0].close)
    return sink


def stuck_client(stack, drain, folder, stall, engine="epoll"):
    """A client asks, and reads no reply. The replies are more than the kernel holds at the two ends of a
    connection, so that the sink waits for the client in the middle of a send. What is asked is short, because the
    kernel would take much of it before the sink has to wait."""
    sink = stack.enter_context(Sink(engine, folder / "spool", "--drain-timeout", drain))
    client = stack.enter_context(Conversation(sink.port, window=4096))
    client.send(b"HELP\r\n")
    reply_octets = sum(map(len, client.reply(214)))
    # Commands that do no work count as errors from the 101st after a message on.
    flight = b"HELP\r\n" * 90 + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<b@b.example>\r\nBDAT 1 LAST\r\nx"
    held = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2])
    flights = 2 * held // (90 * reply_octets) + 1
    client.send(flight * flights)
    time.sleep(0.3)
    return sink


STUCK = [stuck_sync, stuck_reading, stuck_next_hop, stuck_client]


@pytest.mark.parametrize("stuck", STUCK)
def test_a_sink_in_which_something_hangs_ends_with_its_drain_and_reports(stuck, tmp_path, stall):
    with contextlib.ExitStack() as stack:
        sink = stuck(stack, f"{DRAIN_S}s", tmp_path, stall)
        sink.terminate()
        report = sink.finish(SOON_S)
        assert report["connections"] == 1


@pytest.mark.parametrize("stuck", STUCK)
def test_the_second_signal_ends_a_sink_in_which_something_hangs_at_once(stuck, tmp_path, stall):
    with contextlib.ExitStack() as stack:
        sink = stuck(stack, f"{LONG_DRAIN_S}s", tmp_path, stall)
        sink.terminate()
        time.sleep(0.5)
        sink.terminate()
        report = sink.finish(SOON_S)
        assert report["connections"] == 1


def test_a_sink_goes_on_and_ends_where_nobody_reads_its_stderr(tmp_path):
    """The boards of SIGUSR1 fill the pipe; later notices are dropped, and mail is taken."""
    command = [binary("ringpost-sink"), "--listen", "smtp://127.0.0.1:0", "--spool", tmp_path / "spool"]
    options = ["--json", "--drain-timeout", f"{DRAIN_S}s", "-vv"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    with subprocess.Popen([*command, *options], **pipes) as sink:
        try:
            port = None
            while port is None:
                line = sink.stderr.readline()
                assert line, "the sink did not start"
                if line.startswith(b"listening "):
                    port = int(line.rpartition(b":")[2])
            for _ in range(60):
                os.kill(sink.pid, 10)
                time.sleep(0.01)
            with Conversation(port) as client:
                send_message(client)
                client.expect(250)
            sink.terminate()
            # The output is one line, which fits into its pipe.
            sink.wait(SOON_S)
            assert json.loads(sink.stdout.read())["messages"] == 1
        finally:
            sink.kill()


def test_a_sink_goes_on_and_ends_where_nobody_reads_its_terminal(tmp_path):
    """The dialogue of a few thousand messages is more than a terminal holds."""
    with terminal(lambda *_: None) as stderr:
        command = [binary("ringpost-sink"), "--listen", f"smtp+unix:{tmp_path}/s", "--discard", "--cores", "1", "-vv"]
        pipes = {"stdout": subprocess.PIPE, "stderr": stderr, "env": environment()}
        with subprocess.Popen([*command, "--json"], **pipes) as sink:
            deadline = time.monotonic() + START_S
            while not (tmp_path / "s").exists():
                assert time.monotonic() < deadline, "the sink did not start"
                time.sleep(0.02)
            blast = [binary("ringpost-blast"), "-c", "4", "-n", "3000", "--live", "off", f"smtp+unix:{tmp_path}/s"]
            try:
                subprocess.run(blast, check=True, capture_output=True, timeout=60)
                sink.terminate()
                sink.wait(SOON_S)
                assert json.loads(sink.stdout.read())["messages"] == 3000
            finally:
                sink.kill()


@contextlib.contextmanager
def full_pipe():
    """The end to write to of a pipe that is full and that nobody reads."""
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writer, b"x" * fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ))
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def terminal(prepare):
    """The end to write to of a terminal that nobody reads."""
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        prepare(master, slave)
        yield slave
    finally:
        os.close(master)
        os.close(slave)


def fill(_, slave):
    """Until it takes not one octet more."""
    os.set_blocking(slave, False)
    for piece in (b"x" * 1024, b"x"):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(slave, piece)
    os.set_blocking(slave, True)


def fill_nearly(master, slave):
    """It has room for a few octets, and for no line."""
    fill(master, slave)
    os.read(master, 20)


def stop(_, slave):
    """As Ctrl-S does."""
    termios.tcflow(slave, termios.TCOOFF)


NO_READERS = [full_pipe, *(functools.partial(terminal, how) for how in (fill, fill_nearly, stop))]
NAMES = ["pipe", "full", "nearly-full", "stopped"]


def signal_and_wait(child, signals):
    try:
        for number in signals:
            time.sleep(0.5)
            child.send_signal(number)
        return child.wait(SOON_S)
    finally:
        child.kill()


@pytest.mark.parametrize("signals", [[15], [15, 15], [2, 3, 2]])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_sink_ends_without_its_report_where_nobody_reads_its_stdout(form, signals):
    command = [binary("ringpost-sink"), "--listen", "smtp://127.0.0.1:0", "--discard", "--drain-timeout", "1s"]
    with full_pipe() as stdout:
        pipes = {"stdout": stdout, "stderr": subprocess.PIPE, "env": environment()}
        with subprocess.Popen([*command, *form], **pipes) as sink:
            line = b""
            while not line.startswith(b"listening "):
                line = sink.stderr.readline()
                assert line, "the sink did not start"
            assert signal_and_wait(sink, signals) == 74


@pytest.mark.parametrize("show", [["--live", "lines"], ["--live", "auto"], ["--trace", "2"]])
@pytest.mark.parametrize("signals", [[], [2, 2]])
@pytest.mark.parametrize("no_reader", NO_READERS, ids=NAMES)
def test_a_generator_goes_on_and_ends_where_nobody_reads_its_stderr(show, signals, no_reader):
    length = ["-q", "20", "-z", "300s"] if signals else ["-q", "20", "-z", "2s"]
    with Sink("epoll", None) as sink, no_reader() as stderr:
        command = [binary("ringpost-blast"), "-c", "2", *length, *show, "--exit-zero", sink.address]
        env = environment() | {"TERM": "xterm"}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": stderr, "env": env}
        with subprocess.Popen(command, **pipes) as blast:
            # Two seconds: the live lines have begun.
            if signals:
                time.sleep(2)
            code = signal_and_wait(blast, signals)
    # A signal that comes twice ends it at once, unless the first has been enough.
    assert code in ([0, 128 + 2] if signals else [0])


@pytest.mark.parametrize("signals", [[2, 2], [15, 15]])
def test_the_second_signal_ends_a_generator_whose_report_nobody_reads(signals):
    with Sink("epoll", None) as sink, full_pipe() as stdout:
        command = [binary("ringpost-blast"), "-c", "1", "-n", "1", "--live", "off", sink.address]
        pipes = {"stdout": stdout, "stderr": subprocess.DEVNULL, "env": environment()}
        with subprocess.Popen(command, **pipes) as blast:
            assert signal_and_wait(blast, signals) == 128 + signals[0]


def test_a_client_that_waits_for_a_slow_sync_is_not_timed_out(tmp_path, stall):
    """The sync takes longer than --timeout: the message gets its reply, and the session goes on."""
    with stalling(stall, "STALL_SYNC", tmp_path) as (env, switch):
        options = ["--durability", "sync", "--timeout", "1s"]
        with Sink("epoll", tmp_path / "spool", *options, env=env) as sink, Conversation(sink.port) as client:
            switch.touch()
            send_message(client)
            # The watch would interrupt after one second, and shut the connection a second later.
            time.sleep(4)
            switch.unlink()
            client.expect(250)
            client.say(b"NOOP\r\n", 250)
            client.say(b"QUIT\r\n", 221)
            report = sink.stop()
            assert (report["messages"], report["timeouts"]) == (1, 0)
    only_message(tmp_path / "spool")
