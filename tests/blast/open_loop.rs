//! Load by the schedule, against servers of this file's own: what was due was sent, what it took
//! counts from when it was due, and what became of the rest is said.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::plan::{Load, Plan, StopAfter};
use ringpost::blast::schedule::{Leg, Profile, Schedule, Spacing, Think};
use ringpost::blast::{self, RunOutcome};
use ringpost::dial::Target;
use ringpost::engine::{self, EngineKind, Io};
use ringpost::host;
use ringpost::measure::{Counters, ErrorKind as Trouble};
use ringpost::run::{Latency, Run, Verdict};
use ringpost::smtp::client::Pipelining;
use ringpost::stamp::Stamp;

pub(super) const MS: Duration = Duration::from_millis(1);

/// How a server treats its clients.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    Good,
    /// Answers nothing in the last part of each period.
    Stalls {
        period: Duration,
        stall: Duration,
    },
    /// Takes so long for each message.
    Slow(Duration),
    /// Never answers a message.
    Mute,
    /// Takes so long to greet.
    Reserved(Duration),
    /// 421 and close after so long without a command.
    Impatient(Duration),
}

pub(super) struct Host {
    target: String,
    /// Due times of what arrived, and how many messages each connection brought.
    dues: Arc<Mutex<Vec<u64>>>,
    sessions: Arc<Mutex<Vec<u64>>>,
}

pub(super) fn serve(manner: Manner) -> Host {
    listen(TcpListener::bind("127.0.0.1:0").unwrap(), manner, Duration::ZERO)
}

/// Accepts after a while, and then with a long backlog.
fn listen(listener: TcpListener, manner: Manner, after: Duration) -> Host {
    let target = listener.local_addr().unwrap().to_string();
    let (dues, sessions) = (Arc::default(), Arc::<Mutex<Vec<u64>>>::default());
    let (theirs, counts) = (Arc::clone(&dues), Arc::clone(&sessions));
    let begun = Instant::now();
    std::thread::spawn(move || {
        if !after.is_zero() {
            std::thread::sleep(after);
            rustix::net::listen(&listener, 1_024).unwrap();
        }
        for stream in listener.incoming() {
            let (stream, dues, counts) =
                (stream.unwrap(), Arc::clone(&theirs), Arc::clone(&counts));
            std::thread::spawn(move || {
                let mut messages = 0;
                // Clients that go away are expected.
                let _ = talk(&stream, manner, begun, &dues, &mut messages);
                counts.lock().unwrap().push(messages);
            });
        }
    });
    Host { target, dues, sessions }
}

fn talk(
    mut stream: &TcpStream,
    manner: Manner,
    begun: Instant,
    dues: &Mutex<Vec<u64>>,
    messages: &mut u64,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    if let Manner::Impatient(limit) = manner {
        stream.set_read_timeout(Some(limit))?;
    }
    let mut input = BufReader::new(stream);
    let mut line = Vec::new();
    if let Manner::Reserved(time) = manner {
        std::thread::sleep(time);
    }
    stream.write_all(b"220 yes\r\n")?;
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return stream.write_all(b"421 4.4.2 idle\r\n");
            }
            Err(error) => return Err(error),
        }
        hold(manner, begun);
        match line.get(..4) {
            Some(b"DATA") => {
                stream.write_all(b"354 go\r\n")?;
                let mut message = Vec::new();
                while !message.ends_with(b"\r\n.\r\n") {
                    input.read_until(b'\n', &mut message)?;
                }
                if let Manner::Mute = manner {
                    std::thread::sleep(Duration::from_secs(60));
                }
                if let Manner::Slow(time) = manner {
                    std::thread::sleep(time);
                }
                hold(manner, begun);
                *messages += 1;
                dues.lock().unwrap().push(Stamp::find(&message).unwrap().due_unix_ns);
                stream.write_all(b"250 2.0.0 Ok\r\n")?;
            }
            Some(b"EHLO") => stream.write_all(b"250-yes\r\n250 PIPELINING\r\n")?,
            Some(b"QUIT") => return stream.write_all(b"221 2.0.0 Bye\r\n"),
            _ => stream.write_all(b"250 2.0.0 Ok\r\n")?,
        }
    }
}

fn hold(manner: Manner, begun: Instant) {
    if let Manner::Stalls { period, stall } = manner {
        let into = Duration::from_nanos((begun.elapsed().as_nanos() % period.as_nanos()) as u64);
        if into >= period - stall {
            std::thread::sleep(period - into);
        }
    }
}

