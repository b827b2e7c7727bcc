//! The state of one target on one core.

use std::cell::Cell;

use super::security::SecuredSessions;
use crate::dial::Target;
use crate::smtp::client::Settings;

pub(super) struct TargetState {
    pub(super) target: Target,
    /// How each session speaks to it.
    pub(super) settings: Settings,
    /// `None` where all sessions are in plain text.
    pub(super) secured: Option<SecuredSessions>,
    /// Which of its addresses answered last.
    pub(super) address: Cell<usize>,
    /// Sessions that are open to it or being opened.
    pub(super) held: Cell<usize>,
    /// Of these, how many were asked to leave, and how many more must be. INVARIANT: at most `held` together.
    pub(super) leaving: Cell<usize>,
    pub(super) surplus: Cell<usize>,
    /// Sessions whose greeting is done.
    pub(super) working: Cell<usize>,
    /// Sessions in a row that did no work.
    pub(super) failures: Cell<u32>,
    /// When the first of these ended.
    pub(super) failing_ns: Cell<u64>,
    /// When a session last worked.
    pub(super) worked_ns: Cell<u64>,
    /// While there are other targets it gets no session before this time; `u64::MAX` if it cannot do what
    /// is asked.
    pub(super) away_until_ns: Cell<u64>,
}

impl TargetState {
    pub(super) fn new(
        target: Target,
        settings: Settings,
        secured: Option<SecuredSessions>,
    ) -> Self {
        Self {
            target,
            settings,
            secured,
            address: Cell::new(0),
            held: Cell::new(0),
            leaving: Cell::new(0),
            surplus: Cell::new(0),
            working: Cell::new(0),
            failures: Cell::new(0),
            failing_ns: Cell::new(0),
            worked_ns: Cell::new(0),
            away_until_ns: Cell::new(0),
        }
    }

    /// Whether no session shows that it works: the last ones did no work, and no other is open.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.failures.get() > 0 && self.working.get() == 0
    }
}
