//! What of a run is in its figures: the measured time, by one rule for messages, connections and errors.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::plan::{Load, Plan, StopAfter};
use ringpost::blast::schedule::{Profile, Schedule, Spacing};
use ringpost::blast::{self, RunOutcome, Seen};
use ringpost::dial::Target;
use ringpost::engine::EngineKind;
use ringpost::measure::Phase;
use ringpost::run::Run;

use super::scripted::{Answer, good, say, serve};

fn plan(address: &str) -> Plan {
    let content = Content::plain(Spread::one(600), "a@client.example", "b@server.example");
    let target = Target::parse(address, &[]).unwrap();
    Plan {
        connections: 8,
        drain: Duration::from_secs(5),
        ..Plan::new(target.into(), content, vec![0], EngineKind::Epoll)
    }
}

fn constant(rate: f64) -> Load {
    let profile = Profile::constant(rate).unwrap();
    Load::Messages(Schedule { profile, spacing: Spacing::Constant })
}

fn go(plan: &Plan) -> RunOutcome {
    blast::run(plan, Arc::new(AtomicBool::new(false)), &mut |_, _, _| {}).unwrap()
}

fn phase(run: &Run, phase: Phase) -> u64 {
    run.phases.get(&phase).map_or(0, |result| result.latency_ns.count)
}

/// While a server is silent, nothing that happens on a connection says that it waits there.
#[test]
fn messages_stay_in_flight_through_seconds_in_which_nothing_happens() {
    let plan = Plan {
        connections: 2,
        stop: StopAfter::Messages(2),
        ..plan(&serve(|_, line| {
            if line == "." {
                std::thread::sleep(Duration::from_millis(3_500));
            }
            good(line)
        }))
    };
    let mut seen = Vec::new();
    blast::run(&plan, Arc::new(AtomicBool::new(false)), &mut |_, now, _| {
        if let Seen::Interval(interval) = now {
            seen.push((interval.begun_ns, interval.in_flight_peak));
        }
    })
    .unwrap();
    assert!(seen.len() >= 3, "{seen:?}");
    assert!(seen.iter().all(|(_, peak)| *peak == 2), "{seen:?}");
}

#[test]
fn connections_of_the_warm_up_and_of_the_cool_down_are_in_no_phase() {
    let plan = Plan {
        load: constant(100.0),
        stop: StopAfter::Duration(Duration::from_secs(1)),
        warmup: Duration::from_secs(1),
        cooldown: Duration::from_secs(2),
        per_connection: Some((1, 1)),
        ..plan(&serve(|_, line| good(line)))
    };
    let run = go(&plan).run;
    assert_eq!((run.messages_due, run.counts.messages_ok), (100, 100), "{:?}", run.verdict_reasons);
    assert_eq!((run.warmup_messages, run.cooldown_messages), (100, 200));
    for (code, count) in [(220, 100), (221, 100), (354, 100)] {
        assert_eq!(run.replies.get(&code), Some(&count), "{code}: {:?}", run.replies);
    }
    for of in [Phase::Connect, Phase::Banner, Phase::Hello, Phase::Quit, Phase::Session] {
        assert_eq!(phase(&run, of), 100, "{of:?}");
    }
}

#[test]
fn errors_of_the_cool_down_are_told_apart() {
    // Each connection breaks at its message.
    let manner = |_, line: &str| match line {
        "DATA" => Answer::Close("354 go on".to_owned()),
        line => good(line),
    };
    let plan = Plan {
        load: constant(50.0),
        stop: StopAfter::Duration(Duration::from_secs(1)),
        cooldown: Duration::from_secs(1),
        per_connection: Some((1, 1)),
        ..plan(&serve(manner))
    };
    let run = go(&plan).run;
    assert_eq!((run.messages_due, run.counts.messages_unanswered), (50, 50));
    assert_eq!(run.errors.values().sum::<u64>(), 50, "{:?}", run.errors);
    assert_eq!((run.cooldown_messages, run.cooldown_errors), (50, 50));
}

#[test]
fn a_reply_with_an_odd_second_digit_is_a_refusal_and_counted_as_odd() {
    let manner = |_, line: &str| match line.split(':').next() {
        Some("RCPT TO") => say("571 5.7.1 not you"),
        _ => good(line),
    };
    let plan = Plan {
        connections: 1,
        stop: StopAfter::Messages(20),
        fail_if: "replies.571>0,rcpt.replies.571>19,errors.protocol>0".parse().unwrap(),
        ..plan(&serve(manner))
    };
    let run = go(&plan).run;
    assert_eq!((run.messages_due, run.messages_refused_5xx), (20, 20));
    assert_eq!((run.replies.get(&571), run.replies_odd), (Some(&20), 20));
    assert_eq!(run.errors.len(), 0, "{:?}", run.errors);
    let held: Vec<_> = run.thresholds.iter().map(|judged| judged.holds).collect();
    assert_eq!(held, [Some(true), Some(true), Some(false)]);
    let mut stops = plan.clone();
    stops.policy.stop_on = vec!["571".parse().unwrap()];
    let stopped = go(&stops).run.stopped.unwrap();
    assert_eq!((stopped.by.as_str(), stopped.code), ("--stop-on 571", Some(571)));
}
