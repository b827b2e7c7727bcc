//! How a sink comes to its end.

/// How far a sink is on its way out. Cores only ever see it grow.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stop {
    /// Serve.
    No,
    /// Take no new session; those that are open end by themselves.
    NoNewSessions,
    /// Take no new session, send 421 to those that wait, let open messages finish in bounded time.
    Drain,
    /// Close everything now.
    Now,
}

impl Stop {
    /// Goes on to `next` unless it is further already; whether it moved.
    pub fn grow(&mut self, next: Self) -> bool {
        let grows = *self < next;
        *self = (*self).max(next);
        grows
    }
}
