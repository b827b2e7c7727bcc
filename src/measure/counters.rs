//! The counters that a core keeps, a run adds up and `run.json` carries.

use serde::{Deserialize, Serialize};

/// Counts over a span of time. They add up exactly, in any order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counters {
    /// Messages that the server accepted.
    pub messages_ok: u64,
    /// Messages that the server refused or never answered.
    pub messages_failed: u64,
    /// Of the failed ones, those refused with 400 to 499, which asks for another try later.
    #[serde(default)]
    pub messages_refused_4xx: u64,
    /// Of the failed ones, those that were begun and got no answer: timeout, lost connection, end of the
    /// run.
    pub messages_unanswered: u64,
    /// Octets of the accepted messages, before dot-stuffing.
    pub bytes: u64,
    /// Recipients of the accepted messages.
    pub recipients: u64,
    pub connections_opened: u64,
    pub connections_closed: u64,
    /// How long the generator's cores were ready to run while something else had their CPUs.
    #[serde(default)]
    pub cpu_wait_ns: u64,
    /// Latencies beyond what a histogram holds, recorded as its maximum.
    pub saturated: u64,
}

impl Counters {
    pub fn add(&mut self, other: &Self) {
        // Named one by one, so that a counter that is forgotten here does not compile.
        let Self {
            messages_ok,
            messages_failed,
            messages_refused_4xx,
            messages_unanswered,
            bytes,
            recipients,
            connections_opened,
            connections_closed,
            cpu_wait_ns,
            saturated,
        } = other;
        self.messages_ok += messages_ok;
        self.messages_failed += messages_failed;
        self.messages_refused_4xx += messages_refused_4xx;
        self.messages_unanswered += messages_unanswered;
        self.bytes += bytes;
        self.recipients += recipients;
        self.connections_opened += connections_opened;
        self.connections_closed += connections_closed;
        self.cpu_wait_ns += cpu_wait_ns;
        self.saturated += saturated;
    }

    /// Messages that were accepted, refused or left without an answer.
    pub fn messages(&self) -> u64 {
        self.messages_ok + self.messages_failed
    }

    /// Of the failed messages, those refused for good.
    pub fn messages_refused_5xx(&self) -> u64 {
        self.messages_failed - self.messages_refused_4xx - self.messages_unanswered
    }
}
