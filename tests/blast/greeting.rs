//! Connections that the server never greets, as those are beyond a full accept queue: their work is done on
//! others, and the run ends with its work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringpost::blast::plan::{Load, Plan, StopAfter};
use ringpost::blast::policy::{ErrorPolicy, ErrorsMax};
use ringpost::blast::schedule::{Profile, Schedule, Spacing};
use ringpost::blast::{Failure, RunOutcome};
use ringpost::measure::ErrorKind;
use ringpost::run::{Conditions, Verdict};
use ringpost::smtp::auth::Login;

use crate::scripted::{Answer, go, good, plan, serve, serve_and_read};

/// Far less than the time that a server has for a reply.
const QUICK: Duration = Duration::from_secs(30);

/// A server whose connections with these numbers get no answer to lines that begin with `at`.
fn mute(at: &'static str, which: fn(u64) -> bool) -> String {
    serve(move |number, line| match line.starts_with(at) && which(number) {
        true => Answer::Mute,
        false => good(line),
    })
}

/// Runs and checks that no message is in no count.
fn quick(plan: &Plan) -> RunOutcome {
    let before = Instant::now();
    let outcome = go(plan);
    assert!(before.elapsed() < QUICK, "{:?}", before.elapsed());
    outcome
}

fn schedule(rate: f64) -> Schedule {
    Schedule { profile: Profile::constant(rate).unwrap(), spacing: Spacing::Constant }
}

#[test]
fn what_mute_sessions_claimed_is_sent_by_live_ones() {
    // All from the third on; two in the middle, and those behind them are greeted again.
    let which: [fn(u64) -> bool; 2] = [|n| n >= 2, |n| (2..4).contains(&n)];
    for which in which {
        for at in ["BANNER", "EHLO"] {
            let mut run = quick(&plan(&mute(at, which), 4, 200)).run;
            let counts = &run.counts;
            assert_eq!((counts.messages_ok, counts.messages_failed), (200, 0));
            assert_eq!((counts.connections_opened, counts.connections_never_greeted), (4, 2));
            assert_eq!((run.verdict, run.errors.len()), (Verdict::Ok, 0), "{run:?}");
            run.fail_if(&"never_greeted>1".parse::<Conditions>().unwrap());
            assert_eq!(run.verdict, Verdict::ThresholdFailed);
        }
    }
    let address = mute("BANNER", |n| matches!(n, 1 | 6));
    let run = quick(&Plan { per_connection: Some((5, 5)), ..plan(&address, 4, 100) }).run;
    assert_eq!((run.counts.messages_ok, run.counts.messages_failed), (100, 0));
    assert_eq!(run.counts.connections_never_greeted, 2);
}

#[test]
fn a_run_ends_with_its_work_though_connections_wait_for_a_greeting() {
    let second = StopAfter::Duration(Duration::from_secs(1));
    for load in [Load::Closed, Load::Messages(schedule(50.0)), Load::Sessions(schedule(20.0))] {
        let address = mute("BANNER", |n| (1..3).contains(&n));
        let per_connection = matches!(load, Load::Sessions(_)).then_some((2, 2));
        let open = load != Load::Closed;
        let sessions = per_connection.is_some();
        let plan = Plan { load, stop: second, per_connection, ..plan(&address, 4, 1) };
        let outcome = quick(&plan);
        let counts = &outcome.run.counts;
        assert_eq!((outcome.failure, counts.messages_failed), (None, 0));
        assert_eq!(counts.connections_never_greeted, 2);
        assert!(counts.messages_ok > 0);
        match sessions {
            // Sessions that are late on a busy machine begin no second message after the end.
            true => assert!((20..=40).contains(&counts.messages_ok), "{}", counts.messages_ok),
            false => assert!(!open || counts.messages_ok == 50, "{}", counts.messages_ok),
        }
    }
}

/// The same plan on two cores, whatever machine this is.
fn on_two_cores(plan: Plan) -> Plan {
    let cpu = plan.cpus[0];
    Plan { cpus: vec![cpu, cpu], ..plan }
}

