//! The quotas that end a run: a number of messages, a number of sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::stop::Stop;

/// `--max-messages` and `--max-sessions`, shared by the cores. Without these options the cores share
/// nothing here.
#[derive(Clone)]
pub struct Quota {
    messages: Option<Arc<Allowance>>,
    sessions: Option<Arc<Allowance>>,
    stop: watch::Sender<Stop>,
}

struct Allowance {
    /// INVARIANT for messages: at most `max`, so that one that is given back makes room for another.
    /// For sessions, which are never given back, it counts those that asked in vain too.
    taken: AtomicU64,
    /// INVARIANT: at most `max`.
    done: AtomicU64,
    max: u64,
}

impl Allowance {
    fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU64::new(0), done: AtomicU64::new(0), max })
    }

    fn take(&self) -> bool {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Notes that one of those taken is over. True for the last one.
    fn finish(&self) -> bool {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        debug_assert!(done <= self.max, "more are done than may be taken");
        done == self.max
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

    /// Takes one message from the quota. `false`: the quota is used up, refuse the message.
    pub(super) fn take_message(&self) -> bool {
        self.messages.as_ref().is_none_or(|allowance| allowance.take())
    }

    /// Gives a message back: it was taken, and then lost.
    pub(super) fn return_message(&self) {
        if let Some(allowance) = &self.messages {
            let before = allowance.taken.fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before > 0, "a message is returned that was never taken");
        }
    }

    /// Notes that a message got its 250. The last one ends the run.
    pub(super) fn message_answered(&self) {
        if self.messages.as_ref().is_some_and(|allowance| allowance.finish()) {
            self.raise(Stop::Drain);
        }
    }

    /// Takes one session from the quota. `false`: the quota is used up.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_given_back_makes_room_for_another() {
        let (stop, seen) = watch::channel(Stop::No);
        let quota = Quota::new(Some(2), None, stop);
        assert!(quota.take_message() && quota.take_message());
        assert!((0..3).all(|_| !quota.take_message()), "no more than two");
        quota.return_message();
        assert!(quota.take_message(), "those that asked in vain took nothing");
        assert!(!quota.take_message());
        quota.message_answered();
        assert_eq!(*seen.borrow(), Stop::No);
        quota.message_answered();
        assert_eq!(*seen.borrow(), Stop::Drain);
    }
}
