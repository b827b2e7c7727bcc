//! Deliveries over time.

use std::collections::BTreeMap;

use crate::run::delivery::DeliverySecond;

/// Stretches of time that are counted apart; they double when there are more.
const SLOTS_MAX: usize = 4_096;

/// Counts by time, in slots that widen when there are too many.
#[derive(Clone, Debug)]
pub(super) struct DeliveryTimeline {
    slot_s: u64,
    /// Accepted and delivered.
    slots: BTreeMap<u64, [u64; 2]>,
}

impl Default for DeliveryTimeline {
    fn default() -> Self {
        Self { slot_s: 1, slots: BTreeMap::new() }
    }
}

impl DeliveryTimeline {
    pub(super) fn accepted(&mut self, unix_ns: u64, count: u64) {
        self.add(unix_ns, [count, 0]);
    }

    pub(super) fn delivered(&mut self, unix_ns: u64, count: u64) {
        self.add(unix_ns, [0, count]);
    }

    fn add(&mut self, unix_ns: u64, counts: [u64; 2]) {
        let slot = self.slots.entry(unix_ns / 1_000_000_000 / self.slot_s).or_default();
        slot.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        while self.slots.len() > SLOTS_MAX {
            self.slot_s *= 2;
            let mut wider: BTreeMap<u64, [u64; 2]> = BTreeMap::new();
            for (slot, counts) in std::mem::take(&mut self.slots) {
                let sums = wider.entry(slot / 2).or_default();
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
            self.slots = wider;
        }
    }

    /// The slots in which something happened.
    pub(super) fn seconds(&self) -> Vec<DeliverySecond> {
        let mut in_flight = 0_i64;
        let second = |(slot, [accepted, delivered]): (&u64, &[u64; 2])| {
            in_flight += *accepted as i64 - *delivered as i64;
            DeliverySecond {
                from_s: slot * self.slot_s,
                seconds: self.slot_s,
                accepted: *accepted,
                delivered: *delivered,
                in_flight: in_flight.max(0) as u64,
            }
        };
        self.slots.iter().map(second).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_time_keeps_its_sums() {
        let mut timeline = DeliveryTimeline::default();
        for second in 0..3 * SLOTS_MAX as u64 {
            timeline.accepted(second * 1_000_000_000, 2);
            timeline.delivered((second + 5) * 1_000_000_000, 1);
        }
        let seconds = timeline.seconds();
        assert!(seconds.len() <= SLOTS_MAX && seconds[0].seconds == 4);
        let sums = seconds.iter().fold((0, 0), |(a, d), s| (a + s.accepted, d + s.delivered));
        assert_eq!(sums, (6 * SLOTS_MAX as u64, 3 * SLOTS_MAX as u64));
        assert_eq!(seconds.last().unwrap().in_flight, 3 * SLOTS_MAX as u64);
    }
}
