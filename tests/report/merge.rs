//! Runs added up: exact, in any order, and only where they belong together.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ringpost::measure::{Mode, Phase, Tally};
use ringpost::report::html;
use ringpost::run::Loaded;
use ringpost::run::artefact::{RUN_CSV, RUN_HGRM, RUN_HLOG, RUN_JSON};
use ringpost::run::merge::{MergeError, merge};
use ringpost::run::{Conditions, Run, Verdict};
use tempfile::TempDir;

use crate::support::{write_run, write_run_at};

/// Three shards that began within a second of each other, as an orchestrator starts them.
const STARTED: [&str; 3] =
    ["2026-05-04T12:30:00.612Z", "2026-05-04T12:30:00.118Z", "2026-05-04T12:30:01.490Z"];

struct Shards {
    dir: TempDir,
    runs: Vec<Run>,
    totals: Vec<Tally>,
}

fn shards(mode: Mode) -> Shards {
    let dir = tempfile::tempdir().unwrap();
    let (runs, totals) = STARTED
        .iter()
        .zip(["a", "b", "c"])
        .zip([7, 17, 27])
        .map(|((started, name), seed)| {
            let (run, totals) = write_run_at(&dir.path().join(name), mode, started, seed);
            (run, totals.tally)
        })
        .unzip();
    Shards { dir, runs, totals }
}

impl Shards {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn merge(&self, names: &[&str], out: &str) -> Result<Run, MergeError> {
        let dirs: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        merge(&dirs, &self.path(out), false)
    }
}

fn files(dir: &Path) -> [String; 4] {
    [RUN_JSON, RUN_HLOG, RUN_HGRM, RUN_CSV].map(|name| fs::read_to_string(dir.join(name)).unwrap())
}

#[test]
fn merging_in_any_order_and_in_steps_comes_to_the_same_octets() {
    for mode in [Mode::Closed, Mode::Open] {
        let shards = shards(mode);
        shards.merge(&["a", "b", "c"], "abc").unwrap();
        shards.merge(&["c", "a", "b"], "cab").unwrap();
        shards.merge(&["a", "b"], "ab").unwrap();
        shards.merge(&["b", "c"], "bc").unwrap();
        shards.merge(&["ab", "c"], "ab-c").unwrap();
        shards.merge(&["a", "bc"], "a-bc").unwrap();
        let whole = files(&shards.path("abc"));
        for other in ["cab", "ab-c", "a-bc"] {
            assert!(files(&shards.path(other)) == whole, "{mode:?} {other}");
        }
    }
}

#[test]
fn counts_that_do_not_fit_together_are_refused_before_anything_is_written() {
    let shards = shards(Mode::Open);
    let path = shards.path("b").join(RUN_JSON);
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let wrong = [("messages_refused_4xx", 1u64 << 40), ("messages_not_begun", 1 << 40)];
    for (name, count) in wrong {
        let mut bad = good.clone();
        assert!(bad[name].is_u64(), "{name}");
        bad[name] = count.into();
        fs::write(&path, bad.to_string()).unwrap();
        let error = shards.merge(&["a", "b", "c"], "sum").unwrap_err();
        assert!(matches!(&error, MergeError::Counts(of) if of.ends_with("/b")), "{name}: {error}");
        assert!(!shards.path("sum").join(RUN_HLOG).exists(), "{name}");
        assert!(Loaded::open(&shards.path("b")).is_ok(), "it can be shown: {name}");
    }
    for name in ["messages_ok", "messages_not_begun", "bytes", "cpu_wait_ns"] {
        let mut bad = good.clone();
        bad[name] = u64::MAX.into();
        fs::write(&path, bad.to_string()).unwrap();
        let error = shards.merge(&["a", "b", "c"], "sum").unwrap_err();
        assert!(error.to_string().contains("larger than any run"), "{name}: {error}");
    }
}

