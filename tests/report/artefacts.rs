//! A run's directory, from the files to what people read.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use ringpost::measure::{Mode, Outcome, Phase};
use ringpost::report::colour::Colour;
use ringpost::report::columns::Width;
use ringpost::report::html;
use ringpost::report::text;
use ringpost::run::Loaded;
use ringpost::run::artefact::{RUN_CSV, RUN_HGRM, RUN_HLOG, RUN_JSON};
use ringpost::run::merge::merge;
use ringpost::run::{ArtefactError, Latency, Run, RunDir, hlog};

use crate::support;

fn ringpost(args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost"));
    command.arg("report").args(args).arg(dir).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Compares with a file of expected text. `RINGPOST_BLESS=1` writes it anew, to be read in the diff.
fn assert_snapshot(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    if std::env::var_os("RINGPOST_BLESS").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "differs from {}; found:\n{found}", path.display());
}

#[test]
fn the_text_report_of_fixed_numbers_is_the_expected_one() {
    for (mode, name) in [(Mode::Closed, "report-closed.txt"), (Mode::Open, "report-open.txt")] {
        let dir = tempfile::tempdir().unwrap();
        support::write_run(dir.path(), mode);
        let loaded = Loaded::open(dir.path()).unwrap();
        assert_snapshot(name, &text::render(&loaded, Colour::Plain, Width::FULL));
    }
}

#[test]
fn the_report_of_a_run_just_ended_equals_the_one_read_back() {
    for mode in [Mode::Closed, Mode::Open] {
        let dir = tempfile::tempdir().unwrap();
        let (run, totals) = support::write_run(dir.path(), mode);
        let live = Loaded::of(run, &totals);
        let read = Loaded::open(dir.path()).unwrap();
        assert_eq!(live.run, read.run);
        assert_eq!(
            text::render(&live, Colour::Ansi, Width::FULL),
            text::render(&read, Colour::Ansi, Width::FULL)
        );
    }
}

#[test]
fn the_intervals_of_the_log_add_up_to_the_totals() {
    for mode in [Mode::Closed, Mode::Open] {
        let dir = tempfile::tempdir().unwrap();
        let (run, totals) = support::write_run(dir.path(), mode);
        let loaded = Loaded::open(dir.path()).unwrap();
        let headline = loaded.headline.unwrap();
        assert_eq!(&headline, totals.tally.headline());
        assert_eq!(Latency::from(&headline), *run.headline());
        assert_eq!(loaded.service.is_some(), mode == Mode::Open);
        let measured = || loaded.seconds.iter().filter(|second| !second.warmup);
        assert_eq!(
            measured().map(|second| second.messages_ok).sum::<u64>(),
            run.counts.messages_ok
        );
        assert_eq!(measured().map(|second| second.bytes).sum::<u64>(), run.counts.bytes);
        let span: f64 = measured().map(|second| second.seconds).sum();
        assert!((span - run.elapsed_s).abs() < 1e-3, "{span} {}", run.elapsed_s);
    }
}

#[test]
fn every_line_of_the_log_says_when_it_was_and_the_headline_never_misses() {
    let dir = tempfile::tempdir().unwrap();
    support::write_run(dir.path(), Mode::Open);
    let log = fs::read(dir.path().join(RUN_HLOG)).unwrap();
    let lines: Vec<_> = hlog::read(&log[..]).map(Result::unwrap).collect();
    let untagged: Vec<u64> =
        lines.iter().filter(|line| line.tag.is_none()).map(|line| line.begun.as_secs()).collect();
    assert_eq!(untagged, (1..=12).collect::<Vec<u64>>());
    assert!(lines.iter().all(|line| line.lasted.as_secs_f64() > 0.9));
    let head = String::from_utf8_lossy(&log[..400]).into_owned();
    assert!(head.contains("#[StartTime: 1777897800.000"), "{head}");
    assert!(head.contains("#[BaseTime: 1777897800.000"), "{head}");
}

#[test]
fn the_percentile_file_ends_at_the_maximum_with_all_messages() {
    let dir = tempfile::tempdir().unwrap();
    let (run, _) = support::write_run(dir.path(), Mode::Closed);
    let text = fs::read_to_string(dir.path().join(RUN_HGRM)).unwrap();
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(2)
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
        .collect();
    let (last, others) = rows.split_last().unwrap();
    assert!(others.iter().all(|row| row.len() == 4));
    assert_eq!(last[1..], [1.0, run.service_ns.count as f64]);
    assert_eq!(Some((last[0] * 1e6).round() as u64), run.service_ns.max);
    let median = others.iter().find(|row| row[1] >= 0.5).unwrap();
    assert_eq!(Some((median[0] * 1e6).round() as u64), run.service_ns.p50);
    assert!(text.ends_with("SubBuckets     =         2048]\n"), "{text}");
}

