//! What a session is opened for, and messages that are claimed by number.

use std::rc::Rc;

use super::{Arrival, LoadModel, SessionTask, Work, WorkSlot, exchange};

/// The messages of one connection, drawn evenly from a range with both its ends.
pub(super) fn draw(range: Option<(u64, u64)>, random: &mut fastrand::Rng) -> u64 {
    range.map_or(1, |(least, most)| random.u64(least..=most))
}

impl Work {
    /// Waits until a session is wanted; `None` when no more are.
    pub(in crate::blast) async fn next_session(&self, slot: &Rc<WorkSlot>) -> Option<SessionTask> {
        if slot.holds.take() {
            self.holding.set(self.holding.get() - 1);
        }
        loop {
            let task = self.take_task(slot).await?;
            if task.allowance > 0 {
                slot.holds.set(true);
                self.holding.set(self.holding.get() + 1);
                return Some(task);
            }
            self.give_back(task);
            if !self.waits_for_pledges(self.clock.elapsed_ns()) {
                return None;
            }
            self.pledges_changed().await;
        }
    }

    /// The next work for a session, which may be nothing.
    async fn take_task(&self, slot: &Rc<WorkSlot>) -> Option<SessionTask> {
        let first = match (self.model, self.per_connection) {
            (LoadModel::Closed, _) => None,
            // Opened before there is work, because no connection ends by itself.
            (LoadModel::Messages, None) if self.over(self.clock.elapsed_ns()) => return None,
            (LoadModel::Messages, None) => {
                return Some(SessionTask { allowance: u64::MAX, first: None });
            }
            // Otherwise a connection belongs to the work that it is opened for.
            _ => Some(self.wait(slot).await?),
        };
        let drawn = match first {
            Some(Arrival { messages: drawn @ 1.., .. }) => drawn,
            _ => self.draw(),
        };
        let allowance = match self.model {
            LoadModel::Messages => drawn,
            LoadModel::Sessions => self.claim(drawn, self.clock.elapsed_ns()),
            LoadModel::Closed => self.claim(drawn.min(self.fair_part()), self.clock.elapsed_ns()),
        };
        // A session that gets none now has all of them to send when it comes back.
        let first = first.map(|first| match self.model {
            LoadModel::Sessions => Arrival { messages: drawn, ..first },
            _ => first,
        });
        Some(SessionTask { allowance, first })
    }

    /// What a session may claim at once, so that the sessions that have nothing get as much.
    fn fair_part(&self) -> u64 {
        debug_assert!(self.holding.get() < self.connections, "the session that asks holds nothing");
        let without = (self.connections - self.holding.get()) as u64;
        self.left.get().saturating_add(self.exchange.messages()).div_ceil(without).max(1)
    }

    /// Takes back the work that a session did not begin.
    pub(in crate::blast) fn give_back(&self, task: SessionTask) {
        if self.model != LoadModel::Messages {
            let left = self.left.get() + task.allowance;
            assert!(left <= self.messages.get(), "no more comes back than was claimed");
            self.left.set(left);
        }
        if let Some(first) = task.first {
            let messages = match self.model {
                LoadModel::Sessions if task.allowance > 0 => task.allowance,
                _ => first.messages,
            };
            exchange::insert(&mut self.returned.borrow_mut(), Arrival { messages, ..first });
            self.changed().notify_one();
        }
        if self.forwarding.get() {
            self.hand_over(self.clock.elapsed_ns());
        }
    }

    /// Gives to the other cores what no session of this one has claimed. What is due by a schedule goes when
    /// it is due.
    pub(super) fn hand_over(&self, now_ns: u64) {
        if self.is_counted() {
            let left = self.left.take();
            self.messages.set(self.messages.get() - left);
            self.exchange.give_messages(self.core, left);
        }
        while let Some(first) = self.returned.borrow_mut().pop_front() {
            self.give(Arrival { free_ns: now_ns, ..first });
        }
    }

