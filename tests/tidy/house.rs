//! All files together: which file declares what a path names.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::facts::{Facts, Named, Path, Scope};
use crate::source::Source;

/// Re-exports of re-exports are followed this far.
const DEPTH_MAX: usize = 12;

/// What a path names: the file that declares it, and the name there; none for a module itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub file: usize,
    pub name: Option<String>,
}

/// A path in the code and what it names.
#[derive(Debug)]
pub(crate) struct Arrow {
    pub from: usize,
    pub line: usize,
    pub to: Target,
}

pub(crate) struct House {
    pub files: Vec<Facts>,
    scopes: HashMap<Path, (usize, usize)>,
    pub arrows: Vec<Arrow>,
}

impl House {
    pub(crate) fn new(sources: Vec<Source>) -> Self {
        let mut files: Vec<Facts> = sources.into_iter().map(Facts::read).collect();
        let tests: Vec<Path> = files.iter().flat_map(|file| &file.test_modules).cloned().collect();
        files.retain(|file| !tests.iter().any(|test| file.module().starts_with(test)));
        let mut scopes = HashMap::new();
        for (number, file) in files.iter().enumerate() {
            for (at, scope) in file.scopes.iter().enumerate() {
                scopes.insert(scope.module.clone(), (number, at));
            }
        }
        let mut house = Self { files, scopes, arrows: Vec::new() };
        house.arrows = house.find_arrows();
        house
    }

    fn scope(&self, module: &[String]) -> Option<(usize, &Scope)> {
        let (file, at) = *self.scopes.get(module)?;
        Some((file, &self.files[file].scopes[at]))
    }

    fn find_arrows(&self) -> Vec<Arrow> {
        let mut found = Vec::new();
        for (from, file) in self.files.iter().enumerate() {
            for scope in &file.scopes {
                for Named { path, line } in references(scope) {
                    for to in self.resolve(&scope.module, &path, 0) {
                        if to.file != from {
                            found.push(Arrow { from, line, to });
                        }
                    }
                }
            }
        }
        found
    }

    /// What a path names that is written in `module`; nothing where it is of another crate or of
    /// the language.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> BTreeSet<Target> {
        if depth > DEPTH_MAX {
            return BTreeSet::new();
        }
        match absolute(module, path) {
            Some(whole) => self.walk(&[], &whole, depth),
            None if self.names(module, &path[0], depth) => self.walk(module, path, depth),
            None => BTreeSet::new(),
        }
    }

    /// Whether a module declares, imports or holds `name`.
    fn names(&self, module: &[String], name: &str, depth: usize) -> bool {
        let Some((_, scope)) = self.scope(module) else { return false };
        scope.declared.iter().any(|item| item.name == name)
            || scope.children.iter().any(|child| child == name)
            || scope.imports.iter().any(|import| {
                import.name == name
                    || import.is_glob
                        && depth < DEPTH_MAX
                        && self.globbed(module, &import.path, name, depth + 1)
            })
    }

    /// Whether the module that a glob brings in has `name`.
    fn globbed(&self, module: &[String], path: &[String], name: &str, depth: usize) -> bool {
        self.glob(module, path)
            .is_some_and(|inner| inner != module && self.names(&inner, name, depth))
    }

    /// The module of a glob, where it is one of ours.
    fn glob(&self, module: &[String], path: &[String]) -> Option<Path> {
        let whole = absolute(module, path).or_else(|| {
            let (_, scope) = self.scope(module)?;
            let first = &path[0];
            scope.children.contains(first).then(|| [module, path].concat())
        })?;
        self.scopes.contains_key(&whole).then_some(whole)
    }

    /// Follows `path` from a module of ours downwards.
    fn walk(&self, module: &[String], path: &[String], depth: usize) -> BTreeSet<Target> {
        let Some((file, scope)) = self.scope(module) else { return BTreeSet::new() };
        let Some((first, rest)) = path.split_first() else {
            return BTreeSet::from([Target { file, name: None }]);
        };
        let mut found = BTreeSet::new();
        if scope.declared.iter().any(|item| item.name == *first) {
            found.insert(Target { file, name: Some(first.clone()) });
        }
        if scope.children.contains(first) {
            found.extend(self.walk(&[module, std::slice::from_ref(first)].concat(), rest, depth));
        }
        for import in scope.imports.iter().filter(|import| import.name == *first) {
            let whole = [&import.path[..], rest].concat();
            found.extend(self.resolve(module, &whole, depth + 1));
        }
        if found.is_empty() && depth < DEPTH_MAX {
            for glob in scope.imports.iter().filter(|import| import.is_glob) {
                if let Some(inner) = self.glob(module, &glob.path)
                    && inner != module
                    && self.names(&inner, first, depth + 1)
                {
                    found.extend(self.walk(&inner, path, depth + 1));
                }
            }
        }
        found
    }

    /// The arrows between files of one room, without those between a module and one above it: from
    /// each file to the others with a line that says so.
    pub(crate) fn arrows_within(&self, room: &str) -> BTreeMap<usize, BTreeMap<usize, String>> {
        let mut found: BTreeMap<usize, BTreeMap<usize, String>> = BTreeMap::new();
        for arrow in &self.arrows {
            let (from, to) = (&self.files[arrow.from], &self.files[arrow.to.file]);
            let are_kin =
                from.module().starts_with(to.module()) || to.module().starts_with(from.module());
            if from.room() == room && to.room() == room && !are_kin {
                let name = arrow.to.name.as_deref().unwrap_or("the module");
                found.entry(arrow.from).or_default().entry(arrow.to.file).or_insert_with(|| {
                    format!("{}:{}: {name} of {}", from.path, arrow.line, to.path)
                });
            }
        }
        found
    }

    pub(crate) fn rooms(&self) -> BTreeSet<&str> {
        self.files.iter().map(Facts::room).collect()
    }
}

/// All paths that a module names: those of `use` declarations, and those in the code that could be
/// items of ours, which a lower-case word alone is not.
pub(crate) fn references(scope: &Scope) -> impl Iterator<Item = Named> {
    let imports =
        scope.imports.iter().map(|import| Named { path: import.path.clone(), line: import.line });
    let paths = scope.paths.iter().filter(|named| {
        named.path.len() > 1 || named.path[0].starts_with(|first: char| first.is_ascii_uppercase())
    });
    imports.chain(paths.cloned())
}

/// A path with its `crate`, `self` or `super` worked out; nothing where it begins with none of them.
pub(crate) fn absolute(module: &[String], path: &[String]) -> Option<Path> {
    let (first, rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" => return Some(rest.to_vec()),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    let ups = path.iter().skip_while(|part| *part == "self").take_while(|part| *part == "super");
    let ups = ups.count();
    base.truncate(base.len().saturating_sub(ups));
    let words = path.iter().take_while(|part| matches!(part.as_str(), "self" | "super")).count();
    base.extend_from_slice(&path[words..]);
    Some(base)
}
