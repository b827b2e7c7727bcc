//! Why an export fails. Each text says what happened and what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::spool::SpoolError;

/// Why an export ended.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{path} exists, and nothing is overwritten; name a new path, or move it away")]
    Exists { path: PathBuf },
    #[error(
        "{path}: cannot {doing}: {cause}; files that are complete stay, the rest was not written"
    )]
    Io { doing: &'static str, path: PathBuf, cause: io::Error },
    #[error("{path}: there is no directory {dir}; create it, or name another path")]
    NoDirectory { path: PathBuf, dir: PathBuf },
    #[error("'{template}' is not a pattern for strftime; write for example 'dump/%Y%m%d.'")]
    Template { template: String },
    #[error(
        "'{template}' makes more than 100,000 files at once; name fewer, such as one for each minute with \
         '%Y%m%d-%H%M', or leave out --shared"
    )]
    TooManyFiles { template: String },
    #[error("stopped by a signal; files that are complete stay, the rest was not written")]
    Stopped,
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl ExportError {
    pub(super) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), cause }
    }
}
