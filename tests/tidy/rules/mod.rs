//! The rules: each takes the house and says where it is broken.

mod arrows;
mod loops;
mod names;
mod sizes;
mod words;

pub use arrows::{between_rooms, readers_see_no_writer, strangers_meet_in_few_files};
pub use loops::within_rooms;
pub use names::{declared_once, meeting_names, repeated};
pub use sizes::{asserts, large_files, large_functions};
pub use words::{io_of_the_pure, printing, runtime, unfinished, unsafe_code};

/// Where a rule is broken, and how: `path:line: …`.
pub type Violations = Vec<String>;
