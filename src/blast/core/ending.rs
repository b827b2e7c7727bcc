//! The regular tasks of a core, and the end of a run: how long a core waits for messages under way,
//! and the work that was due and is not done.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::LoadCore;
use crate::blast::account::CoreAccount;
use crate::blast::shared::lock;
use crate::blast::work::LoadModel;
use crate::limits::LAST_ANSWERS_NS;

/// What a core has done so far: messages begun, when one was decided last, connections open.
type Progress = (u64, u64, usize);

/// The state of the end of a run.
#[derive(Debug, Default)]
pub(in crate::blast) struct Ending {
    since_ns: Option<u64>,
    /// What the last beat saw, and when that was new.
    progress: Progress,
    moved_ns: u64,
}

impl Ending {
    fn see(&mut self, progress: Progress, now_ns: u64) {
        if progress != self.progress {
            (self.progress, self.moved_ns) = (progress, now_ns);
        }
    }

    /// Whether nothing is waited for any longer, `over_ns` after the end: when the time to finish is over,
    /// what has just begun is given its time for an answer, and what was silent for that long is not.
    fn is_over(&self, now_ns: u64, over_ns: u64, drain_ns: u64, pauses: bool) -> bool {
        // Who pauses says QUIT only now.
        let silent = !pauses && now_ns - self.moved_ns > LAST_ANSWERS_NS;
        over_ns > drain_ns && (silent || over_ns > drain_ns + LAST_ANSWERS_NS)
    }
}

