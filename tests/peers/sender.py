"""Clients that go on after any reply, and remember each reply and its time."""

import random
import socket
import threading
import time
from typing import NamedTuple

from ledger import make, render

SENDERS = 4
WAIT_S = 120.0
PAYLOADS = [render(size, random.Random(size)) for size in (500, 60_000, 200_000)]


class Refusal(NamedTuple):
    at: float
    # How long the reply took.
    seconds: float
    # The refused command's first word, or the dot.
    verb: str
    reply: str


class Acceptance(NamedTuple):
    at: float
    # When its end was about to be sent.
    ended: float
    queue_id: str


class Sender(threading.Thread):
    """Sends one message after another, whatever the replies, until it is stopped. While the gate is shut, it
    waits there after its next accepted message."""

    def __init__(self, port, ledger, name, seed, gate):
        super().__init__(daemon=True)
        self.port, self.ledger, self.label, self.gate = port, ledger, name, gate
        self.rng = random.Random(seed)
        self.refusals, self.accepted, self.promises = [], [], []
        self.stopped = threading.Event()
        self.failure = None

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S) as connection:
                replies = connection.makefile("rb")
                assert replies.readline().startswith(b"220")
                self.say(connection, replies, "HELO", b" ledger.example.test\r\n")
                count = 0
                while not self.stopped.is_set():
                    count += 1
                    if self.send(connection, replies, b"%s-%d" % (self.label, count)):
                        self.gate.wait()
        except (OSError, AssertionError) as failure:
            self.failure = failure
        finally:
            self.ledger.keep(self.promises)

    def say(self, connection, replies, verb, rest):
        started = time.monotonic()
        connection.sendall(verb.encode() + rest)
        line = replies.readline()
        assert line.endswith(b"\r\n"), f"the sink hung up after {verb}"
        if line[:1] in b"45":
            now = time.monotonic()
            self.refusals.append(Refusal(now, now - started, verb, line.decode().strip()))
        return line

    def send(self, connection, replies, identity):
        """Whether the message was accepted."""
        message = make(identity, self.rng.choice(PAYLOADS))
        self.ledger.offer(identity)
        for verb, rest in (("MAIL", b" FROM:<a@example.test>\r\n"), ("RCPT", b" TO:<b@example.test>\r\n"), ("DATA", b"\r\n")):
            if self.say(connection, replies, verb, rest)[:1] in b"45":
                time.sleep(0.02)
                return False
        connection.sendall(message.replace(b"\r\n.", b"\r\n.."))
        ended = time.monotonic()
        line = self.say(connection, replies, ".", b"\r\n")
        if not line.startswith(b"250"):
            return False
        queue_id = line.split()[-1]
        self.accepted.append(Acceptance(time.monotonic(), ended, queue_id.decode()))
        self.promises.append((identity, queue_id))
        return True

    def first_refusal(self, since):
        return next((refusal.at for refusal in list(self.refusals) if refusal.at >= since), None)

    def first_accepted(self, since):
        return next((accepted.at for accepted in list(self.accepted) if accepted.at >= since), None)


class Load:
    """The senders of one sink. When this returns, each has had one message accepted and waits, so that the
    number of messages in the sink does not depend on the speed of the senders."""

    def __init__(self, sink, ledger, name, seed):
        self.sink, self._gate = sink, threading.Event()
        self.senders = [
            Sender(sink.port, ledger, b"%s-%d" % (name, i), seed + i, self._gate) for i in range(SENDERS)
        ]
        for sender in self.senders:
            sender.start()
        self.wait_until("load", lambda: all(sender.accepted for sender in self.senders))

    def go(self):
        self._gate.set()

    def hold(self):
        """Each sender goes on until its next message is accepted, and waits again."""
        self._gate.clear()

    def wait_until(self, what, condition):
        deadline = time.monotonic() + WAIT_S
        while not condition():
            late = time.monotonic() > deadline
            if late or any(sender.failure for sender in self.senders):
                last = [(sender.failure, sender.refusals[-1:], sender.accepted[-1:]) for sender in self.senders]
                raise AssertionError(f"{what}: {f'not in {WAIT_S} s' if late else 'never'}; {last}; {self.sink.stderr}")
            time.sleep(0.01)

    def wait_for_refusals(self, since):
        self.wait_until("a refusal", lambda: all(sender.first_refusal(since) for sender in self.senders))

    def wait_for_mail(self, since):
        """The seconds until every sender has had a message accepted."""
        self.wait_until("mail taken again", lambda: all(sender.first_accepted(since) for sender in self.senders))
        return max(sender.first_accepted(since) for sender in self.senders) - since

    def stop(self):
        """Stops the senders; all refusals."""
        refusals = self.end()
        for sender in self.senders:
            assert sender.failure is None, f"{sender.failure}: {self.sink.stderr}"
        return refusals

    def end(self):
        """As `stop`, after the sink was killed."""
        for sender in self.senders:
            sender.stopped.set()
        self._gate.set()
        for sender in self.senders:
            sender.join(WAIT_S)
            assert not sender.is_alive()
        return [refusal for sender in self.senders for refusal in sender.refusals]
