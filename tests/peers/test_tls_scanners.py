"""Programs that look for weak spots of TLS find none in the sink as it is without further options."""

import json
import os

import pytest
from harness import PEERS, peer, run
from tls import TlsSink

# testssl takes two minutes: scripts/drills tls.
SLOW = os.environ.get("RINGPOST_TESTSSL") is not None
WAYS = ["starttls", "implicit"]
# As testssl calls what is above "low".
ALARMING = {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}
# A certificate that is made for tests names no place where it could be revoked.
NO_FAULTS = {"cert_revocation"}


@pytest.mark.parametrize("way", WAYS)
def test_sslyze_finds_the_profile_of_mozilla_fulfilled(engine, way, tmp_path):
    with TlsSink(engine, None, tmp_path, "--cores", "1") as sink:
        options = ["--mozilla_config", "intermediate", "--certinfo", "--certinfo_ca_file", sink.ca]
        starttls = ["--starttls", "smtp"] if way == "starttls" else []
        done = run([PEERS / "venv/bin/python3", "-m", "sslyze", *options, *starttls, f"localhost:{sink.ports[way]}"])
        assert "OK - Compliant" in done.stdout
        report = sink.stop()
    assert report["messages"] == 0


@pytest.mark.skipif(not SLOW, reason="it takes two minutes for each way: scripts/drills tls")
@pytest.mark.parametrize("way", WAYS)
def test_testssl_finds_nothing_above_low(engine, way, tmp_path):
    found = tmp_path / "found.json"
    with TlsSink(engine, None, tmp_path, "--cores", "1") as sink:
        starttls = ["-t", "smtp"] if way == "starttls" else []
        options = ["--quiet", "--warnings", "batch", "--add-ca", sink.ca, "--jsonfile", found]
        run([peer("testssl"), *options, *starttls, f"127.0.0.1:{sink.ports[way]}"], timeout=900, check=False)
        sink.stop()
    findings = json.loads(found.read_text())
    assert len(findings) > 100, findings
    bad = [one for one in findings if one["severity"] in ALARMING and one["id"] not in NO_FAULTS]
    assert bad == []
