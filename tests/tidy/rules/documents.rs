//! Documents name files and headings that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Violations;
use crate::source::Source;

/// Where a path in backticks begins that is one of ours.
const FOLDERS: [&str; 4] = ["src/", "tests/", "bench/", "scripts/"];

/// Each link leads to a file below `root` or to a heading, and each path in backticks to a file or a
/// folder. Links to other sites are not followed, and those into the code are rustdoc's to check.
pub(crate) fn dead_links(root: &Path, documents: &[Source]) -> Violations {
    let pages: BTreeMap<&str, Page> =
        documents.iter().map(|source| (source.path.as_str(), Page::read(&source.text))).collect();
    let mut wrong = Violations::new();
    for (path, page) in &pages {
        for (line, target) in page.links() {
            if target.contains("::") || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let named = if file.is_empty() { (*path).to_owned() } else { beside(path, file) };
            let headings = pages.get(named.as_str()).map(|page| &page.headings);
            if !root.join(&named).exists() {
                wrong.push(format!("{path}:{line}: {target} is not there"));
            } else if !anchor.is_empty() && !headings.is_some_and(|all| all.contains(anchor)) {
                wrong.push(format!("{path}:{line}: {named} has no heading #{anchor}"));
            }
        }
        let gone = page.paths().filter(|(_, named)| !root.join(named).exists());
        wrong.extend(gone.map(|(line, named)| format!("{path}:{line}: {named} is not there")));
    }
    wrong
}

/// The path of `file` as a document names it that lies at `document`.
fn beside(document: &str, file: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A document in Markdown, its code apart from its prose.
struct Page {
    /// The text with blanks instead of code.
    prose: String,
    /// What stands in backticks within a line, and in which line.
    spans: Vec<(usize, String)>,
    /// The headings as links name them.
    headings: BTreeSet<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self { prose: String::new(), spans: Vec::new(), headings: BTreeSet::new() };
        let mut is_fenced = false;
        for (index, line) in text.lines().enumerate() {
            let is_fence = line.trim_start().starts_with("```");
            if is_fence || is_fenced {
                is_fenced ^= is_fence;
            } else {
                page.line(index + 1, line);
            }
            page.prose.push('\n');
        }
        page
    }

    fn line(&mut self, number: usize, line: &str) {
        let title = line.trim_start_matches('#');
        if title.len() < line.len() && title.starts_with(' ') {
            self.heading(title);
        }
        for (at, part) in line.split('`').enumerate() {
            if at % 2 == 0 {
                self.prose.push_str(part);
            } else {
                self.spans.push((number, part.to_owned()));
                self.prose.push(' ');
            }
        }
    }

    /// Letters, digits and underscores stay, blanks become `-`, the rest goes; the second of one name
    /// gets `-1`, as GitHub does it.
    fn heading(&mut self, title: &str) {
        let kept =
            title.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let name: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let again = (1..).map(|count| format!("{name}-{count}"));
        let free =
            std::iter::once(name.clone()).chain(again).find(|name| !self.headings.contains(name));
        self.headings.extend(free);
    }

    /// Targets of links and their lines: `[…](target)`, `[…]: target`, `href="target"`, `src="target"`.
    fn links(&self) -> impl Iterator<Item = (usize, &str)> {
        let until = |start: &'static str, end: &'static [char]| {
            self.prose.match_indices(start).map(move |(at, _)| {
                let from = at + start.len();
                let rest = &self.prose[from..];
                (from, rest[..rest.find(end).unwrap_or(rest.len())].trim())
            })
        };
        let inline = until("](", &[')', ' ', '\n']);
        let defined = until("]: ", &[' ', '\n']).filter(|(at, _)| {
            let line = self.prose[..*at].rsplit('\n').next().unwrap_or_default();
            line.starts_with('[')
        });
        let html = until("href=\"", &['"']).chain(until("src=\"", &['"']));
        let found = inline.chain(defined).chain(html);
        found.map(|(at, target)| (self.prose[..at].matches('\n').count() + 1, target))
    }

    /// The paths of ours in backticks; one with a word in capitals stands for many.
    fn paths(&self) -> impl Iterator<Item = (usize, &str)> {
        let first =
            self.spans.iter().filter_map(|(line, span)| Some((*line, span.split(' ').next()?)));
        first.filter(|(_, path)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
            let stands_for_many = |part: &str| part.chars().all(|c| c.is_ascii_uppercase());
            FOLDERS.iter().any(|folder| path.starts_with(folder))
                && path.chars().all(plain)
                && !path.split('/').any(|part| !part.is_empty() && stands_for_many(part))
        })
    }
}
