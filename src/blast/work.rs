//! What a core still has to send: which session takes the next message, and when.
//!
//! In a closed loop sessions claim messages one after the other. In an open one work arrives by the
//! schedule, and any free session takes what has been due longest; work that waits is not stored,
//! since the next arrival and the clock say all about it. Sessions without work queue up, and one
//! pacer for each core wakes as many of them as there is work.

mod behind;
mod claim;
mod due;
mod exchange;
mod pace;
mod pledge;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use self::due::Drawn;
pub(super) use self::due::Due;
pub(super) use self::exchange::Exchange;
use self::pledge::Pledge;
use super::clock::Clock;
use super::plan::{Load, Plan, StopAfter, share};
use super::random::{RandomPurpose, stream};
use super::schedule::{Arrivals, ScheduleEnd, Think};
use crate::engine::task::{Notify, select};
use crate::engine::{Alarm, Handle};

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
    /// Where it is a session that is due: the messages that it still has to send, and 0 where their number
    /// is not drawn yet.
    pub(super) messages: u64,
    /// Whether it is counted in what waited at the end of the measured time.
    pub(super) noted: bool,
}

impl Arrival {
    /// A message, or a session whose messages are not drawn yet.
    pub(super) fn new(due_ns: u64, free_ns: u64) -> Self {
        Self { due_ns, free_ns, messages: 0, noted: false }
    }
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
    /// Whether a connect is under way, and what calls it off.
    connecting: Cell<bool>,
    called_off: Notify,
    /// Whether its session has a part of the messages of this core.
    holds: Cell<bool>,
    /// Whether it was opened before, and whether that attempt to be greeted has ended.
    opened: Cell<bool>,
    tried: Cell<bool>,
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
    core: usize,
    /// What the cores give to each other.
    exchange: Arc<Exchange>,
    /// Messages of this core; `u64::MAX` where time ends the run.
    messages: Cell<u64>,
    /// Of these, those that no session has claimed. INVARIANT: at most `messages`.
    left: Cell<u64>,
    arrivals: RefCell<Option<Arrivals>>,
    /// The whole schedule of this core, to check the account at the end.
    schedule: Option<Arrivals>,
    /// Work that a session took and could not begin, in the order in which it is due; rarely any.
    returned: RefCell<VecDeque<Arrival>>,
    /// Nothing is due, or in a closed loop begun, at this time or later.
    last_start_ns: u64,
    /// When work that still waits means that the target cannot keep up; only what was due after the warm-up counts.
    behind_at_ns: u64,
    warmup_ns: u64,
    stopped_ns: Cell<Option<u64>>,
    /// Whether the work that waited at the end of the measured time was noted, and what was noted and not told yet:
    /// how many messages, and how long the oldest had waited.
    is_noted: Cell<bool>,
    behind: Cell<Option<(u64, u64)>>,
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
    /// Sessions of this core, and how many of them have a part of its messages.
    connections: usize,
    /// Whether all are opened at the start.
    at_once: bool,
    holding: Cell<usize>,
    /// Sessions whose greeting is done.
    working: Cell<usize>,
    /// Whether a session works here, or the last one did and none has failed since; and since when not.
    lives: Cell<bool>,
    dead_ns: Cell<u64>,
    /// No session of this core will be opened again.
    forsaken: Cell<bool>,
    /// No session works here, and some can on other cores: these get the work.
    forwarding: Cell<bool>,
    /// The last look at which that was not so yet, or the first at which it was.
    forwarding_since_ns: Cell<u64>,
    /// Wakes the sessions that pause.
    stopping: Notify,
    /// Messages of sessions that were opened, which could not begin before the end and are not due.
    let_go: Cell<u64>,
    /// What chance has given to the sessions of this core.
    drawn: Cell<Drawn>,
}

impl Work {
    /// The share of core `core` of `plan`.
    pub(super) fn new(plan: &Plan, core: usize, clock: Clock, exchange: Arc<Exchange>) -> Self {
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
        Self {
            model,
            clock,
            core,
            exchange,
            messages: Cell::new(messages),
            left: Cell::new(messages),
            schedule: arrivals.clone(),
            arrivals: RefCell::new(arrivals),
            returned: RefCell::default(),
            last_start_ns,
            behind_at_ns: plan.arrivals_end().map_or(u64::MAX, nanoseconds),
            warmup_ns: nanoseconds(plan.warmup),
            stopped_ns: Cell::new(None),
            is_noted: Cell::new(false),
            behind: Cell::new(None),
            idle: RefCell::new(VecDeque::with_capacity(plan.connections)),
            idle_since_ns: Cell::new(0),
            lead_ns: pace::lead_ns(schedule, cores),
            per_connection: plan.per_connection,
            think: plan.think,
            counts: RefCell::new(stream(plan.content.seed, RandomPurpose::Sessions, core)),
            pauses: RefCell::new(stream(plan.content.seed, RandomPurpose::Pauses, core)),
            slots: RefCell::default(),
            pledged: Cell::new(0),
            connections: plan.connections_of(core),
            at_once: plan.opens_at_once(),
            holding: Cell::new(0),
            working: Cell::new(0),
            lives: Cell::new(false),
            dead_ns: Cell::new(0),
            forsaken: Cell::new(false),
            forwarding: Cell::new(false),
            forwarding_since_ns: Cell::new(0),
            stopping: Notify::new(),
            let_go: Cell::new(0),
            drawn: Cell::default(),
        }
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
        self.note_behind(now_ns);
        if self.stopped_ns.get().is_some() {
            return None;
        }
        let given_ns = self.exchange.first_due_ns();
        if given_ns <= now_ns
            && given_ns < self.first_own_ns()
            && let Some(given) = self.take_given(now_ns)
        {
            return Some(given);
        }
        self.take_own(now_ns)
    }

