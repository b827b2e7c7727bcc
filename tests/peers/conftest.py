"""Fixtures and the one switch of the suite: both engines, or a plain word why one cannot run here."""

import os
import signal
from pathlib import Path

import disks
import pytest
from harness import binary, peer, run

ENGINES = os.environ.get("RINGPOST_ENGINES", "uring,epoll").split(",")


def pytest_sessionstart(session):
    # Whoever ends the suite early must not leave programs and mounts behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    missing = [path for path in (binary("ringpost-sink"), peer("smtp-source")) if not Path(path).exists()]
    if missing:
        pytest.exit(f"{' and '.join(missing)} missing: run scripts/test, or scripts/peers and a release build", 2)


def refusal_of(engine, directory):
    """Why this machine cannot run the engine, in the sink's own words; None where it can."""
    done = run(
        ["timeout", "-s", "TERM", "1", binary("ringpost-sink"), "--io", engine]
        + ["--listen", "smtp://127.0.0.1:0", "--discard", "--cores", "1"],
        check=False,
        cwd=directory,
    )
    return done.stderr.strip() if done.returncode == 69 else None


@pytest.fixture(scope="session", params=ENGINES)
def engine(request, tmp_path_factory):
    refusal = refusal_of(request.param, tmp_path_factory.mktemp("probe"))
    if refusal:
        pytest.skip(f"--io {request.param} cannot run here: {refusal}")
    return request.param


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture(scope="session")
def loop_devices():
    """For tests that mount; where they cannot, each of them is skipped and says why."""
    missing = disks.why_not()
    if missing:
        pytest.skip(missing)
