//! What HdrHistogram's own readers make of our artefacts.
//!
//! Needs the programs that `scripts/peers` brings; without them these tests fail rather than pass
//! unseen.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringpost::measure::{Mode, Outcome, Phase};
use ringpost::run::{Latency, Run, hlog};
use serde_json::Value;

use crate::support;

fn peers() -> PathBuf {
    match std::env::var_os("RINGPOST_PEERS") {
        Some(dir) => PathBuf::from(dir),
        None => panic!(
            "RINGPOST_PEERS is not set: these tests need the readers that scripts/peers brings; run \
             scripts/test, which prepares them"
        ),
    }
}

/// A program that the peers' directory holds, or else the machine.
fn program(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(peers().join("bin"))
        .chain(std::env::split_paths(&path))
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("none of {names:?} is here; scripts/test says what it needs"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

fn output(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; run scripts/test, which prepares the peers")
    });
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}\n{errors}", done.status);
    String::from_utf8(done.stdout).unwrap()
}

/// Counts and percentiles must be equal. Of the maximum, one reader gives the upper end of its cell and
/// another the lower, so it is held to a cell's width.
fn assert_same(found: &Value, latency: &Latency, what: &str, max_tolerance: f64) {
    let field = |name: &str| found[name].as_u64().unwrap_or_else(|| panic!("{what} {name}"));
    assert_eq!(field("count"), latency.count, "{what} count");
    let ours =
        [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("p999", latency.p999)];
    for (name, value) in ours.into_iter().filter_map(|(name, ns)| Some((name, ns?))) {
        assert_eq!(field(name), value, "{what} {name}");
    }
    let (max, ours) = (field("max") as f64, latency.max.unwrap() as f64);
    assert!((max - ours).abs() <= ours * max_tolerance, "{what} max");
}

fn assert_log(found: &Value, run: &Run) {
    assert_same(&found[""], run.headline(), "untagged", 0.001);
    assert_same(&found["refused"], &run.refused_ns, "refused", 0.01);
    for (phase, result) in run.phases.iter().filter(|(_, result)| result.latency_ns.count > 0) {
        assert_same(&found[phase.name()], &result.latency_ns, phase.name(), 0.01);
        let apart = result.outcomes.iter().filter(|(outcome, _)| **outcome != Outcome::Accepted);
        for (outcome, latency) in apart {
            let tag = hlog::phase_tag(*phase, *outcome);
            assert_same(&found[&tag], latency, &tag, 0.01);
        }
    }
    assert!(found["rcpt.refused_4xx"]["count"].as_u64().unwrap() > 0);
    assert!(found["warmup"]["count"].as_u64().unwrap() > 0);
    assert!(found[Phase::EndOfData.name()].is_object());
    if let Some(lag) = &run.send_lag_ns {
        assert_same(&found["service"], &run.service_ns, "service", 0.001);
        assert_same(&found["send_lag"], lag, "send lag", 0.001);
    }
}

#[test]
fn the_python_reader_finds_our_counts_and_percentiles() {
    let python = peers().join("venv/bin/python");
    for mode in [Mode::Closed, Mode::Open] {
        let dir = tempfile::tempdir().unwrap();
        let (run, _) = support::write_run(dir.path(), mode);
        let text = output(Command::new(&python).arg(script("read_hlog.py")).arg(dir.path()));
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_log(&found["log"], &run);
        assert_eq!(found["hgrm"]["count"].as_u64(), Some(run.headline().count));
        assert!(found["hgrm"]["rows"].as_u64().unwrap() > 20);
    }
}

#[test]
fn the_javascript_reader_finds_our_counts_and_percentiles() {
    let node = program(&["node"]);
    for mode in [Mode::Closed, Mode::Open] {
        let dir = tempfile::tempdir().unwrap();
        let (run, _) = support::write_run(dir.path(), mode);
        let modules = peers().join("node_modules");
        let mut command = Command::new(&node);
        let text = output(command.arg(script("read_hlog.mjs")).arg(modules).arg(dir.path()));
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_log(&found["log"], &run);
    }
}
