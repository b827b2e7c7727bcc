//! Work that goes from one core to another.
//!
//! The work of a run is dealt to its cores before it begins. A core on which no session works, because the
//! server does not greet them or turns them away, gives its work to the cores on which some do, and these
//! do not end while another core may still need them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Arrival;
use crate::engine::task::Notify;

/// What the other cores know of one, and how it is woken. Two cache lines, as the prefetcher fetches pairs.
#[repr(align(128))]
#[derive(Debug)]
struct ExchangeCore {
    /// A session of it works, or the last one did and none has failed since.
    lives: AtomicBool,
    /// It has no work that a session of it has not begun. Only told where `lives` is not set.
    done: AtomicBool,
    /// Wakes its sessions that wait for work which is promised to others.
    freed: Notify,
    /// Wakes its pacer: a session waits, or there is more work.
    changed: Notify,
}

/// What the cores of a run give to each other.
#[derive(Debug)]
pub(in crate::blast) struct Exchange {
    cores: Box<[ExchangeCore]>,
    /// How long the slowest greeting took so far; zero before the first.
    greeting_ns: AtomicU64,
    /// Sessions whose first attempt to be greeted has not ended.
    untried: AtomicUsize,
    /// Messages that are claimed by number, and that no core counts as its own now.
    messages: AtomicU64,
    /// Work of a schedule, in the order in which it is due, and when the first of it is due; `u64::MAX`
    /// where there is none.
    due: Mutex<VecDeque<Arrival>>,
    first_due_ns: AtomicU64,
    /// Cores that have not ended.
    open: AtomicUsize,
}

impl Exchange {
    /// `at_once` sessions are opened at the start of the run.
    pub(in crate::blast) fn new(cores: usize, at_once: usize) -> Arc<Self> {
        let core = |_| ExchangeCore {
            lives: AtomicBool::new(false),
            done: AtomicBool::new(false),
            freed: Notify::new(),
            changed: Notify::new(),
        };
        Arc::new(Self {
            cores: (0..cores).map(core).collect(),
            greeting_ns: AtomicU64::new(0),
            untried: AtomicUsize::new(at_once),
            messages: AtomicU64::new(0),
            due: Mutex::default(),
            first_due_ns: AtomicU64::new(u64::MAX),
            open: AtomicUsize::new(cores),
        })
    }

    pub(super) fn freed(&self, core: usize) -> &Notify {
        &self.cores[core].freed
    }

    pub(super) fn changed(&self, core: usize) -> &Notify {
        &self.cores[core].changed
    }

    fn beside(&self, core: usize) -> impl Iterator<Item = &ExchangeCore> {
        let is_other = move |(index, _): &(usize, _)| *index != core;
        self.cores.iter().enumerate().filter(is_other).map(|(_, of)| of)
    }

    /// Whether sessions can work on another core.
    pub(super) fn lives_beside(&self, core: usize) -> bool {
        self.beside(core).any(|other| other.lives.load(SeqCst))
    }

    /// Whether another core has work and no session that can do it. What it has given away is seen by who
    /// looks after this has answered `false`.
    pub(super) fn needs_beside(&self, core: usize) -> bool {
        self.beside(core).any(|other| !other.lives.load(SeqCst) && !other.done.load(SeqCst))
    }

    /// A session of `core` works.
    pub(super) fn revive(&self, core: usize) {
        self.cores[core].lives.store(true, SeqCst);
        self.wake_beside(core);
    }

    /// No session of `core` can work any more; `done` says whether it has no work either.
    pub(super) fn lose(&self, core: usize, done: bool) {
        self.cores[core].done.store(done, SeqCst);
        self.cores[core].lives.store(false, SeqCst);
        self.wake_beside(core);
    }

    /// Says whether `core`, on which no session can work, has no work.
    pub(super) fn set_done(&self, core: usize, done: bool) {
        if self.cores[core].done.swap(done, SeqCst) != done {
            self.wake_beside(core);
        }
    }

    fn wake_beside(&self, core: usize) {
        for other in self.beside(core) {
            other.freed.notify_waiters();
            other.changed.notify_one();
        }
    }

    /// A session that was not to be opened at the start is about to be opened for the first time.
    pub(super) fn note_first_try(&self) {
        self.untried.fetch_add(1, SeqCst);
    }

    /// A first attempt has ended.
    pub(super) fn note_tried(&self) {
        let before = self.untried.fetch_sub(1, SeqCst);
        debug_assert!(before > 0, "an attempt ends once");
    }

    /// Whether first attempts are still under way.
    pub(super) fn has_untried(&self) -> bool {
        self.untried.load(SeqCst) > 0
    }

    /// A greeting took so long. Most do not take longest.
    pub(super) fn note_greeting(&self, took_ns: u64) {
        // Zero stands for none.
        let took_ns = took_ns.max(1);
        if took_ns > self.greeting_ns.load(SeqCst) {
            self.greeting_ns.fetch_max(took_ns, SeqCst);
        }
    }

    /// How long the slowest greeting took; zero before the first.
    pub(super) fn greeting_ns(&self) -> u64 {
        self.greeting_ns.load(SeqCst)
    }

