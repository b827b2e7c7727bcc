//! Counts and times of all deliveries, and of parts of them.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::measure::{HEADLINE_DIGITS, PHASE_DIGITS, long_histogram};
use crate::run::Latency;
use crate::run::delivery::{DeliveryCounts, DeliveryPart, DeliverySplit};

/// Parts of one kind that are told apart; those that come later are one part together.
const PARTS_MAX: usize = 100;
/// The name of that part.
const OTHERS: &str = "others";

/// How long deliveries took, in nanoseconds.
#[derive(Clone, Debug)]
pub struct DeliveryTimes {
    /// From when a message was due to its end at the sink.
    pub delivery_ns: Histogram<u64>,
    /// From the reply that accepted it.
    pub transit_ns: Histogram<u64>,
}

/// Counts and times.
#[derive(Clone, Debug)]
pub(super) struct DeliverySums {
    pub(super) counts: DeliveryCounts,
    pub(super) times: DeliveryTimes,
}

/// Parts by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts(BTreeMap<String, DeliverySums>);

impl DeliveryTimes {
    fn new(digits: u8) -> Self {
        Self { delivery_ns: long_histogram(digits), transit_ns: long_histogram(digits) }
    }

    /// Records a delivery; `transit_ns` is `None` where no reply accepted it.
    pub(super) fn record(&mut self, delivery_ns: u64, transit_ns: Option<u64>) {
        self.delivery_ns.saturating_record(delivery_ns);
        if let Some(transit_ns) = transit_ns {
            self.transit_ns.saturating_record(transit_ns);
        }
    }
}

impl DeliverySums {
    /// Of everything.
    pub(super) fn whole() -> Self {
        Self { counts: DeliveryCounts::default(), times: DeliveryTimes::new(HEADLINE_DIGITS) }
    }

    pub(super) fn part(&self) -> DeliveryPart {
        DeliveryPart {
            counts: self.counts,
            delivery_ns: Latency::from(&self.times.delivery_ns),
            transit_ns: Latency::from(&self.times.transit_ns),
        }
    }
}

impl Parts {
    /// The part of this name.
    pub(super) fn of(&mut self, name: &str) -> &mut DeliverySums {
        let name = match self.0.contains_key(name) || self.0.len() < PARTS_MAX {
            true => name,
            false => OTHERS,
        };
        let new = || DeliverySums {
            counts: DeliveryCounts::default(),
            times: DeliveryTimes::new(PHASE_DIGITS),
        };
        // A name that is known takes no memory of its own.
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), new());
        }
        self.0.get_mut(name).expect("it was put in")
    }

    pub(super) fn splits(&self) -> Vec<DeliverySplit> {
        let split = |(name, sums): (&String, &DeliverySums)| DeliverySplit {
            name: name.clone(),
            part: sums.part(),
        };
        self.0.iter().map(split).collect()
    }
}

/// The name of the class of messages with so many octets: up to a power of two, from 1 KiB on.
pub(super) fn size_class(bytes: u64) -> &'static str {
    const NAMES: [&str; 21] = [
        "up to 1 KiB",
        "up to 2 KiB",
        "up to 4 KiB",
        "up to 8 KiB",
        "up to 16 KiB",
        "up to 32 KiB",
        "up to 64 KiB",
        "up to 128 KiB",
        "up to 256 KiB",
        "up to 512 KiB",
        "up to 1 MiB",
        "up to 2 MiB",
        "up to 4 MiB",
        "up to 8 MiB",
        "up to 16 MiB",
        "up to 32 MiB",
        "up to 64 MiB",
        "up to 128 MiB",
        "up to 256 MiB",
        "up to 512 MiB",
        "above 512 MiB",
    ];
    let class = bytes.div_ceil(1_024).max(1).checked_next_power_of_two().map_or(20, u64::ilog2);
    NAMES[(class as usize).min(20)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_in_the_class_that_holds_it() {
        for (bytes, class) in [
            (0, "up to 1 KiB"),
            (1_024, "up to 1 KiB"),
            (1_025, "up to 2 KiB"),
            (512 << 20, "up to 512 MiB"),
            ((512 << 20) + 1, "above 512 MiB"),
            (u64::MAX, "above 512 MiB"),
        ] {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
    }

    #[test]
    fn so_many_parts_are_told_apart_and_the_rest_is_one() {
        let mut parts = Parts::default();
        for n in 0..PARTS_MAX + 50 {
            parts.of(&format!("{n:04}.test")).counts.sent += 1;
        }
        let splits = parts.splits();
        assert_eq!(splits.len(), PARTS_MAX + 1);
        let others = splits.iter().find(|split| split.name == OTHERS).unwrap();
        assert_eq!(others.part.counts.sent, 50);
    }
}
