//! Whatever a spool holds, what is counted adds up.

use proptest::prelude::*;

use super::JoinOptions;
use super::alteration::Alteration;
use super::bounce::{Bounce, BounceAction};
use super::join::{Join, StampedArrival};
use super::sent::SentRun;
use crate::measure::Outcome;
use crate::run::messages::{
    MessageFate, MessagesHead, PathPattern, SentEnvelope, SentMessage, SentTable,
};
use crate::spool::RecipientList;
use crate::stamp::Stamp;

const START_NS: u64 = 1_700_000_000_000_000_000;
const MESSAGES: u64 = 20;

/// Two cores that sent so many messages each, in turn to one recipient and to three.
fn sent() -> SentRun {
    let path = |octets: &str| PathPattern { octets: octets.as_bytes().into(), blanks: [].into() };
    let one = SentEnvelope { recipients: [path("a@x.test")].into() };
    let three =
        SentEnvelope { recipients: [path("a@x.test"), path("b@Y.test"), path("c@x.test")].into() };
    let table = SentTable {
        messages: [(0, 1_000), (1, 5_000), (0, 2_000)]
            .map(|(envelope, size)| SentMessage { envelope, size })
            .into(),
        envelopes: vec![one, three],
    };
    let head = MessagesHead {
        run: 7,
        shard: 0,
        start_unix_ns: START_NS,
        seed: 1,
        cores: 2,
        messages: 3,
        envelopes: 2,
    };
    let mut sent = SentRun::new(head, table);
    for (core, seq) in (0..2).flat_map(|core| (1..=MESSAGES).map(move |seq| (core, seq))) {
        let outcome = if seq % 7 == 0 { Outcome::Refused5xx } else { Outcome::Accepted };
        let asked = sent.recipients(core, seq) as u16;
        let accepted = match outcome {
            Outcome::Accepted if seq % 5 == 0 => asked.saturating_sub(1),
            Outcome::Accepted => asked,
            _ => 0,
        };
        let ended_ns = seq * 1_000_000;
        let fate =
            MessageFate { seq, outcome, is_measured: seq > 2, target: 0, accepted, ended_ns };
        sent.take(core, &fate);
    }
    sent
}

fn stamps() -> impl Strategy<Value = Stamp> {
    let seq = prop_oneof![8 => 0..MESSAGES + 5, 1 => any::<u64>()];
    let conn = prop_oneof![8 => (0u32..4).prop_map(Some), 1 => any::<u32>().prop_map(Some), 1 => Just(None)];
    let run = prop_oneof![8 => Just(7), 1 => any::<u64>()];
    let due = prop_oneof![8 => START_NS..START_NS + 50_000_000, 1 => any::<u64>()];
    (run, 0u16..3, conn, seq, due).prop_map(|(run, core, conn, seq, due_unix_ns)| Stamp {
        run,
        core,
        conn,
        seq,
        due_unix_ns,
        ..Stamp::default()
    })
}

fn addresses() -> impl Strategy<Value = Vec<String>> {
    let one = prop::sample::select(vec!["a@x.test", "B@y.test", "c@X.TEST", "other@z.test", ""]);
    prop::collection::vec(one.prop_map(str::to_owned), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn counts_add_up_whatever_arrives(
        arrivals in prop::collection::vec((stamps(), addresses(), any::<u64>(), 0u8..64), 0..60),
        bounces in prop::collection::vec((stamps(), addresses()), 0..6),
        recycled in prop::option::of(START_NS..START_NS + 30_000_000),
        offset in any::<i64>(),
    ) {
        let runs = [sent()];
        let options = JoinOptions { clock_offset_ns: offset, not_kept: vec!["y.test".to_owned()] };
        let mut join = Join::new(&runs, &options);
        for (stamp, to, at_ns, change) in arrivals {
            let none: &[u8] = b"";
            let recipients: RecipientList = to.iter().map(|to| (to.as_bytes(), none)).collect();
            let alteration = Alteration::from_bits_truncate(change);
            join.arrive(&StampedArrival { stamp, header: b"", alteration, at_ns, recipients: &recipients });
        }
        for (stamp, to) in bounces {
            let to = to.into_iter().map(|to| (BounceAction::Failed, to.into_bytes()));
            join.bounce(&Bounce { stamp, recipients: to.collect() });
        }
        let result = join.settle(recycled);
        let counts = result.deliveries.counts;
        prop_assert!(counts.add_up(), "{:?}", counts);
        let asked: u64 = runs[0].all().map(|(core, seq)| runs[0].recipients(core, seq)).sum();
        prop_assert_eq!((counts.sent, result.messages.counts.sent), (asked, 2 * MESSAGES));
        prop_assert!(result.messages.counts.add_up(), "{:?}", result.messages.counts);
        prop_assert!(counts.altered <= counts.delivered + result.expanded);
        let measured = result.deliveries.delivery_ns.count;
        prop_assert!(measured <= counts.delivered + result.expanded);
        for splits in [&result.domains, &result.sizes] {
            let sum = |of: fn(&crate::run::delivery::DeliveryCounts) -> u64| -> u64 {
                splits.iter().map(|split| of(&split.part.counts)).sum()
            };
            prop_assert_eq!(sum(|counts| counts.lost), counts.lost);
            prop_assert_eq!(sum(|counts| counts.delivered), counts.delivered);
            prop_assert_eq!(sum(|counts| counts.unknown), counts.unknown);
        }
    }
}

#[test]
fn nothing_that_arrived_twice_is_delivered_twice_and_who_is_missing_is_lost() {
    let runs = [sent()];
    let options = JoinOptions::default();
    let mut join = Join::new(&runs, &options);
    let none: &[u8] = b"";
    let mut arrive = |core, seq, to: &[&str]| {
        let stamp = Stamp { run: 7, core, seq, due_unix_ns: START_NS, ..Stamp::default() };
        let recipients: RecipientList = to.iter().map(|to| (to.as_bytes(), none)).collect();
        let (alteration, at_ns) = (Alteration::empty(), START_NS + 10_000_000);
        join.arrive(&StampedArrival {
            stamp,
            header: b"",
            alteration,
            at_ns,
            recipients: &recipients,
        });
    };
    // Number 3 of core 0 is the second of the different messages, with three recipients.
    arrive(0, 3, &["b@y.test"]);
    arrive(0, 3, &["c@x.test"]);
    arrive(0, 3, &["C@x.test"]);
    let result = join.settle(None);
    let counts = result.deliveries.counts;
    assert_eq!((counts.delivered, counts.doubled), (2, 1));
    assert_eq!(counts.lost, counts.accepted - 2);
    assert_eq!(result.deliveries.delivery_ns.max.map(|ns| ns / 1_000_000), Some(10));
    assert_eq!(result.deliveries.transit_ns.max.map(|ns| ns / 1_000_000), Some(7));
    assert_eq!(result.messages.delivery_ns.count, 0, "no message is whole");
}
