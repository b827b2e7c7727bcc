//! Deadlines of one core's connections, at the cost of a store each.
//!
//! One task beats every `WATCH_TICK_MS` while there are entries, and looks at all of them. Without
//! entries it sleeps, and time stands still. Time is the count of beats that
//! really happened: a core that stalls stretches every deadline with it, so a client is never
//! blamed for our own pause. A deadline fires never early and at most two beats late.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use super::alarm::Pause;
use super::conn::Handle;
use super::task::Notify;
use crate::limits::{WATCH_GRACE_TICKS, WATCH_TICK_MS};

const TICK: Duration = Duration::from_millis(WATCH_TICK_MS);

/// No deadline.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
struct WatchEntry {
    handle: Handle,
    /// The beat at which the deadline has passed.
    deadline: Cell<u64>,
    /// Beats since it passed; 0 before.
    overdue: Cell<u32>,
}

/// The deadlines of one core.
#[derive(Debug, Default)]
pub struct Watch {
    entries: RefCell<Slab<Rc<WatchEntry>>>,
    beats: Cell<u64>,
    /// Notified when the first entry comes.
    occupied: Notify,
}

impl Watch {
    pub fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    /// Watches over a connection until the guard is dropped; not armed yet.
    pub fn register(self: &Rc<Self>, handle: Handle) -> Guard {
        let (deadline, overdue) = (Cell::new(NEVER), Cell::new(0));
        let entry = Rc::new(WatchEntry { handle, deadline, overdue });
        let mut entries = self.entries.borrow_mut();
        if entries.is_empty() {
            self.occupied.notify_one();
        }
        let key = entries.insert(entry.clone());
        drop(entries);
        Guard { watch: self.clone(), entry, key }
    }

    /// Time since the watch began, in whole beats: the clock of [`Guard::arm_until`]. It costs no
    /// system call.
    pub fn now(&self) -> Duration {
        TICK.saturating_mul(u32::try_from(self.beats.get()).unwrap_or(u32::MAX))
    }

    /// Connections watched over.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Interrupts every connection, armed or not: something has changed that all should look at.
    pub fn interrupt_all(&self) {
        for (_, entry) in self.entries.borrow().iter() {
            entry.handle.interrupt();
        }
    }

    /// Shuts every connection: the time to end politely is over.
    pub fn shutdown_all(&self) {
        for (_, entry) in self.entries.borrow().iter() {
            entry.handle.shutdown();
        }
    }

    /// Beats until it is dropped. One task of each core runs this.
    pub async fn run(self: Rc<Self>) {
        let mut pause = Pause::new();
        loop {
            if self.is_empty() {
                self.occupied.notified().await;
            }
            // A whole beat for the first entry, and after a late one: a deadline is never early.
            pause.wait(TICK).await;
            self.beat();
        }
    }

    fn beat(&self) {
        let now = self.beats.get() + 1;
        self.beats.set(now);
        for (_, entry) in self.entries.borrow().iter() {
            if entry.deadline.get() <= now {
                entry.fire();
            }
        }
    }
}

impl WatchEntry {
    /// First an interrupt, so that the session can say why it closes. A session that has not
    /// answered by a new deadline within the grace hangs in a send: end that.
    fn fire(&self) {
        let overdue = self.overdue.get();
        match overdue {
            0 => self.handle.interrupt(),
            WATCH_GRACE_TICKS => self.handle.shutdown(),
            _ => {}
        }
        self.overdue.set(overdue.saturating_add(1));
    }
}

/// One connection's deadline; dropping it ends the watch.
#[derive(Debug)]
pub struct Guard {
    watch: Rc<Watch>,
    entry: Rc<WatchEntry>,
    key: usize,
}

impl Guard {
    /// Sets the deadline `after` from now, in place of the one before.
    pub fn arm(&self, after: Duration) {
        self.arm_until(self.watch.now().saturating_add(after));
    }

    /// Sets the deadline to a time of [`Watch::now`], in place of the one before. A session that was
    /// interrupted for it finds that time passed.
    pub fn arm_until(&self, deadline: Duration) {
        let ticks = deadline.as_millis().div_ceil(u128::from(WATCH_TICK_MS));
        // One more, because part of the current beat has gone by.
        self.set(u64::try_from(ticks).unwrap_or(NEVER).saturating_add(1));
    }

    pub fn disarm(&self) {
        self.set(NEVER);
    }

    /// Whether the deadline has passed since it was armed.
    pub fn fired(&self) -> bool {
        self.entry.overdue.get() > 0
    }

    fn set(&self, deadline: u64) {
        self.entry.deadline.set(deadline);
        self.entry.overdue.set(0);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let removed = self.watch.entries.borrow_mut().remove(self.key);
        debug_assert!(Rc::ptr_eq(&removed, &self.entry), "a guard removes its own entry");
    }
}
