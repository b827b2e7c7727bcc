"""One sink on every kind of listener at once, and clients of each."""

import smtplib
import socket
import subprocess
import sys

import pytest
from harness import BODIES, Sink, binary, blast, check_octets, peer, read_spool, run, verify
from mta import needs_root

FROM = "a@example.test"

# Runs the sink in a network without IPv6, calls it once, and ends with its code.
WITHOUT_IPV6 = """
import ctypes, fcntl, os, re, smtplib, socket, struct, subprocess, sys
CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1
if ctypes.CDLL(None).unshare(CLONE_NEWNET):
    sys.exit(99)
if os.path.exists("/proc/sys/net/ipv6/conf/all/disable_ipv6"):
    subprocess.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"], check=False)
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
try:
    socket.socket(socket.AF_INET6).bind(("::1", 0))
    sys.exit(99)
except OSError:
    pass
sink = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
for line in sink.stderr:
    sys.stderr.write(line)
    if found := re.match(r"listening smtp://127.0.0.1:(\\d+)", line):
        smtplib.SMTP("127.0.0.1", int(found[1])).quit()
sys.exit(sink.wait())
"""
BODY = BODIES["dots"]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def swaks(name, tmp_path, *where):
    wire = tmp_path / f"{name}.wire"
    wire.write_bytes(BODY.replace(b"\r\n.", b"\r\n..") + b".")
    data = ["--no-data-fixup", "--data", f"@{wire}", "--ehlo", "client.example.test"]
    run([peer("swaks"), *where, "--from", FROM, "--to", f"{name}@example.test", *data])


def send(client, name):
    with client:
        client.sendmail(FROM, [f"{name}@example.test"], BODY)


@needs_root
def test_a_port_alone_is_served_where_the_machine_has_no_ipv6(tmp_path):
    """In a network of its own, whose loopback has no ::1."""
    alone = tmp_path / "alone.py"
    alone.write_text(WITHOUT_IPV6)
    sink = [binary("ringpost-sink"), "--discard", "--cores", "1", "--max-sessions", "1"]
    for listen in ([], ["--listen", "1025"], ["--listen", "localhost:0"]):
        done = subprocess.run([sys.executable, alone, *sink, *listen], capture_output=True, text=True, timeout=60)
        if done.returncode == 99:
            pytest.skip("there is no network without IPv6 to be had here")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("listening smtp://127.0.0.1:") == 1 and "::1" not in done.stderr, done.stderr


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_one_sink_listens_everywhere_at_once(engine, spool, tmp_path):
    smtp_path, lmtp_path = tmp_path / "smtp", tmp_path / "lmtp"
    urls = ["smtp://[::1]:0", "lmtp://127.0.0.1:0", "lmtp://[::1]:0"]
    urls += [f"smtp+unix:{smtp_path}", f"lmtp+unix:{lmtp_path}"]
    options = [word for url in urls for word in ("--listen", url)]
    with Sink(engine, spool, *options) as sink:
        tcp = [address.rpartition(":")[2] for address in sink.addresses(4)]
        smtp4, smtp6, lmtp4, lmtp6 = map(int, tcp)
        send(smtplib.SMTP("127.0.0.1", smtp4, timeout=60), "smtp4")
        send(smtplib.SMTP("::1", smtp6, timeout=60), "smtp6")
        send(smtplib.LMTP("127.0.0.1", lmtp4), "lmtp4")
        send(smtplib.LMTP("::1", lmtp6), "lmtp6")
        send(smtplib.LMTP(str(lmtp_path)), "lmtp-unix")
        swaks("smtp-unix", tmp_path, "--socket", smtp_path)
        file = tmp_path / "curl.eml"
        file.write_bytes(BODY)
        url = f"smtp://[::1]:{smtp6}/client.example.test"
        run(["curl", "-sS", url, "--mail-from", FROM, "--mail-rcpt", "curl6@example.test", "-T", file])
        swaks("swaks-lmtp", tmp_path, "--protocol", "LMTP", "--server", "127.0.0.1", "--port", lmtp4)
        swaks("swaks-lmtp-unix", tmp_path, "--protocol", "LMTP", "--socket", lmtp_path)
        report = sink.stop()
    kept = {message.meta["recipients"][0][0].partition("@")[0]: message for message in read_spool(spool)}
    assert report["messages"] == len(kept) == 9
    for name, message in kept.items():
        check_octets(message.body, BODY, name)
        listener, peer_address = message.meta["listener"], message.meta["peer"]
        lmtp = "lmtp" in name
        assert message.meta["protocol"] == ("LMTP" if lmtp else "ESMTP"), name
        assert ("lmtp" in message.meta["flags"]) == lmtp, name
        if "unix" in name:
            assert listener == f"lmtp+unix:{lmtp_path}" if lmtp else f"smtp+unix:{smtp_path}"
        else:
            family = "[::1]" if name.endswith("6") else "127.0.0.1"
            assert peer_address.startswith(f"{family}:") and f"//{family}:" in listener, (name, message.meta)
    verify(spool)


@pytest.mark.parametrize("url", ["smtp://[::1]:0", "lmtp://127.0.0.1:0", "smtp+unix:{}", "lmtp+unix:{}"])
def test_the_generator_fills_every_kind_of_listener(engine, spool, tmp_path, url):
    if "[::1]" in url and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    with Sink(engine, spool, listen=url.format(tmp_path / "socket")) as sink:
        sent = blast(sink.listening, "-n", "500", "-c", "8", "--recipients", "3", "--io", engine)
        sink.stop()
    assert (sent["messages_ok"], sent["messages_failed"]) == (500, 0)
    messages = read_spool(spool)
    assert [len(message.meta["recipients"]) for message in messages] == [3] * 500


def test_smtp_source_speaks_over_a_unix_socket_and_in_lmtp(engine, spool, tmp_path):
    shape = ["-s", "4", "-m", 200, "-l", "1024", "-f", FROM, "-t", "b@example.test"]
    options = ["--listen", f"lmtp+unix:{tmp_path / 'lmtp'}"]
    with Sink(engine, spool, *options, listen=f"smtp+unix:{tmp_path / 'smtp'}") as sink:
        sink.addresses(0)
        run([peer("smtp-source"), *shape, f"unix:{tmp_path / 'smtp'}"])
        run([peer("smtp-source"), "-L", *shape, f"unix:{tmp_path / 'lmtp'}"])
        report = sink.stop()
    assert report["messages"] == 400
    protocols = [message.meta["protocol"] for message in read_spool(spool)]
    assert sorted(set(protocols)) == ["LMTP", "SMTP"] and protocols.count("LMTP") == 200
    verify(spool)
    assert "lmtp" in run([binary("ringpost"), "spool", "ls", spool]).stdout
