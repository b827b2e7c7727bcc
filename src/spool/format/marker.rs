//! The file that makes a directory a spool.

/// The directory for doubtful segments, inside a spool, and a spool of its own.
pub(crate) const QUARANTINE: &str = "quarantine";

/// Its name.
pub(crate) const MARKER: &str = "SPOOL";
/// What it holds.
pub(crate) const MARKER_TEXT: &str = "ringpost-spool 2\n";
/// The text of a spool without marks. It can be read, and a sink that writes to it makes it one of the
/// present version.
pub(crate) const EARLIER_MARKER_TEXT: &str = "ringpost-spool 1\n";