#[test]
fn the_sum_has_every_count_and_every_cell_of_its_parts() {
    for mode in [Mode::Closed, Mode::Open] {
        let shards = shards(mode);
        let sum = shards.merge(&["a", "b", "c"], "sum").unwrap();
        let mut tally = Tally::new(mode);
        shards.totals.iter().for_each(|part| tally.add(part));
        let of = |figure: fn(&Run) -> u64| shards.runs.iter().map(figure).sum::<u64>();
        assert_eq!(sum.counts.messages_ok, of(|run| run.counts.messages_ok));
        assert_eq!(sum.counts.messages_refused_4xx, of(|run| run.counts.messages_refused_4xx));
        assert_eq!(sum.replies[&451], of(|run| run.replies[&451]));
        let refusals = |run: &Run| run.phases[&Phase::Rcpt].refusals.clone();
        assert_eq!(refusals(&sum).len(), 5, "{:?}", refusals(&sum));
        for (line, count) in refusals(&sum) {
            let parts = shards.runs.iter().filter_map(|run| refusals(run).get(&line).copied());
            assert_eq!(count, parts.sum::<u64>(), "{line}");
        }
        assert_eq!(refusals(&sum).values().sum::<u64>(), sum.replies[&451]);
        assert_eq!(sum.errors.values().sum::<u64>(), of(|run| run.errors.values().sum()));
        assert_eq!(sum.plan.connections, of(|run| run.plan.connections));
        // Warm-ups end at .118 + 1 s at the earliest; the last shard ends 12 s behind 1.490 + 1 s.
        assert!((sum.elapsed_s - 13.372).abs() < 1e-9, "{}", sum.elapsed_s);
        assert!((sum.rate_msg_s.unwrap() - sum.counts.messages_ok as f64 / 13.372).abs() < 1e-6);

        let loaded = Loaded::open(&shards.path("sum")).unwrap();
        assert_eq!(loaded.run, sum);
        assert_eq!(&loaded.headline.unwrap(), tally.headline());
        let measured = loaded.seconds.iter().filter(|second| !second.warmup);
        assert_eq!(
            measured.clone().map(|second| second.messages_ok).sum::<u64>(),
            sum.counts.messages_ok
        );
        // From second 2 to 11 all were at it; at the end of its last second a shard is gone.
        assert_eq!(measured.filter(|second| second.connections == 3 * 64).count(), 10);
        let names: Vec<&str> =
            sum.shards.iter().map(|shard| &shard.name[shard.name.len() - 1..]).collect();
        assert_eq!(names, ["b", "a", "c"], "in the order of their starts");
    }
}

/// Whatever a run holds, now or later, must not be lost on the way through a merge.
#[test]
fn merging_one_run_changes_nothing_but_what_says_so() {
    for mode in [Mode::Closed, Mode::Open] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        let (run, _) = write_run(&path("one"), mode);
        let sum = merge(&[path("one")], &path("sum"), false).unwrap();
        let mut expected = run.clone();
        expected.id = String::new();
        expected.plan.command = sum.plan.command.clone();
        expected.shards = sum.shards.clone();
        assert_eq!(sum, expected);
        assert_eq!(sum.shards[0].run, run);
        let (before, after) = (files(&path("one")), files(&path("sum")));
        for (name, n) in [("hlog", 1), ("hgrm", 2), ("csv", 3)] {
            let differs = before[n].lines().zip(after[n].lines()).find(|(a, b)| a != b);
            assert!(differs.is_none(), "{mode:?} {name}: {differs:?}");
            assert_eq!(before[n].len(), after[n].len(), "{mode:?} {name}");
        }
    }
}

