use proptest::prelude::*;

use super::*;
use crate::measure::{Counters, ErrorKind, Phase};
use crate::run::{Latency, PhaseResult};

fn times() -> impl Strategy<Value = Time> {
    prop_oneof![
        Just(Time::Headline),
        Just(Time::Response),
        Just(Time::Service),
        Just(Time::SendLag),
        Just(Time::OwnLag),
        prop::sample::select(&Phase::ALL[..]).prop_map(Time::Phase),
    ]
}

fn figures() -> impl Strategy<Value = Metric> {
    let codes =
        || prop_oneof![(200..600u16).prop_map(Codes::One), (2..6u16).prop_map(Codes::Class)];
    let phase = prop::option::of(prop::sample::select(&Phase::ALL[..]));
    prop_oneof![
        (times(), prop::sample::select(&Statistic::ALL[..]))
            .prop_map(|(time, statistic)| Metric::Time(time, statistic)),
        prop::sample::select(&ErrorKind::ALL[..]).prop_map(Metric::ErrorsOf),
        (phase, codes()).prop_map(|(phase, codes)| Metric::Replies(phase, codes)),
        Just(Metric::Rate),
        Just(Metric::Accepted),
        Just(Metric::Failed),
        Just(Metric::Refused),
        Just(Metric::Unanswered),
        Just(Metric::Errors),
        Just(Metric::Errors4xx),
        Just(Metric::Errors5xx),
        Just(Metric::CpuBusy),
    ]
}

fn units() -> impl Strategy<Value = Unit> {
    use Unit::{Change, Giga, Kilo, Mega, Ms, Ns, One, Percent, S, Us};
    prop::sample::select(vec![Ns, Us, Ms, S, Percent, Change, One, Kilo, Mega, Giga])
}

fn conditions() -> impl Strategy<Value = Condition> {
    let operator = prop::sample::select(&Operator::ALL[..]);
    let number = prop_oneof![0.0..1e12f64, (0..10_000u32).prop_map(f64::from)];
    (figures(), operator, number, any::<bool>(), units())
        .prop_filter("a bound that fits", |(figure, .., unit)| figure.refuses(*unit).is_none())
        .prop_map(|(figure, operator, number, fall, unit)| {
            let number = if fall && unit == Unit::Change { -number } else { number };
            Condition { figure, operator, bound: Bound { number, unit } }
        })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(list in prop::collection::vec(conditions(), 1..4)) {
        let conditions = Conditions(list);
        prop_assert_eq!(conditions.to_string().parse(), Ok(conditions));
    }

    #[test]
    fn no_text_breaks_the_reader(text in "[a-z0-9.<>=!%+µ, -]{0,24}") {
        if let Ok(conditions) = text.parse::<Conditions>() {
            prop_assert_eq!(conditions.to_string().parse(), Ok(conditions));
        }
    }

    #[test]
    fn a_condition_and_its_opposite_never_agree(condition in conditions()) {
        use Operator::{AtLeast, AtMost, Equal, Greater, Less, Unequal};
        let operator = match condition.operator {
            Less => AtLeast,
            AtLeast => Less,
            Greater => AtMost,
            AtMost => Greater,
            Equal => Unequal,
            Unequal => Equal,
        };
        let run = run();
        let holds = condition.judge(&run).holds;
        let opposite = Condition { operator, ..condition }.judge(&run).holds;
        prop_assert_eq!(holds.map(|holds| !holds), opposite);
    }
}

/// A closed loop of 1,000 messages, 3 of them refused at RCPT and one never answered.
fn run() -> Run {
    let latency = Latency {
        min: Some(900_000),
        mean: Some(2.5e6),
        p50: Some(2_000_000),
        p99: Some(19_000_000),
        p999: Some(30_000_000),
        max: Some(31_000_000),
        count: 997,
        ..Latency::default()
    };
    let rcpt = PhaseResult {
        latency_ns: Latency { p50: Some(700_000), count: 1_000, ..Latency::default() },
        replies: [(250, 997), (451, 2), (550, 1)].into(),
        ..PhaseResult::default()
    };
    Run {
        counts: Counters {
            messages_ok: 996,
            messages_failed: 4,
            messages_refused_4xx: 2,
            messages_unanswered: 1,
            ..Counters::default()
        },
        messages_refused_5xx: 1,
        elapsed_s: 2.0,
        rate_msg_s: Some(498.0),
        service_ns: latency,
        phases: [(Phase::Rcpt, rcpt)].into(),
        replies: [(250, 2_990), (354, 997), (451, 2), (550, 1)].into(),
        errors: [(ErrorKind::Timeout, 1)].into(),
        cpu_busy: Some(0.4),
        ..Run::default()
    }
}

#[test]
fn figures_are_held_against_bounds_in_any_unit() {
    let (run, open) = (run(), Run { response_ns: Some(run().service_ns), ..run() });
    for (text, holds) in [
        ("p99<20ms", true),
        ("p99<=19ms", true),
        ("p99>0.019s", false),
        ("p99.9 == 30000us", true),
        ("service.p50>=2000000ns", true),
        ("mean<2.5ms", false),
        ("rcpt.p50<1ms", true),
        ("errors==4", true),
        ("errors>0.39%", true),
        ("errors.timeout==1", true),
        ("errors.4xx==2", true),
        ("errors.5xx>0.2%", false),
        ("errors.reset==0", true),
        ("failed<0.1%", false),
        ("refused==3", true),
        ("unanswered!=1", false),
        ("accepted>=99.6%", true),
        ("rate>=0.498k", true),
        ("replies.451<1%", true),
        ("replies.451==2", true),
        ("replies.4xx>=0.05%", true),
        ("rcpt.replies.5xx==0.1%", true),
        ("rcpt.replies.4xx<0.2%", false),
        ("cpu_busy<50%", true),
        ("failed>0.4%", false),
        ("failed>=0.4%", true),
    ] {
        let condition: Condition = text.parse().unwrap();
        let judged = condition.judge(&run);
        assert_eq!(judged.holds, Some(holds), "{judged}");
        assert_eq!(condition.judge(&open).holds, Some(holds), "{text}");
    }
    let p99: Condition = "p99>18ms".parse().unwrap();
    assert_eq!(p99.judge(&run).to_string(), "p99>18ms: service.p99 is 19ms");
    assert_eq!(p99.judge(&open).figure, "response.p99");
}

