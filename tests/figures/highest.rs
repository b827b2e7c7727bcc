//! Where a curve bends and what a server can do at most, where both follow from arithmetic.

use std::ops::ControlFlow;
use std::time::Duration;

use ringpost::blast::StopRequest;
use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::plan::{Plan, StopAfter};
use ringpost::blast::schedule::Spacing;
use ringpost::blast::search::{Rates, SearchOptions, StepEvent, Steps, Sweep};
use ringpost::dial::Target;
use ringpost::engine::EngineKind;
use ringpost::host;
use ringpost::run::curve::RateStep;

use super::pulse::{Judged, Pulse, judge};
use super::server::{Answer, Ask, Asked, Server, good};

const MS: Duration = Duration::from_millis(1);

/// A server that takes so long for each message.
fn takes(time: Duration) -> Server {
    Server::start(move |ask: Ask<'_>| match ask.what {
        Asked::Message { .. } => {
            Answer::SayAt(ask.at_ns + time.as_nanos() as u64, "250 2.0.0 ok".to_owned())
        }
        _ => good(ask),
    })
}

fn plan(server: &Server, connections: usize, measured: Duration) -> Plan {
    let content = Content::plain(Spread::one(512), "a@client.example", "b@server.example");
    let targets = Target::parse(&server.address(), &[]).unwrap().into();
    let cpus = host::allowed().unwrap().into_iter().rev().take(1).collect();
    let plan = Plan::new(targets, content, cpus, EngineKind::Epoll);
    Plan { connections, stop: StopAfter::Duration(measured), drain: 1_000 * MS, ..plan }
}

fn sweep(plan: &Plan, spacing: Spacing, rates: &[f64]) -> Sweep {
    let steps = Steps { plan, spacing, stop: StopRequest::default() };
    let sweep = steps.sweep(&Rates::Given(rates.to_vec()), &mut |_| ControlFlow::Continue(()));
    let sweep = sweep.unwrap();
    sweep.steps.iter().for_each(took_what_was_due);
    sweep
}

/// Part of its time for which the generator waited for its CPU, over some steps.
fn waited(steps: &[RateStep]) -> f64 {
    let all = |of: fn(&RateStep) -> f64| steps.iter().map(of).sum::<f64>();
    all(|step| step.run.counts.cpu_wait_ns as f64 / 1e9) / all(|step| step.run.elapsed_s).max(0.001)
}

fn judged(holds: bool, pulse: Pulse, steps: &[RateStep]) -> Judged {
    Judged::of(holds, pulse.was_late(waited(steps), steps.iter().any(RateStep::limited)))
}

/// A step at which everything was accepted and nothing waited was kept, or the generator was its limit.
fn took_what_was_due(step: &RateStep) {
    let run = &step.run;
    let all = run.counts.messages_ok == run.messages_due && run.messages_due > 0;
    if all && run.behind_messages == 0 && !step.limited() {
        assert!(
            step.kept_up(),
            "{} of {} at {}",
            run.counts.messages_ok,
            run.messages_due,
            step.asked
        );
    }
}

/// However long an answer takes: a rate is kept where what was due is accepted.
#[test]
fn a_server_that_is_slow_and_takes_everything_keeps_every_rate() {
    let server = takes(400 * MS);
    let plan = plan(&server, 32, 700 * MS);
    judge("32 connections of 400 ms take 80 messages a second", |_| {
        let pulse = Pulse::start();
        let sweep = sweep(&plan, Spacing::Constant, &[10.0, 20.0, 30.0]);
        let holds = sweep.steps.iter().all(RateStep::kept_up);
        judged(holds, pulse, &sweep.steps)
    });
}

/// At random more or less is due than the rate says; what counts is what was due.
#[test]
fn random_arrivals_at_an_idle_server_are_kept() {
    let server = Server::start(good);
    let plan = plan(&server, 8, 700 * MS);
    judge("an idle server keeps 26 messages a second", |_| {
        let pulse = Pulse::start();
        let sweep = sweep(&plan, Spacing::Poisson, &[11.0, 15.0, 20.0, 26.0]);
        let holds = sweep.steps.iter().all(RateStep::kept_up);
        judged(holds, pulse, &sweep.steps)
    });
}

/// Four connections of 40 ms each can do 100 a second.
#[test]
fn the_knee_lies_below_what_the_server_can_do_and_above_half_of_it() {
    let server = takes(40 * MS);
    let plan = plan(&server, 4, 1_000 * MS);
    judge("the knee is at 75", |_| {
        let pulse = Pulse::start();
        let sweep = sweep(&plan, Spacing::Constant, &[25.0, 50.0, 75.0, 150.0]);
        let beyond = &sweep.steps[3];
        assert!(!beyond.kept_up(), "150 a second at a server of 100: {:?}", beyond.run.counts);
        let knee = sweep.knee().map(|knee| knee.asked);
        assert_ne!(knee, Some(150.0));
        judged(knee == Some(75.0), pulse, &sweep.steps)
    });
}

#[test]
fn the_highest_rate_is_that_of_the_server() {
    let server = takes(40 * MS);
    let plan = plan(&server, 4, 1_000 * MS);
    judge("the highest rate is above 75", |_| {
        let pulse = Pulse::start();
        let steps = Steps { plan: &plan, spacing: Spacing::Constant, stop: StopRequest::default() };
        let options = SearchOptions { start: 60.0, most: 400.0, precision: 0.15, repeats: 1 };
        let found = steps
            .find_max(&"p50<10s".parse().unwrap(), options, &mut |_| ControlFlow::Continue(()));
        let found = found.unwrap();
        found.steps.iter().for_each(took_what_was_due);
        let highest = found.low.map_or(0.0, |low| low.rate);
        // In a second the server does 100 and has 4 more under way. 95 % of what was due are enough, and what
        // waits for less than 100 ms at the end is in time.
        assert!(highest <= 104.0 / 0.95 / 0.9 + 1.0, "{highest}");
        judged(highest >= 75.0, pulse, &found.steps)
    });
}

/// Runs of one rate are there to differ: each has arrivals of its own.
#[test]
fn repeats_do_not_repeat_their_arrivals() {
    let server = Server::start(good);
    let plan = plan(&server, 8, 300 * MS);
    let steps = Steps { plan: &plan, spacing: Spacing::Poisson, stop: StopRequest::default() };
    let options = SearchOptions { start: 100.0, most: 100.0, precision: 0.15, repeats: 3 };
    let mut rates = Vec::new();
    let found = steps.find_max(&"p50<1ns".parse().unwrap(), options, &mut |event| {
        if let StepEvent::Done(step) = event {
            rates.push(step.asked);
        }
        if rates.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(found.is_ok());
    assert_eq!(rates, [100.0; 2]);
    let mut dues = std::collections::BTreeMap::<u64, Vec<u64>>::new();
    for stamp in server.log().transactions.iter().filter_map(|of| of.stamp) {
        dues.entry(stamp.run).or_default().push(stamp.due_unix_ns);
    }
    let gaps = |mut dues: Vec<u64>| {
        dues.sort_unstable();
        dues.windows(2).map(|two| two[1] - two[0]).collect::<Vec<_>>()
    };
    let gaps: Vec<_> = dues.into_values().map(gaps).collect();
    assert_eq!(gaps.len(), 2);
    assert!(gaps[0].len() > 5 && gaps[1].len() > 5, "{gaps:?}");
    assert_ne!(gaps[0][..5], gaps[1][..5]);
}