fn engines() -> Vec<EngineKind> {
    let (best, _) = engine::choose(Io::Auto).unwrap();
    let mut engines = vec![EngineKind::Epoll, best];
    engines.dedup();
    engines
}

fn constant(rate: f64) -> Schedule {
    Schedule { profile: Profile::constant(rate).unwrap(), spacing: Spacing::Constant }
}

pub(super) fn plan(host: &Host, engine: EngineKind) -> Plan {
    let cpus = host::allowed().unwrap().into_iter().take(2).collect();
    let content = Content::plain(Spread::one(400), "a@client.example", "b@server.example");
    let plan = Plan::new(Target::parse(&host.target, &[]).unwrap().into(), content, cpus, engine);
    let load = Load::Messages(constant(500.0));
    Plan { connections: 8, load, stop: StopAfter::Duration(400 * MS), ..plan }
}

fn go(plan: &Plan) -> RunOutcome {
    plan.check().unwrap();
    blast::run(plan, Arc::new(AtomicBool::new(false)), &mut |_, _, _| ()).unwrap()
}

/// The same until the generator had the machine to itself, three times at most: of a run that calls its
/// own figures the generator's, nothing can be asked of the server's.
fn undisturbed(run: impl Fn() -> Run) -> Run {
    let fair = |run: &Run| run.verdict != Verdict::GeneratorLimited;
    (0..2).map(|_| run()).find(fair).unwrap_or_else(&run)
}

/// Gaps between the due times that the stamps of all messages name, in order.
fn gaps(host: &Host) -> Vec<u64> {
    let mut dues = host.dues.lock().unwrap().clone();
    dues.sort_unstable();
    dues.windows(2).map(|two| two[1] - two[0]).collect()
}

#[test]
fn what_is_due_is_sent_and_each_stamp_names_the_time_of_the_schedule() {
    for engine in engines() {
        for (pipelining, per_connection) in
            [(Pipelining::None, None), (Pipelining::Full, None), (Pipelining::None, Some((1, 3)))]
        {
            let host = serve(Manner::Good);
            let run = go(&Plan { pipelining, per_connection, ..plan(&host, engine) }).run;
            assert_eq!((run.counts.messages_ok, run.counts.messages_failed), (200, 0));
            assert_eq!((run.counts.messages_not_begun, run.plan.rate_msg_s), (0, Some(500.0)));
            assert_eq!(gaps(&host), vec![2_000_000; 199], "due every two milliseconds");
            let started: jiff::Timestamp = run.started.parse().unwrap();
            let first_ns = host.dues.lock().unwrap().iter().copied().min().unwrap();
            assert_eq!(started.as_nanosecond(), i128::from(first_ns), "the clock's start");
            let (response, service) = (run.response_ns.unwrap(), run.service_ns);
            let lag = run.send_lag_ns.unwrap();
            assert_eq!((response.count, service.count, lag.count), (200, 200, 200));
            assert!(response.max >= service.max.max(lag.max) && response.mean > service.mean);
            assert!(run.own_lag_ns.unwrap().mean.unwrap() <= lag.mean.unwrap() * 1.02);
            if per_connection.is_some() {
                let sessions = host.sessions.lock().unwrap();
                assert!(sessions.iter().all(|count| (1..=3).contains(count)), "{sessions:?}");
            }
        }
    }
}

#[test]
fn a_message_that_needs_a_connection_waits_for_the_greeting_and_nobody_calls_that_our_lag() {
    for engine in engines() {
        let host = serve(Manner::Reserved(60 * MS));
        let load = Load::Messages(constant(50.0));
        let per_connection = Some((1, 1));
        let run = go(&Plan { load, per_connection, ..plan(&host, engine) }).run;
        assert_eq!((run.counts.messages_ok, run.counts.connections_opened), (20, 20));
        let (lag, own) = (run.send_lag_ns.unwrap(), run.own_lag_ns.unwrap());
        assert!(lag.min >= Some(60_000_000) && run.response_ns.unwrap().min >= lag.min);
        assert!(own.p50.unwrap() < 30_000_000, "{own:?}");
    }
}

