//! What a program says on stderr while it works, and how to show text from a peer there.

/// `eprintln!` for a program that must go on. Where stderr is a log on a full disk, or a pipe without
/// a reader, `eprintln!` panics and a core ends because of one line; this drops the line instead.
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