    /// Gives messages of `core` to whoever can send them.
    pub(super) fn give_messages(&self, core: usize, messages: u64) {
        if messages > 0 {
            self.messages.fetch_add(messages, SeqCst);
            self.wake_beside(core);
        }
    }

    /// Takes up to `wanted` messages.
    pub(super) fn take_messages(&self, wanted: u64) -> u64 {
        let less = |there: u64| (there > 0).then(|| there - wanted.min(there));
        self.messages.fetch_update(SeqCst, SeqCst, less).map_or(0, |there| wanted.min(there))
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages.load(SeqCst)
    }

    fn due(&self) -> MutexGuard<'_, VecDeque<Arrival>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives work of a schedule of `core` to whoever can do it.
    pub(super) fn give(&self, core: usize, arrival: Arrival) {
        let mut due = self.due();
        insert(&mut due, arrival);
        self.note_first(&due);
        drop(due);
        self.wake_beside(core);
    }

    /// When the first work that was given is due; `u64::MAX` where there is none.
    #[inline]
    pub(super) fn first_due_ns(&self) -> u64 {
        self.first_due_ns.load(SeqCst)
    }

    /// Takes the work that has been due longest.
    pub(super) fn take(&self) -> Option<Arrival> {
        let mut due = self.due();
        let first = due.pop_front();
        self.note_first(&due);
        first
    }

    /// What is due before `until_ns` and was not noted yet; it is noted now.
    pub(super) fn note_before(&self, until_ns: u64) -> Vec<Arrival> {
        let mut due = self.due();
        let before = due.iter_mut().take_while(|arrival| arrival.due_ns < until_ns);
        let note = |arrival: &mut Arrival| {
            let is_new = !std::mem::replace(&mut arrival.noted, true);
            is_new.then_some(*arrival)
        };
        before.filter_map(note).collect()
    }

    fn note_first(&self, due: &VecDeque<Arrival>) {
        self.first_due_ns.store(due.front().map_or(u64::MAX, |first| first.due_ns), SeqCst);
    }

    /// Whether nobody has given what nobody has taken.
    pub(super) fn is_empty(&self) -> bool {
        self.messages() == 0 && self.first_due_ns() == u64::MAX
    }

    /// A core has ended. The last one is told so, and what is left is its to count.
    pub(super) fn leave(&self, core: usize) -> bool {
        self.lose(core, true);
        self.open.fetch_sub(1, SeqCst) == 1
    }
}

/// Inserts behind what is due at the same time or earlier.
pub(super) fn insert(queue: &mut VecDeque<Arrival>, arrival: Arrival) {
    let at = queue.partition_point(|known| known.due_ns <= arrival.due_ns);
    queue.insert(at, arrival);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(due_ns: u64) -> Arrival {
        Arrival::new(due_ns, due_ns)
    }

    #[test]
    fn what_was_given_is_taken_once_and_the_oldest_first() {
        let exchange = Exchange::new(2, 0);
        exchange.give_messages(0, 5);
        assert_eq!([3, 3, 3].map(|wanted| exchange.take_messages(wanted)), [3, 2, 0]);
        assert!(exchange.is_empty());
        [7, 3, 5].into_iter().for_each(|due_ns| exchange.give(0, arrival(due_ns)));
        assert_eq!((exchange.first_due_ns(), exchange.is_empty()), (3, false));
        let taken: Vec<u64> =
            std::iter::from_fn(|| exchange.take()).map(|arrival| arrival.due_ns).collect();
        assert_eq!(taken, [3, 5, 7]);
        assert!(exchange.is_empty());
    }

    #[test]
    fn what_nobody_has_taken_is_noted_once() {
        let exchange = Exchange::new(2, 0);
        [3, 5, 7].into_iter().for_each(|due_ns| exchange.give(0, arrival(due_ns)));
        let noted = |until_ns| exchange.note_before(until_ns).len();
        assert_eq!([noted(7), noted(7), noted(8)], [2, 0, 1]);
        exchange.give(0, Arrival { noted: true, ..arrival(6) });
        exchange.give(1, arrival(4));
        assert_eq!([noted(9), noted(9)], [1, 0], "who gave the other has noted it");
        assert_eq!(std::iter::from_fn(|| exchange.take()).count(), 5, "and all are still there");
    }

    #[test]
    fn a_core_without_a_session_needs_the_others_until_its_work_is_done() {
        let exchange = Exchange::new(2, 0);
        assert!(exchange.needs_beside(0) && exchange.needs_beside(1));
        exchange.revive(0);
        assert!(!exchange.needs_beside(1) && exchange.lives_beside(1));
        assert!(exchange.needs_beside(0) && !exchange.lives_beside(0));
        exchange.set_done(1, true);
        assert!(!exchange.needs_beside(0));
        exchange.lose(0, false);
        assert!(exchange.needs_beside(1), "its last session is gone, and work is left");
        assert!(!exchange.leave(0));
        assert!(!exchange.needs_beside(1));
        assert!(exchange.leave(1), "the last one");
        assert!(!Exchange::new(1, 0).needs_beside(0), "nobody is beside the only core");
    }
}