#[test]
fn turns_at_connecting_are_waited_for_because_of_the_server() {
    for engine in engines() {
        let run = undisturbed(|| {
            // The kernel takes one for the backlog and drops who comes later, until there is room.
            let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
            rustix::net::listen(&deaf, 0).unwrap();
            let host = listen(deaf, Manner::Good, 500 * MS);
            let (load, stop) = (Load::Messages(constant(1_000.0)), StopAfter::Messages(400));
            let (connections, per_connection) = (400, Some((1, 1)));
            let cpus = host::allowed().unwrap().into_iter().take(1).collect();
            go(&Plan { load, stop, connections, per_connection, cpus, ..plan(&host, engine) }).run
        });
        assert_eq!((run.counts.messages_ok, run.counts.connections_opened), (400, 400), "{run:?}");
        let (lag, own) = (run.send_lag_ns.unwrap(), run.own_lag_ns.unwrap());
        assert!(lag.p50 > Some(300_000_000), "nobody waited for a turn: {lag:?}");
        assert!(own.max.unwrap() < lag.max.unwrap() / 3, "{own:?} of {lag:?}");
    }
}

#[test]
fn so_many_messages_end_sessions_that_are_due_for_ever() {
    for engine in engines() {
        let (load, per_connection) = (Load::Sessions(constant(500.0)), Some((1, 3)));
        let host = serve(Manner::Good);
        let stop = StopAfter::Messages(60);
        let good = Plan { load: load.clone(), stop, per_connection, ..plan(&host, engine) };
        let run = go(&good).run;
        assert_eq!(
            (run.counts.messages_ok, run.counts.messages_failed, run.counts.messages_not_begun),
            (60, 0, 0)
        );
        assert_eq!(host.sessions.lock().unwrap().iter().sum::<u64>(), 60);

        let host = serve(Manner::Slow(20 * MS));
        let (connections, per_connection) = (2, Some((4, 4)));
        let slow = Plan { load, stop, connections, per_connection, ..plan(&host, engine) };
        let run = go(&slow).run;
        assert_eq!((run.counts.messages_ok, run.counts.messages_not_begun), (60, 0));
        // Fifteen sessions of four messages are due within 30 ms, of which two are open.
        assert!((40..=52).contains(&run.behind_messages), "{}", run.behind_messages);
    }
}

/// The server ends each connection in the first pause on it.
#[test]
fn a_session_that_is_opened_again_sends_what_it_had_left_and_no_more() {
    for engine in engines() {
        let host = serve(Manner::Impatient(50 * MS));
        let (load, per_connection) = (Load::Sessions(constant(10.0)), Some((3, 3)));
        let stop = StopAfter::Duration(1_000 * MS);
        let think = Some(Think::Even { least: 200 * MS, most: 200 * MS });
        let run = go(&Plan { load, stop, per_connection, think, ..plan(&host, engine) }).run;
        // Ten sessions of three messages, of which the end cuts the last ones.
        assert!((10..=30).contains(&run.counts.messages()), "{:?}", run.counts);
    }
}

#[test]
fn ramps_and_counts_send_exactly_their_integral() {
    for engine in engines() {
        let host = serve(Manner::Good);
        let leg = Leg { from: 100.0, to: 900.0, length: 400 * MS };
        let profile = Profile::of(vec![leg]).unwrap();
        let ramp = Schedule { profile, spacing: Spacing::Constant };
        let run = go(&Plan { load: Load::Messages(ramp), ..plan(&host, engine) }).run;
        assert_eq!((run.counts.messages_ok, run.plan.rate_msg_s), (200, Some(500.0)));
        let gaps = gaps(&host);
        assert!(gaps.windows(2).all(|two| two[1] <= two[0]), "closer and closer: {gaps:?}");

        let host = serve(Manner::Good);
        let schedule = Schedule { spacing: Spacing::Poisson, ..constant(1_000.0) };
        let stop = StopAfter::Messages(150);
        let run = go(&Plan { load: Load::Messages(schedule), stop, ..plan(&host, engine) }).run;
        assert_eq!((run.counts.messages_ok, run.response_ns.unwrap().count), (150, 150));
    }
}

