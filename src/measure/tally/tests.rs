use proptest::prelude::*;

use super::*;
use crate::limits::SESSION_NS_MAX;
use crate::measure::message::{OpenLoop, RecipientCounts};

/// One thing to record, made from plain numbers so that proptest can shrink it.
type Act = (u8, u64, u16, u64);

fn act(tally: &mut Tally, &(what, ns, code, lag): &Act) {
    let phase = Phase::ALL[usize::from(code) % Phase::COUNT];
    let message = |outcome| MessageSample {
        outcome,
        bytes: ns % 5_000,
        recipients: RecipientCounts::of(Outcome::of_reply(code), u32::from(code % 7)),
        start_ns: 0,
        ended_ns: ns.saturating_add(lag),
        service_ns: ns,
        open: Some(OpenLoop {
            response_ns: ns.saturating_add(lag),
            send_lag_ns: lag,
            own_lag_ns: lag / 2,
        }),
    };
    match what % 9 {
        0 => tally.record_message(&message(Outcome::Accepted)),
        1 => tally.record_message(&message(Outcome::of_refusal(code))),
        2 => tally.record_message(&message(Outcome::Unanswered)),
        3 => tally.record_phase(phase, Outcome::of_reply(code), ns),
        4 => tally.count_reply(phase, code, Some((2, code % 9, (ns % 40) as u16))),
        5 => tally.record_not_begun(ns),
        6 => tally.note_behind(lag, ns),
        7 => tally.refusals.record(phase, code | 512, &[b'a' + (ns % 5) as u8]),
        _ => tally.count_error(ErrorKind::ALL[usize::from(code) % ErrorKind::COUNT]),
    }
}

fn tally_of(acts: &[Act]) -> Tally {
    let mut tally = Tally::new(Mode::Open);
    acts.iter().for_each(|each| act(&mut tally, each));
    tally
}

