//! Words that may stand only in some places, or in none.

use super::Violations;
use crate::facts::{Facts, Path};
use crate::house::{House, references};
use crate::source::Source;

/// Rooms without input and output, clocks or threads.
const PURE: [&str; 4] = ["smtp", "scan", "rules", "stamp"];
const IO_CRATES: [&str; 4] = ["tokio", "tokio_uring", "rustix", "libc"];
const IO_OF_STD: [&str; 6] = ["net", "fs", "time", "io", "os", "thread"];

/// Rooms that may name the runtime.
const RUNTIME: [&str; 2] = ["engine", "admin"];
/// What others may take of it: these need no runtime to wait with them.
const CHANNELS: [&str; 4] = ["mpsc", "oneshot", "watch", "broadcast"];

/// Files that may hold `unsafe`; each opens with the invariant that it upholds.
const UNSAFE_FILES: &[&str] = &[
    "src/spool/write/map.rs",
    "src/spool/write/sigbus.rs",
    "src/spool/write/sys.rs",
    "src/engine/uring/accept.rs",
    "src/engine/uring/conn.rs",
    "src/engine/uring/ring.rs",
    "src/engine/sys.rs",
    "src/host/cpu.rs",
    "src/scan/census.rs",
];
/// In so many lines the invariant is told.
const HEAD_LINES: usize = 20;

/// Files that may name stdout or stderr: what they write has been made fit for a terminal, or they only ask
/// whether there is one.
const PRINTERS: &[&str] = &[
    "src/notice.rs",
    "src/cli/exit.rs",
    "src/cli/spool/mod.rs",
    "src/mailbox/export.rs",
    "src/report/colour.rs",
    "src/report/columns.rs",
    "src/cli/blast/mod.rs",
    "src/cli/blast/watching.rs",
    "src/cli/man/pager.rs",
    "src/cli/sink/live.rs",
];

/// Nouns in the plural, as texts for people put them behind a count.
const PLURALS: &[&str] = &[
    "clients",
    "commands",
    "connections",
    "cores",
    "cuts",
    "deliveries",
    "domains",
    "errors",
    "files",
    "fragments",
    "kinds",
    "lines",
    "messages",
    "rates",
    "recipients",
    "records",
    "replies",
    "rows",
    "runs",
    "samples",
    "seconds",
    "segments",
    "sessions",
    "steps",
    "targets",
    "times",
    "users",
];

/// All paths of a file, and where they stand.
fn paths(file: &Facts) -> impl Iterator<Item = (usize, Path)> {
    file.scopes.iter().flat_map(|scope| references(scope).map(|named| (named.line, named.path)))
}

/// Protocol and scanner know no IO.
pub(crate) fn io_of_the_pure(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for file in house.files.iter().filter(|file| PURE.contains(&file.room())) {
        for (line, path) in paths(file) {
            let is_io = IO_CRATES.contains(&&*path[0])
                || path[0] == "std" && path.get(1).is_some_and(|part| IO_OF_STD.contains(&&**part));
            if is_io {
                wrong.push(format!("{}:{line}: names {}", file.path, path.join("::")));
            }
        }
    }
    wrong
}

/// The runtime is named where the engine is, and nowhere else.
pub(crate) fn runtime(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for file in house.files.iter().filter(|file| !RUNTIME.contains(&file.room())) {
        for (line, path) in paths(file) {
            let is_channel = path.len() > 2 && path[1] == "sync" && CHANNELS.contains(&&*path[2]);
            if path[0] == "tokio_uring" || path[0] == "tokio" && !is_channel {
                wrong.push(format!("{}:{line}: names {}", file.path, path.join("::")));
            }
        }
    }
    wrong
}

/// `unsafe` stays in a few files, which say why.
pub(crate) fn unsafe_code(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for file in &house.files {
        if !UNSAFE_FILES.contains(&file.path.as_str()) {
            for word in file.words.iter().filter(|word| word.text == "unsafe") {
                wrong.push(format!("{}:{}: unsafe outside of its files", file.path, word.line));
            }
            continue;
        }
        if !file.words.iter().any(|word| word.text == "unsafe") {
            wrong.push(format!("{}: holds no unsafe code and may not any more", file.path));
        }
        let head: String = file.text.lines().take(HEAD_LINES).collect();
        if !head.to_lowercase().contains("invariant") {
            wrong.push(format!("{}: does not open with the invariant that it upholds", file.path));
        }
    }
    wrong
}

/// Nothing panics because nobody reads what it prints.
pub(crate) fn printing(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for file in &house.files {
        for word in file.words.iter().filter(|word| word.is_macro) {
            if matches!(word.text.as_str(), "print" | "println" | "eprint" | "eprintln") {
                wrong.push(format!(
                    "{}:{}: {}! panics; see src/notice.rs",
                    file.path, word.line, word.text
                ));
            }
        }
    }
    wrong
}

/// What is printed goes through few doors, each of which makes it fit for a terminal.
pub(crate) fn printers(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for file in house.files.iter().filter(|file| !PRINTERS.contains(&file.path.as_str())) {
        for word in file.words.iter().filter(|word| !word.is_macro) {
            if matches!(word.text.as_str(), "stdout" | "stderr") {
                wrong.push(format!(
                    "{}:{}: names {}; see src/notice.rs and src/cli/exit.rs",
                    file.path, word.line, word.text
                ));
            }
        }
    }
    wrong
}

/// A count that may be one does not stand before a noun in the plural: `human::counted` knows both. A constant
/// may, and `messages/s`.
pub(crate) fn plurals(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for file in &house.files {
        for literal in &file.literals {
            // As one line, where it is written on several.
            let lines = literal.text.lines();
            let text: String = lines.map(|line| line.trim_start().trim_end_matches('\\')).collect();
            for (at, _) in text.match_indices("} ") {
                let (before, after) = (&text[..at], &text[at + 2..]);
                let shown = before.rsplit('{').next().unwrap_or_default();
                let end = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
                let is_constant = !shown.is_empty()
                    && shown.bytes().all(|octet| octet == b'_' || octet.is_ascii_uppercase());
                if PLURALS.contains(&&after[..end])
                    && !is_constant
                    && !after[end..].starts_with('/')
                {
                    let (path, line) = (&file.path, literal.line);
                    wrong.push(format!("{path}:{line}: may say '1 {}'", &after[..end]));
                }
            }
        }
    }
    wrong
}

/// Nothing is left unfinished, in tests and comments neither.
pub(crate) fn unfinished(sources: &[Source]) -> Violations {
    // Written so that this file holds none of them.
    const WORDS: [&str; 5] = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("#[", "ignore"),
        concat!("dbg", "!("),
    ];
    let mut wrong = Violations::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            for word in WORDS.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: holds {word}", source.path, index + 1));
            }
        }
    }
    wrong
}
