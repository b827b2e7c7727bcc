//! Two runs held against each other, from their directories.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use ringpost::measure::Mode;
use ringpost::run::Run;
use ringpost::run::artefact::RUN_JSON;
use ringpost::run::compared::{Compared, Noise};
use ringpost::run::curve::{Curve, RateStep, step_dir};

use crate::support::{write_run, write_run_at};

fn compare(before: &Path, after: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost"));
    command.args(["report", "compare"]).args([before, after]).args(more).output().unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn row<'a>(shown: &'a str, name: &str) -> &'a str {
    let found = shown.lines().find(|line| line.trim_start().starts_with(name));
    found.unwrap_or_else(|| panic!("no row {name} in:\n{shown}"))
}

/// Makes a run slower by hand, in its figures and by the second.
fn slow_down(dir: &Path) {
    let path = dir.join(RUN_JSON);
    let mut run: Run = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    run.rate_msg_s = run.rate_msg_s.map(|rate| rate * 0.8);
    run.service_ns.p99 = run.service_ns.p99.map(|ns| ns * 2);
    run.plan.connections = 32;
    run.machine.kernel = "6.99".to_owned();
    fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
    let path = dir.join("run.csv");
    let csv = fs::read_to_string(&path).unwrap();
    let rows = csv.lines().map(|line| {
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        if let Ok(messages) = fields[3].parse::<u64>() {
            fields[3] = (messages * 8 / 10).to_string();
        }
        fields.join(",") + "\n"
    });
    let rows: String = rows.collect();
    fs::write(&path, rows).unwrap();
}

#[test]
fn equal_loads_differ_by_noise_alone_and_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    write_run(&a, Mode::Closed);
    write_run_at(&b, Mode::Closed, "2026-05-04T13:00:00Z", 99);
    let done = compare(&a, &b, &["--fail-if", "p50>+10%,rate<-10%"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let shown = text(&done.stdout);
    for name in ["accepted per second", "service time p50", "service time p99"] {
        assert!(row(&shown, name).ends_with('≈'), "{shown}");
    }
    assert!(shown.contains("same plan, machine and version"));
    assert!(shown.contains("repeat each side before"));
    assert!(shown.contains("rate<-10%: rate is ") && shown.contains("%, passed"), "{shown}");
    assert!(shown.lines().any(|line| line.contains('*') && line.contains('│')), "{shown}");
}

#[test]
fn a_slower_run_is_told_with_what_else_differs_and_fails_its_conditions() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    write_run(&a, Mode::Closed);
    write_run_at(&b, Mode::Closed, "2026-05-04T13:00:00Z", 99);
    slow_down(&b);
    let page = dir.path().join("compared.html");
    let more = ["--fail-if", "p99>+10%", "--fail-if", "rate<-5%", "--html", page.to_str().unwrap()];
    let done = compare(&a, &b, &more);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    let shown = text(&done.stdout);
    let rate = row(&shown, "accepted per second");
    assert!(rate.contains("-20.") && rate.ends_with('%'), "beyond noise: {rate}");
    assert!(row(&shown, "differs: connections").ends_with("64  →  32"));
    assert!(row(&shown, "differs: kernel").ends_with("6.99"));
    assert!(shown.contains("fail if  p99>+10%: service.p99 is ") && shown.contains("%, failed"));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("worse -20."));
    for forbidden in ["<script", "http:", "https:", "url(", "NaN"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

/// What the text says beside a condition, the page and the JSON say too.
#[test]
fn whether_runs_can_tell_a_change_is_said_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    write_run(&a, Mode::Closed);
    write_run_at(&b, Mode::Closed, "2026-05-04T13:00:00Z", 99);
    slow_down(&b);
    let page = dir.path().join("compared.html");
    let conditions = "rate<-5%,max>+900%,rate>1";
    let more = ["--fail-if", conditions, "--json", "--html", page.to_str().unwrap()];
    let done = compare(&a, &b, &more);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    let told: Compared = serde_json::from_slice(&done.stdout).unwrap();
    let noises: Vec<_> = told.thresholds.iter().map(|condition| condition.noise).collect();
    assert_eq!(noises, [Some(Noise::Beyond), Some(Noise::Unknown), None]);
    let fails: Vec<_> = told.thresholds.iter().map(|condition| condition.fails).collect();
    assert_eq!(fails, [true, false, true]);
    assert_eq!(told.thresholds[0].judged.condition, "rate<-5%");
    let rate = &told.figures[0];
    assert_eq!((rate.name.as_str(), rate.noise), ("accepted per second", Noise::Beyond));
    assert!(rate.change.is_some_and(|change| (-0.25..-0.15).contains(&change)), "{rate:?}");
    assert!(told.differences.iter().any(|difference| difference.field == "connections"));
    let page = fs::read_to_string(page).unwrap();
    let sure = "(? these runs cannot tell this change from chance)";
    assert_eq!(page.matches(sure).count(), 1, "{page}");
}

