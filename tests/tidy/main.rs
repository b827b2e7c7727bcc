//! Rules of the source that no compiler checks: who may know whom, where `unsafe` may live, how
//! large things may grow.

use std::fs;
use std::path::{Path, PathBuf};

/// For each room, the rooms it may name. `bin` may name all.
const ARROWS: [(&str, &[&str]); 17] = [
    ("limits", &[]),
    ("notice", &[]),
    ("host", &["limits"]),
    ("scan", &["limits"]),
    ("stamp", &["scan", "limits"]),
    ("smtp", &["scan", "limits"]),
    ("spool", &["scan", "notice", "limits"]),
    ("engine", &["host", "limits"]),
    ("dial", &["smtp", "engine", "limits"]),
    ("measure", &["limits"]),
    ("run", &["measure", "host", "notice", "limits"]),
    ("report", &["run", "measure", "limits"]),
    ("relay", &["mailbox", "dial", "smtp", "spool", "engine", "host", "notice", "limits"]),
    ("sink", &["relay", "smtp", "spool", "engine", "measure", "host", "scan", "notice", "limits"]),
    (
        "blast",
        &[
            "dial", "smtp", "stamp", "spool", "engine", "run", "measure", "host", "scan", "notice",
            "limits",
        ],
    ),
    ("mailbox", &["smtp", "stamp", "spool", "scan", "limits"]),
    (
        "cli",
        &[
            "sink", "blast", "report", "mailbox", "relay", "dial", "smtp", "spool", "engine",
            "run", "measure", "host", "notice", "limits",
        ],
    ),
];

/// Files that may hold `unsafe`; each opens with the invariant that it upholds.
const UNSAFE_FILES: [&str; 7] = [
    "src/spool/write/map.rs",
    "src/spool/write/sigbus.rs",
    "src/spool/write/sys.rs",
    "src/engine/uring.rs",
    "src/engine/uring/ring.rs",
    "src/engine/sys.rs",
    "src/host/cpu.rs",
];

const UNSAFE_FORMS: [&str; 5] =
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

struct Source {
    path: String,
    text: String,
}

fn sources(root: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut stack = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(root)];
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
                found.push(Source {
                    path: name.to_str().unwrap().to_owned(),
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    assert!(found.len() > 5, "the sources were not found");
    found
}

fn room(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap();
    Path::new(inner)
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap()
        .trim_end_matches(".rs")
}

/// The part before the unit tests, and the line comments taken out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\npub(super) mod "]
        .iter()
        .find_map(|head| text.find(head))
        .unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap()))
}

#[test]
fn arrows_between_rooms_go_down_only() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let room = room(&source.path);
        if matches!(room, "bin" | "lib") {
            continue;
        }
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic!("{}: which room is {room}?", source.path));
        for (line, text) in code(&source.text) {
            for (at, _) in text.match_indices("crate::") {
                let target: String = text[at + 7..]
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                    .collect();
                if !target.is_empty() && target != room && !allowed.contains(&target.as_str()) {
                    wrong.push(format!("{}:{line}: {room} names {target}", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn protocol_and_scanner_know_no_io() {
    const FORBIDDEN: [&str; 9] = [
        "tokio",
        "std::net",
        "std::fs",
        "std::time",
        "std::io",
        "std::os",
        "rustix",
        "libc::",
        "std::thread",
    ];
    for source in sources("src").iter().filter(|s| matches!(room(&s.path), "smtp" | "scan")) {
        for (line, text) in code(&source.text) {
            for word in FORBIDDEN {
                assert!(!text.contains(word), "{}:{line} names {word}", source.path);
            }
        }
    }
}

#[test]
fn strangers_meet_in_the_sessions_only() {
    for source in
        sources("src").iter().filter(|s| matches!(room(&s.path), "sink" | "blast" | "relay"))
    {
        let names = |what: &str| code(&source.text).any(|(_, text)| text.contains(what));
        let met =
            ["crate::smtp", "crate::spool", "crate::engine"].iter().filter(|w| names(w)).count();
        let assembles = ["session.rs", "core.rs", "mod.rs", "delivery.rs", "queue.rs"]
            .iter()
            .any(|f| source.path.ends_with(f));
        assert!(met < 3 || assembles, "{} joins smtp, spool and engine", source.path);
    }
}

#[test]
fn unsafe_stays_in_its_rooms_and_says_why() {
    for source in sources("src") {
        let allowed = UNSAFE_FILES.contains(&source.path.as_str());
        for (line, text) in code(&source.text) {
            if UNSAFE_FORMS.iter().any(|form| text.contains(form)) {
                assert!(allowed, "{}:{line}: unsafe outside its rooms", source.path);
            }
        }
        if allowed {
            let head: String = source.text.lines().take(20).collect();
            assert!(
                head.to_lowercase().contains("invariant"),
                "{} does not open with the invariant it upholds",
                source.path
            );
        }
    }
}

#[test]
fn nothing_panics_because_nobody_reads_what_it_prints() {
    for source in sources("src") {
        for (line, text) in code(&source.text) {
            let prints = ["println!(", "print!("].iter().any(|form| text.contains(form));
            assert!(!prints, "{}:{line}: a macro that panics; see src/notice.rs", source.path);
        }
    }
}

#[test]
fn files_and_functions_stay_small() {
    for source in sources("src") {
        let lines = source.text.lines().count();
        assert!(
            lines <= FILE_LINES_MAX,
            "{} has {lines} lines: which second noun hides in it?",
            source.path
        );
        let mut open: Option<(usize, &str)> = None;
        for (index, line) in source.text.lines().enumerate() {
            let indent = &line[..line.len() - line.trim_start().len()];
            if is_function(line.trim_start()) {
                open = Some((index, indent));
            } else if let Some((start, indent)) = open
                && line.strip_prefix(indent) == Some("}")
            {
                let length = index - start + 1;
                assert!(
                    length <= FUNCTION_LINES_MAX,
                    "{}:{} is a function of {length} lines",
                    source.path,
                    start + 1
                );
                open = None;
            }
        }
    }
}

fn is_function(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().take(6).collect();
    let Some(at) = words.iter().position(|w| *w == "fn") else { return false };
    words[..at].iter().all(|w| {
        w.starts_with("pub") || matches!(*w, "const" | "async" | "unsafe" | "extern" | "in")
    })
}

#[test]
fn nothing_is_left_unfinished() {
    for root in ["src", "tests", "bench"] {
        for source in sources_or_none(root) {
            if source.path.ends_with("tidy.rs") {
                continue;
            }
            for word in ["todo!(", "unimplemented!(", "FIXME", "#[ignore", "dbg!("] {
                assert!(!source.text.contains(word), "{} holds {word}", source.path);
            }
        }
    }
}

fn sources_or_none(root: &str) -> Vec<Source> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let found: Vec<_> = fs::read_dir(&dir).unwrap().flatten().map(|e| e.path()).collect();
        return found
            .into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "rs"))
            .map(|path| Source {
                path: path.display().to_string(),
                text: fs::read_to_string(&path).unwrap(),
            })
            .collect();
    }
    Vec::new()
}
