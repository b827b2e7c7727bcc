//! How large things may grow, and how many asserts stand in them.

use super::Violations;
use crate::house::House;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// For 1,000 lines of code outside of tests.
const ASSERTS_MIN: usize = 4;
/// The rooms in which a broken invariant costs mail or figures.
const ASSERTING: [&str; 4] = ["spool", "sink", "blast", "engine"];
const ASSERTS: [&str; 6] =
    ["assert", "assert_eq", "assert_ne", "debug_assert", "debug_assert_eq", "debug_assert_ne"];

pub(crate) fn large_files(house: &House) -> Violations {
    let lines = house.files.iter().map(|file| (file, file.text.lines().count()));
    lines
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(file, lines)| {
            format!("{} has {lines} lines: which second noun hides in it?", file.path)
        })
        .collect()
}

pub(crate) fn large_functions(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for file in &house.files {
        for function in &file.functions {
            let lines = function.last - function.first + 1;
            if lines > FUNCTION_LINES_MAX {
                wrong
                    .push(format!("{}:{}: a function of {lines} lines", file.path, function.first));
            }
        }
    }
    wrong
}

/// Invariants are asserted where it counts.
pub(crate) fn asserts(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for room in ASSERTING {
        let (mut asserts, mut lines) = (0, 0);
        for file in house.files.iter().filter(|file| file.room() == room) {
            lines += file.code_lines;
            let is_assert = |word: &str| ASSERTS.contains(&word);
            asserts +=
                file.words.iter().filter(|word| word.is_macro && is_assert(&word.text)).count();
        }
        if asserts * 1_000 < lines * ASSERTS_MIN {
            wrong.push(format!("{room}: {asserts} asserts in {lines} lines of code"));
        }
    }
    wrong
}
