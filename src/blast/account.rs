//! The account of a run: each message that was due is in one count, and the cores, which send, agree with the
//! collector, which counts.

use super::plan::{Plan, StopAfter};
use super::work::Due;
use crate::measure::Totals;

/// What one core says at its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct CoreAccount {
    /// Messages that its sessions began, and messages that were due and that no session began.
    pub(super) begun: u64,
    pub(super) never_begun: u64,
    /// The work that was due on it; `None` without a schedule, or where that is cut by a number of messages.
    pub(super) due: Option<Due>,
}

/// The sum over all cores.
#[derive(Debug, Default)]
pub(super) struct Account {
    begun: u64,
    never_begun: u64,
    /// What the schedules made due and what the cores know of, in messages or in sessions.
    arrivals: u64,
    known: u64,
    due: Option<u64>,
}

impl Account {
    pub(super) fn add(&mut self, core: &CoreAccount) {
        self.begun += core.begun;
        self.never_begun += core.never_begun;
        let due = core.due.map(|due| {
            debug_assert!(due.let_go <= due.messages, "only what was due is let go: {due:?}");
            self.arrivals += due.arrivals;
            self.known += due.known;
            due.messages.saturating_sub(due.let_go)
        });
        self.due = due.map(|due| due + self.due.unwrap_or(0));
    }

    /// Holds the cores' account, the plan and the totals against each other. `cut_short` says whether the run was
    /// stopped, or left by its sessions, before it had done what was asked.
    ///
    /// # Errors
    /// What does not add up.
    pub(super) fn check(
        &self,
        plan: &Plan,
        totals: &Totals,
        cut_short: bool,
    ) -> Result<(), String> {
        if totals.cores_lost > 0 {
            return Ok(());
        }
        totals.audit()?;
        let counts = &totals.tally.counts;
        let counted = counts.messages() + totals.warmup_messages + totals.cooldown_messages;
        let told = self.begun + self.never_begun;
        let same = |what: &str, one: u64, other: u64| match one == other {
            true => Ok(()),
            false => Err(format!("{what}: {one} and {other}: {self:?}, {counts:?}")),
        };
        same("messages of the cores, and in the figures", told, counted)?;
        same("what the schedules made due, and what the cores know of", self.arrivals, self.known)?;
        if let Some(due) = self.due {
            same("messages that were due by the schedule, and in the figures", due, counted)?;
        }
        match plan.stop {
            StopAfter::Messages(messages) if !cut_short => {
                same("messages that were asked for, and in the figures", messages, counted)
            }
            StopAfter::Messages(_) | StopAfter::Duration(_) => Ok(()),
        }
    }
}
