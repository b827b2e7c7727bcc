//! Nothing gets lost and nothing is counted twice: what was due is accepted, refused, unanswered or never begun,
//! and each of these is what the servers counted, whatever is asked for and however the generator is held up.
//!
//! `FIGURES_SEED` gives other runs, `FIGURES_RUNS` more of them, `FIGURES_CASE` a single one by its number.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringpost::blast::schedule::{Arrivals, Profile, Schedule, ScheduleEnd, Spacing};

use super::cases::{Case, Load, Mood};
use super::generator::{Disturbance, Ran, cores, has_cores, run, words};
use super::server::{Answer, Log, Server, Transaction, good};

/// Runs of the short form, and how many go side by side.
const RUNS: u64 = 60;
const SIDE_BY_SIDE: usize = 3;

pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_message_is_counted_once_and_as_the_servers_counted_it() {
    let seed = number("FIGURES_SEED", 1);
    if let Ok(case) = std::env::var("FIGURES_CASE") {
        return check(case.parse().unwrap());
    }
    let first = seed * 1_000_000;
    let (next, last) = (AtomicU64::new(first), first + number("FIGURES_RUNS", RUNS));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let case = next.fetch_add(1, Relaxed);
                    if case >= last {
                        return;
                    }
                    if std::panic::catch_unwind(|| check(case)).is_err() {
                        failed.lock().unwrap().push(case);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "cases {failed:?}: each is told above");
}

/// Says which case a failure belongs to.
struct Told<'a>(&'a Case, &'a [String]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(case, arguments) = self;
            eprintln!("FIGURES_CASE={}: {}\n{case:?}", case.seed, arguments.join(" "));
        }
    }
}

fn check(seed: u64) {
    let case = Case::draw(seed);
    let mood = case.mood;
    let start = |_| Server::start(move |ask| mood.answer(ask));
    let servers: Vec<Server> = case.weights.iter().map(start).collect();
    let addresses: Vec<String> = servers.iter().map(Server::address).collect();
    let arguments = case.arguments(&addresses);
    let _told = Told(&case, &arguments);
    let ran = run(&arguments, case.disturbance, seed);
    let logs: Vec<Log> = servers.iter().map(Server::log).collect();
    let seen = Seen::of(&logs);
    adds_up(&ran);
    ends_as_it_says(&ran);
    is_what_was_due(&case, &ran);
    policies_hold(&case, &ran);
    if case.mood.is_whole() {
        is_what_the_servers_saw(&case, &ran, &seen);
        targets_add_up(&case, &ran, &logs);
    } else {
        is_no_more_than_the_servers_saw(&case, &ran, &seen);
    }
    keeps_to_its_connections(&case, &logs);
}

/// What all servers counted.
#[derive(Debug, Default)]
struct Seen {
    connections: u64,
    begun: u64,
    accepted: u64,
    refused_4xx: u64,
    refused_5xx: u64,
    octets: u64,
    recipients: u64,
    replies: std::collections::BTreeMap<u16, u64>,
}

impl Seen {
    fn of(logs: &[Log]) -> Self {
        let mut seen = Self::default();
        for log in logs {
            seen.connections += log.connections;
            for code in log.replies() {
                *seen.replies.entry(code).or_default() += 1;
            }
            for Transaction { code, octets, recipients_taken, .. } in &log.transactions {
                seen.begun += 1;
                match code {
                    200..300 => {
                        seen.accepted += 1;
                        seen.octets += octets;
                        seen.recipients += recipients_taken;
                    }
                    400..500 => seen.refused_4xx += 1,
                    500.. => seen.refused_5xx += 1,
                    _ => {}
                }
            }
        }
        seen
    }
}

fn begun(ran: &Ran) -> u64 {
    ran.count("messages_due") - ran.count("messages_not_begun")
}

/// Messages that were sent and are in no figure.
fn apart(ran: &Ran) -> u64 {
    ran.count("warmup_messages") + ran.count("cooldown_messages")
}

