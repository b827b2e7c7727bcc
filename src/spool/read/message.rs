//! A message that was read, and why its octets cannot be copied.

use std::io;

use super::chain::BodyPart;
use crate::spool::envelope::StoredEnvelope;
use crate::spool::error::{Doubt, SpoolError};
use crate::spool::format::Place;

/// A whole message: its envelope, and where the pieces of its body are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    pub place: Place,
    /// Octets of the body.
    pub bytes: u64,
    pub envelope: StoredEnvelope,
    /// First to last.
    pub(super) parts: Vec<BodyPart>,
}

#[cfg(test)]
impl Message {
    /// A message without a body, for tests of what goes by the envelope.
    pub(crate) fn of_envelope(place: Place, envelope: StoredEnvelope) -> Self {
        Self { place, bytes: 0, envelope, parts: Vec::new() }
    }
}

/// Why a body could not be copied out.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The output failed.
    #[error(transparent)]
    Out(io::Error),
}

impl CopyError {
    /// Whether the ring recycled the message while it was read: then nothing is wrong, and the message is gone.
    pub fn is_recycled(&self) -> bool {
        matches!(self, Self::Spool(SpoolError::Damaged { what: Doubt::Recycled, .. }))
    }
}
