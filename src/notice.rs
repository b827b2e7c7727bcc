//! What a program says on stderr while it works.
//!
//! Stderr may be a pipe that nobody reads, or a terminal that somebody has stopped. A reader that is slow is
//! waited for. One that stands still is waited for once, and then lines are dropped until it goes on: a core
//! must not stand still with it, and the end of a program must not wait for it.

use std::fmt::Arguments;
use std::io::{self, StderrLock, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use serde_json::{Value, json};

use crate::printable;

/// `eprintln!` for a program that must go on. Where stderr is a log on a full disk, or a pipe without
/// a reader, `eprintln!` panics and a core ends because of one line; this drops the line instead.
macro_rules! notice {
    ($($part:tt)*) => { $crate::notice::say(format_args!($($part)*)) };
}

pub(crate) use notice;

/// How long a line waits for a reader of stderr that has gone on reading so far, in milliseconds.
const PATIENCE_MS: i64 = 250;

/// A pipe that can be written to takes so many octets at once.
const PIECE_BYTES: usize = 4_096;

/// Whether all that is said is JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Has each notice said as a JSON object on a line of its own from now on, so that a program can read all
/// that comes.
pub(crate) fn speak_json() {
    JSON.store(true, Relaxed);
    // A panic would be told in words.
    std::panic::set_hook(Box::new(|panic| say(format_args!("{panic}"))));
}

/// Whether all that is said is JSON.
pub(crate) fn is_json() -> bool {
    JSON.load(Relaxed)
}

/// Says an object of fields, which has `event`, on one line.
pub(crate) fn say_event(fields: Value) {
    let line = format!("{fields}\n");
    put_line(&printable::json(&line));
}

/// Whether stderr, a terminal, ends with a line that is rewritten in place.
static LIVE: AtomicBool = AtomicBool::new(false);

/// Whether the reader of stderr stands still, as far as is known.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Lines that were dropped since it stands still.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Erases the line that the cursor is on.
const ERASE: &[u8] = b"\r\x1b[K";

/// See [`notice!`]. Whatever the line was made of, nothing in it steers a terminal.
pub(crate) fn say(said: Arguments<'_>) {
    #[cfg(test)]
    if tests::HUSHED.get() {
        return;
    }
    if JSON.load(Relaxed) {
        return say_event(json!({ "event": "notice", "text": said.to_string() }));
    }
    put_line(&printable::lines(&format!("{said}\n")));
}

fn put_line(line: &str) {
    if put(&mut io::stderr().lock(), line.as_bytes()).is_err() {
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// Shows `text` in place of the live line before, or takes that away.
pub(crate) fn live_line(text: Option<&str>) {
    let mut out = io::stderr().lock();
    let shown = printable::printable(text.unwrap_or_default());
    if put(&mut out, shown.as_bytes()).is_ok() {
        LIVE.store(text.is_some(), Relaxed);
    }
}

/// Writes the octets in pieces, as stderr takes them, at the start of a line: a live line is erased.
fn put(out: &mut StderrLock<'static>, octets: &[u8]) -> io::Result<()> {
    await_room(out)?;
    if LIVE.swap(false, Relaxed) {
        out.write_all(ERASE)?;
    }
    let dropped = DROPPED.swap(0, Relaxed);
    if dropped > 0 {
        let lines = if dropped == 1 { "line was" } else { "lines were" };
        let told = format!("{dropped} {lines} dropped here, because nobody reads stderr");
        match JSON.load(Relaxed) {
            true => writeln!(out, "{}", json!({ "event": "notice", "text": told }))?,
            false => writeln!(out, "({told})")?,
        }
    }
    for piece in octets.chunks(PIECE_BYTES) {
        await_room(out)?;
        out.write_all(piece)?;
    }
    out.flush()
}

/// Returns when stderr takes a piece. Waits once for a reader that stands still, and then no more.
fn await_room(out: &StderrLock<'static>) -> io::Result<()> {
    let patience_ms = if STUCK.load(Relaxed) { 0 } else { PATIENCE_MS };
    let patience = Timespec { tv_sec: 0, tv_nsec: patience_ms * 1_000_000 };
    let ready = poll(&mut [PollFd::new(out, PollFlags::OUT)], Some(&patience))?;
    STUCK.store(ready == 0, Relaxed);
    if ready == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) use tests::hush;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    thread_local! {
        pub(super) static HUSHED: Cell<bool> = const { Cell::new(false) };
    }

    /// Keeps the notices of this thread from stderr.
    pub(crate) fn hush() {
        HUSHED.set(true);
    }
}