fn adds_up(ran: &Ran) {
    let [due, ok, failed] =
        ["messages_due", "messages_ok", "messages_failed"].map(|n| ran.count(n));
    let [refused_4xx, refused_5xx] =
        ["messages_refused_4xx", "messages_refused_5xx"].map(|n| ran.count(n));
    let [unanswered, not_begun] =
        ["messages_unanswered", "messages_not_begun"].map(|n| ran.count(n));
    assert_eq!(due, ok + failed);
    assert_eq!(failed, refused_4xx + refused_5xx + unanswered);
    assert!(not_begun <= unanswered, "{not_begun} of {unanswered}");
    let counted = |name: &str| ran.run[name]["count"].as_u64().unwrap();
    let refused = refused_4xx + refused_5xx;
    assert_eq!(counted("refused_ns"), refused);
    if ran.run["response_ns"].is_null() {
        assert_eq!(counted("service_ns"), ok + unanswered - not_begun);
    } else {
        assert_eq!(counted("response_ns"), ok + unanswered);
    }
    // Where all fell into the warm-up, nothing was measured in no time.
    match ran.float("/elapsed_s") {
        0.0 => assert!(ran.run["rate_msg_s"].is_null()),
        elapsed_s => {
            let came =
                ["/accepted_from_s", "/accepted_until_s"].map(|of| ran.run.pointer(of).unwrap());
            let [from_s, until_s] = came.map(|at| at.as_f64().unwrap_or_default());
            assert_eq!(came[0].is_null(), ok == 0);
            let rate = ok as f64 / elapsed_s.max(until_s - from_s);
            assert!((ran.float("/rate_msg_s") - rate).abs() <= rate * 1e-9);
        }
    }
    assert_eq!(ran.count("connections_opened"), ran.count("connections_closed"));
}

fn ends_as_it_says(ran: &Ran) {
    let code = ran.status.code();
    let few = ran.count("messages_ok") * 100 < ran.count("messages_due") * 95;
    let allowed: &[i32] = match ran.verdict() {
        "ok" => &[0],
        "failures" if few => &[1],
        "failures" | "target-limited" => &[0, 1],
        "stopped" => &[1],
        "unreachable" => &[3],
        "generator-limited" => &[4],
        other => panic!("{other} was not asked for"),
    };
    assert!(code.is_some_and(|code| allowed.contains(&code)), "{code:?} for {}", ran.verdict());
}

/// The arrivals of the schedule from `from_ns` on and before `to_ns`.
fn arrivals(case: &Case, from_ns: u64, to_ns: u64) -> u64 {
    let spacing = if case.poisson { Spacing::Poisson } else { Spacing::Constant };
    let schedule = Schedule { profile: Profile::constant(case.rate as f64).unwrap(), spacing };
    let arrivals = Arrivals::of_core(schedule, ScheduleEnd::At(to_ns), case.seed, 1, 0);
    arrivals.due_before(to_ns).filter(|due_ns| *due_ns >= from_ns).count() as u64
}

fn is_what_was_due(case: &Case, ran: &Ran) {
    let due = ran.count("messages_due") + apart(ran);
    let ended =
        ["stopped", "unreachable"].contains(&ran.verdict()) || !ran.run["stopped"].is_null();
    if let Some(messages) = case.messages {
        assert!(due <= messages, "{due} of {messages}");
        // What is never begun of the warm-up is in no figure.
        let all = !ended && (case.warmup.is_zero() || case.mood.is_whole());
        assert!(!all || due == messages, "{due} of {messages}");
        return;
    }
    let ns = |time: std::time::Duration| time.as_nanos() as u64;
    let (from, to) = (ns(case.warmup), ns(case.warmup + case.length));
    if !ended && case.load != Load::Closed {
        assert_eq!(ran.float("/elapsed_s"), case.length.as_secs_f64());
    }
    if !ended && case.load == Load::Messages {
        waited_at_the_end(ran);
    }
    match case.load {
        Load::Messages if !ended => {
            assert_eq!(ran.count("messages_due"), arrivals(case, from, to));
            if case.mood.is_whole() {
                let end = to + ns(case.cooldown);
                assert_eq!(apart(ran), arrivals(case, 0, from) + arrivals(case, to, end));
            }
        }
        Load::Sessions => {
            let most = case.per_connection.map_or(1, |(_, most)| most);
            let sessions = arrivals(case, 0, to + ns(case.cooldown));
            assert!(due <= sessions * most, "{due} of {sessions} sessions of {most}");
        }
        _ => {}
    }
}

