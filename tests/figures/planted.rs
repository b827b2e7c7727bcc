//! Whether the bench would find the faults that once were: `planted.txt` says how each is put back.
//!
//! `FIGURES_PLANTED=all`, or numbers with commas between them, puts them back one by one into a copy of the sources, and demands
//! that the tests fail which are said to find it. `FIGURES_PLANTED_TARGET` names the folder in which the copies are
//! built.

use std::path::Path;
use std::process::Command;

const LIST: &str = include_str!("planted.txt");

/// What a copy of the sources needs.
const PARTS: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "bench",
    "scripts",
    "src",
    "tests",
];

/// One text of one file, and what takes its place.
#[derive(Debug, Default)]
struct Edit {
    file: String,
    is: String,
    becomes: String,
}

#[derive(Debug, Default)]
struct Fault {
    number: u32,
    name: String,
    /// Arguments of `cargo test`.
    caught_by: String,
    edits: Vec<Edit>,
}

fn faults() -> Vec<Fault> {
    let mut faults = Vec::<Fault>::new();
    let mut lines = LIST.lines();
    while let Some(line) = lines.next() {
        if let Some(fault) = line.strip_prefix("fault ") {
            let (number, name) = fault.split_once(' ').unwrap();
            let (number, name) = (number.parse().unwrap(), name.to_owned());
            faults.push(Fault { number, name, ..Fault::default() });
        } else if let Some(tests) = line.strip_prefix("caught by ") {
            faults.last_mut().unwrap().caught_by = tests.to_owned();
        } else if let Some(file) = line.strip_prefix("in ") {
            assert_eq!(lines.next(), Some("--- is"), "behind {line}");
            let mut text = |end: &str| {
                let lines = lines.by_ref().take_while(|line| *line != end);
                lines.fold(String::new(), |text, line| text + line + "\n")
            };
            let (is, becomes) = (text("--- becomes"), text("--- end"));
            faults.last_mut().unwrap().edits.push(Edit { file: file.to_owned(), is, becomes });
        }
    }
    faults
}

/// The text of the file with the fault in it. Fails where it cannot be put back: then the list must be brought
/// up to date, or the fault was of a kind that can no longer be.
fn planted(text: &str, edit: &Edit, fault: &Fault) -> String {
    let found = text.matches(&edit.is).count();
    let Fault { number, name, .. } = fault;
    assert_eq!(
        found, 1,
        "fault {number}, {name}: this is {found} times in {}:\n{}",
        edit.file, edit.is
    );
    text.replace(&edit.is, &edit.becomes)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_fault_can_be_put_back() {
    let faults = faults();
    for fault in &faults {
        assert!(fault.caught_by.starts_with("--") && !fault.edits.is_empty(), "{fault:?}");
        for edit in &fault.edits {
            let text = std::fs::read_to_string(root().join(&edit.file)).unwrap();
            assert_ne!(planted(&text, edit, fault), text);
        }
        // The tests that find it are there.
        let test = fault.caught_by.split(' ').next_back().unwrap().rsplit("::").next().unwrap();
        assert!(is_a_test(test), "{}: no test is called {test}", fault.name);
    }
}

/// Whether some function in the sources has this name.
fn is_a_test(name: &str) -> bool {
    let mut search = Command::new("grep");
    search.arg("-rqE").arg(format!("fn {name}\\("));
    search.args(["src", "tests"].map(|part| root().join(part)));
    search.status().unwrap().success()
}

/// Runs the tests of `fault` in `copy`; gives whether they passed. `None` for a copy that cannot be built, in which
/// no test has failed: the list must be brought up to date.
fn passes(copy: &Path, fault: &Fault) -> Option<bool> {
    let target = std::env::var_os("FIGURES_PLANTED_TARGET");
    let target = target.unwrap_or_else(|| root().join("target/planted").into());
    let mut command = Command::new(env!("CARGO"));
    command.arg("test").args(fault.caught_by.split(' ')).current_dir(copy);
    command.env("CARGO_TARGET_DIR", target).env_remove("FIGURES_PLANTED");
    let done = command.output().unwrap();
    let told = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    let told = told.concat();
    if !told.contains("test result: ") {
        eprintln!("fault {}, {}: {told}", fault.number, fault.name);
        return None;
    }
    assert!(!told.contains("running 0 tests\n") || told.contains("FAILED"), "no such test: {told}");
    Some(done.status.success())
}

/// The long form: without `FIGURES_PLANTED` it does nothing.
#[test]
fn every_fault_that_is_put_back_is_found() {
    let Ok(wanted) = std::env::var("FIGURES_PLANTED") else { return };
    let copy = tempfile::tempdir().unwrap();
    let parts = PARTS.map(|part| root().join(part));
    let copied = Command::new("cp").arg("-a").args(parts).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let is_wanted = |fault: &Fault| {
        let number = fault.number.to_string();
        wanted == "all" || wanted.split(',').any(|wanted| wanted == number)
    };
    let faults: Vec<Fault> = faults().into_iter().filter(is_wanted).collect();
    let mut tests = std::collections::BTreeSet::new();
    for fault in faults.iter().filter(|fault| tests.insert(fault.caught_by.clone())) {
        let passed = passes(copy.path(), fault);
        assert_eq!(passed, Some(true), "{} does not pass without a fault", fault.caught_by);
    }
    let mut missed = Vec::new();
    for fault in faults {
        let mut kept = Vec::new();
        for edit in &fault.edits {
            let file = copy.path().join(&edit.file);
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, planted(&text, edit, &fault)).unwrap();
            kept.push((file, text));
        }
        let found = passes(copy.path(), &fault) == Some(false);
        // The last edit of a file was made on top of the first.
        kept.into_iter().rev().for_each(|(file, text)| std::fs::write(file, text).unwrap());
        let verdict = if found { "found" } else { "MISSED" };
        eprintln!(
            "{verdict}: fault {}, {}, by cargo test {}",
            fault.number, fault.name, fault.caught_by
        );
        if !found {
            missed.push(fault.name);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