#[test]
fn the_work_of_a_core_without_a_session_is_done_on_another() {
    let messages = StopAfter::Messages(80);
    let second = StopAfter::Duration(Duration::from_secs(1));
    for (load, stop, per_connection) in [
        (Load::Closed, messages, None),
        (Load::Closed, messages, Some((10, 10))),
        (Load::Messages(schedule(80.0)), messages, None),
        (Load::Messages(schedule(80.0)), messages, Some((10, 10))),
        (Load::Messages(schedule(80.0)), second, None),
        (Load::Sessions(schedule(40.0)), messages, Some((2, 2))),
    ] {
        let address = mute("BANNER", |n| n == 1);
        let plan = Plan { load, stop, per_connection, ..plan(&address, 2, 1) };
        let outcome = quick(&on_two_cores(plan.clone()));
        let counts = &outcome.run.counts;
        let what = format!("{:?} {:?} {:?}: {counts:?}", plan.load, plan.stop, per_connection);
        assert_eq!((outcome.failure, counts.messages_failed), (None, 0), "{what}");
        assert_eq!((counts.messages_ok, counts.connections_never_greeted), (80, 1), "{what}");
        // The machine may be busy.
        let verdict = outcome.run.verdict;
        assert!(matches!(verdict, Verdict::Ok | Verdict::GeneratorLimited), "{verdict:?}: {what}");
    }
}

#[test]
fn work_that_was_given_and_own_work_are_begun_in_the_order_in_which_they_are_due() {
    // Slower than the schedule, so that work of both cores waits.
    const SERVICE: Duration = Duration::from_millis(12);
    const MESSAGES: u64 = 200;
    let due_ns = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&due_ns);
    let slow = move |number, line: &str| match line {
        "BANNER" if number == 1 => Answer::Mute,
        "." => {
            thread::sleep(SERVICE);
            good(line)
        }
        _ => good(line),
    };
    let address = serve_and_read(slow, move |line| {
        if let Some((_, rest)) = line.split_once(" due=") {
            let digits = rest.split(' ').next().unwrap();
            seen.lock().unwrap().push(digits.parse::<u64>().unwrap());
        }
    });
    let load = Load::Messages(schedule(100.0));
    let plan = Plan { load, stop: StopAfter::Messages(MESSAGES), ..plan(&address, 2, 1) };
    let counts = quick(&on_two_cores(plan)).run.counts;
    assert_eq!((counts.messages_ok, counts.connections_never_greeted), (MESSAGES, 1));
    let due_ns = due_ns.lock().unwrap();
    assert_eq!(due_ns.len() as u64, MESSAGES);
    // The work of the core without a session comes late at first; and a busy machine gives some of it late.
    let early = |pair: &&[u64]| pair[1] + 50_000_000 < pair[0];
    let wrong = due_ns.windows(2).filter(early).count() as u64;
    assert!(
        wrong <= MESSAGES / 20,
        "{wrong} of {MESSAGES} were begun before others that were due earlier"
    );
}

#[test]
fn the_work_of_a_core_that_is_turned_away_is_done_on_another() {
    // The first connection is served, all others are turned away.
    for load in [Load::Closed, Load::Messages(schedule(80.0))] {
        let address = serve(|number, line| match (number, line) {
            (1.., "BANNER") => Answer::Close("421 4.3.2 too many".to_owned()),
            _ => good(line),
        });
        let plan = Plan { load, ..plan(&address, 2, 80) };
        let outcome = quick(&on_two_cores(plan));
        let counts = &outcome.run.counts;
        assert_eq!((outcome.failure, counts.messages_ok), (None, 80), "{counts:?}");
        assert!(outcome.run.errors[&ErrorKind::TurnedAway] > 0);
    }
}

#[test]
fn first_connections_that_are_turned_away_side_by_side_do_not_end_the_run() {
    for load in [Load::Closed, Load::Messages(schedule(80.0))] {
        let address = serve(|number, line| match (number, line) {
            (2.., "BANNER") => Answer::Close("421 4.3.2 too many".to_owned()),
            (_, "BANNER") => {
                thread::sleep(Duration::from_millis(200));
                good(line)
            }
            _ => good(line),
        });
        let outcome = quick(&Plan { load, ..plan(&address, 8, 40) });
        assert_eq!((outcome.failure, outcome.run.counts.messages_ok), (None, 40));
    }
}

#[test]
fn a_server_that_greets_nobody_is_out_of_reach() {
    let address = mute("BANNER", |_| true);
    let stop = StopAfter::Duration(Duration::from_secs(1));
    let outcome = quick(&Plan { stop, ..plan(&address, 2, 1) });
    let target = format!("smtp://{address}");
    assert_eq!(outcome.failure, Some(Failure::NeverGreeted { target }));
    assert_eq!(outcome.run.verdict, Verdict::Unreachable);
    assert_eq!(outcome.run.counts.connections_never_greeted, 2);
}

