"""Fixtures. Tests run on both engines; one that cannot run here is skipped, and the reason is printed."""

import contextlib
import os
import signal
from pathlib import Path

import disks
import pytest
from harness import Sink, binary, peer, run

ENGINES = os.environ.get("RINGPOST_ENGINES", "uring,epoll").split(",")


def pytest_sessionstart(session):
    # SIGTERM ends the suite like Ctrl-C, so that no program and no mount stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Ctrl-C reaches the workers too; they wait for the SIGTERM that follows, and clean up once.
        signal.signal(signal.SIGINT, lambda *_: None)
    missing = [path for path in (binary("ringpost-sink"), peer("smtp-source")) if not Path(path).exists()]
    if missing:
        pytest.exit(f"{' and '.join(missing)} missing: run scripts/test, or scripts/peers and a release build", 2)


WORKERS = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node):
    WORKERS.append(node.gateway._rinfo().pid)


def pytest_keyboard_interrupt(excinfo):
    # By itself pytest-xdist kills its workers after ten seconds, and their programs would stay behind.
    for pid in WORKERS:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def refusal_of(engine, directory):
    """What the sink says if this machine cannot run the engine; None if it can."""
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


@pytest.fixture(params=["plain", "tls"])
def both_ways(request, monkeypatch):
    """Runs a test twice: with sinks that are reached in plain text, and through a tunnel that speaks TLS with them.
    RINGPOST_TUNNEL=1 does the latter with all tests; what is about addresses or PROXY headers then fails."""
    monkeypatch.setattr(Sink, "tunnelled", request.param == "tls")


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture(scope="session")
def loop_devices():
    """For tests that mount. On a machine without loop devices they are skipped, and the reason is printed."""
    missing = disks.why_not()
    if missing:
        pytest.skip(missing)
