//! What the script did, counted by itself: sets in place of bits, and one recipient after the other.

use std::collections::{BTreeMap, BTreeSet};

use ringpost::run::delivery::{DeliveryCounts, DeliveryResult};

/// A message by core and number.
pub(crate) type Key = (u16, u64);

/// A recipient as the script knows it: one that was sent, by its place, or another.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum To {
    Sent(usize),
    Other(String),
}

#[derive(Debug, Default)]
struct Entry {
    recipients: usize,
    accepted: bool,
    arrived: BTreeSet<To>,
    bounced: BTreeSet<usize>,
    doubled: bool,
    altered: bool,
    reordered: bool,
}

/// All messages of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    messages: BTreeMap<Key, Entry>,
    latest: BTreeMap<(u16, u32), u64>,
    counts: DeliveryCounts,
    pub alterations: BTreeMap<String, u64>,
}

impl Ledger {
    pub(crate) fn sent(&mut self, key: Key, recipients: usize, accepted: bool) {
        let entry = Entry { recipients, accepted, ..Entry::default() };
        assert!(self.messages.insert(key, entry).is_none());
    }

    /// In the order of time.
    pub(crate) fn arrives(&mut self, key: Key, conn: u32, to: &[To], change: Option<&str>) {
        let entry = self.messages.get_mut(&key).unwrap();
        if entry.arrived.is_empty() {
            let latest = self.latest.entry((key.0, conn)).or_default();
            entry.reordered = key.1 < *latest;
            *latest = key.1.max(*latest);
        }
        for to in to {
            if entry.arrived.insert(to.clone()) {
                self.counts.altered += u64::from(change.is_some());
                self.counts.reordered += u64::from(entry.reordered);
                if let Some(change) = change.filter(|_| !entry.altered) {
                    *self.alterations.entry(change.to_owned()).or_default() += 1;
                    entry.altered = true;
                }
            } else {
                self.counts.doubled += 1;
                entry.doubled = true;
            }
        }
    }

    pub(crate) fn bounces(&mut self, key: Key, index: usize) {
        self.messages.get_mut(&key).unwrap().bounced.insert(index);
    }

    /// Holds a report against it.
    pub(crate) fn check(&self, result: &DeliveryResult, told: &str) {
        let mut deliveries = self.counts;
        let (mut messages, mut expanded) = (DeliveryCounts::default(), 0);
        for entry in self.messages.values() {
            let mut others = entry.arrived.iter().filter(|to| matches!(to, To::Other(_))).count();
            let mut worst = 0;
            for index in 0..entry.recipients {
                deliveries.sent += 1;
                deliveries.accepted += u64::from(entry.accepted);
                if entry.arrived.contains(&To::Sent(index)) {
                    deliveries.delivered += 1;
                    deliveries.delivered_not_accepted += u64::from(!entry.accepted);
                } else if !entry.accepted {
                } else if entry.bounced.contains(&index) {
                    deliveries.bounced += 1;
                    worst = worst.max(1);
                } else if others > 0 {
                    others -= 1;
                    deliveries.delivered += 1;
                    deliveries.rewritten += 1;
                    // Scripts rewrite one recipient of a message at most.
                    messages.rewritten += 1;
                } else {
                    deliveries.lost += 1;
                    worst = worst.max(2);
                }
            }
            expanded += others as u64;
            let any = entry.arrived.iter().any(|to| matches!(to, To::Sent(_)));
            messages.sent += 1;
            messages.accepted += u64::from(entry.accepted);
            messages.delivered += u64::from(if entry.accepted { worst == 0 } else { any });
            messages.delivered_not_accepted += u64::from(!entry.accepted && any);
            messages.lost += u64::from(worst == 2);
            messages.bounced += u64::from(worst == 1);
            messages.doubled += u64::from(entry.doubled);
            messages.altered += u64::from(entry.altered);
            messages.reordered += u64::from(entry.reordered);
        }
        assert_eq!(result.deliveries.counts, deliveries, "{told}");
        assert_eq!(result.messages.counts, messages, "{told}");
        assert_eq!(result.alterations, self.alterations, "{told}");
        assert_eq!((result.expanded, result.untold), (expanded, 0), "{told}");
        let domains = result.domains.iter().map(|split| &split.part.counts);
        let sum = domains.fold(DeliveryCounts::default(), |mut sum, counts| {
            sum.add(counts);
            sum
        });
        assert_eq!((sum.sent, sum.lost, sum.delivered), {
            let of = &result.deliveries.counts;
            (of.sent, of.lost, of.delivered)
        });
    }
}
