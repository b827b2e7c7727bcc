//! The rules: each takes the house and says where it is broken.

mod arrows;
mod documents;
mod loops;
mod map;
mod names;
mod sizes;
mod words;

pub(crate) use arrows::{between_rooms, readers_see_no_writer, strangers_meet_in_few_files};
pub(crate) use documents::dead_links;
pub(crate) use loops::within_rooms;
pub(crate) use map::map;
pub(crate) use names::{declared_once, meeting_names, repeated};
pub(crate) use sizes::{asserts, large_files, large_functions};
pub(crate) use words::{
    io_of_the_pure, plurals, printers, printing, runtime, unfinished, unsafe_code,
};

/// Where a rule is broken, and how: `path:line: …`.
pub(crate) type Violations = Vec<String>;
