//! The manual says what the programs do: their options and defaults, extensions, exit codes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use ringpost::smtp::command::{self, Verb};
use ringpost::smtp::extension::Extensions;

use super::help::{self, Described, Options, PAGES};

pub(crate) fn page(name: &str) -> String {
    let path = format!("src/cli/{name}/manual.md");
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The cells of each row of the tables whose head begins with `first`.
pub(crate) fn rows(page: &str, first: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut columns = None;
    for line in page.lines() {
        let Some(cells) = cells(line) else {
            columns = None;
            continue;
        };
        match &columns {
            None => columns = Some(cells),
            Some(head) if head[0] == first && !cells[0].starts_with("---") => rows.push(cells),
            Some(_) => {}
        }
    }
    rows
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    let cells = inner.replace("\\|", "\u{1}");
    Some(cells.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect())
}

/// The options that a page's tables describe. A table of two columns names no defaults.
fn described(page: &str) -> Options {
    let mut options = Options::new();
    for row in rows(page, "option") {
        let default = if row.len() > 2 { row[1].replace('`', "") } else { String::new() };
        for name in help::long_names(&row[0]) {
            options.insert((name, default.clone()));
        }
    }
    options
}

/// `1073741824` is `1GiB`.
fn with_units((name, default): (String, String)) -> (String, String) {
    const GIB: u64 = 1 << 30;
    match default.parse::<u64>() {
        Ok(octets) if octets >= GIB && octets % GIB == 0 => (name, format!("{}GiB", octets / GIB)),
        _ => (name, default),
    }
}

#[test]
fn every_option_and_default_is_in_the_manual_and_the_other_way_round() {
    let mut wrong = Vec::new();
    for Described { page: name, commands } in PAGES {
        let texts = commands.iter().map(|command| help::text(command));
        let offered: Options =
            texts.flat_map(|text| help::options(&text)).map(with_units).collect();
        let described = described(&page(name));
        let missing = offered.difference(&described);
        wrong.extend(missing.map(|option| format!("{name}: only in the help: {option:?}")));
        let invented = described.difference(&offered);
        wrong.extend(invented.map(|option| format!("{name}: only in the manual: {option:?}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lines of examples that begin with another program are that program's business.
fn ours(page: &str) -> String {
    let mut in_code = false;
    let kept = page.lines().filter(|line| {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        !in_code || line.starts_with("ringpost")
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_option_that_a_page_names_exists() {
    let commands = PAGES.iter().flat_map(|described| described.commands);
    let mut known: BTreeSet<String> =
        commands.flat_map(|command| help::options(&help::text(command))).map(|(n, _)| n).collect();
    known.extend(
        help::options(&help::text(&[env!("CARGO_BIN_EXE_ringpost"), "man"]))
            .into_iter()
            .map(|(n, _)| n),
    );
    known.insert("--help".to_owned());
    for described in PAGES {
        let named = help::long_names(&ours(&page(described.page)));
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", described.page);
    }
}

/// What a program says in its own words, without its tests: comments are left out.
fn messages(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            messages(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let said = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.extend(help::long_names(&said.collect::<Vec<_>>().join("\n")));
        }
    }
}

#[test]
fn every_option_that_a_message_names_exists() {
    let commands = PAGES.iter().flat_map(|described| described.commands);
    let known: BTreeSet<String> = commands
        .flat_map(|command| help::options(&help::text(command)))
        .map(|(name, _)| name)
        .chain(["--help", "--version"].map(str::to_owned))
        // Of containers.
        .chain(["--security-opt".to_owned()])
        .collect();
    let mut named = BTreeSet::new();
    messages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut named);
    assert!(named.len() > 50, "{named:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Whoever installed the programs has the pages, and no checkout.
#[test]
fn no_page_sends_its_reader_to_the_source() {
    for described in PAGES {
        for folder in ["src/", "tests/", "scripts/", "bench/"] {
            let page = page(described.page);
            let line = page.lines().find(|line| line.contains(folder));
            assert_eq!(line, None, "{}", described.page);
        }
    }
}

/// The first word of each piece of code in the first column of a table.
fn first_words(page: &str, head: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for row in rows(page, head) {
        let code = row[0].split('`').skip(1).step_by(2);
        words.extend(code.map(|code| code.split(' ').next().unwrap().to_owned()));
    }
    words
}

#[test]
fn the_table_of_extensions_has_each_keyword_and_no_other() {
    // XCLIENT is offered to single peers, so it is not one of the extensions of a listener.
    let keywords = Extensions::all_keywords().chain(["XCLIENT"]).map(str::to_owned);
    assert_eq!(first_words(&page("sink"), "EHLO keyword"), keywords.collect());
}

/// Every word that the sink takes for a command: all words of four letters are tried, and the longer
/// ones that there are.
fn commands() -> BTreeSet<String> {
    let letters = || b'A'..=b'Z';
    let pairs: Vec<[u8; 2]> =
        letters().flat_map(|first| letters().map(move |second| [first, second])).collect();
    let short = pairs.iter().flat_map(|head| pairs.iter().map(move |tail| [*head, *tail].concat()));
    let longer = ["XCLIENT", "STARTTLS"].map(|word| word.as_bytes().to_vec());
    let known = short.chain(longer).filter(|word| command::split(word).0 != Verb::Unknown);
    known.map(|word| String::from_utf8(word).unwrap()).collect()
}

#[test]
fn the_table_of_commands_has_each_command_and_no_other() {
    assert_eq!(first_words(&page("sink"), "command"), commands());
}

#[test]
fn the_help_names_the_page_and_its_exit_codes() {
    for described in PAGES {
        let [program, words @ ..] = described.commands[0] else { unreachable!() };
        let command =
            [&[*program][..], words.split_last().map_or(&[], |(_, group)| group)].concat();
        let help = help::text(&command);
        let name = described.page;
        assert!(help.trim_end().ends_with(&format!("The manual: ringpost man {name}")), "{help}");
        let codes = help.split_once("Exit codes:\n").unwrap().1.replace('\'', "");
        for row in rows(&page(name), "code") {
            let first = row[1].split_whitespace().next().unwrap().replace('`', "");
            assert!(
                codes.lines().any(|line| {
                    let line = line.trim_start();
                    line.starts_with(&row[0])
                        && line[row[0].len()..].trim_start().starts_with(&first)
                }),
                "{name}: {row:?} in {help}"
            );
        }
    }
}

#[test]
fn the_help_of_the_tasks_and_of_the_toolbox_names_the_manual() {
    for task in ["sweep", "find-max", "selftest"] {
        let help = help::text(&[env!("CARGO_BIN_EXE_ringpost-blast"), task]);
        assert!(help.trim_end().ends_with("The manual: ringpost man blast"), "{help}");
    }
    let help = help::text(&[env!("CARGO_BIN_EXE_ringpost")]);
    assert!(help.trim_end().ends_with("The manual: ringpost man"), "{help}");
}

/// What the pages are written for: nobody widens a window to read an example.
const COLUMNS: usize = 80;
/// The indent of code on a terminal.
const CODE_INDENT: usize = 4;

#[test]
fn examples_fit_the_terminal() {
    for described in PAGES {
        let page = page(described.page);
        let code = page.split("\n```").skip(1).step_by(2).flat_map(str::lines);
        let long: Vec<_> =
            code.filter(|line| line.chars().count() > COLUMNS - CODE_INDENT).collect();
        assert!(long.is_empty(), "{}: {long:#?}", described.page);
    }
}

fn man(words: &[&str]) -> String {
    printed(Command::new(env!("CARGO_BIN_EXE_ringpost")).env_remove("COLUMNS"), words)
}

fn man_in(columns: usize, words: &[&str]) -> String {
    let columns = columns.to_string();
    printed(Command::new(env!("CARGO_BIN_EXE_ringpost")).env("COLUMNS", columns), words)
}

fn printed(command: &mut Command, words: &[&str]) -> String {
    let done = command.arg("man").args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn man_prints_each_page_plainly_into_a_pipe() {
    let list = man(&[]);
    for described in PAGES {
        let name = described.page;
        assert!(list.contains(&format!("ringpost man {name}")), "{list}");
        let text = man(&[name]);
        assert!(!text.contains('\x1b'), "{name}");
        assert!(text.lines().all(|line| line.chars().count() <= 104), "{name}");
        let narrow = man_in(80, &[name]);
        // Code and long words keep their length; all else wraps.
        let wide = |text: &str, columns| {
            text.lines().filter(|line| line.chars().count() > columns).count()
        };
        assert!(wide(&narrow, 80) * 10 < wide(&text, 80).max(10), "{name}");
        let source = man(&[name, "--roff"]);
        assert!(source.contains(".SH \"EXIT CODES\""), "{source}");
    }
    let unknown = Command::new(env!("CARGO_BIN_EXE_ringpost")).args(["man", "nobody"]).output();
    assert_eq!(unknown.unwrap().status.code(), Some(64));
}

#[test]
fn the_table_of_figures_has_each_field_of_a_run_and_no_other() {
    let schema: serde_json::Value = serde_json::from_str(ringpost::run::schema::RUN).unwrap();
    let fields: BTreeSet<String> =
        schema["properties"].as_object().unwrap().keys().cloned().collect();
    let page = page("report");
    assert_eq!(first_words(&page, "figure"), fields);
    // Figures within figures are in the row of what they are part of.
    let parts = [("phases", "PhaseResult"), ("targets", "TargetResult"), ("tls", "TlsResult")];
    let parts = parts.into_iter().chain([("tls", "TlsAgreement"), ("shards", "Shard")]);
    for (figure, part) in parts.chain([("cpu_per_message_ns", "CpuPerMessage")]) {
        let rows = rows(&page, "figure");
        let row = rows.iter().find(|row| row[0].contains(&format!("`{figure}`"))).unwrap();
        for name in schema["$defs"][part]["properties"].as_object().unwrap().keys() {
            let named = row[1].contains(&format!("`{name}`"));
            assert!(named || ["target", "weight"].contains(&name.as_str()), "{figure}: {name}");
        }
    }
    assert!(rows(&page, "figure").iter().all(|row| row.len() == 3));
}

/// Each field of each part of `run.json` is in the section that describes it, and the table of parts has no other.
#[test]
fn the_section_of_a_run_names_each_of_its_fields() {
    let schema: serde_json::Value = serde_json::from_str(ringpost::run::schema::RUN).unwrap();
    let page = page("report");
    let section = page.split("\n## ").find(|section| section.starts_with("run.json")).unwrap();
    let words: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let mut fields = BTreeSet::new();
    for (part, described) in schema["$defs"].as_object().unwrap() {
        for name in described["properties"].as_object().into_iter().flat_map(|of| of.keys()) {
            assert!(words.contains(name.as_str()), "{part}.{name} is not in the manual");
            fields.insert(name.as_str());
        }
    }
    for row in rows(&page, "field") {
        let named = row[1].split('`').skip(1).step_by(2);
        let unknown: Vec<_> = named.filter(|name| !fields.contains(name)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", row[0]);
    }
}
