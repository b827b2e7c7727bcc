//! A bound on the memory that the envelopes of all sessions of a core take together.

use std::cell::Cell;
use std::rc::Rc;

/// Octets that envelopes may still take. Its clones share them. The default has no bound.
#[derive(Clone, Debug, Default)]
pub struct EnvelopeMemory {
    left_bytes: Option<Rc<Cell<usize>>>,
}

impl EnvelopeMemory {
    /// At most `bytes` of memory.
    pub fn new(bytes: usize) -> Self {
        Self { left_bytes: Some(Rc::new(Cell::new(bytes))) }
    }

    /// Takes `bytes`; `false` if so many are not left.
    #[must_use]
    pub(super) fn take(&self, bytes: usize) -> bool {
        let Some(left) = &self.left_bytes else { return true };
        let rest = left.get().checked_sub(bytes);
        left.set(rest.unwrap_or(left.get()));
        rest.is_some()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        if let Some(left) = &self.left_bytes {
            left.set(left.get() + bytes);
        }
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.left_bytes.as_ref().map_or(usize::MAX, |left| left.get())
    }
}