fn sum(tallies: &[&Tally]) -> Tally {
    let mut sum = Tally::new(Mode::Open);
    tallies.iter().for_each(|tally| sum.add(tally));
    sum
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let ns = prop_oneof![0..10_000u64, 0..LATENCY_NS_MAX, Just(u64::MAX)];
    // Few enough that the table of enhanced codes never overflows within one tally.
    prop::collection::vec((any::<u8>(), ns, 150..620u16, 0..1_000_000u64), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn adding_is_exact_and_its_order_does_not_matter(a in acts(), b in acts(), c in acts()) {
        let (ta, tb, tc) = (tally_of(&a), tally_of(&b), tally_of(&c));
        let whole = sum(&[&ta, &tb, &tc]);
        prop_assert_eq!(&sum(&[&tc, &ta, &tb]), &whole);
        prop_assert_eq!(&sum(&[&ta, &sum(&[&tb, &tc])]), &whole);
        prop_assert_eq!(&sum(&[&sum(&[&tb, &ta]), &tc]), &whole);
    }

    #[test]
    fn one_recorder_and_many_come_to_the_same(acts in acts(), cut in 0..60usize) {
        let (left, right) = acts.split_at(cut.min(acts.len()));
        let whole = sum(&[&tally_of(left), &tally_of(right)]);
        prop_assert_eq!(whole, tally_of(&acts));
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_samples_within_the_digits(
        mut samples in prop::collection::vec(1..LATENCY_NS_MAX, 1..500),
    ) {
        let mut tally = Tally::new(Mode::Closed);
        samples.iter().for_each(|&ns| {
            tally.record_phase(Phase::EndOfData, Outcome::Accepted, ns);
            tally.record_message(&accepted(ns));
        });
        samples.sort_unstable();
        for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let rank = ((quantile * samples.len() as f64).ceil() as usize).max(1);
            let exact = samples[rank - 1] as f64;
            for (histogram, digits) in
                [(&tally.service_ns, HEADLINE_DIGITS), (tally.phase(Phase::EndOfData), PHASE_DIGITS)]
            {
                let found = histogram.value_at_quantile(quantile) as f64;
                let error = exact * 10f64.powi(-i32::from(digits));
                prop_assert!((found - exact).abs() <= error.max(1.0), "{} {} {}", quantile, found, exact);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_part_is_never_longer_than_its_whole(
        samples in prop::collection::vec((0..LATENCY_NS_MAX, 0..=1_000_u64, 0..=1_000_u64), 1..60)
    ) {
        let mut tally = Tally::new(Mode::Open);
        for (response_ns, lag, own) in samples {
            // In small steps, so that parts are nearly the whole.
            let send_lag_ns = response_ns / 1_000 * lag;
            let own_lag_ns = send_lag_ns - send_lag_ns / 1_000_000 * own;
            let service_ns = response_ns - send_lag_ns;
            let open = Some(OpenLoop { response_ns, send_lag_ns, own_lag_ns });
            tally.record_message(&MessageSample { open, ..accepted(service_ns) });
            tally.record_phase(Phase::Message, Outcome::Accepted, service_ns);
        }
        let open = tally.open.as_ref().unwrap();
        for (what, part, whole) in [
            ("own lag", &open.own_lag_ns, &open.send_lag_ns),
            ("send lag", &open.send_lag_ns, &open.response_ns),
            ("service time", &tally.service_ns, &open.response_ns),
            ("message", tally.phase(Phase::Message), &tally.service_ns),
        ] {
            prop_assert!(part.mean() <= whole.mean() * (1.0 + 1e-12), "{}", what);
            for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let [part, whole] = [part, whole].map(|times| times.value_at_quantile(quantile));
                prop_assert!(part <= whole, "{} at {}: {} of {}", what, quantile, part, whole);
            }
        }
    }
}

fn accepted(service_ns: u64) -> MessageSample {
    MessageSample {
        outcome: Outcome::Accepted,
        bytes: 1_024,
        recipients: RecipientCounts::of(Outcome::Accepted, 1),
        start_ns: 0,
        ended_ns: service_ns,
        service_ns,
        open: None,
    }
}

#[test]
fn a_quick_refusal_does_not_improve_the_headline_and_silence_does_not_either() {
    let mut tally = Tally::new(Mode::Closed);
    tally.record_message(&accepted(1_000_000));
    for (outcome, ns) in [(Outcome::Refused4xx, 1_000), (Outcome::Unanswered, 9_000_000_000)] {
        let recipients = RecipientCounts::of(outcome, 1);
        tally.record_message(&MessageSample { outcome, recipients, ..accepted(ns) });
    }
    assert_eq!((tally.counts.messages_ok, tally.counts.messages_failed), (1, 2));
    assert_eq!(tally.counts.messages_unanswered, 1);
    assert_eq!((tally.counts.bytes, tally.counts.recipients), (1_024, 1));
    assert_eq!((tally.counts.recipients_asked, tally.counts.recipients_refused_4xx), (3, 1));
    assert_eq!((tally.service_ns.len(), tally.refused_ns.len()), (2, 1));
    assert!(tally.service_ns.min() > 900_000 && tally.service_ns.max() >= 9_000_000_000);
}

#[test]
fn a_latency_beyond_the_histogram_is_clamped_and_counted() {
    let mut tally = Tally::new(Mode::Closed);
    tally.record_phase(Phase::Mail, Outcome::Accepted, u64::MAX);
    tally.record_phase(Phase::Mail, Outcome::Accepted, LATENCY_NS_MAX);
    assert_eq!(tally.counts.saturated, 1);
    assert_eq!(tally.phase(Phase::Mail).len(), 2);
}

#[test]
fn a_session_may_be_as_long_as_a_run() {
    let mut tally = Tally::new(Mode::Closed);
    let day = 24 * LATENCY_NS_MAX;
    for outcome in [Outcome::Accepted, Outcome::Unanswered] {
        tally.record_phase(Phase::Session, outcome, day);
    }
    tally.record_phase(Phase::Session, Outcome::Accepted, SESSION_NS_MAX);
    assert_eq!(tally.counts.saturated, 0);
    let sessions = tally.split(Phase::Session);
    let broken = sessions.of(Outcome::Unanswered).unwrap();
    assert!((day..day + day / 100).contains(&broken.max()), "{}", broken.max());
    assert!(sessions.is_sound() && sessions.all().max() >= SESSION_NS_MAX);
}

#[test]
fn replies_are_counted_by_phase_and_code_and_odd_codes_apart() {
    let mut tally = Tally::new(Mode::Closed);
    for code in [250, 250, 451, 571, 599, 199, 600, 0] {
        tally.count_reply(Phase::Rcpt, code, None);
    }
    let replies: Vec<_> = tally.replies(Phase::Rcpt).collect();
    assert_eq!(replies, [(250, 2), (451, 1), (571, 1), (599, 1)]);
    assert_eq!(tally.replies(Phase::Mail).count(), 0);
    assert_eq!(tally.replies_odd(), 5);
}

#[test]
fn a_cleared_tally_equals_a_new_one() {
    let acts: Vec<Act> = (0..60u16).map(|n| (n as u8, 1 << (n % 40), 200 + n, 77)).collect();
    let mut tally = tally_of(&acts);
    assert_ne!(tally, Tally::new(Mode::Open));
    tally.clear();
    assert_eq!(tally, Tally::new(Mode::Open));
}
