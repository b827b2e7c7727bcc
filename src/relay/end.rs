//! How a relay is told to end.

/// How urgently the relay ends. The value only grows.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum RelayEnd {
    /// It serves.
    No,
    /// Deliveries finish the message that they have open, within the time of the drain.
    Drain,
    /// Connections are cut.
    Now,
}

impl RelayEnd {
    /// Raises the value to `next`, and tells whether that changed it.
    pub(super) fn grow(&mut self, next: Self) -> bool {
        let grows = *self < next;
        *self = (*self).max(next);
        grows
    }
}
