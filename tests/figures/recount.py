#!/usr/bin/env python3
"""Computes the figures of a run again, from what its servers wrote down, and compares them with run.json.

    recount.py RUN_DIR LOG...

There is one LOG for each target, in the order of the command line. Its first line is `unix N`: what the wall
clock showed when CLOCK_MONOTONIC was 0, in nanoseconds. Each other line is an event: the number of the
connection, the time, one of opened, read, wrote and closed, and the octets in base64. The time of a read is that
just after it, and the time of a write that just before it.

Written from the manual and from RFC 5321, 2920 and 3030 alone. Python 3 and its standard library are enough.
Prints each difference on a line, and exits with 1 if there is one.
"""

import base64
import collections
import csv
import json
import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

# By so much the two clocks may be apart, as two programs read them; and the width of a cell of a histogram.
CLOCKS_NS = 2_000_000
CELL = 0.002
# Figures of single commands and of targets have two digits.
COARSE = 0.02

PHASES = {"MAIL": "mail", "RCPT": "rcpt", "DATA": "data", "BDAT": "data", "RSET": "rset", "QUIT": "quit"}
PHASES |= {"EHLO": "hello", "HELO": "hello", "LHLO": "hello", "": "banner", ".": "end_of_data"}
WORD = re.compile(r"[A-Za-z0-9]{4,}")
ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)")


def folded(text):
    """The words of a refusal, with # in the place of each number of the message."""
    return WORD.sub(lambda word: "#" if re.search("[0-9]", word[0]) else word[0], text)


@dataclass
class Reply:
    code: int
    text: str
    wrote_ns: int
    # When the client was heard next, or left.
    heard_ns: int = 0


@dataclass
class Command:
    """A command, the end of a message (`.`), or the connection itself (an empty verb)."""

    verb: str
    # When its last octet was there, and the last time before it that the server wrote.
    read_ns: int
    wrote_before_ns: int
    reply: Reply | None = None


@dataclass
class Transaction:
    target: int
    commands: list = field(default_factory=list)
    octets: int = 0
    due_unix_ns: int | None = None

    def of(self, verb):
        return [command for command in self.commands if command.verb == verb]

    @property
    def decided(self):
        """The reply that decides the message; None where there was none."""
        ends = self.of(".")
        if ends:
            return ends[-1].reply
        refused = [command.reply for command in self.commands if command.reply and command.reply.code >= 400]
        return refused[-1] if refused else None

    @property
    def outcome(self):
        if self.decided is None:
            return "unanswered"
        code = self.decided.code
        return "accepted" if code < 300 else "refused_4xx" if code < 500 else "refused_5xx"

    def recipients(self):
        """How many were accepted, and refused with 4xx and with 5xx, by themselves or with their message."""
        counts = collections.Counter()
        for rcpt in self.of("RCPT"):
            by_itself = rcpt.reply.code if rcpt.reply else 0
            if by_itself >= 400:
                counts["refused_4xx" if by_itself < 500 else "refused_5xx"] += 1
            else:
                counts[self.outcome] += 1
        return counts