impl LoadCore {
    /// Runs a few times a second: publishes the totals, and ends what does not end by itself.
    pub(in crate::blast) fn beat(&self, ending: &mut Ending) {
        let now_ns = self.clock.elapsed_ns();
        self.note_length_end();
        let mut recorder = self.recorder.borrow_mut();
        recorder.tick(now_ns);
        // While the server is silent, nothing else tells it.
        recorder.set_in_flight(self.in_flight.get());
        recorder.publish();
        drop(recorder);
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.beat(now_ns);
        }
        self.watch_share();
        self.notice_stop();
        self.work.review(now_ns);
        self.balance(now_ns);
        self.note_behind(now_ns);
        ending.see((self.seq.get(), self.last_ns.get(), self.watch.len()), now_ns);
        if self.work.stopped_ns().is_some() || now_ns >= self.work.last_start_ns() {
            let over_ns = now_ns - *ending.since_ns.get_or_insert(now_ns);
            if over_ns > self.drain_ns {
                self.work.stop(now_ns);
            }
            if ending.is_over(now_ns, over_ns, self.drain_ns, self.pauses) {
                self.cut.set(true);
                self.watch.shutdown_all();
            }
        }
    }

    /// The length of an open loop is that of its schedule, or the time until it was stopped.
    fn note_length_end(&self) {
        if let Some(end_ns) = self.length_end_ns() {
            self.recorder.borrow_mut().set_length_end(end_ns);
        }
    }

    /// When an open loop ends as far as its length goes; `None` in a closed loop, and where the schedule
    /// never gets to its last message.
    fn length_end_ns(&self) -> Option<u64> {
        let stopped_ns = self.work.stopped_ns().unwrap_or(u64::MAX);
        let end_ns = self.work.behind_at_ns().min(stopped_ns);
        (self.work.model != LoadModel::Closed && end_ns < u64::MAX).then_some(end_ns)
    }

    /// Tells what was due at the end of the measured time and was not begun, on this core or on none.
    fn note_behind(&self, now_ns: u64) {
        self.work.note_behind(now_ns);
        if let Some((messages, waited_ns)) = self.work.take_behind() {
            self.recorder.borrow_mut().note_behind(messages, waited_ns);
        }
    }

    /// What the server gets for the answer to a QUIT behind which nothing is left to do.
    pub(in crate::blast) fn last_answer_time(&self) -> Duration {
        Duration::from_nanos(self.drain_ns.max(LAST_ANSWERS_NS))
    }

    /// Counts what was due and is not done.
    pub(in crate::blast) fn finish(&self) {
        debug_assert_eq!(self.in_flight.get(), 0, "a session decides all that it began");
        debug_assert!(
            self.work.claimed().is_none_or(|claimed| claimed == self.seq.get()),
            "what is claimed is begun or given back"
        );
        let now_ns = self.clock.elapsed_ns();
        self.note_length_end();
        self.recorder.borrow_mut().tick(now_ns);
        self.note_behind(now_ns);
        let scheduled = self.work.scheduled_until(now_ns);
        let mut never_begun = self.count_not_begun(self.work.waiting(now_ns), now_ns);
        if self.work.model == LoadModel::Closed {
            never_begun += self.count_none_begun(self.never_begun());
        }
        // Errors that end the run only here leave nothing undone.
        let counts_what_is_left = self.counts_what_is_left();
        self.watch_share();
        if self.work.leave() {
            self.watch_whole_share();
            // Other cores may have given what became due after the time above.
            let now_ns = self.clock.elapsed_ns();
            let (given, messages) = self.work.given_and_left();
            never_begun += self.count_not_begun(given.into_iter(), now_ns);
            if self.work.model == LoadModel::Closed && counts_what_is_left {
                never_begun += self.count_none_begun(messages);
            }
        }
        let due = scheduled.map(|scheduled| self.work.due(scheduled));
        lock(&self.shared.account).add(&CoreAccount { begun: self.seq.get(), never_begun, due });
    }

    /// Counts work of a schedule that no session has begun, and answers how many messages.
    fn count_not_begun(&self, waiting: impl Iterator<Item = (u64, u64)>, now_ns: u64) -> u64 {
        let mut recorder = self.recorder.borrow_mut();
        let mut count = 0;
        for (due_ns, messages) in waiting {
            (0..messages).for_each(|_| recorder.record_not_begun(due_ns, now_ns));
            count += messages;
        }
        count
    }

    fn count_none_begun(&self, messages: u64) -> u64 {
        self.recorder.borrow_mut().record_none_begun(messages);
        messages
    }

    /// Whether what a closed loop did not claim was due: what a stop of the user or of an option leaves is
    /// not due any more.
    fn counts_what_is_left(&self) -> bool {
        lock(&self.shared.failure).is_some() || self.work.stopped_ns().is_none()
    }

    /// Messages that a closed loop was asked for and did not begin. Where time ends it, a message is due
    /// when a session is free for it, so that one was due on each connection where none was ever begun.
    fn never_begun(&self) -> u64 {
        match self.work.unclaimed() {
            Some(left) if self.counts_what_is_left() => left,
            None if !self.shared.begun.load(Relaxed) => self.connections as u64,
            _ => 0,
        }
    }

    /// The end of the run as far as figures go.
    pub(in crate::blast) fn end_ns(&self) -> u64 {
        let last_ns = self.last_ns.get();
        let now_ns = self.clock.elapsed_ns();
        if let Some(end_ns) = self.length_end_ns() {
            // Sessions that are not opened again may end it before its time.
            return if self.work.over(now_ns) { last_ns.max(end_ns) } else { now_ns };
        }
        let time_ns = self.work.stopped_ns().unwrap_or(u64::MAX).min(self.work.last_start_ns());
        match self.work.last_start_ns() {
            // Without any message begun, nothing else says how long it was.
            u64::MAX if last_ns == 0 && !self.shared.begun.load(Relaxed) => time_ns.min(now_ns),
            // The last reply ends a loop of so many messages, also one that is stopped.
            u64::MAX => last_ns,
            _ => last_ns.max(time_ns.min(now_ns)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn what_was_silent_is_cut_when_the_drain_ends_and_what_has_just_begun_gets_its_answer() {
        let mut ending = Ending::default();
        ending.see((1, 0, 1), S);
        ending.see((1, 0, 1), 9 * S);
        // The run ended after 5 s, with 10 s to finish.
        let over = |ending: &Ending, at_s: u64, pauses: bool| {
            ending.is_over(at_s * S + 1, (at_s - 5) * S + 1, 10 * S, pauses)
        };
        assert_eq!([14, 15, 17].map(|at_s| over(&ending, at_s, false)), [false, true, true]);
        assert_eq!([14, 15, 17].map(|at_s| over(&ending, at_s, true)), [false, false, true]);
        ending.see((2, 0, 1), 14 * S);
        assert_eq!([15, 16, 17].map(|at_s| over(&ending, at_s, false)), [false, true, true]);
    }
}
