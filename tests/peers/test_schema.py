"""The JSON Schemas that `ringpost report schema` prints, against what runs of every kind leave behind."""

import copy
import json

import pytest
from harness import Sink, binary, free_port, run
from jsonschema import Draft202012Validator

SHORT = ["-c", "4", "--size", "1KiB"]


def printed(of):
    schema = json.loads(run([binary("ringpost"), "report", "schema", of]).stdout)
    Draft202012Validator.check_schema(schema)
    return schema


def closed(schema):
    """The same, of objects that have no member beyond those it names: artefacts may gain fields without a
    new version, and the schema of this build has to know them."""
    if isinstance(schema, dict):
        tight = {name: closed(part) for name, part in schema.items()}
        if "properties" in schema and schema.get("type") == "object":
            tight["additionalProperties"] = False
        return tight
    return [closed(part) for part in schema] if isinstance(schema, list) else schema


def holds(of, path):
    artefact = json.loads(path.read_text())
    for schema in (printed(of), closed(printed(of))):
        errors = [f"{error.json_path}: {error.message[:200]}" for error in Draft202012Validator(schema).iter_errors(artefact)]
        assert not errors, f"{path}: {errors}"
    return artefact


def leave(out, engine, address, *options, status=0):
    done = run(
        [binary("ringpost-blast"), address, *SHORT, "--io", engine, "--live", "off", "--out", out, *options], check=False
    )
    # A busy machine makes the generator the limit, which is a run all the same.
    assert done.returncode in (status, 4), done.stderr
    return holds("run", out / "run.json")


@pytest.fixture(scope="module")
def sink(engine):
    with Sink(engine, None, "--cores", "1", "--auth", "any", "--syntax", "strict") as sink:
        yield sink


KINDS = {
    "closed": (["-n", "200"], 0),
    "timed": (["-z", "1s", "--warmup", "200ms", "--cooldown", "200ms"], 0),
    "open": (["-n", "200", "-q", "2k", "--arrivals", "poisson"], 0),
    "sessions": (["-n", "50", "--session-rate", "200", "--think", "1ms..2ms", "--per-connection", "2"], 0),
    "chunks": (["-n", "200", "--chunking", "--depth", "8", "--pipelining", "full"], 0),
    "login": (["-n", "50", "--auth", "tim:secret", "--per-connection", "5"], 0),
    "several": (["-n", "40", "3=localhost:{port}"], 0),
    "mob": (["-z", "1s", "--misbehave", "all"], 0),
    "stopped": (["-n", "50", "--to", "nobody", "--stop-on", "5xx"], 1),
    "refused": (["-n", "50", "--to", "nobody"], 1),
    "conditions": (["-n", "50", "--fail-if", "accepted>0,rset.p99>1ms,replies.4xx>1%"], 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_what_the_schema_says(kind, sink, engine, tmp_path):
    options, status = KINDS[kind]
    options = [option.format(port=sink.port) for option in options]
    told = leave(tmp_path / "run", engine, sink.address, *options, status=status)
    assert (told["response_ns"] is None) == (kind not in ("open", "sessions"))
    assert bool(told["thresholds"]) == (kind == "conditions")
    assert bool(told["messages_failed"]) == (kind in ("refused", "stopped"))
    assert bool(told.get("targets")) == (kind == "several") and bool(told.get("misbehaviour")) == (kind == "mob")


def test_so_is_one_without_a_server(engine, tmp_path):
    told = leave(tmp_path / "run", engine, f"127.0.0.1:{free_port()}", "-n", "10", status=3)
    assert told["verdict"] == "unreachable" and told["errors"]


def test_so_is_a_sum(sink, engine, tmp_path):
    parts = [tmp_path / name for name in ("a", "b")]
    for part in parts:
        leave(part, engine, sink.address, "-n", "100")
    run([binary("ringpost"), "report", "merge", *parts, "-o", tmp_path / "sum", "--mixed"])
    assert len(holds("run", tmp_path / "sum" / "run.json")["shards"]) == 2


def test_so_is_a_comparison(sink, engine, tmp_path):
    parts = [tmp_path / name for name in ("a", "b")]
    for part in parts:
        leave(part, engine, sink.address, "-n", "100")
    asked = ["--json", "--fail-if", "rate<-99%,rate<0"]
    done = run([binary("ringpost"), "report", "compare", *parts, *asked])
    (tmp_path / "compared.json").write_text(done.stdout)
    conditions = holds("compare", tmp_path / "compared.json")["thresholds"]
    assert [condition["noise"] for condition in conditions] == ["unknown", None], "too few seconds, and no change"


def test_so_are_a_sweep_and_a_search(sink, engine, tmp_path):
    steps = ["--settle", "100ms", "--measure", "300ms", "--io", engine]
    for task, options in (("sweep", ["--rates", "50,100"]), ("find-max", ["--slo", "errors<1%", "--start", "50", "--most", "100"])):
        out = tmp_path / task
        done = run([binary("ringpost-blast"), task, sink.address, *SHORT, *steps, *options, "--out", out], check=False)
        assert done.returncode in (0, 4), done.stderr
        assert holds(task, out / f"{task}.json")["steps"]
        with pytest.raises(AssertionError):
            holds("run", out / f"{task}.json")


def test_what_is_none_is_not_taken_for_one(sink, engine, tmp_path):
    told = leave(tmp_path / "run", engine, sink.address, "-n", "20")
    check = Draft202012Validator(printed("run"))
    wrong = {
        "a number as text": lambda run: run.update(messages_ok="20"),
        "less than none": lambda run: run.update(messages_ok=-1),
        "no such verdict": lambda run: run.update(verdict="fine"),
        "a field that is gone": lambda run: run.pop("service_ns"),
        "another version": lambda run: run.update(schema=2),
        "no such phase": lambda run: run["phases"].update(vrfy=run["phases"]["mail"]),
        "no reply code": lambda run: run["replies"].update(ok=3),
    }
    for what, spoil in wrong.items():
        spoiled = copy.deepcopy(told)
        spoil(spoiled)
        assert not check.is_valid(spoiled), what