/// A closed loop keeps eight messages in the stall; the schedule keeps all that are due in it.
#[test]
fn a_stall_shows_in_the_response_time_and_hides_in_service_time_and_closed_loop() {
    let (engine, _) = engine::choose(Io::Auto).unwrap();
    let manner = Manner::Stalls { period: 4_000 * MS, stall: 1_000 * MS };
    let open = || {
        let host = serve(manner);
        let stop = StopAfter::Duration(8_000 * MS);
        go(&Plan { load: Load::Messages(constant(1_000.0)), stop, ..plan(&host, engine) }).run
    };
    let closed = || {
        let host = serve(manner);
        let stop = StopAfter::Duration(4_000 * MS);
        go(&Plan { load: Load::Closed, stop, ..plan(&host, engine) }).run
    };
    let open = undisturbed(open);
    assert_eq!(open.counts.messages_ok, 8_000);
    // Due at u into a stall of 1 s means 1 s - u to wait; a hundredth of all messages is due in the
    // first 40 ms of the stalls.
    let p99_s = |latency: &Latency| latency.p99.unwrap() as f64 / 1e9;
    let (p99, wanted) = (p99_s(&open.response_ns.unwrap()), 1.0 - 0.01 * 4.0);
    assert!((p99 / wanted - 1.0).abs() < 0.05, "response p99 {p99} s, computed {wanted} s");
    assert!(p99_s(&open.service_ns) < 0.3, "service p99 {} s", p99_s(&open.service_ns));
    let closed = closed();
    assert!(closed.counts.messages_ok > 1_000 && closed.response_ns.is_none());
    assert!(p99_s(&closed.service_ns) < 0.3, "closed p99 {} s", p99_s(&closed.service_ns));
}

#[test]
fn a_server_that_is_too_slow_is_the_limit_and_unfinished_work_is_counted() {
    for engine in engines() {
        let run = undisturbed(|| {
            let host = serve(Manner::Slow(20 * MS));
            // Eight sessions do 400 a second at best.
            let load = Load::Messages(constant(1_000.0));
            let (stop, drain) = (StopAfter::Duration(500 * MS), 100 * MS);
            go(&Plan { load, stop, drain, ..plan(&host, engine) }).run
        });
        let counts = &run.counts;
        assert_eq!((run.messages_due, counts.messages_ok + counts.messages_failed), (500, 500));
        assert!(counts.messages_not_begun > 200, "{run:?}");
        assert_eq!(counts.messages_failed, counts.messages_not_begun, "{run:?}");
        assert_eq!((run.kept(), run.exit_code()), (false, 1));
        assert_eq!(run.response_ns.unwrap().count, 500, "with the time waited so far");
        assert!(run.response_ns.unwrap().p90 > Some(300_000_000));
        assert_eq!(run.verdict, Verdict::TargetLimited, "{:?}", run.verdict_reasons);
        assert!(run.behind_messages > 200 && run.behind_ns > 200_000_000);
        let reasons = run.verdict_reasons.join("; ");
        assert!(reasons.contains("--connections") && reasons.contains("never begun"), "{reasons}");
    }
}

#[test]
fn a_server_that_never_answers_leaves_all_that_was_due_accounted_for() {
    for engine in engines() {
        let host = serve(Manner::Mute);
        let run = go(&Plan { drain: Duration::ZERO, ..plan(&host, engine) }).run;
        assert_eq!(
            (run.counts.messages_ok, run.counts.messages_unanswered, run.counts.messages_failed),
            (0, 200, 200),
            "what was begun and what was never begun"
        );
        assert_eq!((run.counts.messages_not_begun, run.response_ns.unwrap().count), (192, 200));
        assert_eq!(run.errors[&Trouble::Timeout], 8);
    }
}

#[test]
fn warm_up_and_cool_down_are_sorted_by_due_time_even_when_all_is_late() {
    for engine in engines() {
        let host = serve(Manner::Slow(10 * MS));
        let load = Load::Messages(constant(1_000.0));
        let (warmup, cooldown) = (150 * MS, 100 * MS);
        let stop = StopAfter::Duration(200 * MS);
        let run = go(&Plan { load, warmup, cooldown, stop, ..plan(&host, engine) }).run;
        assert_eq!(
            (run.warmup_messages, run.counts.messages_ok, run.cooldown_messages),
            (150, 200, 100)
        );
        assert_eq!(host.dues.lock().unwrap().len(), 450);
        assert_eq!(run.response_ns.unwrap().count, 200);
    }
}