#[test]
fn a_sum_is_shown_as_any_run_with_its_shards() {
    let shards = shards(Mode::Open);
    for name in ["d", "e"] {
        let started = format!("2026-05-04T12:30:00.{}00Z", name.len());
        write_run_at(&shards.path(name), Mode::Open, &started, name.as_bytes()[0].into());
    }
    let path = shards.path("e").join(RUN_JSON);
    let mut odd: Run = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    odd.rate_msg_s = odd.rate_msg_s.map(|rate| rate / 2.0);
    odd.verdict = Verdict::GeneratorLimited;
    fs::write(&path, serde_json::to_vec(&odd).unwrap()).unwrap();

    let out = shards.path("sum");
    let dirs = ["a", "b", "c", "d", "e"].map(|name| shards.path(name));
    let done = ringpost(
        &[
            &["merge"],
            &dirs.each_ref().map(|d| d.to_str().unwrap())[..],
            &["-o", out.to_str().unwrap()],
        ]
        .concat(),
    );
    assert_eq!(done.status.code(), Some(4), "{}", stderr(&done));
    let shown = String::from_utf8(done.stdout).unwrap();
    assert!(shown.contains("the generator was the limit in "), "{shown}");
    let odd = shown.lines().find(|line| line.contains("odd one out")).unwrap();
    assert!(
        odd.trim_start().starts_with(dirs[4].to_str().unwrap()) && odd.ends_with(": rate"),
        "{odd}"
    );
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(page, html::render(&Loaded::open(&out).unwrap()));
    assert!(page.contains("<h2>Shards</h2>"));
    // It has no id of its own.
    assert!(!page.contains("· run <") && !shown.lines().next().unwrap().contains("  run"));
    let again = ringpost(&["show", out.to_str().unwrap()]);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), shown);
}

#[test]
fn conditions_are_held_against_the_sum() {
    let shards = shards(Mode::Closed);
    for name in ["a", "b", "c"] {
        let path = shards.path(name).join(RUN_JSON);
        let mut run: Run = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let conditions: Conditions = "failed>100,p50>60s".parse().unwrap();
        run.fail_if(&conditions);
        assert_ne!(run.verdict, Verdict::ThresholdFailed);
        fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
    }
    let sum = shards.merge(&["a", "b", "c"], "sum").unwrap();
    assert_eq!(sum.verdict, Verdict::ThresholdFailed);
    assert_eq!(
        sum.thresholds.iter().map(|t| t.holds).collect::<Vec<_>>(),
        [Some(true), Some(false)]
    );
}

fn ringpost(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringpost")).arg("report").args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Two runs one after the other: each asked for its rate in its own time.
#[test]
fn the_time_between_two_runs_is_no_time_of_their_sum() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [Mode::Open, Mode::Closed] {
        let path = |name: &str| dir.path().join(format!("{name}-{mode:?}"));
        let (a, _) = write_run_at(&path("a"), mode, "2026-05-04T12:30:00Z", 7);
        let (b, _) = write_run_at(&path("b"), mode, "2026-05-04T13:30:00Z", 40);
        let paths = ["a", "b", "sum"].map(path);
        let [first, second, sum] = paths.each_ref().map(|path| path.to_str().unwrap());
        let done = ringpost(&["merge", "--mixed", "-o", sum, first, second]);
        assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
        let text = fs::read(paths[2].join(RUN_JSON)).unwrap();
        let sum: Run = serde_json::from_slice(&text).unwrap();
        let near =
            |told: f64, meant: f64| assert!((told / meant - 1.0).abs() < 1e-3, "{told}, {meant}");
        near(sum.elapsed_s, a.elapsed_s + b.elapsed_s);
        let accepted = (a.counts.messages_ok + b.counts.messages_ok) as f64;
        near(sum.rate_msg_s.unwrap(), accepted / (a.rate_time_s() + b.rate_time_s()));
        let used = |run: &Run| run.cpu_busy.unwrap() * run.elapsed_s;
        near(sum.cpu_busy.unwrap() * sum.elapsed_s, used(&a) + used(&b));
        assert_eq!(sum.in_flight_peak, a.in_flight_peak.max(b.in_flight_peak));
        assert_eq!(sum.plan.connections, a.plan.connections, "no more were open at once");
        assert_eq!(sum.plan.rate_msg_s.is_some(), mode == Mode::Open);
        if let (Some(told), Some(asked)) = (sum.plan.rate_msg_s, a.plan.rate_msg_s) {
            near(told, asked);
        }
    }
}

