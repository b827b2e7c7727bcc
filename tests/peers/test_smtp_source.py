"""What smtp-source does, ringpost-blast does too: each row of the manual's table "Coming from smtp-source"
beside the real one, against a server that writes down what it is told."""

import re
import socket
import struct
import threading
import time
from base64 import b64encode

import pytest
from harness import REPO, Sink, binary, peer, run

HOST = "client.example.test"
FROM, TO = "from@example.test", "to@example.test"
SOURCE = ["-M", HOST, "-f", FROM, "-t", TO]
BLAST = {"--hello": "helo", "--helo": HOST, "--from": FROM, "--to": TO, "--close": "rst", "--live": "off"}
# Of struct tcp_info; Linux 5.4 and later.
TCP_INFO_SND_WND = 228


class Session:
    def __init__(self):
        self.begun = time.monotonic()
        self.commands, self.messages, self.ended, self.window, self.family = [], [], None, None, None


class Recorder:
    """Says yes, but for one kind of command if told so, and records every session."""

    def __init__(self, family=socket.AF_INET, path=None, refuse=None):
        self.refuse, self.sessions, self.live = refuse, [], 0
        self.idle = threading.Condition()
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(path))
            self.source, self.blast = f"unix:{path}", f"smtp+unix:{path}"
        else:
            self.listener = socket.socket(family)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            host, port = self.listener.getsockname()[:2]
            bracketed = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            self.source, self.blast = f"inet:{bracketed}", bracketed
        self.listener.listen(64)

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        # Wakes the accept.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.idle:
                session = Session()
                self.sessions.append(session)
                self.live += 1
            threading.Thread(target=self._serve, args=(connection, session), daemon=True).start()

    def _serve(self, connection, session):
        connection.settimeout(60)
        if connection.family != socket.AF_UNIX:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            session.window = struct.unpack_from("I", info, TCP_INFO_SND_WND)[0] if len(info) >= 232 else None
        session.family = connection.family
        try:
            with connection, connection.makefile("rb") as lines:
                connection.sendall(b"220 recorder ESMTP\r\n")
                self._talk(connection, lines, session)
                session.ended = "fin"
        except ConnectionError:
            session.ended = "rst"
        finally:
            with self.idle:
                self.live -= 1
                self.idle.notify_all()

    def _talk(self, connection, lines, session):
        while line := lines.readline():
            command = line.rstrip(b"\r\n").decode()
            session.commands.append(command)
            if self.refuse and command.startswith(self.refuse):
                connection.sendall(b"451 4.3.0 not now\r\n")
            elif command == "DATA":
                connection.sendall(b"354 go\r\n")
                message = b""
                while (line := lines.readline()) != b".\r\n":
                    assert line, "the message has no end"
                    message += line[1:] if line.startswith(b".") else line
                session.messages.append(message)
                connection.sendall(b"250 2.0.0 Ok\r\n")
            else:
                connection.sendall(b"221 2.0.0 Bye\r\n" if command == "QUIT" else b"250 2.0.0 Ok\r\n")

    def take(self):
        """The sessions since the last call, in the order in which they came."""
        with self.idle:
            assert self.idle.wait_for(lambda: self.live == 0, 30), "a session has no end"
            sessions, self.sessions = self.sessions, []
        return sessions


def source(recorder, *options, check=True):
    done = run([peer("smtp-source"), *SOURCE, *options, recorder.source], check=check, timeout=60)
    return done, recorder.take()


def blast(recorder, options, check=True, target=None):
    """With what BLAST says, where the options do not say otherwise."""
    base = [word for pair in BLAST.items() if pair[0] not in options for word in pair]
    given = [binary("ringpost-blast"), *base, *options, target or recorder.blast]
    done = run(given, check=check, timeout=60)
    return done, recorder.take()


def both(recorder, theirs, ours):
    return source(recorder, *theirs)[1], blast(recorder, ours)[1]


def told(sessions):
    return sorted(session.commands for session in sessions)


def header(message, name):
    found = re.search(rb"^" + name + rb": (.*)\r\n", message.partition(b"\r\n\r\n")[0] + b"\r\n", re.M)
    return found and found[1]


@pytest.fixture
def recorder():
    with Recorder() as recorder:
        yield recorder


ONCE = ["-c", "1", "--per-connection", "1"]
SAME_COMMANDS = {
    "-m": (["-m", "3"], ["-n", "3", *ONCE]),
    "-s": (["-s", "2", "-m", "4"], ["-n", "4", "-c", "2", "--per-connection", "1"]),
    "-d": (["-d", "-m", "3"], ["-n", "3", "-c", "1"]),
    "-f -t": (["-f", "a@b.test", "-t", "c@d.test"], ["-n", "1", *ONCE, "--from", "a@b.test", "--to", "c@d.test"]),
    "-M": (["-M", "other.test"], ["-n", "1", *ONCE, "--helo", "other.test"]),
    "-o": (["-o", "-d", "-m", "2"], ["-n", "2", "-c", "1", "--hello", "none", "--no-headers"]),
    "-4": (["-4"], ["-n", "1", *ONCE, "-4"]),
}


