//! What a program says on stderr while it works.

/// `eprintln!` for a program that must live on: where stderr is a log on a full disk, or a pipe that
/// nobody reads any more, `eprintln!` panics, and a core goes down for a line that was not read.
macro_rules! notice {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($part)*);
    }};
}

pub(crate) use notice;
