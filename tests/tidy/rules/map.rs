//! The map of the rooms, which README and the documentation of the crate show.

use std::collections::BTreeSet;

use super::Violations;
use super::arrows::rooms_named;
use crate::facts::Facts;
use crate::house::House;

/// Files of Rust that are no room, or may name every room.
const OUTSIDE: [&str; 2] = ["bin", "lib"];

/// A page with a map has one row for each room, and its last cell names the rooms that the room
/// imports: all of them, and no others. Each of these is in a row below. `path` is the page's, for the message.
pub(crate) fn map(house: &House, path: &str, page: &str) -> Violations {
    let mut wrong = Violations::new();
    let rows = rows(page);
    let rooms = house.rooms();
    for room in rooms.iter().copied().filter(|room| !OUTSIDE.contains(room)) {
        let Some((_, listed)) = rows.iter().find(|(name, _)| name == room) else {
            wrong.push(format!("{path}: the map has no row for {room}"));
            continue;
        };
        let imported = imports(house, room);
        let missing = imported.iter().filter(|name| !listed.contains(**name));
        wrong.extend(missing.map(|name| format!("{path}: {room} imports {name}; add it")));
        let extra = listed.iter().filter(|name| !imported.contains(name.as_str()));
        wrong.extend(extra.map(|name| format!("{path}: {room} does not import {name}; remove it")));
    }
    for (at, (room, listed)) in rows.iter().enumerate() {
        let above = rows[..at].iter().filter(|(name, _)| listed.contains(name));
        wrong.extend(above.map(|(name, _)| format!("{path}: {name} must be below {room}")));
    }
    let unknown = rows.iter().filter(|(name, _)| !rooms.contains(name.as_str()));
    wrong.extend(unknown.map(|(name, _)| format!("{path}: there is no room {name}")));
    wrong
}

/// The rooms that the files of one room name.
fn imports<'a>(house: &'a House, room: &str) -> BTreeSet<&'a str> {
    let rooms = house.rooms();
    let files = house.files.iter().filter(|file: &&Facts| file.room() == room);
    let named = files.flat_map(rooms_named).map(|(_, name)| name);
    named.filter(|name| name != room).filter_map(|name| rooms.get(name.as_str()).copied()).collect()
}

/// The rows of the table whose head begins with `room`: the name in the first cell, and those in the
/// last.
fn rows(page: &str) -> Vec<(String, BTreeSet<String>)> {
    let lines = page.lines().map(|line| line.trim_start_matches("//!").trim_start());
    let table = lines.skip_while(|line| !line.starts_with("| room |"));
    let body = table.skip(2).take_while(|line| line.starts_with('|'));
    body.filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let room = cells.next()?.trim_matches(['[', ']', '`']).to_owned();
        let rooms = cells.next_back()?.split(", ").filter(|name| *name != "nothing");
        Some((room, rooms.map(str::to_owned).collect()))
    })
    .collect()
}