@pytest.mark.parametrize("flag", SAME_COMMANDS)
def test_the_same_commands_are_heard(recorder, flag):
    theirs, mine = both(recorder, *SAME_COMMANDS[flag])
    assert told(mine) == told(theirs)
    assert sorted(len(s.messages) for s in mine) == sorted(len(s.messages) for s in theirs)
    assert {s.family for s in mine} == {s.family for s in theirs}
    assert {s.ended for s in mine} == {s.ended for s in theirs} == {"rst"}


def test_old_mode_sends_a_body_alone_and_l_is_its_length(recorder):
    old = ["-c", "1", "-n", "1", "--hello", "none", "--no-headers"]
    theirs, mine = both(recorder, ["-o", "-l", "400"], [*old, "--size", "402"])
    assert len(mine[0].messages[0]) == len(theirs[0].messages[0]) == 402
    assert b":" not in mine[0].messages[0]


def test_l_counts_the_body_and_size_the_message(recorder):
    theirs, mine = both(recorder, ["-l", "4000"], ["-n", "1", "-c", "1", "--size", "4000"])
    assert len(theirs[0].messages[0].partition(b"\r\n\r\n")[2]) == 4002
    assert len(mine[0].messages[0]) == 4000


def test_r_names_so_many_recipients(recorder):
    theirs, mine = both(recorder, ["-r", "3"], ["-n", "1", "-c", "1", "--recipients", "3"])
    recipients = [[c for c in sessions[0].commands if c.startswith("RCPT")] for sessions in (theirs, mine)]
    assert [len(set(named)) for named in recipients] == [3, 3]
    assert all(re.fullmatch(r"RCPT TO:<\d?to\d?@example.test>", c) for named in recipients for c in named)


def test_n_numbers_each_recipient(recorder):
    ours = ["-n", "3", "-c", "1", "--to", "{seq:1}user@x.test"]
    theirs, mine = both(recorder, ["-N", "-d", "-m", "3", "-t", "user@x.test"], ours)
    assert told(mine) == told(theirs)


def test_s_is_the_subject(recorder):
    theirs, mine = both(recorder, ["-S", "how are you"], ["-n", "1", "-c", "1", "--subject", "how are you"])
    assert header(mine[0].messages[0], b"Subject") == header(theirs[0].messages[0], b"Subject") == b"how are you"


def test_a_file_is_sent_as_it_is(recorder, tmp_path):
    (tmp_path / "mail").write_bytes(b"From: a@b.test\nSubject: x\n\n.dots\n..\nand the end\n")
    ours = ["-n", "1", "-c", "1", "--corpus", tmp_path / "mail", "--no-headers"]
    theirs, mine = both(recorder, ["-F", tmp_path / "mail"], ours)
    # smtp-source takes what follows the last line end for a line.
    assert [message + b"\r\n" for message in mine[0].messages] == theirs[0].messages


def test_lmtp_is_a_scheme(recorder):
    _, theirs = source(recorder, "-L")
    _, mine = blast(recorder, ["-n", "1", "-c", "1", "--hello", "ehlo"], target=f"lmtp://{recorder.blast}")
    assert told(mine) == told(theirs)
    assert mine[0].commands[0] == f"LHLO {HOST}"


