//! The figures of an open loop.

use hdrhistogram::Histogram;

use super::histogram::{HEADLINE_DIGITS, add, histogram};

/// Figures that only an open loop has, because only there each message has an intended start.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTally {
    /// Intended start to the last reply. Messages that were never begun are in it with the time
    /// waited until the end, as unanswered ones are in the service time.
    pub response_ns: Histogram<u64>,
    /// Intended start to the first octet handed to the kernel.
    pub send_lag_ns: Histogram<u64>,
    /// The part of the send lag while a session was free: the generator's own lateness. The rest was a
    /// wait for a session, because the target had not answered.
    pub own_lag_ns: Histogram<u64>,
    /// Messages due and not begun when the measured time ended, and how late the oldest of them was
    /// then, on the core where it was latest.
    pub behind: u64,
    pub behind_ns: u64,
}

impl OpenTally {
    pub(super) fn new() -> Self {
        Self {
            response_ns: histogram(HEADLINE_DIGITS),
            send_lag_ns: histogram(HEADLINE_DIGITS),
            own_lag_ns: histogram(HEADLINE_DIGITS),
            behind: 0,
            behind_ns: 0,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        add(&mut self.response_ns, &other.response_ns);
        add(&mut self.send_lag_ns, &other.send_lag_ns);
        add(&mut self.own_lag_ns, &other.own_lag_ns);
        self.behind += other.behind;
        self.behind_ns = self.behind_ns.max(other.behind_ns);
    }

    pub(super) fn clear(&mut self) {
        self.response_ns.reset();
        self.send_lag_ns.reset();
        self.own_lag_ns.reset();
        self.behind = 0;
        self.behind_ns = 0;
    }
}
