//! What a session tells the board, the log and the operator of itself.

use super::Session;
use crate::smtp::server::VerbClass;

impl Session<'_> {
    /// Counts the replies that go to the kernel now on the board. `out` is what goes.
    pub(super) fn show_replies(&mut self, out: &[u8]) {
        let mut counts = self.server.take_counts();
        counts += std::mem::take(&mut self.ended);
        let took_ns = self.clock.elapsed_ns(counts.of(VerbClass::EndOfData) > 0);
        self.core.board.replies(&counts, took_ns);
        if self.server.has_refused() {
            self.show_refusals();
        }
        self.show_deviations();
        if let Some(log) = &self.log
            && log.wants_dialogue()
        {
            log.dialogue(&self.server.take_heard(), out);
        }
    }

    /// Counts in which ways the session strays from the grammar, once each.
    fn show_deviations(&mut self) {
        let seen = self.server.session_deviations();
        if seen != self.deviations {
            self.core.board.session_deviates(seen.difference(self.deviations));
            self.deviations = seen;
        }
    }

    #[cold]
    fn show_refusals(&mut self) {
        for (refusal, times) in self.server.drain_refusals() {
            self.core.board.refused([(refusal, times)]);
            if let Some(log) = &mut self.log {
                log.refused(refusal, times);
            }
        }
        self.give_hint();
    }

    fn give_hint(&mut self) {
        // What a fault took away is missed by everybody.
        if let Some(want) = self.server.take_want().filter(|_| self.faults.is_none()) {
            self.core.hints.give(want, self.caller);
        }
    }

    pub(super) fn say_the_end(&mut self) {
        self.give_hint();
        self.show_deviations();
        let Some(log) = &self.log else { return };
        if log.wants_dialogue() {
            log.dialogue(&self.server.take_heard(), &[]);
        }
        log.end(self.server.hello(), self.end);
    }
}
