"""Clients that go on whatever the sink answers, and remember when it answered what."""

import random
import socket
import threading
import time

from ledger import make, render

SENDERS = 4
WAIT_S = 20.0
PAYLOADS = [render(size, random.Random(size)) for size in (500, 60_000, 200_000)]


class Sender(threading.Thread):
    """Sends one message after the other, whatever the replies, until it is told to stop. Refusals are
    (when, seconds that the reply took, the reply); acceptances are (when, queue id)."""

    def __init__(self, port, ledger, name, seed):
        super().__init__(daemon=True)
        self.port, self.ledger, self.label = port, ledger, name
        self.rng = random.Random(seed)
        self.refusals, self.accepted, self.promises = [], [], []
        self.stopped = threading.Event()
        self.failure = None

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S) as connection:
                replies = connection.makefile("rb")
                assert replies.readline().startswith(b"220")
                self.say(connection, replies, b"HELO ledger.example.test\r\n")
                count = 0
                while not self.stopped.is_set():
                    count += 1
                    self.send(connection, replies, b"%s-%d" % (self.label, count))
        except (OSError, AssertionError) as failure:
            self.failure = failure
        finally:
            self.ledger.keep(self.promises)

    def say(self, connection, replies, octets):
        started = time.monotonic()
        connection.sendall(octets)
        line = replies.readline()
        assert line.endswith(b"\r\n"), f"the sink hung up after {octets[:40]!r}"
        if line[:1] in b"45":
            self.refusals.append((time.monotonic(), time.monotonic() - started, line.decode().strip()))
        return line

    def send(self, connection, replies, identity):
        message = make(identity, self.rng.choice(PAYLOADS))
        self.ledger.offer(identity)
        for command in (b"MAIL FROM:<a@example.test>\r\n", b"RCPT TO:<b@example.test>\r\n", b"DATA\r\n"):
            if self.say(connection, replies, command)[:1] in b"45":
                time.sleep(0.02)
                return
        line = self.say(connection, replies, message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        if line.startswith(b"250"):
            queue_id = line.split()[-1]
            self.accepted.append((time.monotonic(), queue_id.decode()))
            self.promises.append((identity, queue_id))

    def first_refusal(self, since):
        return next((at for at, _, _ in list(self.refusals) if at >= since), None)

    def first_accepted(self, since):
        return next((at for at, _ in list(self.accepted) if at >= since), None)


def wait_until(what, condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {WAIT_S} s: never"
        time.sleep(0.01)


def start_senders(sink, ledger, name, seed):
    senders = [Sender(sink.port, ledger, b"%s-%d" % (name, i), seed + i) for i in range(SENDERS)]
    for sender in senders:
        sender.start()
    wait_until("load", lambda: all(sender.accepted for sender in senders))
    return senders


def stop_senders(senders):
    for sender in senders:
        sender.stopped.set()
    for sender in senders:
        sender.join(WAIT_S)
        assert sender.failure is None, sender.failure
    return [refusal for sender in senders for refusal in sender.refusals]
