//! The counters that a core keeps, a run adds up and `run.json` carries.

use serde::{Deserialize, Serialize};

use super::message::RecipientCounts;

/// The largest count that is believed of a file; the largest that all readers of JSON read exactly (RFC 8259 §6).
pub const COUNT_MAX: u64 = (1 << 53) - 1;

/// Counts over a span of time. They add up exactly, in any order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counters {
    /// Messages that the server accepted.
    pub messages_ok: u64,
    /// Messages that were due and not accepted: refused, not answered, or never begun.
    pub messages_failed: u64,
    /// Of the failed ones, those refused with 400 to 499, which asks for another try later.
    #[serde(default)]
    pub messages_refused_4xx: u64,
    /// Of the failed ones, those that got no answer (timeout, lost connection, end of the run) or were
    /// never begun.
    pub messages_unanswered: u64,
    /// Of the unanswered ones, those that no session began, because none was free until the end, or
    /// because none could be opened.
    #[serde(default)]
    pub messages_not_begun: u64,
    /// Octets of the accepted messages, before dot-stuffing.
    pub bytes: u64,
    /// Of the accepted messages, those that were refused for some of their recipients.
    #[serde(default)]
    pub messages_partly_ok: u64,
    /// Recipients that were accepted, each with its message.
    pub recipients: u64,
    /// Recipients of all messages that were begun.
    #[serde(default)]
    pub recipients_asked: u64,
    /// Of these, those refused by themselves or with their message, with 400 to 499 and in any other way.
    #[serde(default)]
    pub recipients_refused_4xx: u64,
    #[serde(default)]
    pub recipients_refused_5xx: u64,
    pub connections_opened: u64,
    pub connections_closed: u64,
    /// Connections on which no banner came, or no answer to EHLO: the server was silent until the client had waited
    /// too long or nothing was left to do, hung up, or sent what is no reply.
    #[serde(default)]
    pub connections_never_greeted: u64,
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
            messages_not_begun,
            bytes,
            messages_partly_ok,
            recipients,
            recipients_asked,
            recipients_refused_4xx,
            recipients_refused_5xx,
            connections_opened,
            connections_closed,
            connections_never_greeted,
            cpu_wait_ns,
            saturated,
        } = other;
        self.messages_ok += messages_ok;
        self.messages_failed += messages_failed;
        self.messages_refused_4xx += messages_refused_4xx;
        self.messages_unanswered += messages_unanswered;
        self.messages_not_begun += messages_not_begun;
        self.bytes += bytes;
        self.messages_partly_ok += messages_partly_ok;
        self.recipients += recipients;
        self.recipients_asked += recipients_asked;
        self.recipients_refused_4xx += recipients_refused_4xx;
        self.recipients_refused_5xx += recipients_refused_5xx;
        self.connections_opened += connections_opened;
        self.connections_closed += connections_closed;
        self.connections_never_greeted += connections_never_greeted;
        self.cpu_wait_ns += cpu_wait_ns;
        self.saturated += saturated;
    }

    /// Counts the recipients of one message.
    pub fn add_recipients(&mut self, of: &RecipientCounts) {
        debug_assert!(of.accepted + of.refused() <= of.asked, "a recipient has one answer");
        self.recipients += u64::from(of.accepted);
        self.recipients_asked += u64::from(of.asked);
        self.recipients_refused_4xx += u64::from(of.refused_4xx);
        self.recipients_refused_5xx += u64::from(of.refused_5xx);
    }

    pub fn recipients_refused(&self) -> u64 {
        self.recipients_refused_4xx + self.recipients_refused_5xx
    }

    /// Messages that were due: accepted, refused, left without an answer, or never begun.
    pub fn messages(&self) -> u64 {
        self.messages_ok + self.messages_failed
    }

    /// Of the messages that were due, those that a session began.
    pub fn messages_begun(&self) -> u64 {
        self.messages().saturating_sub(self.messages_not_begun)
    }

    /// Counts messages that were due and that no session began.
    pub fn add_not_begun(&mut self, messages: u64) {
        self.messages_failed += messages;
        self.messages_unanswered += messages;
        self.messages_not_begun += messages;
    }

    /// Whether no message is in two counts: what is refused or unanswered has failed, and what was never
    /// begun is unanswered.
    pub fn add_up(&self) -> bool {
        let Self { messages_failed, messages_refused_4xx, .. } = *self;
        let Self { messages_unanswered, messages_not_begun, .. } = *self;
        messages_not_begun <= messages_unanswered
            && messages_refused_4xx
                .checked_add(messages_unanswered)
                .is_some_and(|apart| apart <= messages_failed)
    }

    /// Whether each of these counts, read from a file, is one that a run can have come to: no sum of 2,000 of them
    /// leaves 64 bits.
    pub fn are_in_range(&self) -> bool {
        let Self { messages_ok, messages_failed, bytes, recipients, recipients_asked, .. } = *self;
        let Self { messages_partly_ok, recipients_refused_4xx, recipients_refused_5xx, .. } = *self;
        let Self { connections_opened, connections_closed, connections_never_greeted, .. } = *self;
        let Self { cpu_wait_ns, saturated, messages_refused_4xx, .. } = *self;
        let Self { messages_unanswered, messages_not_begun, .. } = *self;
        let counts =
            [messages_ok, messages_failed, messages_partly_ok, bytes, recipients, saturated];
        let recipients = [recipients_asked, recipients_refused_4xx, recipients_refused_5xx];
        let connections = [connections_opened, connections_closed, connections_never_greeted];
        let all = counts.into_iter().chain(recipients).chain(connections).chain([
            cpu_wait_ns,
            messages_refused_4xx,
            messages_unanswered,
            messages_not_begun,
        ]);
        all.into_iter().all(|count| count <= COUNT_MAX)
    }

    /// Of the failed messages, those refused for good.
    pub fn messages_refused_5xx(&self) -> u64 {
        let others = self.messages_refused_4xx + self.messages_unanswered;
        self.messages_failed.saturating_sub(others)
    }
}
