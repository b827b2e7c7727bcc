//! Why a run could not take place.

use std::io;

use super::content::ContentError;
use crate::dial::SecurityError;
use crate::human::{count, counted};
use crate::run::ArtefactError;

/// Why a run could not take place.
#[derive(Debug, thiserror::Error)]
pub enum BlastError {
    #[error(
        "to have {} open takes {}, and the limit is {}; raise it with 'ulimit -n', or ask for fewer",
        counted(*connections as u64, "connection"),
        counted(*wanted, "descriptor"),
        count(*limit)
    )]
    Descriptors { connections: usize, wanted: u64, limit: u64 },
    #[error("a generator core cannot start: {0}")]
    Core(#[from] io::Error),
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Security(#[from] SecurityError),
}