    /// Gives work of a schedule to the other cores. What this core has noted, no other does.
    pub(super) fn give(&self, arrival: Arrival) {
        let noted = arrival.noted || self.is_noted.get();
        self.exchange.give(self.core, Arrival { noted, ..arrival });
    }

    /// Whether a number of messages ends the run, and sessions claim them by number.
    pub(super) fn is_counted(&self) -> bool {
        self.model != LoadModel::Messages && self.messages.get() != u64::MAX
    }

    /// Whether what cores gave away is none of this one's: a core on which no session works leaves it to those
    /// on which some do.
    fn leaves_given(&self) -> bool {
        !self.lives.get() && self.exchange.lives_beside(self.core)
    }

    /// Work of a schedule that another core gave away.
    #[cold]
    pub(super) fn take_given(&self, now_ns: u64) -> Option<Arrival> {
        if self.leaves_given() {
            return None;
        }
        let given = self.exchange.take()?;
        // Before it was given it waited for the target; since then for a session here, or for the generator.
        Some(Arrival { free_ns: given.free_ns.max(self.free_ns(now_ns)), ..given })
    }

    /// Reserves up to `wanted` messages for one session, so that no connection is made for messages that
    /// another session sends; 0 when nothing is left to do.
    #[inline]
    pub(in crate::blast) fn claim(&self, wanted: u64, now_ns: u64) -> u64 {
        if !self.may_begin(now_ns) {
            return 0;
        }
        let claimed = wanted.min(self.left.get());
        if claimed == 0 {
            return self.claim_given(wanted);
        }
        self.left.set(self.left.get() - claimed);
        claimed
    }

    /// Claims of what other cores gave away, as [`Self::take_given`] takes it.
    #[cold]
    fn claim_given(&self, wanted: u64) -> u64 {
        if self.leaves_given() {
            return 0;
        }
        let claimed = self.exchange.take_messages(wanted);
        self.messages.set(self.messages.get() + claimed);
        claimed
    }

    /// Messages that sessions have claimed and not given back; `None` where none are claimed.
    pub(in crate::blast) fn claimed(&self) -> Option<u64> {
        (self.model != LoadModel::Messages).then(|| self.messages.get() - self.left.get())
    }

    /// Of the messages that were asked for, those that no session has claimed; `None` where time ends the
    /// run.
    pub(in crate::blast) fn unclaimed(&self) -> Option<u64> {
        (self.messages.get() != u64::MAX).then(|| self.left.get())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Exchange;
    use super::*;
    use crate::blast::clock::Clock;
    use crate::blast::content::Content;
    use crate::blast::content::spread::Spread;
    use crate::blast::plan::{Plan, StopAfter};
    use crate::dial::Target;
    use crate::engine::EngineKind;

    #[test]
    fn a_core_without_a_session_leaves_what_was_given_to_those_that_have_one() {
        let content = Content::plain(Spread::one(512), "a@client.example", "b@server.example");
        let target = Target::parse("127.0.0.1:1", &[]).unwrap();
        let plan = Plan::new(target.into(), content, vec![0, 1], EngineKind::Epoll);
        let plan = Plan { connections: 2, stop: StopAfter::Messages(10), ..plan };
        let exchange = Exchange::new(2, 2);
        let works =
            [0, 1].map(|core| Work::new(&plan, core, Clock::start(), Arc::clone(&exchange)));
        assert_eq!(works.each_ref().map(|work| work.claim(9, 0)), [5, 5], "each has a half");
        exchange.give_messages(1, 3);
        exchange.revive(0);
        works[0].lives.set(true);
        assert_eq!(works[1].claim(1, 0), 0, "they would wait for its greeting");
        assert_eq!(works[0].claim(1, 0), 1);
        works[0].lives.set(false);
        exchange.lose(0, false);
        assert_eq!(works[1].claim(9, 0), 2, "nobody is better");
    }
}
