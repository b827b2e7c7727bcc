//! Sums over a span of time: one core's second, or a whole run on all cores.

use hdrhistogram::Histogram;

use super::counters::Counters;
use super::enhanced::{Enhanced, EnhancedKey};
use super::handshakes::Handshakes;
use super::histogram::{HEADLINE_DIGITS, PHASE_DIGITS, add, histogram, most_ns};
use super::kind::{ErrorKind, Outcome, Phase};
use super::message::{MessageSample, Mode};
use super::open::OpenTally;
use super::portion::Portion;
use super::refusal_words::RefusalWords;
use super::split::Split;
use crate::limits::LATENCY_NS_MAX;

const CODE_MIN: u16 = 200;
const CODES: usize = 400;

/// What was counted and timed. Adding tallies is exact and does not depend on the order: counters
/// add, and histograms of equal bounds add cell by cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    pub counts: Counters,
    /// Messages due in the warm-up that ended after it, and those of the cool-down; in no figure.
    pub messages_early: u64,
    pub messages_late: u64,
    /// Errors after the measured time, on connections whose latest work started after it too; in no figure.
    pub errors_late: u64,
    /// Wire time of accepted messages. Unanswered ones are in it with the time waited so far, which
    /// is a lower bound: leaving them out would make a server that stops answering look fast.
    pub service_ns: Histogram<u64>,
    /// Time of the refused messages, kept apart: a quick refusal must not improve the headline.
    pub refused_ns: Histogram<u64>,
    /// `None` in a closed loop, where no start is intended.
    pub open: Option<OpenTally>,
    /// The part of each of several targets, up to the last with anything recorded.
    pub targets: Vec<Portion>,
    /// What the server said when it refused.
    pub refusals: RefusalWords,
    pub handshakes: Handshakes,
    phases: Box<[Split]>,
    errors: [u64; ErrorKind::COUNT],
    /// Row per phase, column per code from 200 on.
    replies: Box<[u64]>,
    /// Replies whose second digit is above 5, which no rule allows; those of a code from 200 to 599 are in
    /// `replies` too.
    replies_odd: u64,
    enhanced: Enhanced,
}

impl Tally {
    pub fn new(mode: Mode) -> Self {
        let open = match mode {
            Mode::Closed => None,
            Mode::Open => Some(OpenTally::new()),
        };
        Self {
            counts: Counters::default(),
            messages_early: 0,
            messages_late: 0,
            errors_late: 0,
            service_ns: histogram(HEADLINE_DIGITS),
            refused_ns: histogram(PHASE_DIGITS),
            open,
            targets: Vec::new(),
            refusals: RefusalWords::new(),
            handshakes: Handshakes::default(),
            phases: Phase::ALL.into_iter().map(Split::new).collect(),
            errors: [0; ErrorKind::COUNT],
            replies: vec![0; Phase::COUNT * CODES].into_boxed_slice(),
            replies_odd: 0,
            enhanced: Enhanced::new(),
        }
    }

    /// The histogram that a reader should look at first: response time where a start was intended,
    /// else service time.
    pub fn headline(&self) -> &Histogram<u64> {
        self.open.as_ref().map_or(&self.service_ns, |open| &open.response_ns)
    }

    /// The times of a phase, whatever its outcome.
    pub fn phase(&self, phase: Phase) -> &Histogram<u64> {
        self.split(phase).all()
    }

    /// The times of a phase by outcome.
    pub fn split(&self, phase: Phase) -> &Split {
        &self.phases[phase as usize]
    }

    pub(crate) fn split_mut(&mut self, phase: Phase) -> &mut Split {
        &mut self.phases[phase as usize]
    }

    /// The part of one of several targets; made where it is missing.
    pub(crate) fn target_mut(&mut self, target: usize) -> &mut Portion {
        if self.targets.len() <= target {
            self.targets.resize_with(target + 1, Portion::new);
        }
        &mut self.targets[target]
    }

    pub fn errors(&self) -> impl Iterator<Item = (ErrorKind, u64)> {
        ErrorKind::ALL.into_iter().zip(self.errors).filter(|&(_, count)| count > 0)
    }

    pub fn errors_total(&self) -> u64 {
        self.errors.iter().sum()
    }

    /// Reply codes of one phase that were seen, in order.
    pub fn replies(&self, phase: Phase) -> impl Iterator<Item = (u16, u64)> {
        let row = &self.replies[phase as usize * CODES..][..CODES];
        (CODE_MIN..).zip(row.iter().copied()).filter(|&(_, count)| count > 0)
    }

    pub fn replies_odd(&self) -> u64 {
        self.replies_odd
    }

    /// Replies with an enhanced code, in the order of phase and code, and the number of those that
    /// the table had no room for.
    pub fn enhanced(&self) -> (Vec<(EnhancedKey, u64)>, u64) {
        (self.enhanced.sorted(), self.enhanced.rest())
    }

    /// Adds `other`, which must be of the same mode.
    pub fn add(&mut self, other: &Self) {
        let Self {
            counts,
            messages_early,
            messages_late,
            errors_late,
            service_ns,
            refused_ns,
            open,
            targets,
            refusals,
            handshakes,
            phases,
            errors,
            replies,
            replies_odd,
            enhanced,
        } = other;
        self.counts.add(counts);
        self.messages_early += messages_early;
        self.messages_late += messages_late;
        self.errors_late += errors_late;
        add(&mut self.service_ns, service_ns);
        add(&mut self.refused_ns, refused_ns);
        match (&mut self.open, open) {
            (Some(into), Some(from)) => into.add(from),
            (None, None) => {}
            _ => panic!("tallies of an open and of a closed loop do not add up"),
        }
        for (target, portion) in targets.iter().enumerate() {
            self.target_mut(target).add(portion);
        }
        for (into, from) in self.phases.iter_mut().zip(phases) {
            into.add(from);
        }
        for (into, from) in self.errors.iter_mut().zip(errors) {
            *into += from;
        }
        for (into, from) in self.replies.iter_mut().zip(replies) {
            *into += from;
        }
        self.replies_odd += replies_odd;
        self.enhanced.add(enhanced);
        self.refusals.add(refusals);
        self.handshakes.add(handshakes);
    }

