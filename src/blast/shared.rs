//! What the cores of one run share: the flag that ends it, and what ended it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::account::Account;
use super::failure::Failure;
use super::plan::Plan;
use super::target_shares::TargetShares;
use super::work::Exchange;
use crate::run::Stopped;

/// Locks, also after a panic: a core writes only whole values.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all cores see.
#[derive(Debug)]
pub(super) struct Shared {
    /// Begin nothing more.
    pub(super) stop: Arc<AtomicBool>,
    /// Some session with the target has worked.
    pub(super) reached: Vec<AtomicBool>,
    /// Targets that are out of reach while others are not, and why.
    pub(super) away: Mutex<BTreeMap<usize, Failure>>,
    /// Targets that let connections wait for a greeting to the end of the run.
    pub(super) ungreeted: Mutex<BTreeMap<usize, Failure>>,
    pub(super) failure: Mutex<Option<Failure>>,
    /// Which of several targets gets the next session, and how many each has.
    pub(super) target_shares: Mutex<TargetShares>,
    /// What was to end the run, and did.
    pub(super) stopped: Mutex<Option<Stopped>>,
    /// Where a count or a share of errors ends the run, and of how many messages.
    pub(super) errors: AtomicU64,
    pub(super) messages: AtomicU64,
    /// Some session has begun a message.
    pub(super) begun: AtomicBool,
    /// What the cores have begun and not begun, as they say at their end.
    pub(super) account: Mutex<Account>,
    /// Work that cores give to each other.
    pub(super) exchange: Arc<Exchange>,
    /// Sessions that broke and were not opened again.
    pub(super) not_reopened: AtomicU64,
    /// Sessions whose dialogue is shown.
    pub(super) transcripts: AtomicU64,
}

impl Shared {
    pub(super) fn new(stop: Arc<AtomicBool>, plan: &Plan) -> Self {
        let targets = plan.targets.all().len();
        Self {
            stop,
            reached: (0..targets).map(|_| AtomicBool::new(false)).collect(),
            away: Mutex::default(),
            ungreeted: Mutex::default(),
            failure: Mutex::default(),
            target_shares: Mutex::new(TargetShares::new(&plan.targets)),
            stopped: Mutex::default(),
            errors: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            begun: AtomicBool::new(false),
            account: Mutex::default(),
            exchange: Exchange::new(plan.cores(), plan.at_once()),
            not_reopened: AtomicU64::new(0),
            transcripts: AtomicU64::new(0),
        }
    }

    /// At the end of the run: targets that never greeted a connection are out of reach, and if that is all
    /// of them, the run has failed.
    pub(super) fn settle_ungreeted(&self) {
        let reached = |index: usize| self.reached[index].load(Relaxed);
        let all = (0..self.reached.len()).all(|index| !reached(index));
        for (index, why) in std::mem::take(&mut *lock(&self.ungreeted)) {
            if all {
                lock(&self.failure).get_or_insert(why);
            } else if !reached(index) {
                lock(&self.away).entry(index).or_insert(why);
            }
        }
    }

    /// Ends the run; the first failure is the one that is reported.
    pub(super) fn give_up(&self, failure: Failure) {
        if lock(&self.stopped).is_none() {
            lock(&self.failure).get_or_insert(failure);
        }
        self.stop.store(true, Relaxed);
    }

    /// Ends the run, unless it is ending already.
    pub(super) fn halt(&self, stopped: Stopped) {
        if !self.stop.swap(true, Relaxed) {
            *lock(&self.stopped) = Some(stopped);
        }
    }
}
