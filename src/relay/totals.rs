//! The results of deliveries: of one, and of all together.

use serde::Serialize;

/// What a relay handed on from its start to its end.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct RelayTotals {
    /// Deliveries of ETRN and ATRN that had something to send.
    pub runs: u64,
    /// Transactions attempted. A message for more recipients than one transaction takes counts once
    /// for each of its transactions.
    pub messages: u64,
    /// Recipients whose message the next server took.
    pub delivered: u64,
    /// Recipients that the next server refused for good.
    pub refused: u64,
    /// Recipients that a delivery was for and that still wait.
    pub left: u64,
}

impl RelayTotals {
    /// Adds a delivery that had mail for `recipients` to send.
    pub(super) fn add(&mut self, recipients: u64, tally: &DeliveryTally) {
        let decided = tally.delivered + tally.refused;
        self.runs += 1;
        self.messages += tally.messages;
        self.delivered += tally.delivered;
        self.refused += tally.refused;
        self.left += recipients.saturating_sub(decided);
    }
}

/// The result of one delivery.
#[derive(Clone, Debug, Default)]
pub(super) struct DeliveryTally {
    pub(super) messages: u64,
    pub(super) delivered: u64,
    pub(super) refused: u64,
    /// The first thing that went wrong, in words for the operator.
    pub(super) why: Option<String>,
}

impl DeliveryTally {
    /// Keeps the first reason and drops later ones.
    pub(super) fn note(&mut self, why: impl FnOnce() -> String) {
        self.why.get_or_insert_with(why);
    }
}
