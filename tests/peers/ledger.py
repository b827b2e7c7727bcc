"""A client that records every 250 that it receives.

Every message carries an identity and its own SHA-256. The ledger keeps each 250 with the queue id that
it named, in a file that is synced after each flight; after the sink was killed, or its disk lost power,
the spool must hold every acknowledged message exactly once and whole, and of the others none twice and
none in part.
"""

import hashlib
import os
import random
import re
import socket
import threading
import time

from harness import END_S, START_S, oldest_segments

QUEUED = re.compile(rb"250 [0-9.]+ .*queued as (\S+)")
FLIGHT = 32
CLIENTS = 8
# Counts of a verdict that must be zero.
WRONGS = ("lost", "dup", "corrupt", "misnamed")


def nothing(_queue_id):
    """For a spool with room for all: no message may be recycled."""
    return False


class Ledger:
    """The messages that a spool must hold. `path` is the file with a line `identity queue-id` for each."""

    def __init__(self, path):
        self.path = path
        self.sent = set()
        # Set before the power is cut: a reply that is read later comes from a machine that is off.
        self.closed = False
        self._lock = threading.Lock()

    def offer(self, identity):
        with self._lock:
            self.sent.add(identity)

    def keep(self, promises):
        """Appends (identity, queue id) pairs; they are on the disk when this returns."""
        if not promises:
            return
        lines = b"".join(b"%s %s\n" % promise for promise in promises)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            assert os.write(file, lines) == len(lines)
            os.fdatasync(file)
        finally:
            os.close(file)

    def acknowledged(self):
        """{identity: queue id} from the file."""
        if not self.path.exists():
            return {}
        return {
            identity: queue_id.decode()
            for identity, queue_id in map(bytes.split, self.path.read_bytes().splitlines())
        }

    def verdict(self, messages, recycled=nothing):
        """Counts of what is there and of what is wrong; lost, dup, corrupt and misnamed must be zero.

        `recycled` tells of a queue id whether the ring has taken that message by right.
        """
        found, corrupt, duplicate = {}, 0, 0
        for message in messages:
            identity = whole(message.body)
            if identity is None or identity not in self.sent:
                corrupt += 1
                continue
            duplicate += identity in found
            found[identity] = message.id
        acknowledged = self.acknowledged()
        missing = [queue_id for identity, queue_id in acknowledged.items() if identity not in found]
        taken = sum(map(recycled, missing))
        return {
            "acked": len(acknowledged),
            "found": len(found),
            "recycled": taken,
            "lost": len(missing) - taken,
            "dup": duplicate,
            "corrupt": corrupt,
            "misnamed": sum(found.get(identity, id) != id for identity, id in acknowledged.items()),
        }


def recycled_by_right(spool, report):
    """A function that tells whether the ring has recycled the message of a queue id: its segment, or the
    start of its chain. After a power cut the file that was being recycled may still have its old name."""
    oldest, started_before = oldest_segments(spool), set(report.recycled)

    def recycled(queue_id):
        core, segment, _ = map(int, queue_id.split("-"))
        missed = report.torn_chains.get(queue_id, segment)
        return min(segment, missed) < oldest.get(core, 0) or queue_id in started_before

    return recycled


def told(text, verdict):
    print(f"{text}: " + " ".join(f"{name} {count}" for name, count in verdict.items()), flush=True)
    return verdict


def render(size, rng):
    body = rng.randbytes(size).hex().encode()
    lines = b"\r\n".join(body[i : i + 76] for i in range(0, len(body), 76))
    return b"Subject: ledger\r\n\r\n.dots\r\n" + lines + b"\r\n"


# Messages from one line to more than a receive buffer, most of them small. They are rendered once, so that
# the sink has more work than the clients.
SIZES = (20, 500, 500, 500, 500, 500, 500, 500, 2000, 2000, 2000, 20_000)
PAYLOADS = [render(size, random.Random(size)) for size in SIZES * 8 + (80_000,)]


def digest(identity, payload):
    return hashlib.sha256(identity + payload).hexdigest().encode()


