//! What a core counts, and the quotas that end a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

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

/// Counters of one core; nobody else touches them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    /// Messages answered with 250 (for LMTP: once, however many recipients).
    pub(super) messages: u64,
    /// Octets of those messages, dot-unstuffed.
    pub(super) bytes: u64,
    pub(super) recipients: u64,
    /// Messages of which the spool keeps the header block only, and none of all (`--keep`).
    pub(super) headers_only: u64,
    pub(super) forgotten: u64,
    /// Messages read to their end, or given up, and not kept.
    pub(super) rejected: u64,
    pub(super) connections: u64,
    /// Connections turned away with 421 because the limit was reached.
    pub(super) turned_away: u64,
    /// Sessions ended because the peer took too long, to send or to read.
    pub(super) timeouts: u64,
    /// Clients that spoke before the greeting.
    pub(super) early_talkers: u64,
    /// Connections from a proxy without a good PROXY header.
    pub(super) proxy_errors: u64,
    /// Connections beyond those that one address may have.
    pub(super) peer_limited: u64,
    pub(super) active: usize,
    pub(super) active_peak: usize,
}

/// `--max-messages` and `--max-sessions`, shared by the cores. Without either there is nothing
/// shared to touch.
#[derive(Clone)]
pub struct Quota {
    messages: Option<Arc<Allowance>>,
    sessions: Option<Arc<Allowance>>,
    stop: watch::Sender<Stop>,
}

struct Allowance {
    taken: AtomicU64,
    done: AtomicU64,
    max: u64,
}

impl Allowance {
    fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU64::new(0), done: AtomicU64::new(0), max })
    }

    fn take(&self) -> bool {
        self.taken.fetch_add(1, Ordering::Relaxed) < self.max
    }

    /// Notes that one of those taken is over; true for the last of all.
    fn finish(&self) -> bool {
        self.done.fetch_add(1, Ordering::Relaxed) + 1 == self.max
    }
}

impl Quota {
    pub(super) fn new(
        messages_max: Option<u64>,
        sessions_max: Option<u64>,
        stop: watch::Sender<Stop>,
    ) -> Self {
        let allowance = |max: Option<u64>| max.map(Allowance::new);
        Self { messages: allowance(messages_max), sessions: allowance(sessions_max), stop }
    }

    /// Asks to keep one more message. `false`: the quota is used up, refuse it.
    pub(super) fn take_message(&self) -> bool {
        self.messages.as_ref().is_none_or(|allowance| allowance.take())
    }

    /// Gives a taken message back: it could not be kept after all.
    pub(super) fn return_message(&self) {
        if let Some(allowance) = &self.messages {
            allowance.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes that the 250 of one taken message is sent. The last one ends the run.
    pub(super) fn message_answered(&self) {
        if self.messages.as_ref().is_some_and(|allowance| allowance.finish()) {
            self.raise(Stop::Drain);
        }
    }

    /// Asks to serve one more session. `false`: the quota is used up.
    pub(super) fn take_session(&self) -> bool {
        let Some(allowance) = &self.sessions else { return true };
        let before = allowance.taken.fetch_add(1, Ordering::Relaxed);
        if before + 1 >= allowance.max {
            self.raise(Stop::NoNewSessions);
        }
        before < allowance.max
    }

    fn raise(&self, to: Stop) {
        self.stop.send_if_modified(|now| now.grow(to));
    }
}
