"""What TLS costs, beside plain text in the same run: `scripts/compare --tls`."""

import fnmatch
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from builds import SIZES, WAYS
from programs import (
    BINARIES,
    REPO,
    SESSIONS,
    Server,
    free_port,
    machine,
    machine_line,
    measured,
    note,
    ringpost_blast,
    ringpost_sink,
    two_cores,
)

PEERS = Path(os.environ.get("RINGPOST_PEERS", REPO / ".peers"))
MIB = 1 << 20
BIG_BYTES = 16 * MIB
BIG = ["--pipelining", "full", "--chunking"]
# Connections of a round that opens one for each message: few, because each leaves a port in TIME_WAIT.
NEW_SESSIONS = 2_000
# So many that no smtpd of Postfix reaches the hundred after which it ends.
PEER_SESSIONS = 640
CROWD = 10_000
# A handshake has 10 s, then it is given up.
HANDSHAKE_S = 10

KEPT_TARGETS = {
    "sink": {"unpipelined": 1.3, "commands": 1.3, "full": 1.3, "BDAT 32": 1.8},
    "generator": {"unpipelined": 1.35, "commands": 1.35, "full": 1.35, "BDAT 32": 2},
}


class Secured:
    """Runs with TLS and without, in turns."""

    def __init__(self, options):
        self.options = options
        self.server_core, self.generator_core = two_cores()
        self.directory = tempfile.TemporaryDirectory(prefix="ringpost-tls-")
        self.ca = Path(self.directory.name) / "ca.pem"

    def sink(self, *more):
        tls = ["--tls-self-signed", "--tls-ca-out", self.ca]
        return ringpost_sink(BINARIES, self.server_core, self.options.io, "--discard", *tls, *more)

    def blast(self, port, messages, *load):
        load = ["-n", messages, *load]
        return ringpost_blast(BINARIES, self.generator_core, port, *load)

    def tls(self, *more):
        return ["--tls", "starttls", "--tls-ca", self.ca, "--tls-servername", "localhost", *more]

    def in_turns(self, name, messages, load, tls):
        """Figures of each round, plain and under TLS: {side: [figures]}."""
        sides = {"plain": load, "TLS": [*load, *tls]}
        rounds = {side: [] for side in sides}
        for number in range(self.options.rounds):
            for side, words in sides.items():
                note(f"{name}: round {number + 1} of {self.options.rounds}, {side}")
                start = lambda port, count, words=words: self.blast(port, count, *words)
                rounds[side].append(measured(self.sink(), start, messages))
        return rounds

    def kept(self, way):
        """CPU per message of both programs with kept sessions, 1 KiB."""
        words, factor = WAYS[way]
        load = ["-c", SESSIONS, "--size", SIZES["1 KiB"], *words]
        rounds = self.in_turns(f"kept, {way}", self.options.messages * factor, load, self.tls())
        for program, figure in (("sink", "server_us"), ("generator", "generator_us")):
            yield of_ratio(f"kept sessions, {way}, {program}", rounds, figure, "≤", KEPT_TARGETS[program][way])

    def big(self):
        """Messages of 16 MiB by BDAT: rate against plain text, and octets per second of CPU."""
        load = ["-c", 4, "--size", BIG_BYTES, *BIG]
        rounds = self.in_turns("16 MiB", max(self.options.messages // 500, 40), load, self.tls())
        yield of_ratio("16 MiB by BDAT, messages per second", rounds, "rate_msg_s", "≥", 0.6)
        speeds = [BIG_BYTES / 1e3 / figures["server_us"] for figures in rounds["TLS"]]
        yield of_values("16 MiB by BDAT, sink, GB per second of CPU", speeds, "≥", 1.5)

    def handshakes(self):
        """What a full handshake costs above a session in plain text, P-256 and X25519."""
        load = ["-c", 16, "--per-connection", 1, "--close", "rst", "--size", SIZES["1 KiB"]]
        rounds = self.in_turns("full handshake", NEW_SESSIONS, load, self.tls("--tls-groups", "x25519"))
        for program, figure, most in (("sink", "server_us", 110), ("generator", "generator_us", 240)):
            plain, tls = ([figures[figure] for figures in rounds[side]] for side in ("plain", "TLS"))
            above = [with_tls - without for without, with_tls in zip(plain, tls)]
            yield of_values(f"full handshake above a plain session, {program}, µs", above, "≤", most)

    def new(self):
        """CPU per connection of servers that get a new session for each message: ours, stunnel in front of smtp-sink,
        and Postfix's smtpd, with one certificate."""
        certificate = certify(self.directory.name)
        taken = {name: [] for name in PEERS_OF_NEW}
        for number in range(self.options.rounds):
            for name, start in PEERS_OF_NEW.items():
                note(f"new sessions: round {number + 1} of {self.options.rounds}, {name}")
                with tempfile.TemporaryDirectory(prefix="ringpost-tls-") as directory:
                    os.chmod(directory, 0o755)
                    server = start(self, directory, *certificate)
                    try:
                        taken[name].append(self.cost_of_sessions(server))
                    finally:
                        server.stop()
        ours = taken.pop("ringpost-sink")
        for (name, costs), most in zip(taken.items(), (1 / 3, 1 / 5)):
            ratios = [our / cost for our, cost in zip(ours, costs)]
            found = of_values(f"new sessions, CPU per connection against {name}", ratios, "≤", most)
            found["figures"] = {"ringpost-sink µs": statistics.median(ours), f"{name} µs": statistics.median(costs)}
            yield found

    def cost_of_sessions(self, server):
        """Microseconds of CPU for each connection."""
        load = ["-c", 16, "--per-connection", 1, "--close", "rst", "--size", SIZES["1 KiB"]]
        tls = ["--tls", "starttls", "--tls-insecure", "--tls-groups", "x25519"]
        # The first sessions start processes, and are not counted.
        for count in (PEER_SESSIONS // 4, PEER_SESSIONS):
            before = server.cpu_s()
            generator = self.blast(server.port, count, *load, *tls)
            try:
                generator.end(120)
            finally:
                generator.kill()
            generator.check()
        return (server.cpu_s() - before) * 1e6 / PEER_SESSIONS

    def idle(self):
        """Memory of idle sessions: what one under TLS takes above a plain one, in octets."""
        taken = {}
        for side, words in (("plain", []), ("TLS", self.tls())):
            note(f"{CROWD} idle sessions, {side}")
            server = self.sink("--max-connections", 2 * CROWD)
            generator = None
            try:
                before = memory(server.child.pid, "RssAnon")
                wait = ["--think", "300s", "-c", CROWD, "--reply-timeout", "60s"]
                generator = self.blast(server.port, 2 * CROWD, *wait, *words)
                until_idle(server)
                taken[side] = (memory(server.child.pid, "RssAnon") - before) / CROWD
            finally:
                if generator:
                    generator.kill()
                server.kill()
        yield of_values("idle session above a plain one, octets", [taken["TLS"] - taken["plain"]], "≤", 5_000)

    def half(self):
        """Handshakes that never end, of records that are cut: memory, their end, and what kept sessions feel."""
        server = self.sink("--max-connections", 2 * CROWD)
        try:
            load = ["-c", SESSIONS, "--size", SIZES["1 KiB"], "-z", "4s", "--rate", "500"]
            calm = self.p99(server, load)
            with Crowd(server.port) as crowd:
                plain = memory(server.child.pid, "VmRSS")
                crowd.begin_handshakes()
                began = time.monotonic()
                # What is measured is the crowd that stands, not its coming.
                until_idle(server, 0.3)
                held = memory(server.child.pid, "VmHWM") - plain
                pressed = self.p99(server, load)
                crowd.until_all_are_closed(HANDSHAKE_S * 3)
                ended_s = time.monotonic() - began
        finally:
            server.kill()
        yield of_values("half handshake, octets", [held / CROWD], "≤", 32 * 1024)
        # 16 MiB of cut records, and 8 KiB for the state of each handshake.
        yield of_values("half handshakes of a core, MiB", [held / MIB], "≤", 16 + CROWD * 8 / 1024)
        yield of_values("half handshakes gone after, s", [ended_s], "≤", HANDSHAKE_S * 3)
        yield of_values("p99 of kept sessions beside them, ratio", [pressed / calm], "<", 2)

    def p99(self, server, load):
        generator = ringpost_blast(BINARIES, self.generator_core, server.port, *load, *self.tls())
        try:
            generator.end(60)
        finally:
            generator.kill()
        return json.loads(generator.text(generator.output))["response_ns"]["p99"]


class Crowd:
    """Clients that say STARTTLS, send a part of a record, and nothing more."""

    # A record of 16 KiB with a handshake message of as much, of which 12 KiB come.
    CUT = bytes.fromhex("1603014000" "01003ffc") + bytes(12 * 1024)

    def __init__(self, port):
        self.port = port
        self.clients = []

    def __enter__(self):
        try:
            for _ in range(CROWD):
                client = socket.create_connection(("127.0.0.1", self.port), 20)
                self.clients.append(client)
                client.recv(4096)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()

    def begin_handshakes(self):
        for client in self.clients:
            client.sendall(b"EHLO crowd.example.test\r\nSTARTTLS\r\n")
            answer = b""
            while b"\r\n220 " not in answer and b"454 " not in answer:
                answer += client.recv(4096) or b"454 "
            try:
                client.sendall(self.CUT)
            except OSError:
                # It was closed, because half handshakes take too much memory already.
                pass

    def until_all_are_closed(self, limit):
        """Waits until the server has closed each of them."""
        deadline = time.monotonic() + limit
        for client in self.clients:
            client.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                while client.recv(4096):
                    pass
            except ConnectionError:
                pass
            except TimeoutError:
                raise SystemExit("compare: half handshakes are still open") from None


class Ours:
    """ringpost-sink."""

    def __init__(self, bench, _directory, certificate, key):
        tls = ["--tls-cert", certificate, "--tls-key", key]
        self.server = ringpost_sink(BINARIES, bench.server_core, bench.options.io, "--discard", *tls)
        self.port = self.server.port

    def cpu_s(self):
        return self.server.cpu()

    def stop(self):
        self.server.kill()


class Stunnel:
    """stunnel, which does the STARTTLS, in front of smtp-sink."""

    def __init__(self, bench, directory, certificate, key):
        behind, self.port = free_port(), free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        sink = [PEERS / "bin/smtp-sink", *user, f"127.0.0.1:{behind}", "1024"]
        self.servers = [Server(sink, bench.server_core, behind)]
        told = Path(directory) / "stunnel.conf"
        lines = ["foreground = yes", "syslog = no", "pid =", "[smtp]", "protocol = smtp", f"accept = 127.0.0.1:{self.port}"]
        lines += [f"connect = 127.0.0.1:{behind}", f"cert = {certificate}", f"key = {key}"]
        told.write_text("\n".join(lines) + "\n")
        try:
            self.servers.append(Server([PEERS / "bin/stunnel", told], bench.server_core, self.port))
        except BaseException:
            self.stop()
            raise

    def cpu_s(self):
        return sum(server.cpu() for server in self.servers)

    def stop(self):
        for server in self.servers:
            server.kill()


class Postfix:
    """Postfix; what its processes for SMTP take, without those that queue and deliver."""

    def __init__(self, bench, directory, certificate, key):
        self.directory, self.port = directory, free_port()
        argv = [REPO / "scripts/postfix", "start", directory, self.port, "discard:", "none", "", certificate, key]
        started = subprocess.run(
            [str(word) for word in argv],
            capture_output=True,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {bench.server_core}),
        )
        if started.returncode:
            raise SystemExit(f"compare: Postfix does not start: {started.stderr}")
        self.master = int((Path(directory) / "queue/pid/master.pid").read_text())

    def cpu_s(self):
        """None of them ends in between: each takes a hundred connections."""
        taken = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, parent = stat.read_text().rpartition(")")[0].partition("(")[2], stat.read_text().rpartition(")")[2].split()[1]
                if name == "smtpd" and int(parent) == self.master:
                    taken += int((stat.parent / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
        return taken / 1e9

    def stop(self):
        subprocess.run([REPO / "scripts/postfix", "stop", self.directory], check=True, capture_output=True)


PEERS_OF_NEW = {"ringpost-sink": Ours, "stunnel and smtp-sink": Stunnel, "Postfix smtpd": Postfix}


def certify(directory):
    """A certificate of P-256 for localhost, and its key, as files."""
    certificate, key = (str(Path(directory) / name) for name in ("cert.pem", "key.pem"))
    os.chmod(directory, 0o755)
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    argv = [str(PEERS / "bin/openssl"), "req", "-x509", *kind, "-subj", "/CN=localhost"]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def memory(pid, field):
    """Octets that a process takes, by a field of its status: RssAnon, VmRSS, or VmHWM, the most of VmRSS."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


def until_idle(server, step_s=2):
    """Waits until a sink does nothing for a while."""
    deadline = time.monotonic() + 120
    cpu = -1
    while time.monotonic() < deadline:
        time.sleep(step_s)
        cpu, before = server.cpu(), cpu
        if cpu - before < step_s / 100:
            return
    raise SystemExit("compare: the sessions do not come to rest")


def of_ratio(name, rounds, figure, sign, target):
    """What a figure is under TLS in parts of what it is in plain text, round by round."""
    values = [tls[figure] / plain[figure] for plain, tls in zip(rounds["plain"], rounds["TLS"])]
    found = of_values(name, values, sign, target)
    found["figures"] = {side: statistics.median(one[figure] for one in of) for side, of in rounds.items()}
    return found


def of_values(name, values, sign, target):
    median = statistics.median(values)
    met = {"≤": median <= target, "<": median < target, "≥": median >= target}[sign]
    return {
        "row": name,
        "median": median,
        "min": min(values),
        "max": max(values),
        "target": f"{sign} {target:g}",
        "target_met": met,
    }


PARTS = {
    **{f"kept {way}": lambda bench, way=way: bench.kept(way) for way in WAYS},
    "big": Secured.big,
    "handshakes": Secured.handshakes,
    "new": Secured.new,
    "idle": Secured.idle,
    "half": Secured.half,
}


def compare(options):
    """Measures and prints; the exit status."""
    report = {"machine": machine(), "rounds": options.rounds, "io": options.io, "rows": []}
    bench = Secured(options)
    if not options.json:
        print(machine_line(report["machine"]))
        print(f"load      {SESSIONS} sessions, --io {report['io']}, {report['rounds']} rounds in turns; median (range)\n")
    for name, part in chosen_from(PARTS, options.rows).items():
        for found in part(bench):
            report["rows"].append(found)
            note("")
            if not options.json:
                show(found)
    missed = [found["row"] for found in report["rows"] if not found["target_met"]]
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(f"\n{len(missed)} of {len(report['rows'])} targets are missed" + "".join(f"\n  {name}" for name in missed))
    return 1 if missed else 0


def chosen_from(parts, patterns):
    found = {name: part for name, part in parts.items() if any(fnmatch.fnmatchcase(name, one) for one in patterns.split(","))}
    if not found:
        raise SystemExit(f"compare: no row matches; the rows are: {'; '.join(parts)}")
    return found


def show(found):
    span = f"({found['min']:,.3g}–{found['max']:,.3g})"
    sides = "  ".join(f"{side} {value:,.2f}" for side, value in found.get("figures", {}).items())
    mark = "" if found["target_met"] else "  MISSED"
    print(f"{found['row']:<52}{found['median']:>10,.3f} {span:<20}{found['target']:>9}  {sides}{mark}", flush=True)
