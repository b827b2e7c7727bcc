//! One noun, one type.

use std::collections::{BTreeMap, BTreeSet};

use super::Violations;
use crate::house::House;

/// Of a hundred names of structs, enums and traits, so many may be declared more than once.
const REPEATED_PERCENT_MAX: usize = 7;

/// Every name of a struct, an enum or a trait outside of tests, with the files that declare it.
fn nouns(house: &House) -> BTreeMap<&str, Vec<usize>> {
    let mut found: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, file) in house.files.iter().enumerate() {
        for item in file.scopes.iter().flat_map(|scope| &scope.declared).filter(|item| item.is_noun)
        {
            found.entry(&item.name).or_default().push(number);
        }
    }
    found
}

/// How many names there are, and those that are declared more than once with their files.
pub(crate) fn repeated(house: &House) -> (usize, Vec<String>) {
    let nouns = nouns(house);
    let repeated = nouns
        .iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(name, files)| {
            let files: Vec<&str> =
                files.iter().map(|file| house.files[*file].path.as_str()).collect();
            format!("{name}: {}", files.join(", "))
        })
        .collect();
    (nouns.len(), repeated)
}

/// Few names are declared more than once.
pub(crate) fn declared_once(house: &House) -> Violations {
    let (names, repeated) = repeated(house);
    if repeated.len() * 100 <= names * REPEATED_PERCENT_MAX {
        return Violations::new();
    }
    let count = repeated.len();
    let head = format!("{count} of {names} names are declared more than once");
    std::iter::once(head).chain(repeated).collect()
}

/// Two types of one name meet in no file: neither where one of them is declared, nor elsewhere.
pub(crate) fn meeting_names(house: &House) -> Violations {
    let mut known: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut used: BTreeMap<(&str, usize), BTreeMap<usize, usize>> = BTreeMap::new();
    for arrow in &house.arrows {
        known.insert((arrow.from, arrow.to.file));
        if let Some(name) = &arrow.to.name {
            let of_file = used.entry((name, arrow.from)).or_default();
            of_file.entry(arrow.to.file).or_insert(arrow.line);
        }
    }
    let mut wrong = Violations::new();
    for (name, files) in nouns(house).iter().filter(|(_, files)| files.len() > 1) {
        for (at, one) in files.iter().enumerate() {
            for other in &files[at + 1..] {
                if one == other
                    || known.contains(&(*one, *other))
                    || known.contains(&(*other, *one))
                {
                    let (one, other) = (&house.files[*one].path, &house.files[*other].path);
                    wrong.push(format!(
                        "{name}: {one} and {other} both declare it, and know each other"
                    ));
                }
            }
        }
        for ((_, by), declaring) in used.iter().filter(|((used, _), _)| used == name) {
            let declaring: Vec<_> =
                declaring.iter().filter(|(file, _)| files.contains(file)).collect();
            if let [(one, line), (other, _), ..] = declaring[..] {
                let (one, other) = (&house.files[*one].path, &house.files[*other].path);
                wrong.push(format!(
                    "{}:{line}: names {name} of {one} and of {other}",
                    house.files[*by].path
                ));
            }
        }
    }
    wrong
}