#[test]
fn an_open_and_a_closed_loop_share_their_service_time_only() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    write_run(&a, Mode::Closed);
    write_run(&b, Mode::Open);
    let done = compare(&a, &b, &[]);
    let shown = text(&done.stdout);
    assert!(shown.contains("only their service times can be compared"), "{shown}");
    assert!(row(&shown, "service time p99").contains("+0.0 %"));
    assert!(!shown.contains('│'), "curves of two things are not drawn over each other");
    let unknown = compare(&a, &b, &["--fail-if", "response.p99>+1%"]);
    assert_eq!(unknown.status.code(), Some(1), "what one side lacks cannot pass");
    assert_eq!(compare(&a, &dir.path().join("none"), &[]).status.code(), Some(66));
    assert_eq!(compare(&a, &b, &["--fail-if", "p99>+1ms"]).status.code(), Some(64));
}

/// A sweep of two steps in a directory, as the program leaves it.
fn write_curve(dir: &Path, seed: u64) {
    let step = |(number, asked): (usize, f64)| {
        let started = format!("2026-05-04T12:30:0{number}Z");
        let path = dir.join(step_dir(number, asked));
        let (run, _) = write_run_at(&path, Mode::Open, &started, seed + number as u64);
        RateStep { asked, run, kept: None }
    };
    let steps = [(1, 1e3), (2, 2e3)].map(step).into();
    fs::write(dir.join("sweep.json"), Curve::of_sweep(steps).json().unwrap()).unwrap();
}

#[test]
fn the_directories_of_sweeps_are_shown_and_compared_as_those_of_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    write_curve(&a, 3);
    write_curve(&b, 7);
    let report = |words: &[&str], dir: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost"));
        command.arg("report").args(words).arg(dir).env("COLUMNS", "80").output().unwrap()
    };
    let shown = text(&report(&["show"], &a).stdout);
    assert!(shown.starts_with("sweep of smtp://") && shown.contains("The rule:"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let json = report(&["show", "--json"], &a).stdout;
    assert_eq!(json, fs::read(a.join("sweep.json")).unwrap());
    // An editor may have put a mark in front of each file of text.
    for file in ["sweep.json".into(), Path::new(&step_dir(1, 1e3)).join("run.json")] {
        let octets = fs::read(a.join(&file)).unwrap();
        fs::write(a.join(&file), [b"\xef\xbb\xbf", &octets[..]].concat()).unwrap();
    }
    assert_eq!(text(&report(&["show"], &a).stdout), shown);
    assert!(report(&["html"], &a).status.success());
    let page = fs::read_to_string(a.join("report.html")).unwrap();
    for part in ["step-02-2000/report.html", "Accepted of what was due", "2026-05-04 12:30:01 UTC"]
    {
        assert!(page.contains(part), "{part}");
    }
    let file = dir.path().join("compared.html");
    let compared = compare(&a, &b, &["--html", file.to_str().unwrap()]);
    assert_eq!(compared.status.code(), Some(0), "{}", text(&compared.stderr));
    let shown = text(&compared.stdout);
    assert!(shown.contains("A p99") && shown.contains("2,000"), "{shown}");
    assert!(fs::read_to_string(file).unwrap().contains("Two curves compared"));
    // A curve and a run have nothing in common, and a curve has no figure for a condition.
    assert_eq!(compare(&a, &b.join(step_dir(1, 1e3)), &[]).status.code(), Some(64));
    assert_eq!(compare(&a, &b, &["--fail-if", "p99>1s"]).status.code(), Some(64));
    fs::remove_dir_all(a.join(step_dir(2, 2e3))).unwrap();
    let torn = report(&["show"], &a);
    assert_eq!(torn.status.code(), Some(66), "{}", text(&torn.stderr));
}