#[test]
fn a_figure_that_was_not_measured_fails_either_condition() {
    let run = Run::default();
    for text in ["p99>1s", "response.p99>1s", "mail.p50>1s", "failed>0.1%", "rate<5", "p99>+1%"] {
        let conditions: Conditions = text.parse().unwrap();
        assert!(!conditions.met(&run), "{text}");
        assert!(conditions.judge(&run)[0].fails(), "{text}");
    }
    let conditions: Conditions = "errors>0,failed>0".parse().unwrap();
    assert!(conditions.judge(&run).iter().all(|judged| !judged.fails()), "nothing is a count");
}

#[test]
fn a_percentile_that_the_sample_does_not_carry_is_unknown_and_says_why() {
    let mut run = run();
    let (min, max) = (Some(1_000_000), Some(9_000_000));
    run.service_ns = Latency { min, max, count: 20, ..Latency::default() };
    for (text, holds, told) in [
        ("p99>5ms", None, "is unknown: it takes 100 samples, and there are 20"),
        ("p99==1ms", None, "is unknown: it takes 100 samples, and there are 20"),
        ("p99>9ms", Some(false), "is between 1ms and 9ms; 20 samples do not tell more"),
        ("p99<10ms", Some(true), "is between 1ms and 9ms; 20 samples do not tell more"),
        ("max>5ms", Some(true), "is 9ms"),
    ] {
        let condition: Condition = text.parse().unwrap();
        let judged = condition.judge(&run);
        assert_eq!(judged.holds, holds, "{text}");
        assert!(judged.to_string().ends_with(told), "{judged}");
    }
}

#[test]
fn a_share_is_compared_as_exactly_as_it_was_written() {
    for percent in 0..=100u32 {
        let counts = Counters {
            messages_ok: u64::from(100 - percent),
            messages_failed: u64::from(percent),
            ..Counters::default()
        };
        let run = Run { counts, ..Run::default() };
        let condition: Condition = format!("failed>{percent}%").parse().unwrap();
        assert_eq!(condition.judge(&run).holds, Some(false), "{condition}");
        let condition: Condition = format!("failed=={percent}%").parse().unwrap();
        assert_eq!(condition.judge(&run).holds, Some(true), "{condition}");
    }
}

#[test]
fn what_was_never_begun_has_failed_and_a_rate_of_nothing_is_unknown() {
    let mut run = Run { elapsed_s: 2.0, ..Run::default() };
    run.counts.add_not_begun(10);
    for (text, fails) in [
        ("failed>0", true),
        ("failed>99%", true),
        ("unanswered>0", true),
        ("accepted<1", true),
        ("refused>0", false),
        ("rate>5", true),
        ("rate<5", true),
    ] {
        let conditions: Conditions = text.parse().unwrap();
        assert_eq!(conditions.judge(&run)[0].fails(), fails, "{text}");
    }
}

#[test]
fn a_change_is_told_from_two_runs() {
    let before = run();
    let mut after = run();
    after.service_ns.p99 = Some(21_000_000);
    after.rate_msg_s = Some(450.0);
    after.errors.clear();
    for (text, holds) in [
        ("p99>+10%", Some(true)),
        ("p99>+11%", Some(false)),
        ("rate<-9%", Some(true)),
        ("rate<-10%", Some(false)),
        ("errors.reset>+0%", Some(false)),
        ("errors.timeout==-100%", Some(true)),
        ("response.p99>+10%", None),
        ("p99>20ms", Some(true)),
    ] {
        let condition: Condition = text.parse().unwrap();
        assert_eq!(condition.judge_change(&before, &after).holds, holds, "{text}");
    }
    let appeared: Condition = "errors.timeout>+1000%".parse().unwrap();
    let judged = appeared.judge_change(&after, &before);
    assert_eq!((judged.holds, judged.measured), (Some(true), None), "infinity is no number");
    assert!(judged.to_string().ends_with("errors.timeout was 0 before and is not now"), "{judged}");
}

#[test]
fn what_cannot_be_read_is_named_with_what_can() {
    for (text, says) in [
        ("p99", "'p99' has no comparison"),
        ("", "'' has no comparison"),
        ("p99<20ms,", "'' has no comparison"),
        ("p98<20ms", "'p98' is not a figure; write one of p50 p75"),
        ("data.p98<20ms", "'data.p98' is not a figure"),
        ("errors.rest>1", "'errors.rest' is not a figure"),
        ("replies.700>1", "'replies.700' is not a figure"),
        ("p99=20ms", "'p99=20ms' has no comparison"),
        ("p99<>20ms", "'>20ms' is not a number"),
        ("p99<fast", "'fast' is not a number"),
        ("p99<1e3ms", "'1e3ms' is not a number"),
        ("p99<+20ms", "'+20ms' is not a number"),
        ("p99<20", "'20' does not fit p99, which is a time: write ns"),
        ("rate<5%", "'5%' does not fit rate"),
        ("failed<5ms", "'5ms' does not fit failed, which is a count"),
        ("cpu_busy<5", "'5' does not fit cpu_busy"),
    ] {
        let error = text.parse::<Conditions>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}
