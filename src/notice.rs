//! What a program says on stderr while it works.

use std::fmt::Arguments;
use std::io::{self, StderrLock, Write as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::{Value, json};

use crate::printable;

/// `eprintln!` for a program that must go on. Where stderr is a log on a full disk, or a pipe without
/// a reader, `eprintln!` panics and a core ends because of one line; this drops the line instead.
macro_rules! notice {
    ($($part:tt)*) => { $crate::notice::say(format_args!($($part)*)) };
}

pub(crate) use notice;

/// See [`notice!`]. Whatever the line was made of, nothing in it steers a terminal.
pub(crate) fn say(said: Arguments<'_>) {
    if JSON.load(Relaxed) {
        return say_event(json!({ "event": "notice", "text": said.to_string() }));
    }
    let line = format!("{said}\n");
    let _ = stderr().write_all(printable::lines(&line).as_bytes());
}

/// Whether all that is said is JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Has each notice said as a JSON object on a line of its own from now on, so that a program can read all
/// that comes.
pub(crate) fn speak_json() {
    JSON.store(true, Relaxed);
    // A panic would be told in words.
    std::panic::set_hook(Box::new(|panic| say(format_args!("{panic}"))));
}

/// Says an object of fields, which has `event`, on one line.
pub(crate) fn say_event(fields: Value) {
    let line = format!("{fields}\n");
    let _ = stderr().write_all(printable::json(&line).as_bytes());
}

/// Whether stderr, a terminal, ends with a line that is rewritten in place.
static LIVE: AtomicBool = AtomicBool::new(false);

/// Erases the line that the cursor is on.
const ERASE: &[u8] = b"\r\x1b[K";

/// Stderr at the start of a line: a live line is erased.
pub(crate) fn stderr() -> StderrLock<'static> {
    let mut out = io::stderr().lock();
    if LIVE.swap(false, Relaxed) {
        let _ = out.write_all(ERASE);
    }
    out
}

/// Shows `text` in place of the live line before, or takes that away.
pub(crate) fn live_line(text: Option<&str>) {
    let mut out = stderr();
    if let Some(text) = text {
        let _ = out.write_all(printable::printable(text).as_bytes());
        let _ = out.flush();
        LIVE.store(true, Relaxed);
    }
}
