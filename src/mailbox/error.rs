//! Why an export fails; each text says what happened and what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::spool::SpoolError;

/// Why an export ended.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{path} exists, and nothing is overwritten; name a new one, or move it away")]
    Exists { path: PathBuf },
    #[error("{path}: cannot {doing}: {cause}; what is complete stays, the rest was not written")]
    Io { doing: &'static str, path: PathBuf, cause: io::Error },
    #[error("'{template}' is no pattern of strftime; write for example 'dump/%Y%m%d.'")]
    Template { template: String },
    #[error("stopped by a signal; what is complete stays, the rest was not written")]
    Stopped,
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl ExportError {
    pub(super) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), cause }
    }
}