/// What no session has begun when the run is over had waited when its measured time was.
fn waited_at_the_end(ran: &Ran) {
    let (behind, not_begun) = (ran.count("behind_messages"), ran.count("messages_not_begun"));
    assert!(behind >= not_begun, "{behind} waited at the end, {not_begun} were never begun");
}

fn policies_hold(case: &Case, ran: &Ran) {
    let stopped = !ran.run["stopped"].is_null();
    let failed = ran.count("messages_failed") - ran.count("messages_not_begun");
    let refused = ran.count("messages_refused_4xx") + ran.count("messages_refused_5xx");
    let seen_452 = ran.run["replies"]["452"].as_u64().unwrap_or(0);
    match case.policy {
        "--on-error stop" if refused > 0 => assert!(stopped, "{refused} refused"),
        "--stop-on 452" if seen_452 > 0 => assert!(stopped, "{seen_452} replies"),
        "--max-errors 5" if failed > 5 && refused == failed => assert!(stopped, "{failed} errors"),
        "" | "--reconnect backoff:1ms..20ms" => assert!(!stopped),
        _ => {}
    }
}

/// No connection breaks: both sides see the same.
fn is_what_the_servers_saw(case: &Case, ran: &Ran, seen: &Seen) {
    // What was due in the warm-up or in the cool-down is apart, also where it was never begun.
    let more = (begun(ran) + apart(ran)).checked_sub(seen.begun);
    let never_begun = if case.load == Load::Closed { 0 } else { apart(ran) };
    assert!(more.is_some_and(|more| more <= never_begun), "{more:?} of {}", seen.begun);
    assert_eq!(ran.count("messages_unanswered"), ran.count("messages_not_begun"));
    assert_eq!(ran.count("connections_opened"), seen.connections);
    let same = [
        ("messages_ok", seen.accepted),
        ("messages_refused_4xx", seen.refused_4xx),
        ("messages_refused_5xx", seen.refused_5xx),
        ("bytes", seen.octets),
        ("recipients", seen.recipients),
    ];
    // Also those of a message that was refused before they were named.
    assert_eq!(ran.count("recipients_asked"), begun(ran) * case.recipients);
    for (name, theirs) in same {
        let ours = ran.count(name);
        assert!(ours <= theirs, "{name}: {ours}, and the servers counted {theirs}");
        assert!(!case.measures_all() || ours == theirs, "{name}: {ours} of {theirs}");
    }
    if case.measures_all() {
        for (code, count) in &seen.replies {
            assert_eq!(ran.run["replies"][code.to_string()].as_u64(), Some(*count), "{code}");
        }
        let codes = ran.run["replies"].as_object().unwrap().len();
        assert_eq!(codes, seen.replies.len(), "{:?}", ran.run["replies"]);
    }
}

/// Connections break, so that each side may know of messages, or replies, of which the other does not.
fn is_no_more_than_the_servers_saw(case: &Case, ran: &Ran, seen: &Seen) {
    let unanswered = ran.count("messages_unanswered") - ran.count("messages_not_begun");
    let (begun, apart) = (begun(ran) + apart(ran), apart(ran));
    // Of a flight that breaks, the server may see nothing.
    let depth = if case.shape.contains("--depth 8") { 8 } else { 2 };
    let breaks = unanswered + apart;
    assert!(
        seen.begun <= begun && begun <= seen.begun + breaks * depth,
        "{begun} of {}",
        seen.begun
    );
    for (name, theirs) in [
        ("messages_ok", seen.accepted),
        ("messages_refused_4xx", seen.refused_4xx),
        ("messages_refused_5xx", seen.refused_5xx),
    ] {
        let ours = ran.count(name);
        assert!(ours <= theirs, "{name}: {ours}, and the servers counted {theirs}");
        assert!(
            theirs <= ours + unanswered + apart,
            "{name}: {ours}, {theirs}, {unanswered} unanswered"
        );
    }
    assert!(ran.count("connections_opened") <= seen.connections);
}

