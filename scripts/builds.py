"""Two builds of ringpost in turns: `scripts/compare --against DIR`."""

import fnmatch
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from programs import (
    BINARIES,
    CHUNKED,
    END_S,
    LARGE_BYTES,
    MESSAGE_BYTES,
    PRIME,
    RING,
    RUN_S,
    SESSIONS,
    machine,
    machine_line,
    measured,
    note,
    ringpost_blast,
    ringpost_sink,
    two_cores,
)

# The options of each way to send, and about how many times as fast as unpipelined it is. By this factor it
# sends more messages, so that each round lasts a second or two.
WAYS = {
    "unpipelined": (["--pipelining", "none"], 1),
    "commands": (["--pipelining", "commands"], 2),
    "full": (["--pipelining", "full"], 2),
    "BDAT 32": (CHUNKED, 20),
}
SIZES = {"1 KiB": MESSAGE_BYTES, "64 KiB": LARGE_BYTES}
# A round sends so many times fewer messages of 64 KiB.
LARGE_SHARE = 8
PLACES = {
    "discard": ["--discard"],
    "process": [*RING, "--durability", "process"],
    "sync": [*RING, "--durability", "sync"],
}
# A round with sync sends so many times fewer messages, because it waits for the disk.
SYNC_SHARE = 4
MESSAGES_MIN = 500


@dataclass(frozen=True)
class Row:
    """One way to load one of the programs."""

    of: str
    way: str
    place: str
    size: str

    @property
    def name(self):
        return f"{self.of}, {self.way}, {self.place}, {self.size}"

    @property
    def figure(self):
        return "server_us" if self.of == "sink" else "generator_us"

    def messages(self, unpipelined):
        count = unpipelined * WAYS[self.way][1]
        count //= LARGE_SHARE if self.size == "64 KiB" else 1
        count //= SYNC_SHARE if self.place == "sync" else 1
        return max(count, MESSAGES_MIN)


def rows(patterns):
    """The rows whose names match one of the patterns; a generator's sink only discards."""
    every = [Row("sink", way, place, size) for place in PLACES for way in WAYS for size in SIZES]
    every += [Row("generator", way, "discard", size) for way in WAYS for size in SIZES]
    found = [row for row in every if any(fnmatch.fnmatchcase(row.name, pattern) for pattern in patterns)]
    if not found:
        raise SystemExit(f"compare: no row matches; the rows are: {'; '.join(row.name for row in every)}")
    return found


def binaries_in(directory):
    """The folder of release binaries that DIR names: itself, or target/release of a checkout, which is
    built where it is missing."""
    directory = directory.resolve()
    for place in (directory, directory / "target" / "release"):
        if all((place / name).is_file() for name in ("ringpost-sink", "ringpost-blast")):
            return place
    if not (directory / "Cargo.toml").is_file():
        raise SystemExit(f"compare: {directory} is neither a checkout nor a folder of release binaries")
    if not shutil.which("cargo"):
        raise SystemExit(f"compare: cargo, which would build {directory}, is missing")
    # Built into the checkout's own target: in a shared one the later build would replace the earlier.
    built = directory / "target"
    subprocess.run(
        ["cargo", "build", "--release", "--target-dir", built], cwd=directory, check=True, stdout=sys.stderr
    )
    return built / "release"