class Connection:
    """One connection, read octet by octet: which commands there were, and what answered them."""

    def __init__(self, target, events):
        self.target = target
        self.transactions = []
        self.opened_ns = events[0][0]
        # The kernel had made the connection at some time before it was given to the server.
        self.commands = [Command("", self.opened_ns, 0)]
        self.replies = []
        self.times = []
        octets = bytearray()
        for at_ns, what, piece in events:
            if what == "read":
                octets += piece
                self.times.append((len(octets), at_ns))
            if what in ("read", "closed"):
                for reply in self.replies:
                    reply.heard_ns = reply.heard_ns or at_ns
            if what == "wrote":
                self.reply(at_ns, piece.decode())
        self.parse(bytes(octets))

    def reply(self, at_ns, text):
        for line in text.splitlines():
            if line[3:4] != "-":
                self.replies.append(Reply(int(line[:3]), line[4:], at_ns))

    def read_at(self, end):
        """When the octets before `end` were all there."""
        return next(at_ns for count, at_ns in self.times if count >= end)

    def add(self, verb, end):
        number = len(self.commands)
        at_ns = self.read_at(end)
        before = [reply.wrote_ns for reply in self.replies if reply.wrote_ns < at_ns]
        command = Command(verb, at_ns, max(before, default=self.opened_ns))
        command.reply = self.replies[number] if number < len(self.replies) else None
        self.commands.append(command)
        if verb == "MAIL":
            self.transactions.append(Transaction(self.target))
        if verb in ("MAIL", "RCPT", "DATA", "BDAT", "."):
            self.transactions[-1].commands.append(command)
        return command

    def parse(self, octets):
        self.commands[0].reply = self.replies[0] if self.replies else None
        at, chunks = 0, b""
        while (end := octets.find(b"\r\n", at)) >= 0:
            line, at = octets[at:end].decode(), end + 2
            verb = re.split("[ :]", line)[0].upper()
            if verb == "BDAT":
                words = line.split()
                size, last = int(words[1]), len(words) > 2
                if at + size > len(octets):
                    return
                chunks += octets[at : at + size]
                at += size
                command = self.add("." if last else "BDAT", at)
                if last:
                    self.message(command, chunks)
                    chunks = b""
                continue
            command = self.add(verb, at)
            if verb == "DATA" and command.reply and command.reply.code == 354:
                # The empty line is the one before the first line of the message.
                end = octets.find(b"\r\n.\r\n", at - 2)
                if end < 0:
                    return
                stuffed, at = octets[at : end + 2], end + 5
                self.message(self.add(".", at), re.sub(rb"(?m)^\.", b"", stuffed))

    def message(self, command, octets):
        transaction = self.transactions[-1]
        transaction.octets = len(octets)
        due = re.search(rb"^X-Ringpost:[^\r]* due=(\d+)", octets, re.M)
        transaction.due_unix_ns = int(due[1]) if due else None


def read_log(target, path):
    events, lines = collections.defaultdict(list), path.read_text().splitlines()
    offset_ns = int(lines[0].split()[1])
    for line in lines[1:]:
        connection, at_ns, what, *octets = line.split(" ")
        events[int(connection)].append((int(at_ns), what, base64.b64decode("".join(octets))))
    return offset_ns, [Connection(target, of) for of in events.values()]