#[test]
fn run_json_keeps_the_names_that_scripts_rely_on() {
    for mode in [Mode::Closed, Mode::Open] {
        let dir = tempfile::tempdir().unwrap();
        let (run, _) = support::write_run(dir.path(), mode);
        let json = fs::read(dir.path().join(RUN_JSON)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        for name in ["messages_ok", "messages_failed", "elapsed_s", "rate_msg_s", "verdict"] {
            assert!(!value[name].is_null(), "{name}");
        }
        for name in ["p50", "p90", "p99", "p999", "max", "count"] {
            assert!(value["service_ns"][name].is_u64(), "{name}");
            assert_eq!(value["response_ns"][name].is_u64(), mode == Mode::Open, "{name}");
            assert_eq!(value["send_lag_ns"][name].is_u64(), mode == Mode::Open, "{name}");
        }
        assert_eq!(value["replies"]["354"], run.replies[&354]);
        assert_eq!(value["phases"]["rcpt"]["enhanced"]["451 4.7.1"], run.replies[&451]);
        assert_eq!(value["started"], "2026-05-04T12:30:00Z");
        let back: Run = serde_json::from_value(value).unwrap();
        assert_eq!(back, run);
    }
}

#[test]
fn a_directory_that_holds_a_run_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    support::write_run(dir.path(), Mode::Closed);
    let before = fs::read(dir.path().join(RUN_JSON)).unwrap();
    let started = "2027-01-01T00:00:00Z".parse().unwrap();
    let refused = RunDir::create(dir.path(), started, Mode::Closed);
    assert!(matches!(refused, Err(ArtefactError::Taken(_))));
    assert_eq!(fs::read(dir.path().join(RUN_JSON)).unwrap(), before);
}

#[test]
fn the_page_loads_nothing_and_takes_no_markup_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let (mut run, _) = support::write_run(dir.path(), Mode::Open);
    run.plan.target = "smtp://\"><script>alert(1)</script>".to_owned();
    run.plan.helo = "<img src=x onerror='x'>".to_owned();
    run.verdict_reasons = vec!["</li><script>".to_owned()];
    run.machine.cpu_model = "a & b <c>".to_owned();
    fs::write(dir.path().join(RUN_JSON), serde_json::to_vec(&run).unwrap()).unwrap();
    let page = html::render(&Loaded::open(dir.path()).unwrap());
    for forbidden in ["<script", "<img", "http:", "https:", "@import", "url(", "<a href"] {
        let found = page.find(forbidden).map(|at| page[at..].chars().take(60).collect::<String>());
        assert_eq!(found, None, "{forbidden}");
    }
    // The only links save what is in the page itself.
    assert!(page.split("<a ").skip(1).all(|link| {
        let href = link.split(" href=\"").nth(1);
        link.starts_with("download=") && href.is_some_and(|href| href.starts_with("data:"))
    }));
    assert!(page.contains("&lt;img src=x onerror=&#39;x&#39;&gt;"));
    assert!(page.contains("a &amp; b &lt;c&gt;"));
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn a_run_without_a_single_answer_still_makes_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let (mut run, _) = support::write_run(dir.path(), Mode::Closed);
    for name in [RUN_HLOG, RUN_CSV, RUN_HGRM] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    run.counts.messages_ok = 0;
    run.counts.messages_failed = 0;
    run.elapsed_s = 0.0;
    run.rate_msg_s = None;
    run.service_ns = Latency::default();
    run.refused_ns = Latency::default();
    run.phases.clear();
    fs::write(dir.path().join(RUN_JSON), serde_json::to_vec(&run).unwrap()).unwrap();
    let loaded = Loaded::open(dir.path()).unwrap();
    let shown = text::render(&loaded, Colour::Plain, Width::FULL);
    assert!(shown.lines().any(|line| line.split_whitespace().eq(["p50", "-"])), "{shown}");
    assert!(!html::render(&loaded).contains("<svg class=\"chart\""));
}