class Turns:
    """Both builds, each row in turns."""

    def __init__(self, options):
        self.options = options
        self.sides = {"before": binaries_in(options.against), "after": BINARIES}
        self.server_core, self.generator_core = two_cores()
        self.counts = options.instructions

    def build_of(self, program, row, side):
        """The side's build of the program that the row is about, and this build of the other."""
        return self.sides[side] if program == row.of else BINARIES

    def sink(self, row, side, spool):
        keep = PLACES[row.place]
        keep = keep if row.place == "discard" else ["--spool", spool, *keep]
        return ringpost_sink(self.build_of("sink", row, side), self.server_core, self.options.io, *keep)

    def blast(self, row, side, port, messages):
        load = ["-c", SESSIONS, "-n", messages, "--size", SIZES[row.size], *WAYS[row.way][0]]
        return ringpost_blast(self.build_of("generator", row, side), self.generator_core, port, *load)

    def prime(self, port):
        return ringpost_blast(BINARIES, self.generator_core, port, *PRIME)

    def once(self, row, side):
        """One run of one side."""
        prime = None if row.place == "discard" else self.prime
        # Each round has a new spool, so that it does not write back the pages of the round before.
        with tempfile.TemporaryDirectory(dir=self.options.dir, prefix="ringpost-compare-") as spool:
            return measured(
                self.sink(row, side, spool),
                lambda port, messages: self.blast(row, side, port, messages),
                row.messages(self.options.messages),
                prime,
            )

    def row(self, row):
        rounds = {side: [] for side in self.sides}
        for number in range(self.options.rounds):
            for side in self.sides:
                note(f"{row.name}: round {number + 1} of {self.options.rounds}, {side}")
                rounds[side].append(self.once(row, side)[row.figure])
        ratios = [after / before for before, after in zip(rounds["before"], rounds["after"])]
        found = {
            "row": row.name,
            "messages": row.messages(self.options.messages),
            "us": {side: statistics.median(figures) for side, figures in rounds.items()},
            "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        }
        found["within_bound"] = found["ratio"]["median"] <= self.options.bound
        if self.counts:
            counts = {side: self.instructions(row, side) for side in self.sides}
            if all(counts.values()):
                found["instructions"] = counts
            else:
                self.counts = False
                print("compare: this machine counts no instructions", file=sys.stderr)
        return found

    def instructions(self, row, side):
        """Instructions per message of the program that the row is about, in a run of its own; None where
        this machine does not count them."""
        note(f"{row.name}: instructions, {side}")
        messages = row.messages(self.options.messages)
        with tempfile.TemporaryDirectory(dir=self.options.dir, prefix="ringpost-compare-") as spool:
            server, generator = self.sink(row, side, spool), None
            try:
                counted = Counter(server.child.pid) if row.of == "sink" else None
                generator = self.blast(row, side, server.port, messages)
                counted = counted or Counter(generator.child.pid)
                generator.end(RUN_S)
                server.end(END_S, signal=15)
                generator.check()
                return counted.total() / messages if counted.total() else None
            finally:
                if generator:
                    generator.kill()
                server.kill()


class Counter:
    """`perf stat` attached to a running program; it ends with the program."""

    def __init__(self, pid):
        argv = ["perf", "stat", "-x", ",", "-e", "instructions", "-p", str(pid)]
        self.child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.counted = None

    def total(self):
        if self.counted is None:
            try:
                told = self.child.communicate(timeout=END_S)[1]
            except subprocess.TimeoutExpired:
                self.child.kill()
                told = self.child.communicate()[1]
            count = told.partition(",")[0].strip()
            self.counted = int(count) if count.isdigit() else 0
        return self.counted


def compare(options):
    """Measures and prints; the exit status."""
    if options.instructions and not shutil.which("perf"):
        raise SystemExit("compare: --instructions needs perf")
    turns = Turns(options)
    report = {
        "machine": machine(),
        "before": str(turns.sides["before"]),
        "after": str(turns.sides["after"]),
        "rounds": options.rounds,
        "io": options.io,
        "bound": options.bound,
        "rows": [],
    }
    chosen = rows(options.rows.split(","))
    if not options.json:
        head(report)
    for row in chosen:
        found = turns.row(row)
        report["rows"].append(found)
        note("")
        if not options.json:
            show(found)
    over = [found["row"] for found in report["rows"] if not found["within_bound"]]
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(f"\n{len(over)} of {len(chosen)} rows are over {options.bound}" + "".join(f"\n  {name}" for name in over))
    return 1 if over else 0


def head(report):
    print(machine_line(report["machine"]))
    print(f"before    {report['before']}")
    print(f"after     {report['after']}")
    print(f"load      {SESSIONS} sessions, --io {report['io']}, {report['rounds']} rounds in turns; median (range)\n")
    print(f"{'µs of CPU per message':<44}{'before':>9}{'after':>9}{'ratio':>9}")


def show(found):
    us, ratio = found["us"], found["ratio"]
    mark = "" if found["within_bound"] else "  OVER"
    span = f"({ratio['min']:.3f}–{ratio['max']:.3f})"
    print(f"{found['row']:<44}{us['before']:>9.2f}{us['after']:>9.2f}{ratio['median']:>9.3f} {span:<16}{mark}", flush=True)
    if "instructions" in found:
        before, after = found["instructions"]["before"], found["instructions"]["after"]
        print(f"{'  instructions per message':<44}{before:>9.0f}{after:>9.0f}{after / before:>9.3f}", flush=True)
