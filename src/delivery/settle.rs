//! At the end: each delivery that was accepted is in one count.

use super::join::{Arrived, Join, target_name};
use super::sent::Told;
use super::sums::size_class;
use crate::run::delivery::{DeliveryCounts, DeliveryResult};
use crate::run::messages::FatesEnd;

/// How one recipient is counted, and in which domain.
type CountedRecipient = (u32, DeliveryCounts);

impl Join<'_> {
    /// Counts everything. What was accepted before `recycled_until_ns` and is not there may have been
    /// recycled by a ring.
    pub(super) fn settle(mut self, recycled_until_ns: Option<u64>) -> DeliveryResult {
        let mut room = Vec::new();
        for run in 0..self.runs.len() {
            let sent = self.runs[run].sent;
            self.result.torn |= !matches!(sent.end, FatesEnd::Whole { missed: 0 });
            for (core, seq) in sent.all() {
                let Some(told) = sent.told(core, seq) else { continue };
                // It was surely begun after everything that was recycled had arrived.
                let begun_ns = told.ended_ns.saturating_sub(sent.service_max_ns);
                let recycled = recycled_until_ns.is_some_and(|until_ns| begun_ns <= until_ns);
                let kept = |index: u64| {
                    let domain = &sent.domains[sent.domain(core, seq, index) as usize];
                    !self.options.not_kept.iter().any(|name| name == "*" || name == domain)
                };
                let arrived = &self.runs[run];
                room.clear();
                let strange =
                    arrived.judge((core, seq), &told, |n| recycled || !kept(n), &mut room);
                self.add(run, (core, seq), &told, &room);
                self.result.expanded += strange;
            }
        }
        debug_assert!(self.deliveries.counts.add_up(), "{:?}", self.deliveries.counts);
        self.put_together()
    }

    fn add(
        &mut self,
        run: usize,
        (core, seq): (u16, u64),
        told: &Told,
        counted: &[CountedRecipient],
    ) {
        let sent = self.runs[run].sent;
        let size = size_class(sent.table.of(&sent.head, core, seq).0.size);
        let mut sum = DeliveryCounts::default();
        for (domain, counts) in counted {
            sum.add(counts);
            self.domains.of(&sent.domains[*domain as usize]).counts.add(counts);
        }
        self.deliveries.counts.add(&sum);
        self.sizes.of(size).counts.add(&sum);
        if let Some(name) = target_name(sent, Some(told)) {
            self.targets.of(name).counts.add(&sum);
        }
        let (arrived, number) = (&self.runs[run], sent.head.number(core, seq));
        let is = |any: bool| u64::from(any);
        let (lost, unknown) = (sum.lost > 0, sum.lost == 0 && sum.unknown > 0);
        let bounced = !lost && !unknown && sum.bounced > 0;
        let not_accepted = sum.accepted == 0 && sum.delivered > 0;
        let whole = sum.accepted > 0 && !lost && !unknown && !bounced;
        self.messages.counts.add(&DeliveryCounts {
            sent: 1,
            accepted: is(sum.accepted > 0),
            delivered: is(whole || not_accepted),
            lost: is(lost),
            doubled: is(arrived.doubled.get(number)),
            altered: is(arrived.altered.get(number)),
            reordered: is(arrived.reordered.get(number)),
            bounced: is(bounced),
            delivered_not_accepted: is(not_accepted),
            unknown: is(unknown),
            rewritten: is(sum.rewritten > 0),
        });
    }
}

impl Arrived<'_> {
    /// Judges each recipient of a message, and answers how many arrived beyond those that were sent to. Where
    /// a server accepted a message for some of its recipients, the count of these is known and not their
    /// names: what arrived was accepted, then what bounced, then what arrived under another name.
    fn judge(
        &self,
        (core, seq): (u16, u64),
        told: &Told,
        may_be_gone: impl Fn(u64) -> bool,
        counted: &mut Vec<CountedRecipient>,
    ) -> u64 {
        let (recipients, bit) = (self.sent.recipients(core, seq), self.sent.bit(core, seq));
        let number = self.sent.head.number(core, seq);
        let mut strange = self.strange_of.get(&number).copied().unwrap_or(0);
        let mut left = told.accepted;
        let rank = |index: u64| {
            if self.deliveries.get(bit + index) {
                0
            } else if self.bounced.get(bit + index) {
                1
            } else if !may_be_gone(index) {
                2
            } else {
                3
            }
        };
        for wanted in 0..4 {
            for index in (0..recipients).filter(|&index| rank(index) == wanted) {
                let mut counts = DeliveryCounts { sent: 1, ..DeliveryCounts::default() };
                let accepted = left > 0;
                left = left.saturating_sub(1);
                counts.accepted = u64::from(accepted);
                match (wanted, accepted) {
                    (0, _) => {
                        counts.delivered = 1;
                        counts.delivered_not_accepted = u64::from(!accepted);
                    }
                    (_, false) => {}
                    (1, true) => counts.bounced = 1,
                    (_, true) if strange > 0 => {
                        strange -= 1;
                        (counts.delivered, counts.rewritten) = (1, 1);
                    }
                    (2, true) => counts.lost = 1,
                    (_, true) => counts.unknown = 1,
                }
                counted.push((self.sent.domain(core, seq, index), counts));
            }
        }
        strange
    }
}