#[test]
fn options_in_sentences_stay_on_one_line() {
    let dir = tempfile::tempdir().unwrap();
    support::write_run(dir.path(), Mode::Closed);
    let mut loaded = Loaded::open(dir.path()).unwrap();
    loaded.run.verdict_reasons =
        vec!["<b> more --cores, or (--out): a-b".to_owned(), "--".repeat(200)];
    let page = html::render(&loaded);
    let whole = "&lt;b&gt; more <span class=\"option\">--cores,</span> or \
                 <span class=\"option\">(--out):</span> a-b";
    assert!(page.contains(whole), "{page}");
    let long = format!("<li>{}</li>", "--".repeat(200));
    assert!(page.contains(&long), "what is no option may break");
}

#[test]
fn what_was_not_accepted_is_red_and_a_run_without_it_has_no_red() {
    let dir = tempfile::tempdir().unwrap();
    support::write_run(dir.path(), Mode::Closed);
    let mut loaded = Loaded::open(dir.path()).unwrap();
    let red = |loaded: &Loaded| {
        let page = html::render(loaded);
        let body = page.split_once("</style>").unwrap().1;
        (
            body.matches("class=\"tile failed\"").count(),
            body.matches("class=\"part failed\"").count(),
        )
    };
    loaded.run.counts.messages_failed = 1;
    let parts = loaded.run.phases.values().flat_map(|of| of.outcomes.keys());
    let failed = parts.filter(|outcome| **outcome != Outcome::Accepted).count();
    assert_eq!(red(&loaded), (1, failed));
    assert!(failed > 0);
    loaded.run.counts.messages_failed = 0;
    loaded.run.phases.values_mut().for_each(|of| of.outcomes.clear());
    assert_eq!(red(&loaded), (0, 0));
}

#[test]
fn the_commands_show_and_html_tell_a_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let (run, _) = support::write_run(dir.path(), Mode::Closed);
    let shown = ringpost(&["show"], dir.path());
    assert!(shown.status.success(), "{}", stderr(&shown));
    let expected = text::render(&Loaded::open(dir.path()).unwrap(), Colour::Plain, Width::FULL);
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), expected);
    let json = ringpost(&["show", "--json"], dir.path());
    assert_eq!(serde_json::from_slice::<Run>(&json.stdout).unwrap(), run);
    let written = ringpost(&["html"], dir.path());
    assert!(written.status.success(), "{}", stderr(&written));
    let page = fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>"));
    let piped = ringpost(&["html", "-o", "-"], dir.path());
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), page);
}

#[test]
fn how_a_log_is_read_is_asked_for_logs_alone() {
    let dir = tempfile::tempdir().unwrap();
    support::write_run(dir.path(), Mode::Closed);
    let run = dir.path().to_str().unwrap();
    for options in
        [&["show", "--unit", "us"][..], &["show", "--tag", "x"], &["compare", "--unit", "ns", run]]
    {
        let refused = ringpost(options, dir.path());
        assert_eq!(refused.status.code(), Some(64), "{options:?}");
        assert!(stderr(&refused).contains("leave it out, or name the log"), "{}", stderr(&refused));
        assert!(refused.stdout.is_empty());
    }
    let beside = ringpost(&["show", "--unit", "us", run], &dir.path().join(RUN_HLOG));
    assert!(beside.status.success(), "{}", stderr(&beside));
}

