//! What a program says on stderr while it works.
//!
//! Stderr may be a pipe that nobody reads, or a terminal that somebody has stopped. A reader that is slow is
//! waited for. One that stands still is waited for once, and then lines are dropped until it goes on: a core
//! must not stand still with it, and the end of a program must not wait for it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Arguments;
use std::io::{self, IsTerminal, StderrLock, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};

use serde_json::{Value, json};

use crate::printable;

/// `eprintln!` for a program that must go on. Where stderr is a log on a full disk, or a pipe without
/// a reader, `eprintln!` panics and a core ends because of one line; this drops the line instead.
macro_rules! notice {
    ($($part:tt)*) => { $crate::notice::say(format_args!($($part)*)) };
}

pub(crate) use notice;

/// How long a line waits for a reader of stderr that has gone on reading so far.
const PATIENCE: Duration = Duration::from_millis(250);

/// A pipe that can be written to takes so many octets at once.
const PIECE_BYTES: usize = 4_096;

/// Whether all that is said is JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Has each notice said as a JSON object on a line of its own from now on, so that a program can read all
/// that comes.
pub(crate) fn speak_json() {
    JSON.store(true, Relaxed);
}

/// Has panics told as notices from now on: what tells them otherwise waits for a reader of stderr, and tells them
/// in words only.
pub(crate) fn hear_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("?");
        let trace = Backtrace::capture();
        match trace.status() {
            BacktraceStatus::Captured => say(format_args!("thread '{name}' {panic}\n{trace}")),
            _ => say(format_args!("thread '{name}' {panic}")),
        }
    }));
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

/// Whether only a part of the last line was taken.
static TORN: AtomicBool = AtomicBool::new(false);

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
    let mut head = Vec::new();
    if LIVE.load(Relaxed) {
        head.extend_from_slice(ERASE);
    } else if TORN.load(Relaxed) {
        head.push(b'\n');
    }
    let dropped = DROPPED.load(Relaxed);
    if dropped > 0 {
        let lines = if dropped == 1 { "line was" } else { "lines were" };
        let told = format!("{dropped} {lines} dropped here, because nobody reads stderr");
        let told = match JSON.load(Relaxed) {
            true => json!({ "event": "notice", "text": told }).to_string(),
            false => format!("({told})"),
        };
        head.extend_from_slice(told.as_bytes());
        head.push(b'\n');
    }
    if !head.is_empty() {
        put_pieces(out, &head)?;
        LIVE.store(false, Relaxed);
        DROPPED.fetch_sub(dropped, Relaxed);
    }
    put_pieces(out, octets)
}

/// Writes the octets as they are. Where stderr stops taking them, the rest is dropped.
fn put_pieces(out: &mut StderrLock<'static>, octets: &[u8]) -> io::Result<()> {
    let mut left = octets;
    while !left.is_empty() {
        let put =
            await_room(out).and_then(|()| put_piece(out, &left[..left.len().min(PIECE_BYTES)]));
        match put {
            Ok(count) => left = &left[count..],
            Err(error) => {
                TORN.store(left.len() < octets.len(), Relaxed);
                return Err(error);
            }
        }
    }
    TORN.store(false, Relaxed);
    Ok(())
}

/// Writes some of a piece for which there is room.
fn put_piece(out: &mut StderrLock<'static>, piece: &[u8]) -> io::Result<usize> {
    let Some(terminal) = terminal() else {
        // A pipe that has room takes a whole piece.
        out.write_all(piece)?;
        return Ok(piece.len());
    };
    match write(terminal, piece) {
        Ok(count) => Ok(count),
        Err(Errno::INTR | Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Stderr where it is a terminal, opened anew: a terminal that has room for one octet does not say whether it takes a
/// piece, so it must be written without waiting, and how our own descriptor waits is shared with other programs.
fn terminal() -> Option<&'static OwnedFd> {
    static TERMINAL: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let opened = TERMINAL.get_or_init(|| {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let again = || open("/proc/self/fd/2", flags, Mode::empty()).ok();
        io::stderr().is_terminal().then(again).flatten()
    });
    opened.as_ref()
}

/// Writes what steers the terminal that stderr is, or a frame of what fills it: as it is, or not at all from where
/// nobody reads.
///
/// # Errors
/// When not all of it was taken.
pub(crate) fn put_frame(frame: &[u8]) -> io::Result<()> {
    put_pieces(&mut io::stderr().lock(), frame)
}

/// Returns when stderr takes something. Waits once for a reader that stands still, and then no more.
fn await_room(out: &StderrLock<'static>) -> io::Result<()> {
    let patience = if STUCK.load(Relaxed) { Duration::ZERO } else { PATIENCE };
    let ready = takes_a_piece(out, patience)?;
    STUCK.store(!ready, Relaxed);
    if ready { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// Whether a pipe, a file or a terminal takes a piece within this time.
fn takes_a_piece(out: &impl AsFd, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    let ready = poll(&mut [PollFd::new(out, PollFlags::OUT)], Some(&patience))?;
    Ok(ready > 0)
}

/// Writes the octets in pieces as `out` takes them, past every buffer.
///
/// # Errors
/// When `out` cannot be written, or takes nothing for as long as `patience`.
pub(crate) fn put_in_time(
    out: &impl AsFd,
    mut octets: &[u8],
    patience: Duration,
) -> io::Result<()> {
    while !octets.is_empty() {
        if !takes_a_piece(out, patience)? {
            let why = "nobody reads it";
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        match write(out, &octets[..octets.len().min(PIECE_BYTES)]) {
            Ok(count) => octets = &octets[count..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Stderr for what is written in lines again and again: a line is written when it is flushed, and dropped
/// where nobody reads.
#[derive(Debug, Default)]
pub(crate) struct LossyStderr {
    line: Vec<u8>,
}

impl Write for LossyStderr {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let put = put(&mut io::stderr().lock(), &self.line);
        self.line.clear();
        if put.is_err() {
            DROPPED.fetch_add(1, Relaxed);
        }
        put
    }
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
