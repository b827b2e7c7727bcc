//! What the schedule of a core makes due, counted apart from the work itself: it is held against the figures.

use super::{LoadModel, Work};

/// What the schedule of a core makes due, in messages.
#[derive(Clone, Copy, Debug)]
pub(in crate::blast) struct Due {
    pub(in crate::blast) scheduled: u64,
    /// Of these, those that are not due, because their session had no time for them.
    pub(in crate::blast) let_go: u64,
}

impl Work {
    /// Messages that the schedule of this core makes due until the end, or until the run is stopped, without
    /// those that its sessions had no time for; `None` where chance or a number says how many a session has,
    /// or there is no schedule.
    pub(in crate::blast) fn due_until(&self, now_ns: u64) -> Option<Due> {
        let until_ns = now_ns.min(self.stopped_ns.get().unwrap_or(u64::MAX));
        let messages = match (self.model, self.per_connection) {
            (LoadModel::Messages, _) => 1,
            (LoadModel::Sessions, _) if self.is_counted() => return None,
            (LoadModel::Sessions, None) => 1,
            (LoadModel::Sessions, Some((least, most))) if least == most => least,
            _ => return None,
        };
        let arrivals = self.schedule.as_ref()?.due_before(until_ns).count() as u64;
        Some(Due { scheduled: messages * arrivals, let_go: self.let_go.get() })
    }

    /// A session has ended in time, without so many of its messages.
    pub(in crate::blast) fn let_go(&self, messages: u64) {
        self.let_go.set(self.let_go.get() + messages);
    }
}
