//! Where the cores' tallies meet: intervals for the log and the live line, totals for the result.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::board::Board;
use super::interval::{Handover, Interval, Totals, join};
use super::message::Mode;
use super::spans::Spans;
use super::tally::Tally;

/// Intervals that wait for a core which is held up. One tally is about 1.5 MiB, and 3.2 MiB
/// where every phase was refused in every way; beyond this the oldest is logged without that core,
/// whose share goes into a later one.
const INTERVALS_OPEN_MAX: usize = 60;

/// What [`Collector::next`] gives.
#[derive(Debug)]
pub enum Collected {
    Interval(Interval),
    /// No interval was completed within the time given.
    Waiting,
    /// All cores have finished and all intervals were given.
    Finished,
}

struct CoreState {
    /// The interval the core writes; `None` once it has finished.
    writing: Option<u32>,
    blank: Sender<Box<Tally>>,
}

/// Adds up what the recorders hand over. Lives on a thread that is not a core's.
pub struct Collector {
    mode: Mode,
    spans: Spans,
    board: Board,
    filled: Receiver<Handover>,
    cores: Vec<CoreState>,
    open: BTreeMap<u32, Interval>,
    /// Intervals that were given out and came back, empty.
    spent: Vec<Interval>,
    /// The lowest interval not given out yet.
    oldest: u32,
    connections: u64,
    totals: Totals,
    /// All recorders are gone, finished or not.
    hung_up: bool,
}

impl Collector {
    /// For cores that all write their first interval; `blanks` send each core its blank tallies.
    pub(super) fn new(
        mode: Mode,
        spans: Spans,
        board: Board,
        filled: Receiver<Handover>,
        blanks: Vec<Sender<Box<Tally>>>,
    ) -> Self {
        let mut tally = Tally::new(mode);
        // To clear it touches each of its pages, so that the memory of the run is held from its start on.
        // Other tallies are cleared whenever they are used again; this one never is.
        tally.clear();
        let totals = Totals {
            tally,
            elapsed: Duration::ZERO,
            accepted_ns: None,
            in_flight_peak: 0,
            cpu_busy: None,
            cores_lost: 0,
            warmup_messages: 0,
            cooldown_messages: 0,
            warmup_errors: 0,
            cooldown_errors: 0,
        };
        Self {
            mode,
            spans,
            board,
            filled,
            cores: blanks.into_iter().map(|blank| CoreState { writing: Some(0), blank }).collect(),
            open: BTreeMap::new(),
            spent: Vec::new(),
            oldest: 0,
            connections: 0,
            totals,
            hung_up: false,
        }
    }