fn targets_add_up(case: &Case, ran: &Ran, logs: &[Log]) {
    let Some(targets) = ran.run["targets"].as_array() else { return };
    let of = |name: &str| -> Vec<u64> {
        targets.iter().map(|target| target[name].as_u64().unwrap()).collect()
    };
    assert_eq!(of("messages_ok").iter().sum::<u64>(), ran.count("messages_ok"));
    assert_eq!(
        of("messages_failed").iter().sum::<u64>(),
        ran.count("messages_failed") - ran.count("messages_not_begun")
    );
    let connections: Vec<u64> = logs.iter().map(|log| log.connections).collect();
    assert_eq!(of("connections_opened"), connections);
    if case.per_connection.is_some() || case.load == Load::Sessions {
        // Each session is dealt by weight, and a target may be a turn ahead or behind. Where the run is stopped,
        // each core may have dealt one that is not opened any more.
        let stopped = if ran.run["stopped"].is_null() { 0 } else { case.cores };
        let whole: u32 = case.weights.iter().sum();
        let all: u64 = connections.iter().sum();
        for (&theirs, &weight) in connections.iter().zip(&case.weights) {
            let due = all as f64 * f64::from(weight) / f64::from(whole);
            let apart = (theirs as f64 - due).abs();
            assert!(apart <= 1.5 + stopped as f64, "{connections:?} for {:?}", case.weights);
        }
    }
}

fn keeps_to_its_connections(case: &Case, logs: &[Log]) {
    let most = match (case.per_connection, case.load) {
        (Some((_, most)), _) => most,
        (None, Load::Sessions) => 1,
        (None, _) => return,
    };
    for log in logs {
        let mut counts = vec![0; log.connections as usize];
        log.transactions.iter().for_each(|of| counts[of.connection as usize] += 1);
        assert!(counts.iter().all(|count| *count <= most), "{counts:?}");
    }
}

/// Sessions that are due and never opened are as many messages as they would have sent.
#[test]
fn sessions_that_are_never_begun_count_with_their_messages() {
    let mood = Mood::Slow(15_000);
    let server = Server::start(move |ask| mood.answer(ask));
    let arguments = words(&format!(
        "--session-rate 60 --per-connection 5 -c 1 -z 500ms {} --cores {}",
        server.address(),
        cores(1)
    ));
    let ran = run(&arguments, Disturbance::None, 0);
    let opened = server.log().connections;
    assert!(opened < 30, "a session takes 75 ms");
    assert_eq!(ran.count("messages_not_begun"), (30 - opened) * 5);
}

/// Work that a core gave away waits too while nobody takes it.
#[test]
fn what_is_given_away_and_not_taken_has_waited_at_the_end() {
    if !has_cores(2) {
        return;
    }
    // One connection is served, and slowly; the core with the other one gives its work away.
    let server = Server::start(|ask| match (ask.verb(), ask.connection) {
        ("BANNER", 1..) => Answer::Mute,
        _ => Mood::Slow(40_000).answer(ask),
    });
    let arguments =
        words(&format!("-q 200 -z 2s -c 2 --drain 0s --cores {} {}", cores(2), server.address()));
    let ran = run(&arguments, Disturbance::None, 0);
    assert!(ran.count("messages_not_begun") >= 300, "a message takes 40 ms: {}", ran.errors);
    waited_at_the_end(&ran);
}

/// A target that nothing was sent to for longer than one without a connection is given up.
#[test]
fn a_target_that_had_no_work_for_long_is_not_given_up_at_once() {
    let server = Server::start(|ask| match (ask.verb(), ask.connection) {
        ("BANNER", 1) => Answer::Leave("421 4.3.2 once".to_owned()),
        _ => good(ask),
    });
    let arguments = words(&format!("-q 0.09 --per-connection 1 -c 1 -n 2 {}", server.address()));
    let ran = run(&arguments, Disturbance::None, 0);
    assert_eq!((ran.count("messages_ok"), server.log().connections), (2, 3), "{}", ran.errors);
}
