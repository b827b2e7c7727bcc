//! What a core still has to send: which session takes the next message, and when.
//!
//! In a closed loop sessions claim messages one after the other. In an open one work arrives by the
//! schedule, and any free session takes what has been due longest; work that waits is not stored,
//! since the next arrival and the clock say all about it. Sessions without work queue up, and one
//! pacer for each core wakes as many of them as there is work.

mod pledge;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use self::pledge::Pledge;
use super::clock::Clock;
use super::plan::{Load, Plan, StopAfter, share};
use super::random::{RandomPurpose, stream};
use super::schedule::{Arrivals, ScheduleEnd, Think};
use crate::engine::task::{Notify, select};
use crate::engine::{Alarm, Handle};

/// An alarm is set this long before work is due where the rest of the wait is a spin: a
/// little more than the lateness of most alarms, measured at 45 µs (median) to 70 µs (p90).
const ALARM_LEAD_NS: u64 = 60_000;

/// Arrivals a second on one core up to which that spin is worth its share of the core, some 15 µs each.
/// At higher rates an arrival is late by less than the gap between two.
const SPIN_RATE_MAX: f64 = 4_000.0;

/// Time that is spun through at any rate: an alarm could not come so soon.
const SPIN_NS_MAX: u64 = 10_000;

const _: () =
    assert!(SPIN_NS_MAX <= ALARM_LEAD_NS, "an alarm that is early is no earlier than the spin");

/// What makes a session send its next message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LoadModel {
    /// The answer to the one before.
    Closed,
    /// The schedule, whichever session is free.
    Messages,
    /// The schedule opens the session; its messages then follow each other as in a closed loop.
    Sessions,
}

/// Something that is due. Times are nanoseconds since the start of the run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Arrival {
    pub(super) due_ns: u64,
    /// Since when a session was free for it. Before that the work waited for the target.
    pub(super) free_ns: u64,
}

/// What a session is opened for.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionTask {
    /// Messages that it may send.
    pub(super) allowance: u64,
    /// The work that it is opened for; `None` if it is opened before there is any.
    pub(super) first: Option<Arrival>,
}

/// Where a session waits for work.
#[derive(Debug, Default)]
pub(super) struct WorkSlot {
    dealt: Cell<Dealt>,
    waker: RefCell<Option<Waker>>,
    /// What its next session is opened for, until the greeting of that session is done.
    pledge: Cell<Option<Pledge>>,
    /// The connection of a session whose greeting is not done.
    greeting: RefCell<Option<Handle>>,
    /// Whether that connection was ended because nothing was left for it to do.
    cut: Cell<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Dealt {
    #[default]
    Nothing,
    Work(Arrival),
    /// No more work will come.
    Over,
}

impl WorkSlot {
    pub(super) fn is_pledged(&self) -> bool {
        self.pledge.get().is_some()
    }

