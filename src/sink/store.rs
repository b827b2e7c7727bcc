//! Where messages go, and what a 250 promises there.

use std::path::PathBuf;

use crate::spool::{self, Durability};

/// Where messages go.
#[derive(Clone, Debug)]
pub enum Store {
    /// Nowhere: they are counted and forgotten.
    Discard,
    /// Into the spool in this directory.
    Spool { dir: PathBuf, options: spool::Options },
}

impl Store {
    /// What a 250 promises; `None` when nothing is kept.
    pub fn durability(&self) -> Option<Durability> {
        match self {
            Self::Discard => None,
            Self::Spool { options, .. } => Some(options.durability),
        }
    }
}