    /// The cells of the live line; readable from any thread.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Waits up to `wait` for the next interval that no core writes any more. They come in order, and
    /// together they hold all that was recorded.
    pub fn next(&mut self, wait: Duration) -> Collected {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(interval) = self.complete() {
                return Collected::Interval(interval);
            }
            if self.hung_up {
                return Collected::Finished;
            }
            match self.filled.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(handover) => self.take(handover),
                Err(RecvTimeoutError::Timeout) => return Collected::Waiting,
                Err(RecvTimeoutError::Disconnected) => self.hung_up = true,
            }
        }
    }

    /// Takes back an interval that was given out, to use its memory again: a long run does not grow.
    pub fn reuse(&mut self, mut interval: Interval) {
        interval.tally.clear();
        self.spent.push(interval);
    }

    /// The result, once `next` has said `Finished`.
    pub fn into_totals(mut self) -> Totals {
        let lost = self.cores.iter().filter(|core| core.writing.is_some()).count();
        self.totals.cores_lost = lost as u32;
        self.totals
    }

    fn take(&mut self, handover: Handover) {
        let core = &mut self.cores[handover.core];
        core.writing = handover.next;
        let mut tally = handover.tally;
        let warmup = self.spans.is_warmup(handover.interval);
        self.totals.warmup_messages += tally.messages_early;
        self.totals.cooldown_messages += tally.messages_late;
        self.totals.cooldown_errors += tally.errors_late;
        if warmup {
            // What a closed loop never began was due at no time, and is no part of the warm-up.
            let not_begun = tally.counts.messages_not_begun;
            self.totals.warmup_messages += tally.counts.messages() - not_begun;
            self.totals.tally.counts.add_not_begun(not_begun);
            self.totals.warmup_errors += tally.errors_total();
            // Connections live across the cut, so their counts do too.
            self.totals.tally.counts.connections_opened += tally.counts.connections_opened;
            self.totals.tally.counts.connections_closed += tally.counts.connections_closed;
            self.totals.tally.counts.connections_never_greeted +=
                tally.counts.connections_never_greeted;
            self.totals.tally.handshakes.add(&tally.handshakes);
            for (target, portion) in tally.targets.iter().enumerate() {
                let total = self.totals.tally.target_mut(target);
                total.connections_opened += portion.connections_opened;
            }
        } else {
            self.totals.tally.add(&tally);
            let measured = Duration::from_nanos(handover.measured_ns);
            self.totals.elapsed = self.totals.elapsed.max(measured);
            let since = |ns: u64| ns.saturating_sub(self.spans.warmup_ns);
            let accepted = handover.accepted_ns.map(|(from, until)| (since(from), since(until)));
            self.totals.accepted_ns = join(self.totals.accepted_ns, accepted);
        }
        let index = handover.interval.max(self.oldest);
        let begun_ns = handover.begun_ns.max(self.spans.start_ns(index));
        match self.open.get_mut(&index) {
            Some(interval) => {
                interval.tally.add(&tally);
                interval.begun_ns = interval.begun_ns.min(begun_ns);
                interval.ended_ns = interval.ended_ns.max(handover.ended_ns);
                interval.in_flight_peak += u64::from(handover.in_flight_peak);
                tally.clear();
                drop(core.blank.send(tally));
            }
            None => {
                let blank = match self.spent.pop() {
                    Some(spent) => spent.tally,
                    None => Box::new(Tally::new(self.mode)),
                };
                drop(core.blank.send(blank));
                let interval = Interval {
                    warmup,
                    after: self.spans.is_after(index),
                    begun_ns,
                    ended_ns: handover.ended_ns,
                    in_flight_peak: u64::from(handover.in_flight_peak),
                    connections: 0,
                    tally,
                };
                self.open.insert(index, interval);
            }
        }
    }

    /// The oldest interval, if every core has left it behind. A core that is held up for very long
    /// must not make us keep the whole run: then the interval goes out without it, and what the core
    /// hands over at last is filed under the oldest interval still here.
    fn complete(&mut self) -> Option<Interval> {
        let (&index, _) = self.open.first_key_value()?;
        let left_behind = |core: &CoreState| core.writing.is_none_or(|writing| writing > index);
        let full = self.open.len() > INTERVALS_OPEN_MAX;
        if !(full || self.hung_up || self.cores.iter().all(left_behind)) {
            return None;
        }
        let mut interval = self.open.remove(&index)?;
        self.oldest = index + 1;
        let tally = &interval.tally;
        self.connections += tally.counts.connections_opened;
        self.connections = self.connections.saturating_sub(tally.counts.connections_closed);
        interval.connections = self.connections;
        if !interval.warmup && !interval.after {
            let peak = &mut self.totals.in_flight_peak;
            *peak = interval.in_flight_peak.max(*peak);
        }
        Some(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::INTERVAL_NS;
    use crate::measure::kind::{ErrorKind, Outcome, Phase};
    use crate::measure::message::{MessageSample, OpenLoop, RecipientCounts};
    use crate::measure::team;

    const S: u64 = INTERVAL_NS;

    fn message() -> MessageSample {
        MessageSample {
            outcome: Outcome::Accepted,
            bytes: 100,
            recipients: RecipientCounts::of(Outcome::Accepted, 1),
            start_ns: 0,
            ended_ns: 1_000,
            service_ns: 1_000,
            open: None,
        }
    }

    /// The intervals that are ready without waiting.
    fn given(collector: &mut Collector) -> Vec<(u64, u64, u64)> {
        std::iter::from_fn(|| match collector.next(Duration::ZERO) {
            Collected::Interval(one) => {
                Some((one.begun_ns, one.ended_ns, one.tally.counts.messages_ok))
            }
            Collected::Waiting | Collected::Finished => None,
        })
        .collect()
    }

    #[test]
    fn an_interval_is_given_when_the_last_core_has_left_it() {
        let (mut recorders, mut collector) = team(2, Mode::Closed, Duration::ZERO, None);
        let (mut b, mut a) = (recorders.pop().unwrap(), recorders.pop().unwrap());
        a.record_message(&message());
        b.record_message(&message());
        a.tick(S - 1);
        a.tick(S);
        assert!(given(&mut collector).is_empty());
        a.record_message(&message());
        b.tick(S + 5);
        assert_eq!(given(&mut collector), [(0, S + 5, 2)]);
        a.finish(S + 7);
        b.finish(S + 9);
        assert_eq!(given(&mut collector), [(S, S + 9, 1)]);
        assert!(matches!(collector.next(Duration::ZERO), Collected::Finished));
        let totals = collector.into_totals();
        assert_eq!(totals.tally.counts.messages_ok, 3);
        assert_eq!(totals.elapsed, Duration::from_nanos(S + 9));
        assert_eq!(totals.cores_lost, 0);
    }

    #[test]
    fn warm_up_is_given_but_in_no_total() {
        let (mut recorders, mut collector) =
            team(1, Mode::Closed, Duration::from_nanos(S + S / 2), None);
        let mut recorder = recorders.pop().unwrap();
        for (at, messages) in [(0, 1), (S, 2), (S + S / 2, 4), (2 * S + S / 2, 8)] {
            recorder.tick(at);
            let due = MessageSample { start_ns: at, ended_ns: at + 1_000, ..message() };
            (0..messages).for_each(|_| recorder.record_message(&due));
        }
        // Due before the cut, ended after it.
        recorder.record_message(&message());
        recorder.finish(3 * S);
        let mut seen = Vec::new();
        while let Collected::Interval(one) = collector.next(Duration::ZERO) {
            seen.push((one.warmup, one.begun_ns, one.tally.counts.messages_ok));
        }
        let (half, later) = (S + S / 2, 2 * S + S / 2);
        assert_eq!(seen, [(true, 0, 1), (true, S, 2), (false, half, 4), (false, later, 8)]);
        let totals = collector.into_totals();
        assert_eq!((totals.tally.counts.messages_ok, totals.warmup_messages), (12, 4));
        assert_eq!(totals.elapsed, Duration::from_nanos(3 * S - half));
    }

    #[test]
    fn what_is_due_behind_the_measured_time_is_in_no_total_and_late_answers_are() {
        let length = Some(Duration::from_nanos(2 * S));
        let (mut recorders, mut collector) = team(1, Mode::Open, Duration::from_nanos(S), length);
        let mut recorder = recorders.pop().unwrap();
        let message = |start_ns, response_ns| MessageSample {
            start_ns,
            ended_ns: start_ns + response_ns,
            open: Some(OpenLoop { response_ns, send_lag_ns: 5, own_lag_ns: 1 }),
            ..message()
        };
        for start_ns in [0, S - 1, S, 3 * S - 1, 3 * S] {
            recorder.tick(start_ns + 10);
            recorder.record_message(&message(start_ns, 10));
        }
        recorder.tick(5 * S);
        recorder.record_message(&message(2 * S, 3 * S));
        recorder.note_behind(2, 7);
        recorder.record_not_begun(S / 2, 6 * S);
        recorder.record_not_begun(2 * S, 6 * S);
        recorder.record_not_begun(3 * S, 6 * S);
        recorder.finish(6 * S);
        let mut after = Vec::new();
        while let Collected::Interval(one) = collector.next(Duration::ZERO) {
            after.push((one.after, one.begun_ns));
        }
        let seconds = [(false, 0), (false, S + 9), (true, 3 * S + 9), (true, 5 * S)];
        assert_eq!(after, seconds);
        let totals = collector.into_totals();
        assert_eq!((totals.warmup_messages, totals.cooldown_messages), (3, 2));
        assert_eq!(
            (totals.tally.counts.messages_ok, totals.elapsed),
            (3, Duration::from_nanos(4 * S))
        );
        let open = totals.tally.open.unwrap();
        assert_eq!((open.behind, open.behind_ns), (2, 7));
        let counts = &totals.tally.counts;
        assert_eq!((counts.messages_not_begun, counts.messages_unanswered), (1, 1));
        assert_eq!((counts.messages_failed, counts.messages()), (1, 4), "due is the whole");
        assert_eq!((open.response_ns.len(), open.send_lag_ns.len()), (4, 3));
        assert!(open.response_ns.max() >= 4 * S && open.own_lag_ns.max() == 1);
    }

    #[test]
    fn what_goes_wrong_outside_of_the_measured_time_is_in_no_figure_and_told() {
        let length = Some(Duration::from_nanos(2 * S));
        let (mut recorders, mut collector) = team(1, Mode::Closed, Duration::from_nanos(S), length);
        let mut recorder = recorders.pop().unwrap();
        // (when the connection's latest work started, when it broke, whether that is a figure)
        let broken = [
            (0, S / 2, false),
            (0, 2 * S, true),
            (2 * S, 2 * S, true),
            (2 * S, 4 * S, true),
            (3 * S, 4 * S, false),
            (0, 4 * S, false),
        ];
        for (start_ns, at_ns, _) in broken {
            recorder.tick(at_ns);
            recorder.set_in_flight(if (S..3 * S).contains(&at_ns) { 2 } else { 9 });
            recorder.count_error_at(ErrorKind::Reset, start_ns, at_ns);
            recorder.set_in_flight(0);
        }
        recorder.finish(5 * S);
        while !matches!(collector.next(Duration::ZERO), Collected::Finished) {}
        let totals = collector.into_totals();
        let counted = broken.iter().filter(|(.., counted)| *counted).count() as u64;
        assert_eq!(totals.tally.errors_total(), counted);
        assert_eq!((totals.warmup_errors, totals.cooldown_errors), (1, 2));
        assert_eq!(totals.in_flight_peak, 2);
    }

    #[test]
    fn a_core_that_is_held_up_for_seconds_closes_one_long_interval() {
        let (mut recorders, mut collector) = team(1, Mode::Closed, Duration::ZERO, None);
        let mut recorder = recorders.pop().unwrap();
        recorder.record_message(&message());
        recorder.tick(3 * S + 1);
        recorder.record_message(&message());
        recorder.finish(3 * S + 2);
        assert_eq!(given(&mut collector), [(0, 3 * S + 1, 1), (3 * S + 1, 3 * S + 2, 1)]);
    }

    #[test]
    fn a_core_that_never_ticks_neither_stops_the_log_nor_loses_its_share() {
        let (mut recorders, mut collector) = team(2, Mode::Closed, Duration::ZERO, None);
        let (mut stuck, mut lively) = (recorders.pop().unwrap(), recorders.pop().unwrap());
        stuck.record_message(&message());
        let seconds = INTERVALS_OPEN_MAX as u64 + 3;
        for second in 1..=seconds {
            lively.record_message(&message());
            lively.tick(second * S);
        }
        let early = given(&mut collector);
        assert_eq!(early.len(), 3, "the oldest go out, the others wait");
        lively.finish(seconds * S);
        stuck.finish(seconds * S);
        let late = given(&mut collector);
        let all: u64 = early.iter().chain(&late).map(|(_, _, messages)| messages).sum();
        assert_eq!(all, seconds + 1);
        assert_eq!(collector.into_totals().tally.counts.messages_ok, seconds + 1);
    }

    #[test]
    fn a_core_that_dies_is_counted_as_lost() {
        let (mut recorders, mut collector) = team(2, Mode::Closed, Duration::ZERO, None);
        drop(recorders.pop());
        recorders.pop().unwrap().finish(S / 2);
        while !matches!(collector.next(Duration::ZERO), Collected::Finished) {}
        assert_eq!(collector.into_totals().cores_lost, 1);
    }

    #[test]
    fn the_board_shows_all_cores_across_handovers() {
        let (mut recorders, collector) = team(2, Mode::Closed, Duration::ZERO, None);
        let board = collector.board();
        for (n, recorder) in recorders.iter_mut().enumerate() {
            recorder.connection_opened();
            recorder.set_in_flight(5 + n as u32);
            recorder.record_message(&message());
            recorder.record_phase(Phase::Mail, Outcome::Accepted, 9);
            recorder.tick(S);
            recorder.record_message(&message());
            recorder.publish();
        }
        recorders[0].connection_closed();
        recorders[0].publish();
        let shown = board.snapshot();
        assert_eq!((shown.messages_ok, shown.bytes), (4, 400));
        assert_eq!((shown.connections, shown.in_flight), (1, 11));
    }

    #[test]
    fn recorders_move_to_the_threads_of_their_cores() {
        let (recorders, mut collector) = team(3, Mode::Closed, Duration::ZERO, None);
        std::thread::scope(|scope| {
            for mut recorder in recorders {
                scope.spawn(move || {
                    (0..1_000).for_each(|n| {
                        recorder.tick(n * S / 100);
                        recorder.record_message(&message());
                    });
                    recorder.finish(10 * S);
                });
            }
            let mut messages = 0;
            while let Collected::Interval(one) = collector.next(Duration::from_secs(10)) {
                messages += one.tally.counts.messages_ok;
                collector.reuse(one);
            }
            assert_eq!(messages, 3_000);
        });
        assert_eq!(collector.into_totals().tally.counts.messages_ok, 3_000);
    }
}
