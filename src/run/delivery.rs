//! What became of the messages of a run behind the server that took them, as it is written and judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::latency::Latency;

/// Version of the format of what `report delivery --json` prints. Other versions are other formats.
pub const SCHEMA: u32 = 1;

/// Counts of deliveries. A delivery is a message for one recipient of its envelope.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveryCounts {
    /// Begun by the generator.
    pub sent: u64,
    /// Accepted by the server under test.
    pub accepted: u64,
    /// Arrived at the sink, each once, those too that were not accepted.
    pub delivered: u64,
    /// Accepted, not there, and no bounce tells why.
    pub lost: u64,
    /// Copies beyond the first.
    pub doubled: u64,
    /// Of the delivered: what arrived first is not what was sent.
    pub altered: u64,
    /// Of the delivered: came after a later message of the same connection.
    pub reordered: u64,
    /// Accepted, not there, and a bounce (a delivery status notification, RFC 3464) says that it failed.
    pub bounced: u64,
    /// Of the delivered: the server had not accepted it.
    pub delivered_not_accepted: u64,
    /// Accepted, not there, and the sink may have had it: the ring recycled it, or the sink did not keep it.
    pub unknown: u64,
    /// Of the delivered: arrived for another recipient than the one that was sent.
    pub rewritten: u64,
}

/// Counts, and how long it took.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveryPart {
    #[serde(flatten)]
    pub counts: DeliveryCounts,
    /// From when the message was due, or in a closed loop begun, to its end at the sink.
    pub delivery_ns: Latency,
    /// From the reply that accepted it to its end at the sink.
    pub transit_ns: Latency,
}

/// A part by name: of a domain, a class of sizes or a target.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliverySplit {
    pub name: String,
    #[serde(flatten)]
    pub part: DeliveryPart,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliverySecond {
    /// Its start, Unix seconds, and its length.
    pub from_s: u64,
    pub seconds: u64,
    /// Deliveries that were accepted and that arrived in it.
    pub accepted: u64,
    pub delivered: u64,
    /// Accepted and not arrived at its end: the queue of the server, as it is seen from outside. What was
    /// lost stays in it.
    pub in_flight: u64,
}

/// One way between two servers, from the times in the Received fields, which are whole seconds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveryHop {
    /// Its number on the way, from 1 on; the last ends at the sink.
    pub hop: u64,
    /// The host that received the message, as it calls itself.
    pub by: String,
    /// From the hop before it, or from when the message was due.
    pub took_ns: Latency,
}

/// What became of the messages of one or several runs behind the server that took them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveryResult {
    /// Version of this format.
    pub schema: u32,
    /// The runs, by their `id`.
    pub runs: Vec<String>,
    /// Of deliveries: a message for one recipient of its envelope.
    #[serde(flatten)]
    pub deliveries: DeliveryPart,
    /// Of whole messages. One is delivered when all its accepted recipients have it, and it is lost, doubled
    /// or altered when that is true for one of them.
    pub messages: DeliveryPart,
    /// What changed in the messages that were altered; one may have several changes.
    pub alterations: BTreeMap<String, u64>,
    /// Arrived for recipients beyond those that were sent, such as the members of a list.
    pub expanded: u64,
    /// Bounces that say that a delivery is late, and those that name no recipient that was sent.
    pub delay_notices: u64,
    pub bounces_unmatched: u64,
    /// Messages that arrived and whose fate is not in `run.msgs`: of a run that was killed or goes on.
    pub untold: u64,
    /// Messages in the spools that are none of these runs.
    pub others: u64,
    /// Messages whose `run.msgs` is torn lose their last fates.
    pub torn: bool,
    /// What was added to the times of the sink.
    pub clock_offset_ns: i64,
    /// The smallest delivery time, after that; below zero the clocks of two machines differ.
    pub delivery_min_ns: Option<i64>,
    pub domains: Vec<DeliverySplit>,
    pub sizes: Vec<DeliverySplit>,
    pub targets: Vec<DeliverySplit>,
    pub hops: Vec<DeliveryHop>,
    pub seconds: Vec<DeliverySecond>,
}

impl DeliveryCounts {
    pub fn add(&mut self, other: &Self) {
        let Self {
            sent,
            accepted,
            delivered,
            lost,
            doubled,
            altered,
            reordered,
            bounced,
            delivered_not_accepted,
            unknown,
            rewritten,
        } = other;
        self.sent += sent;
        self.accepted += accepted;
        self.delivered += delivered;
        self.lost += lost;
        self.doubled += doubled;
        self.altered += altered;
        self.reordered += reordered;
        self.bounced += bounced;
        self.delivered_not_accepted += delivered_not_accepted;
        self.unknown += unknown;
        self.rewritten += rewritten;
    }

    /// Whether everything that was accepted is in one count.
    pub fn add_up(&self) -> bool {
        let there = self.delivered - self.delivered_not_accepted;
        self.accepted == there + self.lost + self.bounced + self.unknown
    }
}
