//! The figures of one of several targets.

use hdrhistogram::Histogram;

use super::histogram::{PHASE_DIGITS, histogram};
use super::kind::Outcome;
use super::message::MessageSample;
use crate::limits::LATENCY_NS_MAX;

/// The part of one target in a tally. Parts add up exactly, as tallies do.
#[derive(Clone, Debug, PartialEq)]
pub struct Portion {
    pub messages_ok: u64,
    pub messages_failed: u64,
    pub connections_opened: u64,
    /// As the headline of the whole, at the digits of a phase.
    pub headline_ns: Histogram<u64>,
}

impl Portion {
    pub(super) fn new() -> Self {
        Self {
            messages_ok: 0,
            messages_failed: 0,
            connections_opened: 0,
            headline_ns: histogram(PHASE_DIGITS),
        }
    }

    pub(super) fn record(&mut self, message: &MessageSample) {
        match message.outcome {
            Outcome::Accepted => self.messages_ok += 1,
            Outcome::Unanswered => self.messages_failed += 1,
            Outcome::Refused4xx | Outcome::Refused5xx => {
                self.messages_failed += 1;
                return;
            }
        }
        let took_ns = message.open.map_or(message.service_ns, |open| open.response_ns);
        self.headline_ns.saturating_record(took_ns.min(LATENCY_NS_MAX));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.messages_ok += other.messages_ok;
        self.messages_failed += other.messages_failed;
        self.connections_opened += other.connections_opened;
        self.headline_ns.add(&other.headline_ns).expect("equal bounds");
    }

    pub(super) fn clear(&mut self) {
        self.messages_ok = 0;
        self.messages_failed = 0;
        self.connections_opened = 0;
        self.headline_ns.reset();
    }
}
