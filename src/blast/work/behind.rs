//! What was due at the end of the measured time and was not begun.

use super::Work;

impl Work {
    /// Notes what waits when the measured time is over or the run is stopped, on this core or on none. A core looks
    /// a few times a second, and a session may be quicker: nothing that waited is taken before it is noted.
    #[inline]
    pub(in crate::blast) fn note_behind(&self, now_ns: u64) {
        let at_ns = self.behind_at_ns.min(self.stopped_ns.get().unwrap_or(u64::MAX));
        if now_ns >= at_ns && !self.is_noted.get() {
            self.note_waiting(at_ns);
        }
    }

    #[cold]
    fn note_waiting(&self, at_ns: u64) {
        let count = |(count, oldest_ns): (u64, u64), (due_ns, messages): (u64, u64)| {
            (count + messages, due_ns.min(oldest_ns))
        };
        let waiting = self.waiting(at_ns).chain(self.note_given(at_ns));
        // What was due in the warm-up is in no figure.
        let waiting = waiting.filter(|(due_ns, _)| *due_ns >= self.warmup_ns);
        let (messages, oldest_ns) = waiting.fold((0, at_ns), count);
        self.behind.set(Some((messages, at_ns - oldest_ns)));
    }

    /// What was noted and not told yet: how many messages, and how long the oldest had waited.
    pub(in crate::blast) fn take_behind(&self) -> Option<(u64, u64)> {
        self.behind.take().filter(|(messages, _)| *messages > 0)
    }

    /// Of the work that cores gave to others, what is due before `until_ns` and no core has noted: when, and how many
    /// messages. It is noted now, and so is what this core gives later.
    fn note_given(&self, until_ns: u64) -> Vec<(u64, u64)> {
        self.is_noted.set(true);
        let mut left = if self.is_counted() { self.exchange.messages() } else { u64::MAX };
        let mut counts = self.counts.borrow().clone();
        let given = self.exchange.note_before(until_ns).into_iter();
        given.map_while(|given| self.given(given, &mut counts, &mut left)).collect()
    }
}
