//! Rules of the source that no compiler checks: who may know whom, where `unsafe` may live, how
//! large things may grow.
//!
//! A rule is a function that takes the sources and says where it is broken. `planted` breaks each of
//! them on purpose, so that a rule that sees nothing is noticed. `RINGPOST_TIDY` names another
//! checkout to look at.

mod facts;
mod house;
mod planted;
mod rules;
mod source;

use std::fs;
use std::sync::LazyLock;

use house::House;
use rules::Violations;

/// Folders of Rust in this repository.
const FOLDERS: [&str; 3] = ["src", "tests", "bench"];

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let house = House::new(source::read(&source::root(), &["src"]));
    assert!(house.files.len() > 100, "the sources were not found");
    house
});

#[track_caller]
fn hold(rule: &str, wrong: &Violations) {
    assert!(wrong.is_empty(), "{} break {rule}:\n    {}", wrong.len(), wrong.join("\n    "));
}

macro_rules! rules {
    ($($name:ident: $rule:expr;)*) => {
        $(
            #[test]
            fn $name() {
                hold(stringify!($name), &$rule(&HOUSE));
            }
        )*
    };
}

rules! {
    arrows_between_rooms_go_down_only: rules::between_rooms;
    readers_of_the_spool_see_no_writer: rules::readers_see_no_writer;
    strangers_meet_in_the_sessions_only: rules::strangers_meet_in_few_files;
    no_files_of_a_room_know_each_other_in_a_circle: rules::within_rooms;
    protocol_and_scanner_know_no_io: rules::io_of_the_pure;
    the_runtime_is_the_engines: rules::runtime;
    unsafe_stays_in_its_rooms_and_says_why: rules::unsafe_code;
    nothing_panics_because_nobody_reads_what_it_prints: rules::printing;
    what_is_printed_goes_through_few_doors: rules::printers;
    one_is_not_many: rules::plurals;
    files_stay_small: rules::large_files;
    functions_stay_small: rules::large_functions;
    invariants_are_asserted: rules::asserts;
    names_that_are_repeated_do_not_meet: rules::meeting_names;
}

#[test]
fn the_maps_show_the_rooms_and_their_arrows() {
    for path in ["README.md", "src/lib.rs"] {
        let page = fs::read_to_string(source::root().join(path)).unwrap();
        hold("the_maps_show_the_rooms_and_their_arrows", &rules::map(&HOUSE, path, &page));
    }
}

#[test]
fn few_names_are_declared_more_than_once() {
    let (names, repeated) = rules::repeated(&HOUSE);
    println!("{} of {names} names are declared more than once:", repeated.len());
    println!("    {}", repeated.join("\n    "));
    hold("few_names_are_declared_more_than_once", &rules::declared_once(&HOUSE));
}

#[test]
fn nothing_is_left_unfinished() {
    let sources = source::read(&source::root(), &FOLDERS);
    assert!(sources.len() > HOUSE.files.len(), "the tests were not found");
    hold("nothing_is_left_unfinished", &rules::unfinished(&sources));
}

#[test]
fn documents_name_what_is_there() {
    let root = source::root();
    let documents = source::documents(&root, &FOLDERS);
    assert!(documents.iter().any(|page| page.path == "README.md"), "the documents were not found");
    hold("documents_name_what_is_there", &rules::dead_links(&root, &documents));
}
