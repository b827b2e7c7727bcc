//! The file that makes a directory a spool.

/// Its name.
pub(crate) const MARKER: &str = "SPOOL";
/// What it holds.
pub(crate) const MARKER_TEXT: &str = "ringpost-spool 2\n";
/// What a spool without marks says; it is read, and becomes one of the present version when written.
pub(crate) const EARLIER_MARKER_TEXT: &str = "ringpost-spool 1\n";