def make(identity, payload):
    return b"X-Ledger: %s %s\r\n" % (identity, digest(identity, payload)) + payload


def whole(message):
    """The identity of an intact message; None for other octets."""
    head, _, payload = bytes(message).partition(b"\r\n")
    words = head.split(b" ")
    if len(words) != 3 or words[0] != b"X-Ledger:":
        return None
    return words[1] if digest(words[1], payload) == words[2] else None


class Client(threading.Thread):
    """One connection that keeps flights of pipelined transactions in the air until the sink goes away,
    some with BDAT in two chunks, some with DATA."""

    def __init__(self, port, ledger, name, seed, secure=None):
        super().__init__(daemon=True)
        self.port, self.ledger, self.label = port, ledger, name
        self.rng = random.Random(seed)
        # Puts a socket under TLS.
        self.secure = secure or (lambda connection: connection)
        self.count = 0
        self.promises = []
        self.acknowledged = 0
        self.failure = None

    def run(self):
        try:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=START_S)
            with plain, self.secure(plain) as connection:
                replies = connection.makefile("rb")
                self.expect(replies, b"220")
                connection.sendall(b"EHLO ledger.example.test\r\n")
                self.expect(replies, b"250")
                while True:
                    if self.rng.random() < 0.7:
                        self.chunked_flight(connection, replies)
                    else:
                        self.data_flight(connection, replies)
                    self.ledger.keep(self.promises)
                    self.promises = []
        except (OSError, EOFError):
            pass  # The sink was killed: what counts is what it had promised.
        except AssertionError as failure:
            # A machine without power does not answer; this sink runs on for a moment and answers 451.
            self.failure = None if self.ledger.closed else failure
        finally:
            self.ledger.keep(self.promises)

    def next_message(self):
        self.count += 1
        identity = b"%s-%d" % (self.label, self.count)
        self.ledger.offer(identity)
        return identity, make(identity, self.rng.choice(PAYLOADS))

    def chunked_flight(self, connection, replies):
        identities, wire = [], []
        for _ in range(FLIGHT):
            identity, message = self.next_message()
            identities.append(identity)
            cut = self.rng.randrange(1, len(message))
            wire.append(b"MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\n")
            wire.append(b"BDAT %d\r\n%s" % (cut, message[:cut]))
            wire.append(b"BDAT %d LAST\r\n%s" % (len(message) - cut, message[cut:]))
        connection.sendall(b"".join(wire))
        for identity in identities:
            for _ in range(3):
                self.expect(replies, b"250")
            self.promised(identity, self.expect(replies, b"250"))

    def data_flight(self, connection, replies):
        """RFC 2920 lets a client send the next MAIL after the dot without waiting."""
        previous = None
        for _ in range(FLIGHT):
            identity, message = self.next_message()
            connection.sendall(b"MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
            if previous:
                self.promised(previous, self.expect(replies, b"250"))
            for code in (b"250", b"250", b"354"):
                self.expect(replies, code)
            connection.sendall(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            previous = identity
        self.promised(previous, self.expect(replies, b"250"))

    def expect(self, replies, code):
        while True:
            line = replies.readline()
            if not line.endswith(b"\r\n"):
                raise EOFError
            assert line.startswith(code), f"{code} expected, got {line!r}"
            if line[3:4] != b"-":
                return line

    def promised(self, identity, line):
        queued = QUEUED.match(line)
        assert queued, f"no queue id in {line!r}"
        if self.ledger.closed:
            raise EOFError
        self.promises.append((identity, queued[1]))
        self.acknowledged += 1


def start_clients(sink, ledger, name, rng, port=None, secure=None):
    """Starts clients; returns after the first message has been acknowledged."""
    port = port or sink.port
    clients = [Client(port, ledger, b"%s-%d" % (name, i), rng.random(), secure) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + START_S
    while not any(client.acknowledged for client in clients):
        assert time.monotonic() < deadline, f"no message was acknowledged within {START_S} s"
        time.sleep(0.002)
    return clients


def join(clients):
    for client in clients:
        client.join(END_S)
        assert not client.is_alive()
        assert client.failure is None, client.failure
