//! Work that is promised to connections which the server has not greeted yet.
//!
//! A session is opened for some work, so that no connection is made in vain, and may begin it when the
//! greeting is done. Servers with a short accept queue leave some connections without a greeting for ever.
//! Their work goes to other sessions once it is clear that they are late.

use std::rc::Rc;

use super::{LoadModel, SessionTask, Work, WorkSlot};
use crate::engine::Handle;

/// A greeting may take this long, or this many times as long as the slowest one so far.
const GREETING_NS_MIN: u64 = 500_000_000;
const GREETING_TIMES: u64 = 4;

/// The work of a session whose greeting is not done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pledge {
    task: SessionTask,
    since_ns: u64,
    /// Whether the work was given to others.
    reclaimed: bool,
}

impl Pledge {
    /// Whether somebody could do this work in place of the session.
    fn holds_work(&self, model: LoadModel) -> bool {
        !self.reclaimed && (model != LoadModel::Messages || self.task.first.is_some())
    }
}

impl Work {
    /// Where a session waits for work, and keeps what it is opened for.
    pub(in crate::blast) fn new_slot(&self) -> Rc<WorkSlot> {
        let slot = Rc::new(WorkSlot::default());
        self.slots.borrow_mut().push(Rc::clone(&slot));
        slot
    }

    /// Promises `task` to the session of `slot`, which is going to be opened.
    pub(in crate::blast) fn pledge(&self, slot: &WorkSlot, task: SessionTask, now_ns: u64) {
        let pledge = Pledge { task, since_ns: now_ns, reclaimed: false };
        let before = slot.pledge.replace(Some(pledge));
        assert!(before.is_none(), "a session is opened for one task");
        self.pledged.set(self.pledged.get() + usize::from(pledge.holds_work(self.model)));
    }

    /// What a session may do whose greeting is done: the work that it was opened for, or if that was given
    /// to others, other work if there is any.
    pub(in crate::blast) fn redeem(&self, slot: &WorkSlot, now_ns: u64) -> SessionTask {
        let since_ns = slot.pledge.get().map_or(now_ns, |pledge| pledge.since_ns);
        self.greeting_ns.set(self.greeting_ns.get().max(now_ns - since_ns));
        self.greeted.set(true);
        let Some(pledge) = self.take_pledge(slot) else {
            return SessionTask { allowance: 0, first: None };
        };
        match (pledge.reclaimed, self.model) {
            (false, _) => pledge.task,
            (true, LoadModel::Messages) => SessionTask { first: None, ..pledge.task },
            (true, LoadModel::Closed) => {
                let allowance = self.claim(pledge.task.allowance, now_ns);
                SessionTask { allowance, first: None }
            }
            // Without an arrival there is no session to be.
            (true, LoadModel::Sessions) => SessionTask { allowance: 0, first: None },
        }
    }

    /// Takes back the work of a session that ended before its greeting was done, if there is such work.
    pub(in crate::blast) fn abandon(&self, slot: &WorkSlot) {
        if let Some(pledge) = self.take_pledge(slot)
            && !pledge.reclaimed
        {
            self.give_back(pledge.task);
        }
    }

    fn take_pledge(&self, slot: &WorkSlot) -> Option<Pledge> {
        slot.greeting.take();
        let pledge = slot.pledge.take()?;
        if pledge.holds_work(self.model) {
            self.release();
        }
        Some(pledge)
    }

    /// One session less holds work that others could do.
    fn release(&self) {
        assert!(self.pledged.get() > 0, "work is promised before it is taken");
        self.pledged.set(self.pledged.get() - 1);
        self.freed.notify_waiters();
        // Only then can it be the end for those who wait in the queue.
        if self.arrivals.borrow().as_ref().is_none_or(|arrivals| arrivals.peek().is_none()) {
            self.changed.notify_one();
        }
    }

    /// Says by which handle a session can be ended whose greeting is not done.
    pub(in crate::blast) fn greets(&self, slot: &WorkSlot, handle: Handle) {
        slot.cut.set(false);
        slot.greeting.replace(Some(handle));
    }

    /// Whether the session of `slot` was ended by [`Self::review`].
    pub(in crate::blast) fn was_cut(&self, slot: &WorkSlot) -> bool {
        slot.cut.get()
    }

    /// Whether a greeting that began at `since_ns` takes longer than it may.
    fn is_late(&self, since_ns: u64, now_ns: u64) -> bool {
        let usual_ns = self.greeting_ns.get().saturating_mul(GREETING_TIMES);
        now_ns.saturating_sub(since_ns) > usual_ns.max(GREETING_NS_MIN)
    }

    /// Runs a few times a second: takes work from connections whose greeting is late, so that others can
    /// do it, and ends these connections when no work is left.
    pub(in crate::blast) fn review(&self, now_ns: u64) {
        let slots = self.slots.borrow();
        let late = |slot: &&Rc<WorkSlot>| {
            slot.pledge.get().is_some_and(|pledge| self.is_late(pledge.since_ns, now_ns))
        };
        // Where no session was ever greeted, nobody is there to do the work.
        if self.pledged.get() > 0 && self.greeted.get() {
            for slot in slots.iter().filter(late) {
                let Some(pledge) = slot.pledge.get() else { continue };
                if pledge.holds_work(self.model) {
                    slot.pledge.set(Some(Pledge { reclaimed: true, ..pledge }));
                    self.give_back(pledge.task);
                    self.release();
                }
            }
        }
        if self.over(now_ns) {
            self.freed.notify_waiters();
            for slot in slots.iter().filter(late) {
                if let Some(handle) = slot.greeting.take() {
                    slot.cut.set(true);
                    handle.shutdown();
                }
            }
        }
    }

    /// Whether messages are left that are promised to sessions whose greeting is not done, and no others.
    pub(in crate::blast) fn waits_for_pledges(&self, now_ns: u64) -> bool {
        self.left.get() == 0 && self.pledged.get() > 0 && self.may_begin(now_ns)
    }

    /// Waits until that may have changed.
    pub(super) async fn pledges_changed(&self) {
        self.freed.notified().await;
    }
}
