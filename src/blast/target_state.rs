//! A target as one core sees it.

use std::cell::Cell;

use crate::dial::Target;
use crate::smtp::client::Settings;

pub(super) struct TargetState {
    pub(super) target: Target,
    /// How each session speaks to it.
    pub(super) settings: Settings,
    /// Which of its addresses answered last.
    pub(super) address: Cell<usize>,
    /// Sessions that are open to it, or being opened.
    pub(super) held: Cell<usize>,
    /// Of these, how many are to leave.
    pub(super) surplus: Cell<usize>,
    /// Sessions whose greeting is done.
    pub(super) working: Cell<usize>,
    /// Sessions in a row that came to nothing.
    pub(super) failures: Cell<u32>,
    /// When a session last worked.
    pub(super) worked_ns: Cell<u64>,
    /// Beside others it has no turn before; `u64::MAX` where it cannot do what is asked.
    pub(super) away_until_ns: Cell<u64>,
}

impl TargetState {
    pub(super) fn new(target: Target, settings: Settings) -> Self {
        Self {
            target,
            settings,
            address: Cell::new(0),
            held: Cell::new(0),
            surplus: Cell::new(0),
            working: Cell::new(0),
            failures: Cell::new(0),
            worked_ns: Cell::new(0),
            away_until_ns: Cell::new(0),
        }
    }

    /// Whether nothing says that it works: the last sessions came to nothing, and there is no other.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.failures.get() > 0 && self.working.get() == 0
    }
}