#[test]
fn a_log_read_in_the_wrong_unit_is_shown_or_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    support::write_run(dir.path(), Mode::Closed);
    let log = dir.path().join(RUN_HLOG);
    let show = |options: &[&str]| {
        let shown = ringpost(&[&["show"], options].concat(), &log);
        (shown.status.code(), stderr(&shown))
    };
    // Milliseconds shown as seconds: wrong, and as they are told.
    for unit in ["ns", "us", "ms"] {
        assert_eq!(show(&["--unit", unit]), (Some(0), String::new()), "{unit}");
    }
    let mut long = hdrhistogram::Histogram::<u64>::new(3).unwrap();
    for ns in [1_000_000, 4_000_000_000, 40_000_000_000] {
        long.record(ns).unwrap();
        let mut file = fs::File::create(&log).unwrap();
        let mut encoder = hdrhistogram::serialization::V2DeflateSerializer::new();
        let mut writer = hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder::new()
            .begin_log_with(&mut file, &mut encoder)
            .unwrap();
        let second = std::time::Duration::from_secs(1);
        writer.write_histogram(&long, second, second, None).unwrap();
        let (code, said) = show(&["--unit", "s"]);
        if ns < 9_000_000_000 {
            assert_eq!((code, said.as_str()), (Some(0), ""), "{ns}");
        } else {
            assert_eq!(code, Some(65), "{said}");
            assert!(said.contains("more than 292 years in s; name the unit"), "{said}");
            assert_eq!(said.lines().count(), 1);
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    support::write_run(dir.path(), Mode::Closed);
    let run = dir.path().to_str().unwrap();
    for arguments in [
        &["show", run][..],
        &["show", "--json", run],
        &["compare", run, run],
        &["html", run],
        &["html", "-o", "-", run],
        &["schema"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost"));
        let done = command.arg("report").args(arguments).stdout(writer).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
        assert_eq!(stderr(&done), "", "{arguments:?}");
    }
}

#[test]
fn what_is_no_run_is_refused_with_its_reason_and_a_status_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let missing = ringpost(&["show"], &dir.path().join("missing"));
    assert_eq!(missing.status.code(), Some(66));
    assert!(stderr(&missing).contains("no such directory"), "{}", stderr(&missing));
    let empty = ringpost(&["html"], dir.path());
    assert_eq!(empty.status.code(), Some(66));
    assert!(stderr(&empty).contains("no run.json"), "{}", stderr(&empty));

    let (run, _) = support::write_run(dir.path(), Mode::Closed);
    let mut value = serde_json::to_value(&run).unwrap();
    value["schema"] = 99.into();
    let path = dir.path().join(RUN_JSON);
    fs::write(&path, value.to_string()).unwrap();
    let newer = ringpost(&["show"], dir.path());
    assert_eq!(newer.status.code(), Some(65));
    assert!(stderr(&newer).contains("version 99"), "{}", stderr(&newer));
    fs::write(&path, "{").unwrap();
    assert_eq!(ringpost(&["show"], dir.path()).status.code(), Some(65));

    for command in ["show", "html"] {
        let file = ringpost(&[command], &path);
        assert_eq!(file.status.code(), Some(66));
        assert!(stderr(&file).contains("name the directory"), "{}", stderr(&file));
    }

    fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
    fs::write(dir.path().join(RUN_HLOG), "0.000,1.000,5,notbase64!\n").unwrap();
    let damaged = ringpost(&["show"], dir.path());
    assert_eq!(damaged.status.code(), Some(65));
    assert!(stderr(&damaged).contains("run.hlog: damaged"), "{}", stderr(&damaged));
    let usage = ringpost(&["html", "-o", "x", "a"], dir.path());
    assert_eq!(usage.status.code(), Some(64));
}

/// What an older version wrote has no words of the server.
#[test]
fn the_most_frequent_words_are_shown_and_a_run_without_them_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let [new, old] = ["new", "old"].map(|name| dir.path().join(name));
    let (run, _) = support::write_run(&new, Mode::Open);
    support::write_run_at(&old, Mode::Open, "2026-05-04T12:30:01Z", 9);
    let path = old.join(RUN_JSON);
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let rcpt = value["phases"]["rcpt"].as_object_mut().unwrap();
    assert!(rcpt.remove("refusals").is_some());
    fs::write(&path, value.to_string()).unwrap();

    let mut counts: Vec<u64> = run.phases[&Phase::Rcpt].refusals.values().copied().collect();
    counts.sort_unstable();
    let other = counts[..counts.len() - 3].iter().sum::<u64>();
    let page = html::render(&Loaded::open(&new).unwrap());
    let shown = String::from_utf8(ringpost(&["show"], &new).stdout).unwrap();
    for text in [&shown, &page] {
        assert_eq!(text.matches("451 4.7.1 Try again in ").count(), 3, "{text}");
        assert!(text.contains(&format!("to RCPT, {other} times: 451 in other words")), "{text}");
    }
    let show = ringpost(&["show"], &old);
    assert_eq!(show.status.code(), Some(0), "{}", stderr(&show));
    assert!(!String::from_utf8_lossy(&show.stdout).contains("server said"));
    let compare = ringpost(&["compare", old.to_str().unwrap()], &new);
    assert_eq!(compare.status.code(), Some(0), "{}", stderr(&compare));
    let sum = merge(&[old, new], &dir.path().join("sum"), false).unwrap();
    assert_eq!(sum.phases[&Phase::Rcpt].refusals, run.phases[&Phase::Rcpt].refusals);
}
