"""What Postfix did with a thousand messages, as `ringpost report delivery` tells it."""

import json
import time

from harness import Child, Sink, binary, run
from mta import Postfix, needs_root

MESSAGES = 1000


def report(directory, spool, *options, check=True):
    done = run(
        [binary("ringpost"), "report", "delivery", directory, "--spool", spool, "--json", *options],
        check=check,
        timeout=120,
    )
    return done.returncode, json.loads(done.stdout)


@needs_root
def test_a_sink_that_is_killed_delays_mail_and_loses_none(engine, spool, tmp_path):
    directory = tmp_path / "run"
    # Whether Postfix keeps the rate is not asked here.
    load = ["--rate", "200", "-n", MESSAGES, "-c", "8", "--recipients", "2", "--out", directory, "--exit-zero"]
    with Sink(engine, spool) as sink, Postfix(f"smtp:[127.0.0.1]:{sink.port}") as mta:
        with Child([binary("ringpost-blast"), mta.address, *load]) as blast:
            time.sleep(2)
            sink.kill()
            killed = time.monotonic()
            time.sleep(1.5)
            with Sink(engine, spool, listen=f"smtp://127.0.0.1:{sink.port}") as again:
                down_ns = (time.monotonic() - killed) * 1e9
                assert blast.wait(60) == 0, blast.stderr
                code, told = report(directory, spool, "--wait", "60s", "--fail-if", "lost>0,altered>0")
                again.stop()
    assert code == 0
    assert (told["sent"], told["accepted"], told["delivered"]) == (2 * MESSAGES,) * 3
    assert (told["lost"], told["altered"], told["bounced"], told["unknown"]) == (0, 0, 0, 0)
    assert told["messages"]["delivered"] == MESSAGES
    # What was due while there was no sink waited for it, and no clock runs backwards.
    assert told["delivery_ns"]["max"] > down_ns / 2
    assert told["delivery_min_ns"] > 0
    assert [hop["by"] for hop in told["hops"]] == ["postfix.test", "sink"]
    assert sum(second["delivered"] for second in told["seconds"]) == 2 * MESSAGES
    assert max(second["in_flight"] for second in told["seconds"]) > 0
    # Another condition, and a spool that is not the one.
    assert report(directory, spool, "--fail-if", "delivered<3k", check=False)[0] == 1
    assert report(directory, spool, "--fail-if", "delivery.max<1ns,accepted!=1k")[0] == 0
