//! Work that is promised to connections which the server has not greeted yet.
//!
//! A session is opened for some work, so that no connection is made in vain, and may begin it when the
//! greeting is done. Servers with a short accept queue leave some connections without a greeting for ever.
//! Their work goes to other sessions once it is clear that they are late.

use std::io;
use std::rc::Rc;

use super::{LoadModel, SessionTask, Work, WorkSlot};
use crate::engine::Handle;
use crate::engine::task::select;

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
        if !slot.opened.replace(true) && !self.at_once {
            self.exchange.note_first_try();
        }
        self.pledged.set(self.pledged.get() + usize::from(pledge.holds_work(self.model)));
    }

    /// What a session may do whose greeting is done: the work that it was opened for, or if that was given
    /// to others, other work if there is any.
    pub(in crate::blast) fn redeem(&self, slot: &WorkSlot, now_ns: u64) -> SessionTask {
        let since_ns = slot.pledge.get().map_or(now_ns, |pledge| pledge.since_ns);
        self.exchange.note_greeting(now_ns - since_ns);
        self.working.set(self.working.get() + 1);
        if !self.lives.replace(true) {
            self.forwarding.set(false);
            self.exchange.revive(self.core);
        }
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

    /// A session whose greeting was done has ended.
    pub(in crate::blast) fn session_ended(&self) {
        debug_assert!(self.working.get() > 0, "a session that worked ends once");
        self.working.set(self.working.get() - 1);
    }

    /// A session was not greeted, or is late. Where no other one works, nothing shows that this core can do
    /// its work.
    pub(in crate::blast) fn doubt(&self, now_ns: u64) {
        if self.working.get() == 0 && self.lives.replace(false) {
            self.dead_ns.set(now_ns);
            self.exchange.lose(self.core, self.own_over());
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
        if !slot.tried.replace(true) {
            self.exchange.note_tried();
        }
        if pledge.holds_work(self.model) {
            self.release();
        }
        Some(pledge)
    }

    /// One session less holds work that others could do.
    fn release(&self) {
        assert!(self.pledged.get() > 0, "work is promised before it is taken");
        self.pledged.set(self.pledged.get() - 1);
        self.freed().notify_waiters();
        // Only then can it be the end for those who wait in the queue.
        if self.arrivals.borrow().as_ref().is_none_or(|arrivals| arrivals.peek().is_none()) {
            self.changed().notify_one();
        }
    }

    /// Whether first attempts to be greeted are under way, on this core or another.
    pub(in crate::blast) fn has_untried(&self) -> bool {
        self.exchange.has_untried()
    }

    /// Waits for a connection of the session of `slot`; `TimedOut` where nothing is left for it to do and it
    /// is late.
    pub(in crate::blast) async fn connected<T>(
        &self,
        slot: &WorkSlot,
        connect: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        slot.cut.set(false);
        slot.connecting.set(true);
        let connected = select! {
            biased;
            connected = connect => connected,
            () = slot.called_off.notified() => Err(io::ErrorKind::TimedOut.into()),
        };
        slot.connecting.set(false);
        connected
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
        let usual_ns = self.exchange.greeting_ns().saturating_mul(GREETING_TIMES);
        now_ns.saturating_sub(since_ns) > usual_ns.max(GREETING_NS_MIN)
    }

    /// No session of this core will be opened again.
    pub(in crate::blast) fn forsake(&self, now_ns: u64) {
        self.forsaken.set(true);
        self.doubt(now_ns);
        self.review(now_ns);
    }

    /// Whether this core, which no session can be opened on, still has work to give to others.
    pub(in crate::blast) fn still_gives(&self) -> bool {
        self.forwarding.get() && self.arrivals.borrow().is_some() && !self.own_over()
    }

    /// Whether others must do the work of this core: for longer than a greeting takes no session has worked
    /// here, and on another core some can.
    fn must_give(&self, now_ns: u64) -> bool {
        let is_late = || self.forsaken.get() || self.is_late(self.dead_ns.get(), now_ns);
        !self.lives.get() && self.exchange.lives_beside(self.core) && is_late()
    }

    /// Runs a few times a second: takes work from connections whose greeting is late, so that others can
    /// do it, and ends these connections when no work is left.
    pub(in crate::blast) fn review(&self, now_ns: u64) {
        let slots = self.slots.borrow();
        let late = |slot: &&Rc<WorkSlot>| {
            slot.pledge.get().is_some_and(|pledge| self.is_late(pledge.since_ns, now_ns))
        };
        if slots.iter().any(|slot| late(&slot)) {
            self.doubt(now_ns);
        }
        if !self.forwarding.replace(self.must_give(now_ns)) {
            self.forwarding_since_ns.set(now_ns);
        }
        // Where no session was ever greeted, nobody is there to do the work.
        if self.pledged.get() > 0 && self.exchange.greeting_ns() > 0 {
            for slot in slots.iter().filter(late) {
                let Some(pledge) = slot.pledge.get() else { continue };
                if pledge.holds_work(self.model) {
                    slot.pledge.set(Some(Pledge { reclaimed: true, ..pledge }));
                    self.give_back(pledge.task);
                    self.release();
                }
            }
        }
        if self.forwarding.get() {
            self.hand_over(now_ns);
            self.changed().notify_one();
        }
        if !self.lives.get() {
            self.exchange.set_done(self.core, self.own_over());
        }
        let over = self.over(now_ns);
        if over || self.is_given() {
            self.freed().notify_waiters();
        }
        if over {
            for slot in slots.iter().filter(late) {
                if let Some(handle) = slot.greeting.take() {
                    slot.cut.set(true);
                    handle.shutdown();
                } else if slot.connecting.get() {
                    slot.cut.set(true);
                    slot.called_off.notify_one();
                }
            }
        }
    }

    /// Whether no message can be claimed now, and some may come back from sessions whose greeting is not
    /// done, on this core or another.
    pub(in crate::blast) fn waits_for_pledges(&self, now_ns: u64) -> bool {
        // In this order: a core gives its work away before it needs nobody.
        let may_come = self.pledged.get() > 0
            || self.exchange.needs_beside(self.core)
            || self.exchange.messages() > 0;
        self.left.get() == 0 && may_come && self.may_begin(now_ns)
    }

    /// Waits until that may have changed.
    pub(super) async fn pledges_changed(&self) {
        self.freed().notified().await;
    }
}

impl Drop for Work {
    /// Nobody waits for a core that has gone.
    fn drop(&mut self) {
        self.exchange.lose(self.core, true);
    }
}