def unix_ns(text):
    """An RFC 3339 time in UTC."""
    import calendar
    import time

    whole, _, part = text.removesuffix("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(part.ljust(9, "0")[:9])


class Recount:
    def __init__(self, directory, logs):
        self.directory = directory
        self.run = json.loads((directory / "run.json").read_text())
        self.plan = self.run["plan"]
        self.wrong = []
        self.connections = []
        for target, log in enumerate(logs):
            self.offset_ns, connections = read_log(target, log)
            self.connections += connections
        self.all = [of for connection in self.connections for of in connection.transactions]
        self.started_ns = unix_ns(self.run["started"])
        self.warmup_ns = round(self.plan["warmup_s"] * 1e9)
        length = self.plan["duration_s"]
        self.end_ns = math.inf if length is None else self.warmup_ns + round(length * 1e9)
        # Where nothing is left out, a message counts that was refused before its stamp was sent.
        self.partial = self.warmup_ns > 0 or self.plan["cooldown_s"] > 0
        self.measured = [of for of in self.all if not self.partial or self.part(of) == "measured"]
        self.open = self.run["response_ns"] is not None
        self.pipelines = self.plan["pipelining"] != "none"

    def part(self, of):
        since_ns = of.due_unix_ns - self.started_ns
        return "warmup" if since_ns < self.warmup_ns else "measured" if since_ns < self.end_ns else "cooldown"

    def same(self, name, told, computed):
        if told != computed:
            self.wrong.append(f"{name} is {told}; the servers' log gives {computed}")

    def between(self, name, told, least, most):
        if told is None or not least <= told <= most:
            self.wrong.append(f"{name} is {told}; the servers' log gives {least} to {most}")

    def count(self, outcome):
        return sum(of.outcome == outcome for of in self.measured)

    def messages(self):
        run = self.run
        not_begun = run["messages_not_begun"]
        self.same("messages_ok", run["messages_ok"], self.count("accepted"))
        self.same("messages_refused_4xx", run["messages_refused_4xx"], self.count("refused_4xx"))
        self.same("messages_refused_5xx", run["messages_refused_5xx"], self.count("refused_5xx"))
        self.same("messages_unanswered", run["messages_unanswered"], self.count("unanswered") + not_begun)
        self.same("messages_failed", run["messages_failed"], len(self.measured) - self.count("accepted") + not_begun)
        self.same("messages_due", run["messages_due"], len(self.measured) + not_begun)
        if self.partial:
            for part in ("warmup", "cooldown"):
                self.same(f"{part}_messages", run[f"{part}_messages"], sum(self.part(of) == part for of in self.all))
        if self.plan["messages"] is not None:
            self.same("messages of the plan", self.plan["messages"], len(self.all) + not_begun)
        accepted = [of for of in self.measured if of.outcome == "accepted"]
        self.same("bytes", run["bytes"], sum(of.octets for of in accepted))
        self.same(
            "messages_partly_ok",
            run["messages_partly_ok"],
            sum(of.recipients()["accepted"] < len(of.of("RCPT")) for of in accepted),
        )

    def recipients(self):
        # What a message asks for that is refused at MAIL, no server sees.
        seen = [of for of in self.measured if of.of("RCPT")]
        if len(seen) < len(self.measured):
            return
        counts = collections.Counter()
        for of in seen:
            counts += of.recipients()
        self.same("recipients", self.run["recipients"], counts["accepted"])
        self.same("recipients_asked", self.run["recipients_asked"], sum(len(of.of("RCPT")) for of in seen))
        self.same("recipients_refused_4xx", self.run["recipients_refused_4xx"], counts["refused_4xx"])
        self.same("recipients_refused_5xx", self.run["recipients_refused_5xx"], counts["refused_5xx"])

    def start(self):
        """Evenly spread messages begin with the clock."""
        if self.plan["arrivals_of"] == "messages" and self.plan["arrivals"] == "constant":
            dues = [of.due_unix_ns for of in self.all if of.due_unix_ns]
            self.same("started", self.started_ns, min(dues, default=self.started_ns))

    def rates(self):
        run, elapsed = self.run, self.run["elapsed_s"]
        if self.plan["duration_s"] is not None:
            least = most = self.plan["duration_s"]
            if not self.open:
                # The last messages that were begun end after it.
                ends = [of.decided.heard_ns + self.offset_ns - self.started_ns for of in self.measured if of.decided]
                most = max([most, (max(ends, default=0) - self.warmup_ns + CLOCKS_NS) / 1e9])
            self.between("elapsed_s", elapsed, least, most)
        elif self.open and self.plan["arrivals_of"] == "messages" and not self.partial:
            due_s = self.plan["messages"] / float(self.plan["rate"])
            self.between("elapsed_s", elapsed, due_s * (1 - 1e-6), due_s * (1 + 1e-6))
        elif not self.open and not self.partial:
            ends = [of.decided for of in self.measured if of.decided]
            base = self.started_ns - self.offset_ns
            least = (max(reply.wrote_ns for reply in ends) - base - CLOCKS_NS) / 1e9
            most = (max(reply.heard_ns for reply in ends) - base + CLOCKS_NS) / 1e9
            self.between("elapsed_s", elapsed, least, most)
        accepted = [of.decided for of in self.measured if of.outcome == "accepted"]
        base = self.started_ns - self.offset_ns + self.warmup_ns
        for name, pick in (("accepted_from_s", min), ("accepted_until_s", max)):
            if not accepted:
                self.same(name, run[name], None)
                continue
            least = (pick(reply.wrote_ns for reply in accepted) - base - CLOCKS_NS) / 1e9
            most = (pick(reply.heard_ns for reply in accepted) - base + CLOCKS_NS) / 1e9
            # What is told never lies before the measured time.
            self.between(name, run[name], max(least, 0), max(most, 0))
        if elapsed:
            rate = len(accepted) / self.rated_s()
            self.between("rate_msg_s", run["rate_msg_s"], rate * (1 - 1e-9), rate * (1 + 1e-9))

    def rated_s(self):
        """What rates are over."""
        came_s = (self.run["accepted_until_s"] or 0) - (self.run["accepted_from_s"] or 0)
        return max(self.run["elapsed_s"], came_s)

    def times(self, name, told, bounds, cell=CELL, slack_ns=0):
        """Holds each percentile between those of the least and of the most that each time can be."""
        self.same(f"{name}.count", told["count"], len(bounds))
        if not bounds or told["count"] != len(bounds):
            return
        ranked = [sorted(ends) for ends in zip(*bounds)]

        def hold(key, least, most):
            least, most = least * (1 - cell) - slack_ns, most * (1 + cell) + slack_ns
            self.between(f"{name}.{key}", told[key], least, most)

        # With fewer samples no value lies above the percentile, and it is not told.
        quantiles = {"min": 0, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
        for key, quantile in (quantiles | {"p999": 0.999, "p9999": 0.9999, "max": 1}).items():
            if quantile < 1 and len(bounds) < round(1 / (1 - quantile)):
                self.same(f"{name}.{key}", told[key], None)
                continue
            rank = max(math.ceil(quantile * len(bounds)), 1) - 1
            hold(key, *(ends[rank] for ends in ranked))
        hold("mean", *(sum(ends) / len(bounds) for ends in ranked))

    def latencies(self):
        """Of commands that went one at a time: each reply was heard before the server heard the client again."""
        run = self.run
        if run["messages_not_begun"] or any(of.decided is None for of in self.measured):
            return
        answered = [of for of in self.measured if of.outcome == "accepted"]
        refused = [of for of in self.measured if of.outcome != "accepted"]

        def service(of):
            first, last = of.commands[0], of.decided
            return last.wrote_ns - first.read_ns, last.heard_ns - first.wrote_before_ns

        def response(of):
            due_ns = of.due_unix_ns - self.offset_ns
            return of.decided.wrote_ns - due_ns, of.decided.heard_ns - due_ns

        def lag(of):
            due_ns, first = of.due_unix_ns - self.offset_ns, of.commands[0]
            return max(first.wrote_before_ns - due_ns, 0), first.read_ns - due_ns

        if self.pipelines:
            self.same("service_ns.count", run["service_ns"]["count"], len(answered))
            self.same("refused_ns.count", run["refused_ns"]["count"], len(refused))
            return
        self.times("service_ns", run["service_ns"], [service(of) for of in answered])
        if not self.open:
            self.times("refused_ns", run["refused_ns"], [service(of) for of in refused])
        elif all(of.due_unix_ns for of in self.measured):
            self.times("response_ns", run["response_ns"], [response(of) for of in answered], slack_ns=CLOCKS_NS)
            self.times("refused_ns", run["refused_ns"], [response(of) for of in refused], slack_ns=CLOCKS_NS)
            lags = run["send_lag_ns"]
            self.times("send_lag_ns", lags, [lag(of) for of in answered], slack_ns=CLOCKS_NS)
        else:
            self.same("response_ns.count", run["response_ns"]["count"], len(answered))

    def phases(self):
        commands = collections.defaultdict(list)
        members = [command for of in self.measured for command in of.commands]
        # What a connection does besides goes with its message, where it has only one.
        alone = self.open and self.plan["per_connection"] == 1
        if not self.partial or alone:
            own = [of for of in self.connections if not self.partial or self.part(of.transactions[0]) == "measured"]
            members = [command for connection in own for command in connection.commands]
        for command in members:
            if command.reply:
                commands[PHASES[command.verb]].append(command)
        total = collections.Counter()
        for name, of in commands.items():
            told = self.run["phases"].get(name, {"replies": {}, "enhanced": {}, "latency_ns": {"count": 0}})
            codes = collections.Counter(str(command.reply.code) for command in of)
            total += codes
            self.same(f"phases.{name}.replies", told["replies"], dict(codes))
            enhanced = collections.Counter()
            # Those of refusals: that of a success says nothing new.
            for command in (command for command in of if command.reply.code >= 400):
                if found := ENHANCED.match(command.reply.text):
                    enhanced[f"{command.reply.code} {found[0]}"] += 1
            self.same(f"phases.{name}.enhanced", told["enhanced"], dict(enhanced))
            refusals = collections.Counter()
            for command in (command for command in of if command.reply.code >= 400):
                refusals[f"{command.reply.code} {folded(command.reply.text)}".rstrip()] += 1
            self.same(f"phases.{name}.refusals", told.get("refusals", {}), dict(refusals))
            if self.pipelines:
                self.same(f"phases.{name}.latency_ns.count", told["latency_ns"]["count"], len(of))
                continue
            # From the send of the command, or of the last octets of a message, to the reply.
            bounds = [
                (command.reply.wrote_ns - command.read_ns, command.reply.heard_ns - command.wrote_before_ns)
                for command in of
            ]
            self.times(f"phases.{name}.latency_ns", told["latency_ns"], bounds, COARSE, CLOCKS_NS // 10)
        if not self.partial or alone:
            self.same("replies", self.run["replies"], dict(total))
            odd = sum(count for code, count in total.items() if code[1] > "5")
            self.same("replies_odd", self.run["replies_odd"], odd)
            for name in ("connect", "session"):
                self.same(f"phases.{name}.latency_ns.count", self.run["phases"][name]["latency_ns"]["count"], len(own))
        if not self.partial:
            opened = len(self.connections)
            self.same("connections_opened", self.run["connections_opened"], opened)
            self.same("connections_closed", self.run["connections_closed"], opened)
        message = self.run["phases"]["message"]["latency_ns"]["count"]
        self.same("phases.message.latency_ns.count", message, len(self.measured))

    def in_flight(self):
        """What the servers saw under way at once the generator did too, on one core."""
        edges = []
        for of in self.all:
            if of.decided and of.decided.wrote_ns > of.commands[0].read_ns:
                edges += [(of.commands[0].read_ns, 1), (of.decided.wrote_ns, -1)]
        now = peak = 0
        for _, step in sorted(edges, key=lambda edge: (edge[0], edge[1])):
            now += step
            peak = max(peak, now)
        most = self.plan["connections"] * max(self.plan["depth"], 2)
        # A peak behind the end of a measured time is in no figure.
        if not self.partial and self.end_ns == math.inf:
            self.between("in_flight_peak", self.run["in_flight_peak"], peak, most)

    def behind(self):
        """What was sent after the end was due before it: MAIL is sent after what the server wrote before it."""
        told = self.run["behind_messages"]
        if not self.open:
            self.same("behind_messages", told, 0)
        # Where connections are opened for their messages, one may be taken up long before its MAIL.
        by_time = self.open and self.plan["arrivals_of"] == "messages" and self.end_ns < math.inf
        by_time = by_time and self.plan["per_connection"] is None
        if not by_time or any(of.due_unix_ns is None for of in self.measured):
            return
        end_ns = self.started_ns - self.offset_ns + self.end_ns
        due = [of.commands[0] for of in self.measured]
        not_begun = self.run["messages_not_begun"]
        least = sum(mail.wrote_before_ns > end_ns + CLOCKS_NS for mail in due) + not_begun
        most = sum(mail.read_ns > end_ns - CLOCKS_NS for mail in due) + not_begun
        self.between("behind_messages", told, least, most)

    def targets(self):
        for index, told in enumerate(self.run.get("targets", [])):
            own = [of for of in self.measured if of.target == index]
            ok = sum(of.outcome == "accepted" for of in own)
            self.same(f"targets.{index}.messages_ok", told["messages_ok"], ok)
            self.same(f"targets.{index}.messages_failed", told["messages_failed"], len(own) - ok)
            opened = sum(connection.target == index for connection in self.connections)
            self.same(f"targets.{index}.connections_opened", told["connections_opened"], opened)
            if not self.run["elapsed_s"]:
                self.same(f"targets.{index}.rate_msg_s", told["rate_msg_s"], None)
                continue
            rate = ok / self.rated_s()
            self.between(f"targets.{index}.rate_msg_s", told["rate_msg_s"], rate * (1 - 1e-9), rate * (1 + 1e-9))

    def files(self):
        """The other files say the same as run.json."""
        rows = list(csv.DictReader((self.directory / "run.csv").open()))
        measured = [row for row in rows if row["warmup"] == "0"]
        for name in ("messages_ok", "messages_failed", "bytes", "recipients"):
            self.same(f"run.csv: {name}", sum(int(row[name]) for row in measured), self.run[name])
        refused = self.run["recipients_refused_4xx"] + self.run["recipients_refused_5xx"]
        self.same("run.csv: recipients_refused", sum(int(row["recipients_refused"]) for row in measured), refused)
        warmup = sum(int(row["messages_ok"]) + int(row["messages_failed"]) for row in rows if row["warmup"] == "1")
        if warmup > self.run["warmup_messages"]:
            self.wrong.append(f"run.csv has {warmup} messages in the warm-up, run.json {self.run['warmup_messages']}")
        text = (self.directory / "run.hgrm").read_text()
        headline = self.run["response_ns"] or self.run["service_ns"]
        total = int(re.search(r"Total count *= *(\d+)", text)[1])
        self.same("run.hgrm: total count", total, headline["count"])
        if not total:
            return
        most = float(re.search(r"Max *= *([\d.]+)", text)[1]) * 1e6
        self.between("run.hgrm: max", most, headline["max"] * (1 - 1e-6) - 1, headline["max"] * (1 + 1e-6) + 1)


def main():
    recount = Recount(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
    for figures in (
        recount.messages,
        recount.recipients,
        recount.start,
        recount.rates,
        recount.latencies,
        recount.phases,
        recount.in_flight,
        recount.behind,
        recount.targets,
        recount.files,
    ):
        figures()
    print("\n".join(recount.wrong) or "the same")
    sys.exit(1 if recount.wrong else 0)


if __name__ == "__main__":
    main()
