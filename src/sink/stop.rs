//! How a sink ends.

/// How urgently the sink ends. The value only grows.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stop {
    /// Serve.
    No,
    /// Take no new session; open sessions end by themselves.
    NoNewSessions,
    /// Take no new session, send 421 to idle sessions, and give open messages a bounded time to finish.
    Drain,
    /// Close everything now.
    Now,
}

impl Stop {
    /// Raises the value to `next`, and tells whether that changed it.
    pub fn grow(&mut self, next: Self) -> bool {
        let grows = *self < next;
        *self = (*self).max(next);
        grows
    }
}