def test_six_is_the_family():
    try:
        recorder = Recorder(socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 on loopback: {error}")
    with recorder:
        theirs, mine = both(recorder, ["-6"], ["-n", "1", "-c", "1", "-6"])
    assert told(mine) == told(theirs)


def test_a_unix_socket_is_a_target(tmp_path):
    with Recorder(path=tmp_path / "socket") as recorder:
        theirs, mine = both(recorder, ["-m", "2", "-d"], ["-n", "2", "-c", "1", "--close", "fin"])
    assert told(mine) == told(theirs)


@pytest.mark.parametrize("flag,think", [("-w", "1s"), ("-R", "0s..1s")])
def test_pauses_are_made_between_messages(recorder, flag, think):
    theirs, mine = [], []
    for ran, into in ((lambda: source(recorder, flag, "1", "-d", "-m", "3"), theirs), (
        lambda: blast(recorder, ["-n", "3", "-c", "1", "--think", think]), mine
    )):
        begun = time.monotonic()
        into += ran()[1]
        # Fixed pauses have a least; random ones may be none.
        assert flag == "-R" or time.monotonic() - begun >= 2
    assert told(mine) == told(theirs)


def test_t_narrows_the_window(recorder):
    size = ["--recv-buffer", "4096", "--send-buffer", "4096"]
    theirs, mine = both(recorder, ["-T", "4096"], ["-n", "1", "-c", "1", *size])
    wide = blast(recorder, ["-n", "1", "-c", "1"])[1]
    if mine[0].window is None:
        pytest.skip("this kernel's TCP_INFO does not tell the window")
    assert 0 < mine[0].window == theirs[0].window < wide[0].window


def test_v_shows_the_dialogue(recorder):
    done, _ = source(recorder, "-v")
    said = [line.partition(": ")[2] for line in done.stderr.splitlines()]
    begin = said.index("<<< 220 recorder ESMTP")
    theirs = [f"S: {line[4:]}" if line.startswith("<<< ") else f"C: {line}" for line in said[begin:]]
    done, sessions = blast(recorder, ["-n", "1", "-c", "1", "--trace", "1"])
    mine = done.stderr.splitlines()
    octets = [line for line in mine if line.endswith(" octets of the message)")]
    # As they go over the wire, where a dot that begins a line has another one in front.
    wire = sessions[0].messages[0].replace(b"\r\n.", b"\r\n..")
    assert octets == [f"C: ({len(wire)} octets of the message)"]
    assert [line for line in mine if line not in octets] == theirs


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_a_shown_dialogue_tells_no_password(mechanism):
    with Sink("epoll", None, "--auth", "any") as sink:
        login = f"tim:open sesame:{mechanism}"
        given = [sink.address, "-n", "4", "-c", "2", "--trace", "2", "--auth", login]
        done = run([binary("ringpost-blast"), *given], timeout=60)
    said = [line for line in done.stderr.splitlines() if "C: AUTH" in line or "C: ***" in line]
    assert {f"#{n} C: AUTH {mechanism}{' ***' if mechanism == 'PLAIN' else ''}" for n in (1, 2)} <= set(said)
    assert len(said) == {"PLAIN": 2, "LOGIN": 6, "CRAM-MD5": 4}[mechanism]
    for secret in (b"open sesame", b"tim\0open sesame", b"\0tim\0open sesame"):
        assert b64encode(secret).decode() not in done.stderr
    assert "sesame" not in done.stderr


def test_without_a_the_first_refusal_ends_the_run():
    with Recorder(refuse="RCPT") as recorder:
        done, theirs = source(recorder, "-m", "5", check=False)
        assert done.returncode == 1 and "451 4.3.0 not now" in done.stderr
        given = ["-n", "5", *ONCE, "--on-error", "stop"]
        done, mine = blast(recorder, given, check=False)
        assert done.returncode == 1, done.stderr
        assert re.search(r"--on-error stop ended the run after \S+ s: rcpt was answered 451 4.3.0 not now", done.stdout)
        assert len(mine) == len(theirs) == 1
        # smtp-source is gone without QUIT; ours takes leave, as on Ctrl-C.
        assert mine[0].commands[:3] == theirs[0].commands[:3]


def test_with_a_refusals_are_counted_and_the_run_goes_on():
    with Recorder(refuse="RCPT") as recorder:
        done, theirs = source(recorder, "-A", "-m", "3")
        # A run of which nothing was accepted has not done what was asked.
        refused, mine = blast(recorder, ["-n", "3", *ONCE], check=False)
    assert refused.returncode == 1, refused.stderr
    # Ours leaves out an RSET that nothing follows.
    without = [[c for c in commands if c != "RSET"] for commands in told(theirs)]
    assert [[c for c in commands if c != "RSET"] for commands in told(mine)] == without


def test_the_counter_is_the_progress_line(recorder):
    done, _ = source(recorder, "-c", "-m", "3")
    assert done.stdout.split() == ["1", "2", "3"]
    done, _ = blast(recorder, ["-n", "3", "-c", "1", "--think", "700ms", "--live", "lines"])
    assert "msg/s" in done.stderr


def test_connects_that_are_refused_are_tried_so_often():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        done = run([peer("smtp-source"), "-C", "2", address], check=False, timeout=60)
        assert done.returncode != 0
        done = run([binary("ringpost-blast"), "--connect-tries", "2", "-c", "1", "-n", "1", address], check=False)
        assert done.returncode == 3, done.stderr


def test_the_table_leaves_no_flag_out():
    page = (REPO / "src/cli/blast/manual.md").read_text()
    table = page.partition("## Coming from smtp-source")[2].partition("\n## ")[0]
    first = [cell for line in table.splitlines() if line.startswith("| `") for cell in line.split("|")[1:5:3]]
    flags = set(re.findall(r"`-(\w)", " ".join(first)))
    assert flags == set("46AcCdfFlLmMNorRsStTvw"), flags ^ set("46AcCdfFlLmMNorRsStTvw")
