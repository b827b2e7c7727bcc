//! What a program says on stderr while it works, and how text of a stranger may be shown there.

/// `eprintln!` for a program that must live on: where stderr is a log on a full disk, or a pipe that
/// nobody reads any more, `eprintln!` panics, and a core goes down for a line that was not read.
macro_rules! notice {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($part)*);
    }};
}

pub(crate) use notice;

/// The text with a `?` for each control character, so that what a peer sent cannot steer a terminal.
pub(crate) fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
