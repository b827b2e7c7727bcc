//! Counts messages: sizes, rate over time, domains, flags.

use std::collections::{BTreeMap, HashMap};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::smtp::path::domain_of;
use crate::spool::{Message, RecordFlags, text};

/// Largest message that the histogram of `spool stat` tells from larger ones.
const SIZE_HISTOGRAM_BYTES_MAX: u64 = 1 << 40;

/// Stretches of time that `spool stat` counts apart; they double when there are more.
const TIMELINE_SLOTS_MAX: usize = 4_096;

/// Domains that `spool stat` counts apart; those that come later are counted together.
const DOMAINS_COUNTED_MAX: usize = 100_000;

/// Octets of their names. Nothing but the length of an envelope bounds what a stored address holds.
const DOMAINS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Sums over the messages that were added.
pub struct Statistics {
    messages: u64,
    bytes: u64,
    /// When the first and the last were received, Unix nanoseconds.
    received_ns: Option<(u64, u64)>,
    /// Octets of messages as they were sent.
    sizes: Histogram<u64>,
    timeline: Timeline,
    senders: Domains,
    recipients: Domains,
    /// In the order of [`RecordFlags::NAMES`].
    flags: [u64; RecordFlags::NAMES.len()],
}

/// How many messages, or how many recipients, a domain has.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct DomainCount {
    pub name: String,
    pub count: u64,
}

/// Messages that were received within one stretch of time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
pub struct RateSlot {
    /// Unix seconds.
    pub from_s: u64,
    pub seconds: u64,
    pub messages: u64,
}

impl Default for Statistics {
    fn default() -> Self {
        let sizes = Histogram::new_with_bounds(1, SIZE_HISTOGRAM_BYTES_MAX, 3);
        Self {
            messages: 0,
            bytes: 0,
            received_ns: None,
            sizes: sizes.expect("bounds and digits are what the crate asks for"),
            timeline: Timeline::default(),
            senders: Domains::default(),
            recipients: Domains::default(),
            flags: [0; RecordFlags::NAMES.len()],
        }
    }
}

impl Statistics {
    pub fn add(&mut self, message: &Message) {
        let envelope = &message.envelope;
        self.messages += 1;
        self.bytes += message.bytes;
        let at = envelope.received_ns;
        let (first, last) = self.received_ns.unwrap_or((at, at));
        self.received_ns = Some((first.min(at), last.max(at)));
        self.sizes.saturating_record(envelope.sent_bytes.unwrap_or(message.bytes));
        self.timeline.add(envelope.received_ns / 1_000_000_000);
        self.senders.add(&envelope.reverse_path);
        for to in envelope.recipients.iter() {
            self.recipients.add(to.path);
        }
        for (count, (flag, _)) in self.flags.iter_mut().zip(RecordFlags::NAMES) {
            *count += u64::from(envelope.flags.contains(flag));
        }
    }

    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Octets that are stored of these messages.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn received_ns(&self) -> Option<(u64, u64)> {
        self.received_ns
    }

    pub fn sizes(&self) -> &Histogram<u64> {
        &self.sizes
    }

    /// The time from the first message to the last in at most `slots_max` stretches of whole seconds.
    pub fn rate(&self, slots_max: usize) -> Vec<RateSlot> {
        self.timeline.slots(slots_max as u64)
    }

    /// The `top` domains of senders with the most messages, most first. `<>` is the null sender.
    pub fn senders(&self, top: usize) -> Vec<DomainCount> {
        self.senders.top(top)
    }

    /// The `top` domains of recipients with the most recipients, most first.
    pub fn recipients(&self, top: usize) -> Vec<DomainCount> {
        self.recipients.top(top)
    }

    /// The flags that any message has.
    pub fn flags(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named =
            RecordFlags::NAMES.iter().zip(self.flags).map(|((_, name), count)| (*name, count));
        named.filter(|(_, count)| *count > 0)
    }

    /// Everything above as one object.
    pub fn to_json(&self, slots_max: usize, top: usize) -> Value {
        let sizes = &self.sizes;
        let quantile = |q| if sizes.is_empty() { 0 } else { sizes.value_at_quantile(q) };
        json!({
            "messages": self.messages,
            "bytes": self.bytes,
            "first_received_ns": self.received_ns.map(|(first, _)| first),
            "last_received_ns": self.received_ns.map(|(_, last)| last),
            "sizes": {
                "mean": sizes.mean(),
                "p50": quantile(0.5),
                "p90": quantile(0.9),
                "p99": quantile(0.99),
                "max": sizes.max(),
            },
            "rate": self.rate(slots_max),
            "senders": self.senders(top),
            "recipients": self.recipients(top),
            "flags": self.flags().collect::<HashMap<_, _>>(),
        })
    }
}