    /// When the first work of this core is due; `u64::MAX` where there is none.
    fn first_own_ns(&self) -> u64 {
        let returned_ns = self.returned.borrow().front().map(|first| first.due_ns);
        let next_ns = self.arrivals.borrow().as_ref().and_then(Arrivals::peek);
        returned_ns.into_iter().chain(next_ns).min().unwrap_or(u64::MAX)
    }

    /// Since when a session is free for work that is taken now.
    fn free_ns(&self, now_ns: u64) -> u64 {
        match self.idle.borrow().is_empty() {
            true => now_ns,
            false => self.idle_since_ns.get(),
        }
    }

    /// The work of this core that has been due longest.
    fn take_own(&self, now_ns: u64) -> Option<Arrival> {
        let mut returned = self.returned.borrow_mut();
        let mut arrivals = self.arrivals.borrow_mut();
        let next_ns = arrivals.as_ref().and_then(Arrivals::peek);
        if let Some(first) = returned.front()
            && next_ns.is_none_or(|next_ns| first.due_ns <= next_ns)
        {
            return returned.pop_front().map(|first| Arrival { free_ns: now_ns, ..first });
        }
        let due_ns = next_ns.filter(|&due_ns| due_ns <= now_ns)?;
        arrivals.as_mut()?.advance();
        Some(Arrival::new(due_ns, self.free_ns(now_ns)))
    }

    /// Whether no more work will come.
    pub(super) fn over(&self, now_ns: u64) -> bool {
        if self.stopped_ns.get().is_some() {
            return true;
        }
        let by_time = self.model == LoadModel::Closed && now_ns >= self.last_start_ns;
        // In this order: a core gives its work away before it needs nobody.
        by_time || self.own_over() && !self.exchange.needs_beside(self.core) && !self.is_given()
    }

    /// Whether there is work that a core gave away and nobody has taken. Sessions are due for ever where a
    /// number of messages ends the run; without messages they are no work.
    fn is_given(&self) -> bool {
        match self.model {
            LoadModel::Sessions if self.is_counted() => self.exchange.messages() > 0,
            _ => !self.exchange.is_empty(),
        }
    }

    /// Whether the work of this core is done, or in the hands of sessions that can do it.
    fn own_over(&self) -> bool {
        let claimed_out = self.left.get() == 0 && self.pledged.get() == 0;
        match &*self.arrivals.borrow() {
            _ if self.stopped_ns.get().is_some() => true,
            _ if self.model != LoadModel::Messages && claimed_out => true,
            None => false,
            Some(arrivals) => {
                let taken = arrivals.peek().is_none() && self.returned.borrow().is_empty();
                taken && self.pledged.get() == 0
            }
        }
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
            self.changed().notify_one();
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
            self.freed().notify_waiters();
            self.changed().notify_one();
        }
    }

    /// Wakes those who wait for work that is promised to others.
    fn freed(&self) -> &Notify {
        self.exchange.freed(self.core)
    }

    /// Wakes the pacer: a session waits, or work came back.
    fn changed(&self) -> &Notify {
        self.exchange.changed(self.core)
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

    /// The work that no session has begun and that is due before `until_ns`: when, and how many messages.
    /// There may be much of it, so that this is an iterator and no list.
    pub(super) fn waiting(&self, until_ns: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
        let until_ns = until_ns.min(self.stopped_ns.get().unwrap_or(u64::MAX));
        let returned = self.returned.borrow().clone();
        let returned = returned.into_iter().filter(move |first| first.due_ns < until_ns);
        let arrivals = self.arrivals.borrow();
        let ahead = arrivals.as_ref().map(|arrivals| arrivals.due_before(until_ns));
        let ahead = ahead.into_iter().flatten().map(|due_ns| Arrival::new(due_ns, due_ns));
        let (model, per_connection) = (self.model, self.per_connection);
        // As they will be drawn if the sessions are opened.
        let mut counts = self.counts.borrow().clone();
        // Where a number of messages ends the run, sessions are due for ever; only as many are wanted as
        // there are messages left.
        let mut left = if model == LoadModel::Messages { u64::MAX } else { self.left.get() };
        returned.chain(ahead).map_while(move |Arrival { due_ns, messages, .. }| {
            let wanted = match (model, messages) {
                (LoadModel::Messages, _) => 1,
                (_, 0) => claim::draw(per_connection, &mut counts),
                (_, drawn) => drawn,
            };
            limited(due_ns, wanted, &mut left)
        })
    }

    fn given(
        &self,
        given: Arrival,
        counts: &mut fastrand::Rng,
        left: &mut u64,
    ) -> Option<(u64, u64)> {
        let wanted = match (self.model, given.messages) {
            (LoadModel::Sessions, 0) => claim::draw(self.per_connection, counts),
            (_, messages) => messages.max(1),
        };
        limited(given.due_ns, wanted, left)
    }

    /// Ends the part of this core; answers whether it is the last one.
    pub(super) fn leave(&self) -> bool {
        self.exchange.leave(self.core)
    }
}

/// Takes up to `wanted` messages from those that are `left`, of work that is due at `due_ns`.
fn limited(due_ns: u64, wanted: u64, left: &mut u64) -> Option<(u64, u64)> {
    let messages = wanted.min(*left);
    *left -= messages;
    (messages > 0).then_some((due_ns, messages))
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}
