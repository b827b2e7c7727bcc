//! What a program says on stderr while it works, and how to show text from a peer there.

use std::io::{self, StderrLock, Write as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// `eprintln!` for a program that must go on. Where stderr is a log on a full disk, or a pipe without
/// a reader, `eprintln!` panics and a core ends because of one line; this drops the line instead.
macro_rules! notice {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let mut out = $crate::notice::stderr();
        let _ = writeln!(out, $($part)*);
    }};
}

pub(crate) use notice;

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
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
        LIVE.store(true, Relaxed);
    }
}

/// The text with a `?` for each control character, so that what a peer sent cannot steer a terminal.
pub(crate) fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
