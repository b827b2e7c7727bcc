//! The text of the files that the rules are about.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// One file: its path from the root of the repository, and what it holds.
pub(crate) struct Source {
    pub path: String,
    pub text: String,
}

/// The repository that is looked at: this one, or the checkout that `RINGPOST_TIDY` names.
pub(crate) fn root() -> PathBuf {
    env::var_os("RINGPOST_TIDY").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// Every Rust file below these folders of `root`, in the order of their paths. A folder that is not
/// there holds none.
pub(crate) fn read(root: &Path, folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        walk(root, &root.join(folder), "rs", &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The documents in Markdown: those at `root` itself, and every one below these folders.
pub(crate) fn documents(root: &Path, folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            take(root, &path, "md", &mut found);
        }
    }
    for folder in folders {
        walk(root, &root.join(folder), "md", &mut found);
    }
    found
}

fn walk(root: &Path, directory: &Path, kind: &str, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // What cargo-fuzz builds is not ours.
            if path.file_name().is_some_and(|name| name != "target") {
                walk(root, &path, kind, found);
            }
        } else {
            take(root, &path, kind, found);
        }
    }
}

/// Reads a file whose name ends with `.kind`.
fn take(root: &Path, path: &Path, kind: &str, found: &mut Vec<Source>) {
    if path.extension().is_some_and(|extension| extension == kind) {
        found.push(Source {
            path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(path).unwrap(),
        });
    }
}
