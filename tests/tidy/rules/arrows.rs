//! Who may know whom.

use super::Violations;
use crate::facts::Facts;
use crate::house::{House, absolute, references};

/// The floor that every room may stand on.
const GROUND: &[&str] = &["limits", "notice", "printable", "human"];

/// For each room, the rooms that it may name besides the ground. `bin` may name all.
const ROOMS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("notice", &[]),
    ("printable", &[]),
    ("human", &[]),
    ("scan", &[]),
    ("host", &[]),
    ("stamp", &["scan"]),
    ("smtp", &["scan"]),
    ("spool", &["scan", "host"]),
    ("measure", &[]),
    ("tls", &[]),
    ("engine", &["tls", "host"]),
    ("rules", &["smtp"]),
    ("run", &["smtp", "measure", "host"]),
    ("dial", &["engine", "smtp", "tls"]),
    ("mailbox", &["spool", "smtp", "stamp", "scan"]),
    ("relay", &["dial", "mailbox", "spool", "engine", "smtp", "host"]),
    ("sink", &["engine", "tls", "smtp", "spool", "rules", "relay", "measure", "host", "scan"]),
    (
        "blast",
        &[
            "dial", "run", "measure", "mailbox", "rules", "stamp", "engine", "smtp", "spool",
            "host", "scan",
        ],
    ),
    ("delivery", &["run", "mailbox", "stamp", "spool", "smtp", "measure"]),
    ("admin", &["sink", "mailbox", "spool", "rules", "measure"]),
    ("report", &["run", "measure", "delivery"]),
    ("testbed", &["blast", "sink", "delivery", "host"]),
    (
        "cli",
        &[
            "testbed", "report", "delivery", "admin", "blast", "sink", "relay", "mailbox", "dial",
            "run", "rules", "engine", "tls", "smtp", "spool", "measure", "host", "stamp",
        ],
    ),
];

/// The rooms that show mail which is stored, and may not write any.
const READERS: [&str; 4] = ["mailbox", "delivery", "admin", "report"];

/// Where protocol, storage and transport meet: what assembles a core or a relay, and what carries mail from
/// one to the other.
const MEETING: [&str; 4] =
    ["src/relay/delivery.rs", "src/relay/handle.rs", "src/relay/queue.rs", "src/sink/core.rs"];

/// A room names only rooms below it.
pub(crate) fn between_rooms(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for file in &house.files {
        let room = file.room();
        if matches!(room, "bin" | "lib") {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: no arrows are known for the room {room}", file.path));
            continue;
        };
        for (line, named) in rooms_named(file) {
            if named != room && !allowed.contains(&&*named) && !GROUND.contains(&&*named) {
                wrong.push(format!("{}:{line}: {room} names {named}", file.path));
            }
        }
    }
    wrong
}

/// The rooms that a file's paths begin with, and where.
pub(super) fn rooms_named(file: &Facts) -> impl Iterator<Item = (usize, String)> {
    file.scopes.iter().flat_map(|scope| {
        references(scope).filter_map(|named| {
            let whole = absolute(&scope.module, &named.path)?;
            // A path that ends at the root names no room.
            Some((named.line, whole.into_iter().next()?))
        })
    })
}

/// The reader of the spool knows nothing of the writer, and nor does who shows what is stored.
pub(crate) fn readers_see_no_writer(house: &House) -> Violations {
    let mut wrong = Violations::new();
    for arrow in &house.arrows {
        let (from, to) = (&house.files[arrow.from], &house.files[arrow.to.file]);
        let reads =
            READERS.contains(&from.room()) || from.module().starts_with(&path(["spool", "read"]));
        if reads && to.module().starts_with(&path(["spool", "write"])) {
            let name = arrow.to.name.as_deref().unwrap_or("the module");
            wrong.push(format!("{}:{}: names {name} of {}", from.path, arrow.line, to.path));
        }
    }
    wrong
}

fn path<const N: usize>(segments: [&str; N]) -> [String; N] {
    segments.map(str::to_owned)
}

/// Protocol, storage and transport meet in few files of the rooms that join them.
pub(crate) fn strangers_meet_in_few_files(house: &House) -> Violations {
    let joining =
        house.files.iter().filter(|file| matches!(file.room(), "sink" | "blast" | "relay"));
    joining
        .filter(|file| {
            let rooms: Vec<String> = rooms_named(file).map(|(_, room)| room).collect();
            let meets =
                ["smtp", "spool", "engine"].iter().all(|room| rooms.iter().any(|r| r == room));
            meets && !MEETING.contains(&file.path.as_str())
        })
        .map(|file| format!("{}: joins smtp, spool and engine", file.path))
        .collect()
}
