//! What one core records with: plain values, no locks, no allocation while recording.

use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use super::board::CoreCell;
use super::interval::{Handover, join};
use super::kind::{ErrorKind, Outcome, Phase};
use super::message::{MessageSample, Mode};
use super::spans::Spans;
use super::tally::Tally;

/// Records what one core sees and hands it to the [`Collector`](super::Collector) once a second.
///
/// Times called `elapsed_ns` count from the start of the run, the same instant on all cores.
pub struct Recorder {
    /// What was recorded since the last handover.
    now: Box<Tally>,
    cell: CoreCell,
    spans: Spans,
    core: usize,
    mode: Mode,
    /// The interval that `now` belongs to, and when it was begun and is due to end.
    interval: u32,
    begun_ns: u64,
    due_ns: u64,
    in_flight: u32,
    in_flight_peak: u32,
    /// When the last message that is in the figures ended.
    last_ns: u64,
    /// When the first and the last accepted message of this interval ended.
    accepted_ns: Option<(u64, u64)>,
    /// The end of what was asked, where a schedule has one: what comes later is no part of the length.
    length_ends_ns: Option<u64>,
    filled: Sender<Handover>,
    blank: Receiver<Box<Tally>>,
}

impl Recorder {
    pub(super) fn new(
        core: usize,
        mode: Mode,
        spans: Spans,
        cell: CoreCell,
        filled: Sender<Handover>,
        blank: Receiver<Box<Tally>>,
    ) -> Self {
        Self {
            now: Box::new(Tally::new(mode)),
            cell,
            spans,
            core,
            mode,
            interval: 0,
            begun_ns: 0,
            due_ns: spans.end_ns(0),
            in_flight: 0,
            in_flight_peak: 0,
            last_ns: 0,
            accepted_ns: None,
            length_ends_ns: None,
            filled,
            blank,
        }
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether what started at `start_ns` belongs to what is written now. What was due in the warm-up
    /// and ends in the measured time does not, and neither does the work of the cool-down.
    #[inline]
    pub fn heeds(&self, start_ns: u64) -> bool {
        self.spans.is_warmup(self.interval) || self.spans.measures(start_ns)
    }

    /// Whether a message that was due, or in a closed loop begun, at `start_ns` is in the figures.
    #[inline]
    pub fn is_measured(&self, start_ns: u64) -> bool {
        self.spans.measures(start_ns)
    }

    /// Whether an event at `elapsed_ns` that is no answer to a message belongs to what is written now: it
    /// happened in the measured time, or on a connection whose latest work started in it, at `start_ns`.
    #[inline]
    pub fn heeds_at(&self, start_ns: u64, elapsed_ns: u64) -> bool {
        self.heeds(start_ns) || self.spans.measures(elapsed_ns)
    }

    pub fn record_message(&mut self, message: &MessageSample) {
        if !self.heeds(message.start_ns) {
            self.spans.pass_over(&mut self.now, message.start_ns);
            return;
        }
        self.last_ns = self.last_ns.max(message.ended_ns);
        if message.outcome == Outcome::Accepted {
            self.accepted_ns = join(self.accepted_ns, Some((message.ended_ns, message.ended_ns)));
        }
        self.now.record_message(message);
    }

    /// Counts it also for one of several targets.
    pub fn record_message_to(&mut self, target: usize, message: &MessageSample) {
        if self.heeds(message.start_ns) {
            self.now.target_mut(target).record(message);
        }
    }

    /// Counts a message that was due at `due_ns` and that no session has begun by `elapsed_ns`, when
    /// the run is over.
    pub fn record_not_begun(&mut self, due_ns: u64, elapsed_ns: u64) {
        if self.spans.measures(due_ns) {
            self.now.record_not_begun(elapsed_ns - due_ns);
        } else {
            self.spans.pass_over(&mut self.now, due_ns);
        }
    }

    /// Counts messages of a closed loop that were asked for and that no session has begun, when the run
    /// is over. They have no time, because they have no intended start.
    pub fn record_none_begun(&mut self, messages: u64) {
        debug_assert_eq!(self.mode, Mode::Closed, "in an open loop each was due at some time");
        self.now.counts.add_not_begun(messages);
    }

    /// Says at the end of the measured time how many messages were due and not begun then, and for
    /// how long the oldest of them had been.
    pub fn note_behind(&mut self, messages: u64, oldest_ns: u64) {
        self.now.note_behind(messages, oldest_ns);
    }

    pub fn record_phase(&mut self, phase: Phase, outcome: Outcome, ns: u64) {
        self.now.record_phase(phase, outcome, ns);
    }

    /// Counts one reply; `enhanced` is class, subject and detail where the text held them.
    pub fn count_reply(&mut self, phase: Phase, code: u16, enhanced: Option<(u8, u16, u16)>) {
        self.now.count_reply(phase, code, enhanced);
    }

    /// Counts the words of a refusal: the text that followed `code`.
    pub fn note_refusal(&mut self, phase: Phase, code: u16, said: &[u8]) {
        self.now.refusals.record(phase, code, said);
    }

    /// Counts a failure without a reply at `elapsed_ns`, on a connection whose latest work started at
    /// `start_ns`.
    pub fn count_error_at(&mut self, kind: ErrorKind, start_ns: u64, elapsed_ns: u64) {
        match self.heeds_at(start_ns, elapsed_ns) {
            true => self.now.count_error(kind),
            false => self.now.errors_late += 1,
        }
    }

    pub fn connection_opened(&mut self) {
        self.now.counts.connections_opened += 1;
    }

    /// Counts it also for one of several targets.
    pub fn connection_opened_to(&mut self, target: usize) {
        self.now.target_mut(target).connections_opened += 1;
    }

    pub fn connection_closed(&mut self) {
        self.now.counts.connections_closed += 1;
    }

    /// Counts a TLS handshake by what it agreed on.
    pub fn record_handshake(
        &mut self,
        version: &str,
        suite: &str,
        group: Option<&str>,
        resumed: bool,
    ) {
        self.now.handshakes.record(version, suite, group, resumed);
    }

    /// Counts a session that was greeted in plain text although TLS was asked for some or all of them.
    pub fn session_without_tls(&mut self) {
        self.now.handshakes.plain += 1;
    }

    /// Counts a connection whose greeting the server did not finish.
    pub fn connection_never_greeted(&mut self) {
        self.now.counts.connections_never_greeted += 1;
    }

    /// Messages sent and not yet answered, as of now.
    pub fn set_in_flight(&mut self, in_flight: u32) {
        self.in_flight = in_flight;
        self.in_flight_peak = self.in_flight_peak.max(in_flight);
    }

    /// Says what time it is. To be called with each reading of the clock, *before* what ended at
    /// that time is recorded, and at least once a second even when idle. Costs a compare, and once
    /// a second a handover, which swaps one box for another and allocates only where the collector
    /// is behind.
    pub fn tick(&mut self, elapsed_ns: u64) {
        if elapsed_ns >= self.due_ns {
            self.hand_over(elapsed_ns);
        }
    }

    /// Says when the load that was asked for ends, so that no wait for answers and no QUIT is part of the
    /// length of the run. The earliest that is said holds.
    pub fn set_length_end(&mut self, elapsed_ns: u64) {
        let end_ns = self.length_ends_ns.map_or(elapsed_ns, |before| before.min(elapsed_ns));
        self.length_ends_ns = Some(end_ns);
    }

    /// How much of the measured time has passed at `elapsed_ns`. Where neither a schedule nor a duration
    /// ends it, the last message does.
    fn measured_ns(&self, elapsed_ns: u64, finished: bool) -> u64 {
        let warmup_ns = self.spans.warmup_ns;
        match self.length_ends_ns {
            Some(end_ns) => elapsed_ns.min(end_ns).saturating_sub(warmup_ns),
            None if self.spans.end_ns == u64::MAX && !finished => {
                self.last_ns.saturating_sub(warmup_ns)
            }
            None => self.spans.measured_until(elapsed_ns, self.last_ns),
        }
    }

    /// Says how long this core waited for its CPU during the run.
    pub fn note_cpu_wait(&mut self, waited: Duration) {
        self.now.counts.cpu_wait_ns += waited.as_nanos() as u64;
    }

    /// Shows the totals so far to the live line: a handful of relaxed stores. To be called a few
    /// times a second.
    pub fn publish(&self) {
        self.cell.publish(&self.now, self.in_flight);
    }

    /// Hands over the rest. Dropping a recorder without it loses what was recorded since the last
    /// tick, and the collector reports the core as lost.
    pub fn finish(mut self, elapsed_ns: u64) {
        self.send(elapsed_ns, None);
    }

    fn hand_over(&mut self, elapsed_ns: u64) {
        let next = self.spans.index(elapsed_ns);
        self.send(elapsed_ns, Some(next));
        self.interval = next;
        self.begun_ns = elapsed_ns;
        self.due_ns = self.spans.end_ns(next);
        self.in_flight_peak = self.in_flight;
    }

    fn send(&mut self, elapsed_ns: u64, next: Option<u32>) {
        self.cell.settle(&self.now, self.in_flight);
        let blank = self.blank.try_recv().unwrap_or_else(|_| Box::new(Tally::new(self.mode)));
        let handover = Handover {
            core: self.core,
            interval: self.interval,
            next,
            begun_ns: self.begun_ns,
            ended_ns: elapsed_ns,
            measured_ns: self.measured_ns(elapsed_ns, next.is_none()),
            accepted_ns: self.accepted_ns.take(),
            in_flight_peak: self.in_flight_peak,
            tally: std::mem::replace(&mut self.now, blank),
        };
        // The collector is gone only when the run is being abandoned; then no count matters.
        drop(self.filled.send(handover));
    }
}
