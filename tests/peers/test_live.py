"""The live view on a terminal: drawn, given back, and absent where there is no terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from harness import Sink, binary, free_port

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"
COLOUR = b"\x1b[38;5;"
CTRL_S, CTRL_Q = b"\x13", b"\x11"
END_S = 30
# The first frames of a view, those that draw whole rows.
FRAMES_BYTES = 8192


class OnTerminal:
    """ringpost-blast with a terminal of its own on all three streams."""

    def __init__(self, argv, columns=100, rows=30, stdout=None, **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color", **environment}
        env = {name: value for name, value in env.items() if value is not None}
        stdout = slave if stdout is None else stdout
        self.process = subprocess.Popen(argv, stdin=slave, stdout=stdout, stderr=slave, env=env)
        os.close(slave)
        self.written = b""

    def read_until(self, wanted):
        deadline = time.monotonic() + END_S
        while wanted not in self.written:
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.written!r}"
            self.read_some()

    def read_some(self):
        if select.select([self.master], [], [], 0.2)[0]:
            self.written += os.read(self.master, 65536)

    def end(self):
        """All that is left, and the exit status."""
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            try:
                piece = os.read(self.master, 65536)
            except OSError:  # EIO: the last holder of the other side is gone
                break
            if not piece:
                break
            self.written += piece
        return self.process.wait(timeout=END_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


def screen(written):
    """The rows of the alternate screen after the last whole frame, as far as the view needs one: text, and
    where it is put. What was read ends anywhere, in the middle of a row too; a frame ends where the cursor is
    hidden again."""
    written = written.partition(LEAVE)[0]
    written = written[: written.rfind(HIDE_CURSOR) + 1]
    cells, row, column = {}, 1, 1
    for command, text in re.findall(r"\x1b\[([?\d;]*[A-Za-z])|([^\x1b]+)", written.decode("utf-8", "replace")):
        if command.endswith("H"):
            row, column = (int(number) for number in (command[:-1] or "1;1").split(";"))
        for character in text:
            cells[row, column] = character
            column += 1
    last = max((column for _, column in cells), default=0)
    return ["".join(cells.get((row, column), " ") for column in range(1, last + 1)) for row in range(1, 31)]


def targets(written):
    """The row of each target, by its number."""
    found = (re.search(r"target (\d) +(\S.*)", line) for line in screen(written))
    return {row[1]: row[2] for row in found if row}


def load(port, *more):
    return [binary("ringpost-blast"), f"127.0.0.1:{port}", "-c", "4", *more]


@pytest.mark.parametrize("signals, status", [(1, 0), (2, 130)])
def test_ctrl_c_gives_the_terminal_back(signals, status):
    with Sink("epoll") as sink, OnTerminal(load(sink.port, "-z", "60s")) as blast:
        blast.read_until(b"Ctrl-C ends the run")
        blast.read_until(b"msg/s")
        for _ in range(signals):
            # Back to back, so that the second comes while the first is being followed.
            blast.process.send_signal(signal.SIGINT)
            time.sleep(0.002)
        ended = blast.end()
        # A fast polite end may win against the second signal.
        assert ended in {1, status}, blast.written
        assert blast.written.count(ENTER) == blast.written.count(LEAVE) == 1
        after = blast.written.split(LEAVE)[1]
        assert SHOW_CURSOR in after
        if ended == 1:
            assert b"accepted" in after and b"end of data" in after, "the report stands on the screen"


@pytest.mark.parametrize("aside", [True, False])
def test_a_stopped_terminal_holds_up_neither_the_run_nor_its_artefacts(aside, tmp_path):
    out, report = tmp_path / "run", tmp_path / "report"
    options = ["-z", "4s", "--exit-zero", "--live", "tui", "--out", out]
    with Sink("epoll") as sink, report.open("wb") as stdout:
        with OnTerminal(load(sink.port, *options), stdout=stdout if aside else None) as blast:
            blast.read_until(b"Ctrl-C ends the run")
            os.write(blast.master, CTRL_S)
            deadline = time.monotonic() + END_S
            while not (out / "report.html").exists():
                assert time.monotonic() < deadline, "it waits for the terminal"
                time.sleep(0.1)
            if aside:
                assert blast.process.wait(timeout=END_S) == 0
                assert b"accepted" in report.read_bytes()
            else:
                os.write(blast.master, CTRL_Q)
                assert blast.end() == 0
                assert blast.written.count(ENTER) == blast.written.count(LEAVE) == 1
                after = blast.written.split(LEAVE)[1]
                assert SHOW_CURSOR in after and b"accepted" in after


def test_several_targets_have_a_row_each():
    down = free_port()
    with Sink("epoll") as first, Sink("epoll") as second:
        more = [f"3={second.address}", f"127.0.0.1:{down}", "-c", "8", "-z", "60s"]
        with OnTerminal([binary("ringpost-blast"), first.address, *more], columns=120) as blast:
            ends = {"1": first.address, "2": second.address, "3": f"127.0.0.1:{down}"}
            rows = {}

            def ready():
                rows.update(targets(blast.written))
                ok = {number: re.search(r"([\d,]+) ok", row) for number, row in rows.items()}
                return len(ok) == 3 and all(ok.values()) and ok["1"][1] != "0" and ok["2"][1] != "0"

            deadline = time.monotonic() + END_S
            while not ready():
                assert time.monotonic() < deadline, blast.written
                blast.read_some()
            assert f" ok  {first.address}" in rows["1"] and f" ok  {second.address}" in rows["2"], rows
            assert re.search(rf"0 ok +127\.0\.0\.1:{down}", rows["3"]), rows
            # Wherever the reading is cut, the rows that it shows are whole.
            for cut in range(0, min(len(blast.written), FRAMES_BYTES), 5):
                for number, row in targets(blast.written[:cut]).items():
                    assert row.rstrip().endswith(ends[number]), (cut, row)
            blast.process.send_signal(signal.SIGINT)
            assert blast.end() == 1
            report = blast.written.split(LEAVE)[1].decode()
    assert re.search(rf"smtp://{re.escape(second.address)} +3 ", report), report


def test_colours_are_left_out_where_nobody_wants_them():
    with Sink("epoll") as sink:
        with OnTerminal(load(sink.port, "-z", "2s"), NO_COLOR=None) as blast:
            assert blast.end() == 0
            assert COLOUR in blast.written
        with OnTerminal(load(sink.port, "-z", "2s"), NO_COLOR="1") as blast:
            assert blast.end() == 0
            assert ENTER in blast.written and COLOUR not in blast.written


@pytest.mark.parametrize(
    "options, terminal",
    [
        (["--live", "lines"], {}),
        (["--live", "off"], {}),
        ([], {"TERM": "dumb"}),
        ([], {"columns": 40}),
    ],
)
def test_the_view_stays_away_where_it_is_not_wanted_or_does_not_fit(options, terminal):
    with Sink("epoll") as sink:
        with OnTerminal(load(sink.port, "-z", "2s", *options), **terminal) as blast:
            assert blast.end() == 0
            assert ENTER not in blast.written
            shown = blast.written.count(b" msg/s  ")
            assert (shown == 0) == ("off" in options), blast.written


@pytest.mark.alone
def test_the_view_costs_less_than_a_hundredth_of_a_core():
    """CPU of a run that sends next to nothing, with the view and without it."""
    with Sink("epoll") as sink:
        spent = {}
        for view in ("tui", "off"):
            argv = load(sink.port, "-z", "8s", "--rate", "10", "--live", view)
            before = os.times()
            with OnTerminal(argv) as blast:
                # 4: on a machine that is busy otherwise the schedule was not kept.
                assert blast.end() in {0, 4}
            after = os.times()
            spent[view] = (after.children_user - before.children_user) + (
                after.children_system - before.children_system
            )
        assert (spent["tui"] - spent["off"]) / 8 < 0.01, spent
