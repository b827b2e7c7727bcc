//! The options of a program, as its `--help` lists them.

use std::collections::BTreeSet;
use std::process::Command;

/// A page of the manual, with the help texts of everything that it describes.
pub(crate) struct Described {
    pub page: &'static str,
    /// Program and words before `--help`.
    pub commands: &'static [&'static [&'static str]],
}

const SINK: &str = env!("CARGO_BIN_EXE_ringpost-sink");
const BLAST: &str = env!("CARGO_BIN_EXE_ringpost-blast");
const TOOLBOX: &str = env!("CARGO_BIN_EXE_ringpost");

pub(crate) const PAGES: [Described; 4] = [
    Described { page: "sink", commands: &[&[SINK]] },
    Described {
        page: "blast",
        commands: &[&[BLAST], &[BLAST, "sweep"], &[BLAST, "find-max"], &[BLAST, "selftest"]],
    },
    Described {
        page: "spool",
        commands: &[
            &[TOOLBOX, "spool", "ls"],
            &[TOOLBOX, "spool", "cat"],
            &[TOOLBOX, "spool", "stat"],
            &[TOOLBOX, "spool", "verify"],
            &[TOOLBOX, "spool", "export"],
        ],
    },
    Described {
        page: "report",
        commands: &[
            &[TOOLBOX, "report", "show"],
            &[TOOLBOX, "report", "merge"],
            &[TOOLBOX, "report", "compare"],
            &[TOOLBOX, "report", "delivery"],
            &[TOOLBOX, "report", "html"],
            &[TOOLBOX, "report", "schema"],
        ],
    },
];

/// A long option with its default, which may be empty.
pub(crate) type Options = BTreeSet<(String, String)>;

pub(crate) fn text(command: &[&str]) -> String {
    let done = Command::new(command[0]).args(&command[1..]).arg("--help").output().unwrap();
    assert!(done.status.success(), "{command:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// The long options of a help text, but for those that every program has.
pub(crate) fn options(help: &str) -> Options {
    let mut entries: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if trimmed.starts_with('-') && (2..=6).contains(&indent) {
            let head = trimmed.split("  ").next().unwrap();
            let name = long_names(head).into_iter().next().unwrap_or_else(|| panic!("{line}"));
            entries.push((name, trimmed.to_owned()));
        } else if indent < 2 && !trimmed.is_empty() {
            // A heading: what follows belongs to no option.
            entries.push((String::new(), String::new()));
        } else if let Some((_, text)) = entries.last_mut() {
            text.push(' ');
            text.push_str(trimmed);
        }
    }
    let common = ["", "--help", "--version"];
    entries.retain(|(name, _)| !common.contains(&name.as_str()));
    entries.into_iter().map(|(name, text)| (name, default_of(&text))).collect()
}

fn default_of(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let value = text.split_once("[default: ").map(|(_, rest)| rest.split_once(']').unwrap().0);
    value.unwrap_or_default().to_owned()
}

/// Everything in a text that looks like a long option.
pub(crate) fn long_names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("--") {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-') {
            continue;
        }
        let name: String = text[at + 2..]
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
            .collect();
        if !name.is_empty() && !name.starts_with('-') {
            names.insert(format!("--{name}"));
        }
    }
    names
}

#[test]
fn help_texts_are_read() {
    let help = "\
Usage: x

Options:
  -c, --connections <N>  Connections [default: 64]
      --io <ENGINE>
          Kernel interface

          Possible values:
          - auto: --not-an-option

          [default: what the
          kernel allows]
  -h, --help  Print help

Examples:
  x --depth 3
";
    let expected = [("--connections", "64"), ("--io", "what the kernel allows")];
    let expected = expected.map(|(name, default)| (name.to_owned(), default.to_owned()));
    assert_eq!(options(help), Options::from(expected));
}
