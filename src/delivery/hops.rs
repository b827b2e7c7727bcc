//! The servers that a message passed, as its Received fields tell (RFC 5321 §4.4).

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use jiff::fmt::rfc2822;

use crate::measure::{PHASE_DIGITS, long_histogram};
use crate::run::Latency;
use crate::run::delivery::DeliveryHop;
use crate::stamp::HeaderFields;

/// Hops that are told apart, and how many of one message are looked at.
const HOPS_TOLD_MAX: usize = 64;
const HOPS_MAX: usize = 30;
const SECOND_NS: u64 = 1_000_000_000;
/// The name of the last hop.
const SINK: &str = "sink";

/// Times by the number of a hop and the host that received the message.
#[derive(Clone, Debug, Default)]
pub(super) struct Hops(BTreeMap<(u64, String), Histogram<u64>>);

impl Hops {
    /// Adds the way of a message that was due and arrived at these times, Unix nanoseconds.
    pub(super) fn add(&mut self, header: &[u8], due_ns: u64, arrived_ns: u64) {
        let received = HeaderFields::new(header).filter(|field| {
            field.get(..9).is_some_and(|name| name.eq_ignore_ascii_case(b"received:"))
        });
        let mut passed: Vec<_> = received.take(HOPS_MAX).filter_map(received_by).collect();
        // The last server writes the first field.
        passed.reverse();
        // Dates are whole seconds, so that the time before the first of them is too.
        let mut before_ns = due_ns / SECOND_NS * SECOND_NS;
        let mut hop = 0;
        for (by, at_ns) in passed {
            hop += 1;
            self.record(hop, &by, at_ns.saturating_sub(before_ns));
            before_ns = at_ns;
        }
        if hop > 0 {
            let arrived_ns = arrived_ns / SECOND_NS * SECOND_NS;
            self.record(hop + 1, SINK, arrived_ns.saturating_sub(before_ns));
        }
    }

    fn record(&mut self, hop: u64, by: &str, took_ns: u64) {
        let key = (hop, by.to_owned());
        if self.0.len() < HOPS_TOLD_MAX || self.0.contains_key(&key) {
            let times = self.0.entry(key).or_insert_with(|| long_histogram(PHASE_DIGITS));
            times.saturating_record(took_ns);
        }
    }

    pub(super) fn told(&self) -> Vec<DeliveryHop> {
        let told = |((hop, by), took): (&(u64, String), &Histogram<u64>)| DeliveryHop {
            hop: *hop,
            by: by.clone(),
            took_ns: Latency::from(took),
        };
        self.0.iter().map(told).collect()
    }
}

/// The host that wrote a Received field, and when, Unix nanoseconds.
fn received_by(field: &[u8]) -> Option<(String, u64)> {
    let text = String::from_utf8_lossy(field);
    let (clauses, date) = text.rsplit_once(';')?;
    let mut words = clauses.split_ascii_whitespace();
    words.find(|word| word.eq_ignore_ascii_case("by"))?;
    let by = words.next()?.to_owned();
    let unfolded = date.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let at = rfc2822::parse(&unfolded).ok()?.timestamp().as_nanosecond();
    Some((by, u64::try_from(at).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_those_of_the_header_from_the_first_server_to_the_sink() {
        let header = b"Received: from a by mx.test (Postfix)\r\n\twith ESMTP id 1;\r\n\t\
            Tue, 14 Nov 2023 22:13:25 +0000 (UTC)\r\n\
            Received: from b\r\n by relay.test with SMTP; Tue, 14 Nov 2023 14:13:21 -0800\r\n\
            Received: no date\r\nSubject: x\r\n\r\nReceived: by body; Tue, 14 Nov 2023 22:13:25 +0000\r\n";
        let start_ns = 1_700_000_000 * SECOND_NS;
        let mut hops = Hops::default();
        hops.add(header, start_ns + 999, start_ns + 7 * SECOND_NS);
        let told: Vec<_> = hops
            .told()
            .into_iter()
            .map(|hop| (hop.hop, hop.by, hop.took_ns.max.unwrap() / 990_000_000))
            .collect();
        let expected = [(1, "relay.test", 1), (2, "mx.test", 4), (3, "sink", 2)];
        assert_eq!(told, expected.map(|(hop, by, s)| (hop, by.to_owned(), s)));
    }
}