    fn deal(&self, dealt: Dealt) {
        debug_assert!(
            matches!(self.dealt.get(), Dealt::Nothing),
            "a session that waits gets one answer"
        );
        self.dealt.set(dealt);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

pub(super) struct Work {
    pub(super) model: LoadModel,
    clock: Clock,
    /// Messages of this core; `u64::MAX` where time ends the run.
    messages: u64,
    /// Of these, those that no session has claimed. INVARIANT: at most `messages`.
    left: Cell<u64>,
    arrivals: RefCell<Option<Arrivals>>,
    /// When work is due that a session took and could not begin; few, and rarely any.
    returned: RefCell<Vec<u64>>,
    /// Nothing is due, or in a closed loop begun, at this time or later.
    last_start_ns: u64,
    /// When work that still waits means that the target cannot keep up.
    behind_at_ns: u64,
    stopped_ns: Cell<Option<u64>>,
    /// The session that has waited longest is in front.
    idle: RefCell<VecDeque<Rc<WorkSlot>>>,
    idle_since_ns: Cell<u64>,
    /// An alarm is set this long before work is due.
    lead_ns: u64,
    per_connection: Option<(u64, u64)>,
    think: Option<Think>,
    /// Where the messages of a connection and the pauses of a session are drawn from.
    counts: RefCell<fastrand::Rng>,
    pauses: RefCell<fastrand::Rng>,
    /// All slots, in no order.
    slots: RefCell<Vec<Rc<WorkSlot>>>,
    /// Slots whose pledge holds work that other sessions could do.
    pledged: Cell<usize>,
    /// Whether a greeting was ever done, and how long the slowest took.
    greeted: Cell<bool>,
    greeting_ns: Cell<u64>,
    /// Wakes those who wait for work that is promised to others.
    freed: Notify,
    /// Wakes the pacer: a session waits, or work came back.
    changed: Notify,
    /// Wakes the sessions that pause.
    stopping: Notify,
}

impl Work {
    /// The share of core `core` of `plan`.
    pub(super) fn new(plan: &Plan, core: usize, clock: Clock) -> Self {
        let cores = plan.cores();
        let messages = match plan.stop {
            StopAfter::Messages(messages) => share(messages, cores, core),
            StopAfter::Duration(_) => u64::MAX,
        };
        let last_start_ns = plan.last_start().map_or(u64::MAX, nanoseconds);
        let (model, schedule) = match &plan.load {
            Load::Closed => (LoadModel::Closed, None),
            Load::Messages(schedule) => (LoadModel::Messages, Some(schedule)),
            Load::Sessions(schedule) => (LoadModel::Sessions, Some(schedule)),
        };
        let end = match (model, plan.stop) {
            (LoadModel::Messages, StopAfter::Messages(messages)) => ScheduleEnd::Count(messages),
            _ => ScheduleEnd::At(last_start_ns),
        };
        let arrivals = schedule.map(|schedule| {
            Arrivals::of_core(plan.led(schedule), end, plan.content.seed, cores, core)
        });
        let quiet = schedule
            .is_some_and(|schedule| schedule.profile.peak() / cores as f64 <= SPIN_RATE_MAX);
        Self {
            model,
            clock,
            messages,
            left: Cell::new(messages),
            arrivals: RefCell::new(arrivals),
            returned: RefCell::default(),
            last_start_ns,
            behind_at_ns: plan.arrivals_end().map_or(u64::MAX, nanoseconds),
            stopped_ns: Cell::new(None),
            idle: RefCell::new(VecDeque::with_capacity(plan.connections)),
            idle_since_ns: Cell::new(0),
            lead_ns: if quiet { ALARM_LEAD_NS } else { 0 },
            per_connection: plan.per_connection,
            think: plan.think,
            counts: RefCell::new(stream(plan.content.seed, RandomPurpose::Sessions, core)),
            pauses: RefCell::new(stream(plan.content.seed, RandomPurpose::Pauses, core)),
            slots: RefCell::default(),
            pledged: Cell::new(0),
            greeted: Cell::new(false),
            greeting_ns: Cell::new(0),
            freed: Notify::new(),
            changed: Notify::new(),
            stopping: Notify::new(),
        }
    }

    /// Waits until a session is wanted; `None` when no more are.
    pub(super) async fn next_session(&self, slot: &Rc<WorkSlot>) -> Option<SessionTask> {
        loop {
            let task = self.take_task(slot).await?;
            if task.allowance > 0 {
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
        let drawn = self
            .per_connection
            .map_or(1, |(least, most)| self.counts.borrow_mut().u64(least..=most));
        let allowance = match self.model {
            LoadModel::Messages => drawn,
            LoadModel::Closed | LoadModel::Sessions => self.claim(drawn, self.clock.elapsed_ns()),
        };
        Some(SessionTask { allowance, first })
    }

    /// Takes back the work that a session did not begin.
    pub(super) fn give_back(&self, task: SessionTask) {
        if self.model != LoadModel::Messages {
            let left = self.left.get() + task.allowance;
            assert!(left <= self.messages, "no more comes back than was claimed");
            self.left.set(left);
        }
        if let Some(arrival) = task.first {
            self.returned.borrow_mut().push(arrival.due_ns);
            self.changed.notify_one();
        }
    }

    /// Reserves up to `wanted` messages for one session, so that no connection is made for messages that
    /// another session sends; 0 when nothing is left to do.
    #[inline]
    pub(super) fn claim(&self, wanted: u64, now_ns: u64) -> u64 {
        if !self.may_begin(now_ns) {
            return 0;
        }
        let claimed = wanted.min(self.left.get());
        self.left.set(self.left.get() - claimed);
        claimed
    }

    /// Messages that sessions have claimed and not given back; `None` where none are claimed.
    pub(super) fn claimed(&self) -> Option<u64> {
        (self.model != LoadModel::Messages).then(|| self.messages - self.left.get())
    }

    /// Of the messages that were asked for, those that no session has claimed; `None` where time ends the
    /// run.
    pub(super) fn unclaimed(&self) -> Option<u64> {
        (self.messages != u64::MAX).then(|| self.left.get())
    }

    /// Whether messages that follow their session's last one may still begin.
    #[inline]
    pub(super) fn may_begin(&self, now_ns: u64) -> bool {
        now_ns < self.last_start_ns && self.stopped_ns.get().is_none()
    }

    /// Whether a session may claim another message when it has sent those that it claimed.
    pub(super) fn claims_one_by_one(&self) -> bool {
        self.model == LoadModel::Closed && self.per_connection.is_none()
    }

    /// Whether nothing but the end of the run, or the server, ends a session.
    pub(super) fn sessions_stay(&self) -> bool {
        self.per_connection.is_none() && self.model != LoadModel::Sessions
    }

    /// A pause between two messages of a session, if there is to be one.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.think.map(|think| think.draw(&mut self.pauses.borrow_mut()))
    }

    /// The work that has been due longest, for a session that is free.
    #[inline]
    pub(super) fn take_due(&self, now_ns: u64) -> Option<Arrival> {
        if self.stopped_ns.get().is_some() {
            return None;
        }
        let free_ns = match self.idle.borrow().is_empty() {
            true => now_ns,
            false => self.idle_since_ns.get(),
        };
        if let Some(due_ns) = self.returned.borrow_mut().pop() {
            return Some(Arrival { due_ns, free_ns: now_ns });
        }
        let mut arrivals = self.arrivals.borrow_mut();
        let arrivals = arrivals.as_mut()?;
        let due_ns = arrivals.peek().filter(|&due_ns| due_ns <= now_ns)?;
        arrivals.advance();
        Some(Arrival { due_ns, free_ns })
    }

    /// Whether no more work will come.
    pub(super) fn over(&self, now_ns: u64) -> bool {
        if self.stopped_ns.get().is_some() || self.claimed_out() {
            return true;
        }
        match &*self.arrivals.borrow() {
            None => now_ns >= self.last_start_ns,
            Some(arrivals) => {
                let taken = arrivals.peek().is_none() && self.returned.borrow().is_empty();
                taken && self.pledged.get() == 0
            }
        }
    }

    /// Whether as many messages were claimed as were asked for, all of them by sessions that can send.
    fn claimed_out(&self) -> bool {
        self.model != LoadModel::Messages && self.left.get() == 0 && self.pledged.get() == 0
    }

    /// Waits for work in the queue of the sessions that are free; `None` when no more will come. In a closed
    /// loop, waits until work that is promised to others may be free, and answers `None`.
    pub(super) async fn wait(&self, slot: &Rc<WorkSlot>) -> Option<Arrival> {
        if self.model == LoadModel::Closed {
            self.pledges_changed().await;
            return None;
        }
        let now_ns = self.clock.elapsed_ns();
        if let Some(arrival) = self.take_due(now_ns) {
            return Some(arrival);
        }
        if self.over(now_ns) {
            return None;
        }
        self.queue(slot, now_ns);
        poll_fn(|context| match slot.dealt.get() {
            Dealt::Work(arrival) => Poll::Ready(Some(arrival)),
            Dealt::Over => Poll::Ready(None),
            Dealt::Nothing => {
                slot.waker.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    fn queue(&self, slot: &Rc<WorkSlot>, now_ns: u64) {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            self.idle_since_ns.set(now_ns);
            self.changed.notify_one();
        }
        slot.dealt.set(Dealt::Nothing);
        idle.push_back(Rc::clone(slot));
    }

    /// Pauses until `until_ns`, or until the work is stopped.
    pub(super) async fn sleep_until(&self, alarm: &mut Alarm, until_ns: u64) -> io::Result<()> {
        // A message that may not begin is not worth a wait.
        let until_ns = until_ns.min(self.last_start_ns);
        select! {
            slept = alarm.until(self.clock.instant(until_ns)) => slept,
            () = self.stopping.notified() => Ok(()),
        }
    }

    /// Lets nothing more begin.
    pub(super) fn stop(&self, now_ns: u64) {
        if self.stopped_ns.get().is_none() {
            self.stopped_ns.set(Some(now_ns));
            self.stopping.notify_waiters();
            self.freed.notify_waiters();
            self.changed.notify_one();
        }
    }

    pub(super) fn stopped_ns(&self) -> Option<u64> {
        self.stopped_ns.get()
    }

    /// When the last work of a schedule that ends by time is due.
    pub(super) fn last_start_ns(&self) -> u64 {
        self.last_start_ns
    }

    pub(super) fn behind_at_ns(&self) -> u64 {
        self.behind_at_ns
    }

    /// The due times, before `until_ns`, of the work that no session has begun. There may be much of it,
    /// so that this is an iterator and no list.
    pub(super) fn waiting(&self, until_ns: u64) -> impl Iterator<Item = u64> + use<> {
        let until_ns = until_ns.min(self.stopped_ns.get().unwrap_or(u64::MAX));
        let returned = self.returned.borrow().clone();
        let returned = returned.into_iter().filter(move |&due_ns| due_ns < until_ns);
        let arrivals = self.arrivals.borrow();
        let ahead = arrivals.as_ref().map(|arrivals| arrivals.due_before(until_ns));
        // Where a number of messages ends the run, sessions are due for ever; only as many are wanted as
        // there are messages left.
        let wanted = if self.model == LoadModel::Messages { u64::MAX } else { self.left.get() };
        returned.chain(ahead.into_iter().flatten()).take(wanted as usize)
    }

    /// Wakes free sessions when work is due, to the end of the work.
    pub(super) async fn pace(&self) -> io::Result<()> {
        let mut alarm = Alarm::new()?;
        loop {
            let now_ns = self.clock.elapsed_ns();
            self.deal(now_ns);
            let Some(due_ns) = self.wanted_at() else {
                self.changed.notified().await;
                continue;
            };
            let alarm_ns = due_ns.saturating_sub(self.lead_ns.max(SPIN_NS_MAX));
            if alarm_ns > now_ns {
                let at = if self.lead_ns > 0 { alarm_ns } else { due_ns };
                select! {
                    biased;
                    () = self.changed.notified() => continue,
                    woken = alarm.until(self.clock.instant(at)) => woken?,
                }
            }
            while self.clock.elapsed_ns() < due_ns {
                std::hint::spin_loop();
            }
        }
    }

    /// Gives the work that is due to the sessions that wait.
    fn deal(&self, now_ns: u64) {
        while !self.idle.borrow().is_empty() {
            let dealt = match self.take_due(now_ns) {
                Some(arrival) => Dealt::Work(arrival),
                None if self.over(now_ns) => Dealt::Over,
                None => return,
            };
            if let Some(slot) = self.idle.borrow_mut().pop_front() {
                slot.deal(dealt);
            }
        }
    }

    /// When the next work is due, if a session waits for it.
    fn wanted_at(&self) -> Option<u64> {
        if self.idle.borrow().is_empty() {
            return None;
        }
        self.arrivals.borrow().as_ref()?.peek()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}