    /// Back to nothing, keeping the memory.
    pub fn clear(&mut self) {
        let Self {
            counts,
            messages_early,
            messages_late,
            errors_late,
            service_ns,
            refused_ns,
            open,
            targets,
            refusals,
            handshakes,
            phases,
            errors,
            replies,
            replies_odd,
            enhanced,
        } = self;
        *counts = Counters::default();
        (*messages_early, *messages_late, *errors_late, *replies_odd) = (0, 0, 0, 0);
        service_ns.reset();
        refused_ns.reset();
        if let Some(open) = open {
            open.clear();
        }
        targets.iter_mut().for_each(Portion::clear);
        phases.iter_mut().for_each(Split::clear);
        *errors = [0; ErrorKind::COUNT];
        replies.fill(0);
        enhanced.clear();
        refusals.clear();
        handshakes.clear();
    }

    pub(super) fn record_message(&mut self, message: &MessageSample) {
        debug_assert_eq!(message.open.is_some(), self.open.is_some(), "open loop or not");
        self.counts.add_recipients(&message.recipients);
        match message.outcome {
            Outcome::Accepted => {
                self.counts.messages_ok += 1;
                self.counts.messages_partly_ok += u64::from(message.recipients.refused() > 0);
                self.counts.bytes += message.bytes;
            }
            Outcome::Refused4xx | Outcome::Refused5xx => {
                self.counts.messages_failed += 1;
                self.counts.messages_refused_4xx +=
                    u64::from(message.outcome == Outcome::Refused4xx);
                let taken_ns = message.open.map_or(message.service_ns, |open| open.response_ns);
                let taken_ns = self.clamp(taken_ns);
                self.refused_ns.saturating_record(taken_ns);
                return;
            }
            Outcome::Unanswered => {
                self.counts.messages_failed += 1;
                self.counts.messages_unanswered += 1;
            }
        }
        let service_ns = self.clamp(message.service_ns);
        self.service_ns.saturating_record(service_ns);
        if let Some(times) = message.open {
            let response_ns = self.clamp(times.response_ns);
            let send_lag_ns = self.clamp(times.send_lag_ns);
            if let Some(open) = &mut self.open {
                open.response_ns.saturating_record(response_ns);
                open.send_lag_ns.saturating_record(send_lag_ns);
                open.own_lag_ns.saturating_record(times.own_lag_ns.min(send_lag_ns));
            }
        }
    }

    /// `waited_ns` is a lower bound of the response time.
    pub(super) fn record_not_begun(&mut self, waited_ns: u64) {
        let waited_ns = self.clamp(waited_ns);
        self.counts.add_not_begun(1);
        if let Some(open) = &mut self.open {
            open.response_ns.saturating_record(waited_ns);
        }
    }

    pub(crate) fn note_behind(&mut self, messages: u64, oldest_ns: u64) {
        if let Some(open) = &mut self.open {
            open.behind += messages;
            open.behind_ns = open.behind_ns.max(oldest_ns);
        }
    }

    pub(super) fn record_phase(&mut self, phase: Phase, outcome: Outcome, ns: u64) {
        let ns = self.clamp_to(most_ns(phase), ns);
        self.phases[phase as usize].record(outcome, ns);
    }

    pub(super) fn count_reply(
        &mut self,
        phase: Phase,
        code: u16,
        enhanced: Option<(u8, u16, u16)>,
    ) {
        self.count_replies(phase, code, 1);
        if let Some(enhanced) = enhanced {
            self.enhanced.record(EnhancedKey { phase, code, enhanced });
        }
    }

    pub(crate) fn count_replies(&mut self, phase: Phase, code: u16, count: u64) {
        let column = usize::from(code.wrapping_sub(CODE_MIN));
        if column < CODES {
            self.replies[phase as usize * CODES + column] += count;
        }
        if column >= CODES || is_odd(code) {
            self.replies_odd += count;
        }
    }

    pub(crate) fn count_enhanced(&mut self, key: EnhancedKey, count: u64) {
        self.enhanced.add_entry(key, count);
    }

    pub(crate) fn count_enhanced_rest(&mut self, count: u64) {
        self.enhanced.add_rest(count);
    }

    pub(crate) fn count_error(&mut self, kind: ErrorKind) {
        self.count_errors(kind, 1);
    }

    pub(crate) fn count_errors(&mut self, kind: ErrorKind, count: u64) {
        self.errors[kind as usize] += count;
    }

    fn clamp(&mut self, ns: u64) -> u64 {
        self.clamp_to(LATENCY_NS_MAX, ns)
    }

    fn clamp_to(&mut self, most_ns: u64, ns: u64) -> u64 {
        self.counts.saturated += u64::from(ns > most_ns);
        ns.min(most_ns)
    }
}

/// Whether the second digit of a code is none that RFC 5321 §4.2 lets a server send.
const fn is_odd(code: u16) -> bool {
    code / 10 % 10 > 5
}

#[cfg(test)]
mod tests;
