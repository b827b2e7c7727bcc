//! README is short, begins with two commands, and has a map that is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 180;
const STYLE_LINES_MAX: usize = 40;
/// What a terminal or a web page shows at once.
const FIRST_SCREEN_LINES: usize = 24;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn it_is_short_and_begins_with_two_commands() {
    let text = readme();
    assert!(text.lines().count() <= LINES_MAX, "{} lines", text.lines().count());
    let screen: Vec<&str> = text.lines().take(FIRST_SCREEN_LINES).collect();
    let after_title = screen.split(|line| line.starts_with("## ")).next().unwrap();
    let blocks: Vec<_> = after_title.split(|line| line.starts_with("```")).collect();
    assert_eq!(blocks.len(), 3, "one block of code before the first section");
    let commands: Vec<_> =
        blocks[1].iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(commands, ["scripts/demo", "scripts/test"]);
}

#[test]
fn the_style_is_stated_shortly() {
    let text = readme();
    let section = text.split_once("\n## How to work on it\n").unwrap().1;
    let style = section.split_once("\nShape:\n").unwrap().1.split("\n## ").next().unwrap();
    assert!(style.lines().count() <= STYLE_LINES_MAX, "{} lines", style.lines().count());
}

#[test]
fn its_map_names_every_room_and_no_other() {
    let text = readme();
    let map = text.split_once("\n## The map\n").unwrap().1.split("\n## ").next().unwrap();
    let rows = map.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: BTreeSet<String> =
        rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
    let rooms: BTreeSet<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .filter(|name| name != "lib")
        .collect();
    assert_eq!(named, rooms);
}

/// Files that the markdown links to, or names in code with a folder before them, exist.
#[test]
fn what_the_markdown_points_to_exists() {
    let pages = [
        "README.md",
        "CHANGELOG.md",
        "bench/README.md",
        "tests/README.md",
        "src/cli/sink/manual.md",
        "src/cli/blast/manual.md",
        "src/cli/spool/manual.md",
        "src/cli/report/manual.md",
    ];
    let mut missing = Vec::new();
    for page in pages {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let here = root().join(page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if !link.contains("://") && !here.join(link).exists() {
                missing.push(format!("{page}: {link}"));
            }
        }
        for word in text.split('`').skip(1).step_by(2).flat_map(|code| code.split_whitespace()) {
            let inside =
                ["src/", "tests/", "bench/", "scripts/"].iter().any(|dir| word.starts_with(dir));
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if inside && plain && !word.contains("ROOM") && !exists(&root().join(word)) {
                missing.push(format!("{page}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

fn exists(path: &Path) -> bool {
    path.exists() || path.with_extension("rs").exists()
}
