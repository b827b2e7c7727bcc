//! Whether the bench would find the faults that once were: `planted.txt` says how each is put back.
//!
//! `FIGURES_PLANTED=all`, or numbers with commas between them, puts them back into a copy of the sources, which is built
//! once, and demands that the tests fail which are said to find them: all tests pass while no fault is switched on, and
//! then one fault after the other is. `FIGURES_PLANTED_TARGET` names the folder in which the copy is built.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::pulse::tell;

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
    number: String,
    name: String,
    /// Arguments of `cargo test`.
    caught_by: String,
    edits: Vec<Edit>,
}

fn faults() -> Vec<Fault> {
    let list = std::fs::read_to_string(root().join("tests/figures/planted.txt")).unwrap();
    let mut faults = Vec::<Fault>::new();
    let mut lines = list.lines();
    while let Some(line) = lines.next() {
        if let Some(fault) = line.strip_prefix("fault ") {
            let (number, name) = fault.split_once(' ').unwrap();
            let (number, name) = (number.to_owned(), name.to_owned());
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

/// The word that stands for whether a fault is switched on, and the variable that names the one that is.
const PLANTED: &str = "PLANTED";
const SWITCH: &str = "RINGPOST_PLANTED";

/// What the copy has more than the sources.
const SWITCHED: &str = r#"
/// Whether this fault is the one to be found.
pub fn is_planted(fault: &str) -> bool {
    static WANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    WANTED.get_or_init(|| std::env::var("RINGPOST_PLANTED").ok()).as_deref() == Some(fault)
}
"#;

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
    let switch = format!("crate::is_planted(\"{number}\")");
    text.replace(&edit.is, &edit.becomes.replace(PLANTED, &switch))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each file with all the faults in it.
fn with_all(faults: &[Fault]) -> BTreeMap<&str, String> {
    let mut files = BTreeMap::new();
    for fault in faults {
        for edit in &fault.edits {
            let read = || std::fs::read_to_string(root().join(&edit.file)).unwrap();
            let text: &mut String = files.entry(edit.file.as_str()).or_insert_with(read);
            *text = planted(text, edit, fault);
        }
    }
    files
}

#[test]
fn every_fault_can_be_put_back() {
    let faults = faults();
    let mut numbers: Vec<&str> = faults.iter().map(|fault| fault.number.as_str()).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), faults.len(), "two faults have one number: {numbers:?}");
    for fault in &faults {
        let switched = fault.edits.iter().any(|edit| edit.becomes.contains(PLANTED));
        assert!(fault.caught_by.starts_with("--") && switched, "{fault:?}");
        // The tests that find it are there.
        let test = fault.caught_by.split(' ').next_back().unwrap().rsplit("::").next().unwrap();
        assert!(is_a_test(test), "{}: no test is called {test}", fault.name);
    }
    for (file, text) in with_all(&faults) {
        assert!(syn::parse_file(&text).is_ok(), "{file} is no Rust with the faults in it:\n{text}");
    }
}

/// Whether some function in the sources has this name.
fn is_a_test(name: &str) -> bool {
    let mut search = Command::new("grep");
    search.arg("-rqE").arg(format!("fn {name}\\("));
    search.args(["src", "tests"].map(|part| root().join(part)));
    search.status().unwrap().success()
}

/// How the tests of a fault ended.
enum Ended {
    Passed,
    /// With what the first of them said.
    Failed(String),
    /// They passed because the machine was late.
    NotJudged,
}

/// Runs the tests of `fault` in `copy`, with the fault `on` or without it. Fails for a copy that cannot be built, and
/// where there is no such test: the list must be brought up to date.
fn ended(copy: &Path, fault: &Fault, on: bool) -> Ended {
    let target = std::env::var_os("FIGURES_PLANTED_TARGET");
    let target = target.unwrap_or_else(|| root().join("target/planted").into());
    let mut command = Command::new(env!("CARGO"));
    command.arg("test").args(fault.caught_by.split(' ')).current_dir(copy);
    command.env("CARGO_TARGET_DIR", target).env_remove("FIGURES_PLANTED").env_remove(SWITCH);
    if on {
        command.env(SWITCH, &fault.number);
    }
    let done = command.output().unwrap();
    let told = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    let told = told.concat();
    let Fault { number, name, .. } = fault;
    assert!(told.contains("test result: "), "fault {number}, {name}: {told}");
    assert!(!told.contains("running 0 tests\n"), "fault {number}, {name}: no such test: {told}");
    if !done.status.success() {
        let said = told.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
        return Ended::Failed(said.unwrap_or("it ended without a word").to_owned());
    }
    if told.contains(": not judged, because") { Ended::NotJudged } else { Ended::Passed }
}

/// Tries of tests that a late machine lets pass.
const TRIES: usize = 5;

/// Switches the fault on, and says what its tests said; fails with what is wrong.
fn found(copy: &Path, fault: &Fault) -> Result<String, &'static str> {
    for _ in 0..TRIES {
        match ended(copy, fault, true) {
            Ended::Passed => return Err("MISSED"),
            Ended::Failed(said) => return Ok(said),
            Ended::NotJudged => {}
        }
    }
    Err("NOT JUDGED, because the machine was late")
}

/// The long form: without `FIGURES_PLANTED` it does nothing.
#[test]
fn every_fault_that_is_put_back_is_found() {
    let Ok(wanted) = std::env::var("FIGURES_PLANTED") else { return };
    let copy = tempfile::tempdir().unwrap();
    let parts = PARTS.map(|part| root().join(part));
    let copied = Command::new("cp").arg("-a").args(parts).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let all = faults();
    let mut files = with_all(&all);
    let library = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    files.insert("src/lib.rs", library + SWITCHED);
    files.iter().for_each(|(file, text)| std::fs::write(copy.path().join(file), text).unwrap());
    let is_wanted =
        |fault: &&Fault| wanted == "all" || wanted.split(',').any(|wanted| wanted == fault.number);
    let mut tests = std::collections::BTreeSet::new();
    for fault in all.iter().filter(is_wanted).filter(|fault| tests.insert(&fault.caught_by)) {
        if let Ended::Failed(said) = ended(copy.path(), fault, false) {
            panic!("{} does not pass without a fault: {said}", fault.caught_by);
        }
    }
    let mut missed = Vec::new();
    for fault in all.iter().filter(is_wanted) {
        let Fault { number, name, caught_by, .. } = fault;
        let verdict = match found(copy.path(), fault) {
            Ok(said) => format!("found: {said}"),
            Err(why) => {
                missed.push(name);
                why.to_owned()
            }
        };
        tell(&format!("fault {number}, {name}, by cargo test {caught_by}: {verdict}"));
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