#[test]
fn connections_that_are_closed_or_get_no_smtp_in_place_of_a_greeting_were_never_greeted() {
    type Manner = fn() -> Answer;
    let manners: [(&str, Manner); 4] = [
        ("BANNER", || Answer::Close(String::new())),
        ("EHLO", || Answer::Close(String::new())),
        ("BANNER", || Answer::Close("HTTP/1.1 400 Bad Request".to_owned())),
        ("BANNER", || Answer::Say("garbage".to_owned())),
    ];
    for (at, answer) in manners {
        // The first connection works, and one of the others in two does not.
        let address = serve(move |number, line| match line.starts_with(at) && number % 2 == 1 {
            true => answer(),
            false => good(line),
        });
        let plan = Plan { per_connection: Some((5, 5)), ..plan(&address, 2, 50) };
        let counts = quick(&plan).run.counts;
        assert_eq!((counts.messages_ok, counts.messages_failed), (50, 0), "{at}");
        let greeted = counts.connections_opened - counts.connections_never_greeted;
        assert_eq!(greeted, 10, "{at}: {counts:?}");
        assert!(counts.connections_never_greeted > 0, "{at}");
    }
    // A refusal is an answer.
    let address = serve(|number, line| match line {
        "BANNER" if number % 2 == 1 => Answer::Close("421 4.3.2 busy".to_owned()),
        _ => good(line),
    });
    let run = quick(&Plan { per_connection: Some((5, 5)), ..plan(&address, 2, 50) }).run;
    assert_eq!(run.counts.connections_never_greeted, 0);
}

#[test]
fn messages_of_a_session_that_waits_in_vain_are_due_all_the_same() {
    for at in ["MAIL", "."] {
        let address = serve(move |_, line| match line.starts_with(at) {
            true => Answer::Mute,
            false => good(line),
        });
        let second = StopAfter::Duration(Duration::from_secs(1));
        let plan = Plan {
            load: Load::Sessions(schedule(20.0)),
            stop: second,
            per_connection: Some((10, 10)),
            drain: Duration::from_millis(200),
            ..plan(&address, 3, 1)
        };
        let counts = quick(&plan).run.counts;
        assert_eq!((counts.messages(), counts.messages_ok), (200, 0), "{at}: {counts:?}");
        assert_eq!(counts.messages_not_begun, 197, "{at}");
    }
}

#[test]
fn a_number_of_messages_ends_though_none_is_answered() {
    let address = mute(".", |_| true);
    let reply_timeout = Duration::from_millis(200);
    let counts = quick(&Plan { reply_timeout, ..plan(&address, 2, 6) }).run.counts;
    assert_eq!((counts.messages_unanswered, counts.messages_ok), (6, 0), "{counts:?}");
}

/// However slowly a server says it, a reply has the time of one reply: no octet of it brings more time.
#[test]
fn a_reply_in_many_pieces_has_the_time_of_one() {
    for at in ["BANNER", "EHLO", "MAIL", "."] {
        let address = serve(move |_, line| match (line.starts_with(at), good(line)) {
            (true, Answer::Say(text)) => Answer::Drip(format!("{text} {}", "x".repeat(150))),
            (_, answer) => answer,
        });
        let reply_timeout = Duration::from_millis(300);
        let stop = StopAfter::Messages(1);
        let policy =
            ErrorPolicy { errors_max: Some(ErrorsMax::Count(0)), ..ErrorPolicy::default() };
        let run = quick(&Plan { reply_timeout, stop, policy, ..plan(&address, 1, 1) }).run;
        assert_eq!(run.counts.messages_ok, 0, "{at}: {:?}", run.counts);
        let given_up = run.errors.get(&ErrorKind::Timeout).copied().unwrap_or_default();
        assert!(given_up + run.counts.connections_never_greeted > 0, "{at}: {:?}", run.errors);
    }
}

/// The time for a reply is over: that is an error at every command, and a connection whose EHLO was answered has
/// been greeted.
#[test]
fn silence_for_as_long_as_a_reply_may_take_is_an_error_wherever_it_is() {
    let login = Arc::new(Login::new("tim".to_owned(), "secret".to_owned(), None));
    for (at, greeted) in [("BANNER", false), ("EHLO", false), ("AUTH", true)] {
        let reply_timeout = Duration::from_millis(300);
        let mut plan = Plan { reply_timeout, ..plan(&mute(at, |_| true), 1, 6) };
        plan.login = Some(Arc::clone(&login));
        plan.connect.tries = 1;
        plan.policy.errors_max = Some(ErrorsMax::Count(0));
        let run = quick(&plan).run;
        let what = format!("{at}: {:?} {:?} {:?}", run.counts, run.errors, run.stopped);
        assert_eq!(run.errors, BTreeMap::from([(ErrorKind::Timeout, 1)]), "{what}");
        assert_eq!(run.stopped.unwrap().error, Some(ErrorKind::Timeout), "{what}");
        let never = run.counts.connections_never_greeted;
        assert_eq!((run.counts.connections_opened, never), (1, u64::from(!greeted)), "{what}");
    }
}
