//! What a core tells of each message when that is decided, for `run.msgs`.
//!
//! ```text
//! core: MessageLog --a full buffer, or what there is once a second--> FateCollector --> run.msgs
//!                  <--the same buffer, empty-------------------------
//! ```

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::limits::INTERVAL_NS;
use crate::run::messages::MessageFate;

/// Fates that one buffer holds.
const FATES: usize = 4_096;
/// Buffers of one core, 8 MiB together: a core that decides two million messages a second fills them in the time
/// between two looks of the collector. Where the disk is slower for longer, fates are counted and left out.
const BUFFERS_MAX: usize = 64;

/// Fates on their way, and how many found no room since the last.
pub(super) struct CoreFates {
    pub(super) core: u16,
    pub(super) fates: Vec<MessageFate>,
    pub(super) missed: u64,
}

/// One core's end. It writes without a lock, and gives a buffer away whole.
pub(super) struct MessageLog {
    core: u16,
    fates: Vec<MessageFate>,
    /// Buffers that were made. INVARIANT: at most `BUFFERS_MAX`.
    made: usize,
    missed: u64,
    given_ns: u64,
    filled: Sender<CoreFates>,
    blank: Receiver<Vec<MessageFate>>,
}

/// The end of the thread that writes the file.
pub(super) struct FateCollector {
    filled: Receiver<CoreFates>,
    blanks: Vec<Sender<Vec<MessageFate>>>,
}

/// The logs of all cores, and what collects them.
pub(super) fn message_logs(cores: usize) -> (Vec<MessageLog>, FateCollector) {
    let (filled_to, filled) = channel();
    let (logs, blanks) = (0..cores as u16)
        .map(|core| {
            let (blank_to, blank) = channel();
            let (fates, filled) = (Vec::with_capacity(FATES), filled_to.clone());
            let log = MessageLog { core, fates, made: 1, missed: 0, given_ns: 0, filled, blank };
            (log, blank_to)
        })
        .unzip();
    (logs, FateCollector { filled, blanks })
}

impl MessageLog {
    #[inline]
    pub(super) fn note(&mut self, fate: MessageFate) {
        if self.fates.len() == FATES {
            self.give(fate.ended_ns);
        }
        match self.fates.len() < FATES {
            true => self.fates.push(fate),
            false => self.missed += 1,
        }
    }

    /// Gives away what there is, once a second, so that a run that is killed leaves it behind.
    pub(super) fn beat(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.given_ns) >= INTERVAL_NS && !self.fates.is_empty() {
            self.give(now_ns);
        }
    }

    /// Gives away the rest.
    pub(super) fn finish(self) {
        let Self { core, fates, missed, filled, .. } = self;
        // The collector is gone only when the run is being abandoned.
        drop(filled.send(CoreFates { core, fates, missed }));
    }

    /// Swaps the buffer for an empty one, if there is one or may be one more.
    #[cold]
    fn give(&mut self, now_ns: u64) {
        let blank = match self.blank.try_recv() {
            Ok(blank) => blank,
            Err(_) if self.made < BUFFERS_MAX => {
                self.made += 1;
                Vec::with_capacity(FATES)
            }
            Err(_) => return,
        };
        debug_assert!(blank.is_empty() && self.made <= BUFFERS_MAX, "a buffer is used again empty");
        let fates = std::mem::replace(&mut self.fates, blank);
        let missed = std::mem::take(&mut self.missed);
        self.given_ns = now_ns;
        drop(self.filled.send(CoreFates { core: self.core, fates, missed }));
    }
}

impl FateCollector {
    /// What the cores gave and nobody took yet.
    pub(super) fn take(&self) -> Option<CoreFates> {
        self.filled.try_recv().ok()
    }

    /// Gives a buffer back to its core.
    pub(super) fn reuse(&self, mut given: CoreFates) {
        given.fates.clear();
        // The core may have ended.
        drop(self.blanks[usize::from(given.core)].send(given.fates));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Outcome;

    fn fate(seq: u64) -> MessageFate {
        let (outcome, ended_ns) = (Outcome::Accepted, seq);
        MessageFate { seq, outcome, is_measured: true, target: 0, accepted: 1, ended_ns }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_else_is_left_out() {
        let (mut logs, collector) = message_logs(1);
        let mut log = logs.pop().unwrap();
        let room = (FATES * BUFFERS_MAX) as u64;
        (1..=room + 5).for_each(|seq| log.note(fate(seq)));
        let mut seen = 0;
        let first = collector.take().unwrap();
        seen += first.fates.len() as u64;
        collector.reuse(first);
        log.note(fate(room + 6));
        log.finish();
        let mut missed = 0;
        while let Some(given) = collector.take() {
            seen += given.fates.len() as u64;
            missed += given.missed;
        }
        assert_eq!((seen, missed), (room + 1, 5));
    }

    #[test]
    fn a_quiet_core_gives_what_it_has_once_a_second() {
        let (mut logs, collector) = message_logs(2);
        let log = &mut logs[1];
        log.beat(5 * INTERVAL_NS);
        assert!(collector.take().is_none(), "there is nothing to give");
        log.note(fate(1));
        log.beat(5 * INTERVAL_NS);
        log.note(fate(2));
        log.beat(5 * INTERVAL_NS + 1);
        let given = collector.take().unwrap();
        assert_eq!((given.core, given.fates.len()), (1, 1));
        assert!(collector.take().is_none());
    }
}