#[test]
fn what_does_not_belong_together_is_refused_with_status_5_and_nothing_is_left() {
    let shards = shards(Mode::Closed);
    let change = |name: &str, change: &dyn Fn(&mut Run)| {
        let path = shards.path(name).join(RUN_JSON);
        let mut run: Run = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut run);
        fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
    };
    change("c", &|run| {
        run.plan.connections = 8;
        run.plan.seed = 1;
    });
    write_run_at(&shards.path("later"), Mode::Closed, "2026-05-04T12:31:00Z", 40);
    write_run_at(&shards.path("open"), Mode::Open, STARTED[0], 50);
    let of = |names: &[&str], more: &[&str]| {
        let paths: Vec<PathBuf> = names.iter().map(|name| shards.path(name)).collect();
        let paths: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        let out = shards.path("out");
        let done = ringpost(&[&["merge", "-o", out.to_str().unwrap()], &paths[..], more].concat());
        let left = out.join(RUN_HLOG).exists();
        drop(fs::remove_dir_all(&out));
        (done.status.code(), stderr(&done), left)
    };
    for (names, says) in [
        (&["a", "c"][..], "different plans: connections 64 and 8; --mixed"),
        (&["a", "later"], "later began after"),
        (&["a", "b", "a"], "are the same run"),
        (&["a", "open"], "an open loop and"),
    ] {
        let (code, error, left) = of(names, &[]);
        assert!(code == Some(5) && error.contains(says) && !left, "{names:?}: {code:?} {error}");
    }
    assert_eq!(of(&["a", "c", "later"], &["--mixed"]).0, Some(0));
    assert_eq!(of(&["a", "open"], &["--mixed"]).0, Some(5), "no word makes these one");
    assert_eq!(of(&["a", "missing"], &[]).0, Some(66));

    fs::remove_file(shards.path("b").join(RUN_CSV)).unwrap();
    let (code, error, _) = of(&["a", "b"], &[]);
    assert!(code == Some(66) && error.contains("run.csv is missing"), "{code:?} {error}");
    let log = fs::read_to_string(shards.path("a").join(RUN_HLOG)).unwrap();
    assert!(log.contains("Tag=rcpt.refused_4xx,"), "nothing was refused");
    let torn: Vec<&str> = log.lines().filter(|line| !line.starts_with("Tag=rcpt,")).collect();
    let torn = torn.join("\n") + "\n";
    fs::write(shards.path("a").join(RUN_HLOG), torn).unwrap();
    let (code, error, left) = of(&["a"], &[]);
    assert!(code == Some(65) && error.contains("without the phase") && !left, "{code:?} {error}");
    let cut = log.lines().take(12).collect::<Vec<_>>().join("\n") + "\n";
    fs::write(shards.path("a").join(RUN_HLOG), cut).unwrap();
    let (code, error, left) = of(&["a"], &[]);
    assert!(code == Some(65) && error.contains("the same seconds") && !left, "{code:?} {error}");
}

#[test]
fn runs_of_different_names_belong_together_and_the_sum_has_them_all() {
    let shards = shards(Mode::Open);
    for (dir, name) in [("a", "east"), ("b", "west"), ("c", "east")] {
        let path = shards.path(dir).join(RUN_JSON);
        let mut run: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        run["plan"]["name"] = name.into();
        run["plan"]["note"] = format!("<{name}>").into();
        fs::write(&path, run.to_string()).unwrap();
    }
    let sum = shards.merge(&["c", "b", "a"], "sum").unwrap();
    assert_eq!((&*sum.plan.name, &*sum.plan.note), ("east, west", "<east>, <west>"));
    let page = html::render(&Loaded::open(&shards.path("sum")).unwrap());
    assert!(page.contains("<h1>east, west</h1>") && page.contains("&lt;east&gt;"));
}