/// Counts by time, in slots that widen when there are too many.
struct Timeline {
    slot_s: u64,
    counts: BTreeMap<u64, u64>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { slot_s: 1, counts: BTreeMap::new() }
    }
}

impl Timeline {
    fn add(&mut self, second: u64) {
        *self.counts.entry(second / self.slot_s).or_default() += 1;
        while self.counts.len() > TIMELINE_SLOTS_MAX {
            self.slot_s *= 2;
            let mut wider = BTreeMap::new();
            for (slot, count) in std::mem::take(&mut self.counts) {
                *wider.entry(slot / 2).or_default() += count;
            }
            self.counts = wider;
        }
    }

    fn slots(&self, slots_max: u64) -> Vec<RateSlot> {
        let (Some((first, _)), Some((last, _))) =
            (self.counts.first_key_value(), self.counts.last_key_value())
        else {
            return Vec::new();
        };
        let wide = (last - first + 1).div_ceil(slots_max);
        let count = (last - first) / wide + 1;
        let mut slots: Vec<_> = (0..count)
            .map(|n| RateSlot {
                from_s: (first + n * wide) * self.slot_s,
                seconds: wide * self.slot_s,
                messages: 0,
            })
            .collect();
        for (slot, count) in &self.counts {
            slots[((slot - first) / wide) as usize].messages += count;
        }
        slots
    }
}

/// Counts by domain. Letter case does not count.
#[derive(Default)]
struct Domains {
    counts: HashMap<Vec<u8>, u64>,
    /// Octets of their names.
    bytes: usize,
    /// Counts of domains that first came when the table was full.
    others: u64,
}

impl Domains {
    fn add(&mut self, path: &[u8]) {
        let domain = match domain_of(path) {
            b"" if path.is_empty() => b"<>",
            b"" => &b"no domain"[..],
            domain => domain,
        };
        let domain = domain.to_ascii_lowercase();
        if let Some(count) = self.counts.get_mut(&domain) {
            *count += 1;
        } else if self.counts.len() < DOMAINS_COUNTED_MAX
            && self.bytes + domain.len() <= DOMAINS_BYTES_MAX
        {
            self.bytes += domain.len();
            self.counts.insert(domain, 1);
        } else {
            self.others += 1;
        }
    }

    fn top(&self, top: usize) -> Vec<DomainCount> {
        let mut shares: Vec<_> = self.counts.iter().collect();
        shares.sort_unstable_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let others = self.others + shares.iter().skip(top).map(|(_, count)| *count).sum::<u64>();
        let named = shares.into_iter().take(top);
        let mut shares: Vec<_> = named
            .map(|(domain, count)| DomainCount { name: text(domain), count: *count })
            .collect();
        if others > 0 {
            shares.push(DomainCount { name: "others".into(), count: others });
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_keeps_its_sum_however_long_it_is() {
        let mut timeline = Timeline::default();
        let seconds = 3 * TIMELINE_SLOTS_MAX as u64;
        for second in 0..seconds {
            timeline.add(1_700_000_000 + second);
        }
        assert!(timeline.counts.len() <= TIMELINE_SLOTS_MAX);
        for slots_max in [1, 7, 60] {
            let slots = timeline.slots(slots_max);
            assert!(slots.len() as u64 <= slots_max);
            assert_eq!(slots.iter().map(|slot| slot.messages).sum::<u64>(), seconds);
            assert!(slots.windows(2).all(|two| two[0].from_s + two[0].seconds == two[1].from_s));
            assert!(slots[0].from_s <= 1_700_000_000);
        }
        assert!(Timeline::default().slots(60).is_empty());
    }

    #[test]
    fn domains_are_counted_without_case_and_the_rest_is_summed() {
        let mut domains = Domains::default();
        for path in ["a@X.test", "b@x.test", "c@y.test", "", "postmaster", "d@y.test", "e@x.test"] {
            domains.add(path.as_bytes());
        }
        let shares = |top| {
            let named = domains.top(top).into_iter();
            named.map(|share| (share.name, share.count)).collect::<Vec<_>>()
        };
        assert_eq!(shares(2), [("x.test".into(), 3), ("y.test".into(), 2), ("others".into(), 2)]);
        assert_eq!(shares(9).len(), 4);
        assert!(shares(9).contains(&("<>".into(), 1)));
        domains.add(&[b"a@".to_vec(), vec![b'x'; DOMAINS_BYTES_MAX]].concat());
        assert_eq!(
            domains.top(9).last().map(|last| (&*last.name, last.count)),
            Some(("others", 1))
        );
    }
}