#[test]
fn sessions_arrive_and_each_sends_its_messages_with_pauses_between() {
    for engine in engines() {
        let host = serve(Manner::Good);
        let load = Load::Sessions(constant(100.0));
        let think = Some(Think::Even { least: 20 * MS, most: 30 * MS });
        let plan = Plan {
            load,
            think,
            per_connection: Some((3, 3)),
            stop: StopAfter::Messages(60),
            ..plan(&host, engine)
        };
        let run = go(&plan).run;
        assert_eq!((run.counts.messages_ok, run.counts.connections_opened), (60, 20));
        assert_eq!(*host.sessions.lock().unwrap(), vec![3; 20]);
        assert_eq!(run.plan.arrivals_of.as_deref(), Some("sessions"));
        // Two pauses in each session.
        let session = run.phases[&ringpost::measure::Phase::Session].latency_ns;
        assert!(session.min >= Some(40_000_000), "{session:?}");
        assert_eq!((run.response_ns.unwrap().count, run.counts.messages_not_begun), (60, 0));
    }
}

fn within(value: u64, range: Range<u64>) {
    assert!(range.contains(&value), "{value} not in {range:?}");
}

#[test]
fn pauses_slow_a_closed_loop_down() {
    for engine in engines() {
        let host = serve(Manner::Good);
        let think = Some(Think::Even { least: 50 * MS, most: 50 * MS });
        let stop = StopAfter::Duration(500 * MS);
        let run = go(&Plan { load: Load::Closed, think, stop, ..plan(&host, engine) }).run;
        within(run.counts.messages_ok, 20..81);
        assert!(run.response_ns.is_none());
    }
}

#[test]
fn a_connection_that_the_server_closed_while_idle_costs_no_message() {
    for engine in engines() {
        let host = serve(Manner::Impatient(150 * MS));
        let load = Load::Messages(constant(4.0));
        let stop = StopAfter::Duration(1_500 * MS);
        let run = go(&Plan { load, stop, connections: 2, ..plan(&host, engine) }).run;
        assert_eq!((run.counts.messages_ok, run.counts.messages_failed), (6, 0), "{run:?}");
        assert!(run.replies[&421] >= 2 && run.counts.connections_opened >= 4, "{:?}", run.replies);
    }
}

#[test]
fn a_stop_ends_pauses_and_waits_at_once() {
    for engine in engines() {
        for load in [Load::Messages(constant(0.01)), Load::Sessions(constant(1_000.0))] {
            let host = serve(Manner::Good);
            let pause = Duration::from_secs(3_600);
            let think =
                Some(Think::Exponential(pause)).filter(|_| matches!(load, Load::Sessions(_)));
            let per_connection = think.map(|_| (10, 10));
            let stop = StopAfter::Duration(pause);
            let plan = Plan { load, stop, think, per_connection, ..plan(&host, engine) };
            let (flag, setter) =
                (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let shared = Arc::clone(&flag);
            let begun = Instant::now();
            let outcome = blast::run(&plan, flag, &mut |elapsed, _, _| {
                setter.store(true, Relaxed);
                shared.store(elapsed > 300 * MS, Relaxed);
            });
            let run = outcome.unwrap().run;
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
            assert!(run.counts.messages_ok >= 1, "{run:?}");
            let Counters { messages_failed, messages_not_begun, .. } = run.counts;
            assert_eq!(messages_failed, messages_not_begun, "what was begun was answered: {run:?}");
        }
    }
}

#[test]
fn the_length_of_a_schedule_is_what_was_asked_however_few_messages_it_has() {
    for engine in engines() {
        for (rate, stop, length, due) in [
            (10.0, StopAfter::Duration(100 * MS), 0.1, 1),
            (5.0, StopAfter::Duration(400 * MS), 0.4, 2),
            (20.0, StopAfter::Messages(4), 0.2, 4),
        ] {
            let host = serve(Manner::Slow(MS));
            let load = Load::Messages(constant(rate));
            let run = go(&Plan { load, stop, ..plan(&host, engine) }).run;
            assert!((run.elapsed_s - length).abs() < 1e-6, "{} for {length}", run.elapsed_s);
            assert_eq!((run.messages_due, run.counts.messages_ok), (due, due), "{run:?}");
            let found = run.rate_msg_s.unwrap();
            assert!(found < rate + 1e-3, "{found} for {rate}");
            // Where a reply came so late that the next message was due, the rate is over a longer time.
            let slowest_ns = run.response_ns.and_then(|response| response.max).unwrap();
            let late = slowest_ns as f64 / 1e9 > 0.9 / rate;
            assert!(late || (found - rate).abs() < 1e-3, "{found} for {rate}");
        }
    }
}
