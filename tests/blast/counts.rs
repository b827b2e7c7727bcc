//! The generator against servers in this process, on both engines: what it counts is what they saw.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::plan::{Plan, StopAfter};
use ringpost::blast::{self, Failure, RunOutcome, StopRequest};
use ringpost::dial::Target;
use ringpost::engine::{self, EngineKind, Io};
use ringpost::host;
use ringpost::measure::{ErrorKind, Outcome as Measured, Phase};
use ringpost::run::Verdict;
use ringpost::run::artefact::RUN_MSGS;
use ringpost::run::messages::{FatesEnd, RunMessages};
use ringpost::smtp::auth::AuthPolicy;
use ringpost::smtp::client::Pipelining;
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::reply::Reply;
use ringpost::smtp::server::{
    BareNewline, Commands, Event, Policy, Protocol, Server, Syntax, TlsPolicy,
};
use ringpost::stamp::{STAMP_BYTES, Stamp, body_crc, header_crc};
use tempfile::TempDir;

/// How the server misbehaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    Good,
    /// Refuses each message whose number on its connection this divides.
    RefuseEach(u64),
    /// Closes without a word where the reply to this message of a connection is due.
    CloseAt(u64),
    /// Takes messages and never answers them.
    Mute,
    /// 554 instead of a greeting.
    Unwilling,
    /// Reads some 10 MB in a second.
    Slow,
}

/// What a server saw, over all its connections.
#[derive(Debug, Default)]
struct Seen {
    connections: u64,
    messages: Vec<Vec<u8>>,
    recipients: usize,
}

struct Host {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

fn serve(protocol: Protocol, extensions: Extensions, manner: Manner) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, seen) = (stream.unwrap(), Arc::clone(&shared));
            seen.lock().unwrap().connections += 1;
            std::thread::spawn(move || talk(stream, protocol, extensions, manner, &seen));
        }
    });
    Host { address, seen }
}

/// One connection; ends with it.
fn talk(
    mut stream: TcpStream,
    protocol: Protocol,
    extensions: Extensions,
    manner: Manner,
    seen: &Mutex<Seen>,
) {
    stream.set_nodelay(true).unwrap();
    let policy = Policy {
        hostname: "server.example".into(),
        protocol,
        message_bytes_max: u64::MAX,
        recipients_max: 1_000,
        syntax: Syntax::Strict,
        bare_newline: BareNewline::Reject,
        extensions,
        commands: Commands::default(),
        auth: AuthPolicy::default(),
        tls: TlsPolicy::default(),
    };
    let mut server = Server::new(Rc::new(policy));
    let (mut replies, mut open, mut ended) = (Vec::new(), Vec::new(), 0);
    let mut received = vec![0; 65_536];
    server.greet(&mut replies);
    if manner == Manner::Unwilling {
        replies = b"554 5.7.1 not for you\r\n".to_vec();
    }
    loop {
        if stream.write_all(&replies).is_err() {
            return;
        }
        replies.clear();
        let Ok(count @ 1..) = stream.read(&mut received) else { return };
        if manner == Manner::Slow {
            std::thread::sleep(Duration::from_millis(6));
        }
        let mut input = &received[..count];
        while let Some(event) = server.step(&mut input, &mut replies) {
            match event {
                Event::Begin | Event::Discard => open.clear(),
                Event::Body(octets) => open.extend_from_slice(octets),
                Event::Request => panic!("there is no relay here"),
                Event::StartTls => panic!("there is no TLS here"),
                Event::Close => {
                    let _ = stream.write_all(&replies);
                    return;
                }
                Event::End(_) => {
                    ended += 1;
                    match manner {
                        Manner::CloseAt(at) if ended == at => return,
                        Manner::Mute => {
                            // Until the client has had enough.
                            let _ = stream.read_to_end(&mut received);
                            return;
                        }
                        Manner::RefuseEach(each) if ended % each == 0 => {
                            server.refuse(Reply::new(452, 4, 3, "full"), &mut replies);
                        }
                        _ => {
                            let mut seen = seen.lock().unwrap();
                            seen.recipients += server.envelope().recipient_count();
                            seen.messages.push(open.clone());
                            server.accept("x", &mut replies);
                        }
                    }
                }
            }
        }
    }
}

fn engines() -> Vec<EngineKind> {
    let (best, _) = engine::choose(Io::Auto).unwrap();
    let mut engines = vec![EngineKind::Epoll, best];
    engines.dedup();
    engines
}

fn content(size: Spread) -> Content {
    Content::plain(size, "a@client.example", "b@server.example")
}

fn plan(target: &str, engine: EngineKind) -> Plan {
    let cpus = host::allowed().unwrap().into_iter().take(2).collect();
    let targets = Target::parse(target, &[]).unwrap().into();
    let plan = Plan::new(targets, content(Spread::Even(300, 3_000)), cpus, engine);
    Plan { connections: 4, stop: StopAfter::Messages(200), ..plan }
}

fn go(plan: &Plan) -> RunOutcome {
    plan.check().unwrap();
    blast::run(plan, Arc::new(AtomicBool::new(false)), &mut |_, _, _| ()).unwrap()
}

/// Every message arrived whole, and no two are the same.
fn check_arrived(messages: &[Vec<u8>], expected: u64) {
    let mut identities = HashSet::new();
    for message in messages {
        let stamp = Stamp::find(message).expect("a stamp in each message");
        let body_at = memchr::memmem::find(message, b"\r\n\r\n").unwrap() + 4;
        let body = &message[body_at..];
        assert_eq!((stamp.size, stamp.crc), (body.len() as u64, body_crc(body)));
        identities.insert((stamp.run, stamp.core, stamp.seq));
    }
    assert_eq!(identities.len() as u64, expected);
    assert_eq!(messages.len() as u64, expected);
}

#[test]
fn every_mode_delivers_exactly_the_messages_it_counts() {
    let modes = [
        (Pipelining::None, false, 1),
        (Pipelining::Commands, false, 1),
        (Pipelining::Full, false, 1),
        (Pipelining::None, true, 1),
        (Pipelining::Full, true, 32),
    ];
    for engine in engines() {
        for (protocol, scheme) in [(Protocol::Smtp, "smtp"), (Protocol::Lmtp, "lmtp")] {
            for (pipelining, chunking, depth) in modes {
                let host = serve(protocol, Extensions::ALL, Manner::Good);
                let target = format!("{scheme}://{}", host.address);
                let recipients = Spread::one(3);
                let content = Content { recipients, ..content(Spread::Even(300, 3_000)) };
                let plan = Plan { pipelining, chunking, depth, content, ..plan(&target, engine) };
                let run = go(&plan).run;
                assert_eq!((run.counts.messages_ok, run.counts.messages_failed), (200, 0));
                assert_eq!((run.counts.connections_opened, run.counts.connections_closed), (4, 4));
                assert_eq!((run.verdict, run.counts.recipients), (Verdict::Ok, 600));
                assert_eq!(run.phases[&Phase::Message].latency_ns.count, 200);
                let seen = host.seen.lock().unwrap();
                check_arrived(&seen.messages, 200);
                assert_eq!(seen.recipients, 600);
                let octets: usize = seen.messages.iter().map(Vec::len).sum();
                assert_eq!(run.counts.bytes, octets as u64);
            }
        }
    }
}

#[test]
fn refused_messages_are_counted_and_the_session_goes_on() {
    for engine in engines() {
        for (chunking, depth) in [(false, 1), (true, 8)] {
            let host = serve(Protocol::Smtp, Extensions::ALL, Manner::RefuseEach(5));
            let target = host.address.to_string();
            let pipelining = Pipelining::Full;
            let run = go(&Plan { pipelining, chunking, depth, ..plan(&target, engine) }).run;
            assert_eq!(run.counts.messages(), 200);
            assert_eq!(
                (run.counts.messages_failed, run.counts.messages_unanswered),
                (run.replies[&452], 0)
            );
            assert!(
                (36..=40).contains(&run.counts.messages_failed),
                "{}",
                run.counts.messages_failed
            );
            assert_eq!((run.counts.connections_opened, run.verdict), (4, Verdict::Failures));
            assert_eq!(run.counts.messages_refused_4xx, run.counts.messages_failed);
            let by_outcome = &run.phases[&Phase::Message].outcomes;
            assert_eq!(by_outcome[&Measured::Refused4xx].count, run.counts.messages_failed);
            assert_eq!(by_outcome[&Measured::Accepted].count, run.counts.messages_ok);
            check_arrived(&host.seen.lock().unwrap().messages, run.counts.messages_ok);
        }
    }
}

#[test]
fn messages_of_a_lost_connection_are_failed_and_not_sent_again() {
    for engine in engines() {
        let host = serve(Protocol::Smtp, Extensions::ALL, Manner::CloseAt(10));
        let run = go(&plan(&host.address.to_string(), engine)).run;
        assert_eq!(run.counts.messages(), 200);
        assert!(run.counts.messages_unanswered > 0);
        assert_eq!(run.counts.messages_failed, run.counts.messages_unanswered);
        let lost = run.errors.get(&ErrorKind::Closed).copied().unwrap_or(0)
            + run.errors.get(&ErrorKind::Reset).copied().unwrap_or(0);
        assert_eq!(lost, run.counts.messages_unanswered);
        check_arrived(&host.seen.lock().unwrap().messages, run.counts.messages_ok);
    }
}

/// What `run.msgs` says of the messages in the figures, by outcome, and of all others.
fn told_by_message(dir: &Path) -> (BTreeMap<Measured, u64>, u64, HashSet<(u16, u64)>) {
    let mut file = RunMessages::open(&dir.join(RUN_MSGS)).unwrap();
    let (mut outcomes, mut others, mut all) = (BTreeMap::new(), 0, HashSet::new());
    let mut fates = Vec::new();
    while let Some(core) = file.next(&mut fates).unwrap() {
        for fate in &fates {
            assert!(all.insert((core, fate.seq)), "a message is told once");
            assert_eq!(u64::from(fate.accepted), 3 * u64::from(fate.outcome == Measured::Accepted));
            match fate.is_measured {
                true => *outcomes.entry(fate.outcome).or_default() += 1,
                false => others += 1,
            }
        }
    }
    assert_eq!(file.end(), Some(FatesEnd::Whole { missed: 0 }));
    (outcomes, others, all)
}

#[test]
fn each_message_is_told_as_the_figures_count_it() {
    let by_time = (Duration::from_millis(300), Duration::from_millis(600));
    for engine in engines() {
        for (manner, warmup) in [
            (Manner::Good, None),
            (Manner::RefuseEach(5), None),
            (Manner::CloseAt(10), None),
            (Manner::Good, Some(by_time)),
        ] {
            let host = serve(Protocol::Smtp, Extensions::ALL, manner);
            let dir = TempDir::new().unwrap();
            let (warmup, stop) = match warmup {
                Some((warmup, length)) => (warmup, StopAfter::Duration(length)),
                None => (Duration::ZERO, StopAfter::Messages(200)),
            };
            let content = Content { recipients: Spread::one(3), ..content(Spread::one(1_024)) };
            let out = Some(dir.path().join("run"));
            let plan =
                Plan { content, out, warmup, stop, ..plan(&host.address.to_string(), engine) };
            let outcome = go(&plan);
            assert!(outcome.unwritten.is_none(), "{:?}", outcome.unwritten);
            let (run, (outcomes, others, all)) =
                (outcome.run, told_by_message(plan.out.as_deref().unwrap()));
            let of = |outcome| outcomes.get(&outcome).copied().unwrap_or(0);
            assert_eq!(of(Measured::Accepted), run.counts.messages_ok);
            assert_eq!(of(Measured::Refused4xx), run.counts.messages_refused_4xx);
            assert_eq!(of(Measured::Refused5xx), run.messages_refused_5xx);
            assert_eq!(
                of(Measured::Unanswered) + run.counts.messages_not_begun,
                run.counts.messages_unanswered
            );
            assert_eq!(others, run.warmup_messages + run.cooldown_messages);
            // What the server kept is among them, by the numbers of its stamps.
            for message in &host.seen.lock().unwrap().messages {
                let stamp = Stamp::find(message).unwrap();
                assert!(all.contains(&(stamp.core, stamp.seq)) && stamp.conn > Some(0));
                let header = &message[STAMP_BYTES..];
                assert_eq!(stamp.hcrc, Some(header_crc(header)));
            }
        }
    }
}

#[test]
fn connections_are_renewed_after_as_many_messages_as_asked() {
    for engine in engines() {
        let host = serve(Protocol::Smtp, Extensions::ALL, Manner::Good);
        let target = host.address.to_string();
        let run = go(&Plan { per_connection: Some((5, 5)), ..plan(&target, engine) }).run;
        assert_eq!((run.counts.messages_ok, run.counts.connections_opened), (200, 40));
        assert_eq!(host.seen.lock().unwrap().connections, 40);
    }
}

#[test]
fn time_ends_a_run_and_warm_up_is_left_out() {
    for engine in engines() {
        // On a busy machine nothing may come to its end within a part of a second.
        let both = [1, 10, 100].into_iter().find(|&longer| {
            let host = serve(Protocol::Smtp, Extensions::ALL, Manner::Good);
            let (warmup, length) =
                (longer * Duration::from_millis(200), longer * Duration::from_millis(400));
            let plan = Plan {
                stop: StopAfter::Duration(length),
                warmup,
                ..plan(&host.address.to_string(), engine)
            };
            let begun = Instant::now();
            let run = go(&plan).run;
            let most = begun.elapsed().saturating_sub(warmup);
            let measured = length.as_secs_f64()..=most.as_secs_f64();
            assert!(measured.contains(&run.elapsed_s), "{} in {measured:?}", run.elapsed_s);
            let seen = host.seen.lock().unwrap();
            assert_eq!(run.counts.messages_ok + run.warmup_messages, seen.messages.len() as u64);
            run.counts.messages_ok > 0 && run.warmup_messages > 0
        });
        assert!(both.is_some(), "nothing is counted in one of the parts, however long they are");
    }
}

/// The end may pass while a session waits in a long send: it begins no message after that, and what it had
/// begun is counted.
#[test]
fn a_message_that_the_end_overtakes_is_counted() {
    for engine in engines() {
        let host = serve(Protocol::Smtp, Extensions::ALL, Manner::Slow);
        let plan = Plan {
            content: content(Spread::one(1024 * 1024)),
            connections: 1,
            stop: StopAfter::Duration(Duration::from_millis(300)),
            chunking: true,
            depth: 16,
            pipelining: Pipelining::Full,
            ..plan(&host.address.to_string(), engine)
        };
        let counts = go(&plan).run.counts;
        let seen = host.seen.lock().unwrap();
        assert_eq!((counts.messages_ok, counts.messages_failed), (seen.messages.len() as u64, 0));
        assert!(0 < counts.messages_ok && counts.messages_ok < 16, "{}", counts.messages_ok);
    }
}

#[test]
fn messages_larger_than_a_piece_arrive_whole() {
    for engine in engines() {
        for chunking in [false, true] {
            let host = serve(Protocol::Smtp, Extensions::ALL, Manner::Good);
            let plan = Plan {
                content: content(Spread::Even(1_000_000, 3_000_000)),
                stop: StopAfter::Messages(12),
                chunking,
                ..plan(&host.address.to_string(), engine)
            };
            assert_eq!(go(&plan).run.counts.messages_ok, 12);
            check_arrived(&host.seen.lock().unwrap().messages, 12);
        }
    }
}

#[test]
fn what_the_target_lacks_ends_the_run_with_a_reason() {
    for engine in engines() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let outcome = go(&plan(&nobody.to_string(), engine));
        assert!(matches!(outcome.failure, Some(Failure::Unreachable { .. })));
        assert_eq!(outcome.run.verdict, Verdict::Unreachable);

        let few = serve(Protocol::Smtp, Extensions::empty(), Manner::Good).address.to_string();
        let outcome = go(&Plan { pipelining: Pipelining::Full, ..plan(&few, engine) });
        let failure = outcome.failure.unwrap();
        assert!(matches!(failure, Failure::NotOffered { extension: "PIPELINING", .. }));
        assert_eq!(go(&plan(&few, engine)).run.counts.messages_ok, 200);

        let cold = serve(Protocol::Smtp, Extensions::ALL, Manner::Unwilling).address.to_string();
        let failure = go(&plan(&cold, engine)).failure.unwrap();
        assert!(failure.to_string().contains("not for you"), "{failure}");
    }
}

#[test]
fn a_stop_in_mid_run_counts_what_was_done() {
    for engine in engines() {
        let host = serve(Protocol::Smtp, Extensions::ALL, Manner::Good);
        let stop = Arc::new(AtomicBool::new(false));
        let plan =
            Plan { stop: StopAfter::Messages(u64::MAX), ..plan(&host.address.to_string(), engine) };
        let setter = Arc::clone(&stop);
        let mut beats = 0;
        let outcome = blast::run(&plan, stop, &mut |_, _, _| {
            beats += 1;
            setter.store(beats >= 3, std::sync::atomic::Ordering::Relaxed);
        })
        .unwrap();
        let messages = host.seen.lock().unwrap().messages.len() as u64;
        assert_eq!(
            (outcome.run.counts.messages_ok, outcome.run.counts.messages_failed),
            (messages, 0)
        );
        assert!(messages > 0 && outcome.failure.is_none());
    }
}

#[test]
fn a_run_that_is_ended_before_its_plan_is_done_says_by_whom_and_is_not_green() {
    for engine in engines() {
        let host = serve(Protocol::Smtp, Extensions::ALL, Manner::Good);
        let whole = plan(&host.address.to_string(), engine);
        let ends = [
            (StopAfter::Messages(u64::MAX), "messages had been due"),
            (StopAfter::Duration(Duration::from_secs(3_600)), "it was to take"),
        ];
        for (end, left) in ends {
            let stop = StopRequest::default();
            let setter = stop.clone();
            let plan = Plan { stop: end, ..whole.clone() };
            let run = blast::run(&plan, stop, &mut |_, _, totals| {
                if totals.messages_ok > 0 {
                    setter.make("SIGINT");
                }
            });
            let run = run.unwrap().run;
            let stopped = run.stopped.as_ref().unwrap();
            assert_eq!((run.verdict, run.exit_code()), (Verdict::Stopped, 1));
            assert!(stopped.by == "SIGINT" && stopped.text.contains(left), "{stopped}");
            assert!(run.verdict_reasons[0].starts_with("SIGINT ended the run after "));
            assert!(run.counts.messages_ok > 0 && run.counts.messages_failed == 0);
        }
        // One that comes when all is done changes nothing.
        let stop = StopRequest::default();
        let setter = stop.clone();
        let plan = Plan { stop: StopAfter::Messages(20), ..whole };
        let run = blast::run(&plan, stop, &mut |_, _, totals| {
            if totals.messages_ok == 20 {
                setter.make("SIGTERM");
            }
        });
        let run = run.unwrap().run;
        assert_eq!((run.stopped, run.counts.messages_ok), (None, 20));
    }
}

#[test]
fn a_server_that_falls_silent_does_not_hold_the_run() {
    let silent = |engine| {
        let host = serve(Protocol::Smtp, Extensions::ALL, Manner::Mute);
        let stop = StopAfter::Duration(Duration::from_millis(100));
        let begun = Instant::now();
        let run = go(&Plan { stop, ..plan(&host.address.to_string(), engine) }).run;
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(
            (run.counts.messages_ok, run.counts.messages_failed, run.counts.messages_unanswered),
            (0, 4, 4)
        );
        assert_eq!(run.errors[&ErrorKind::Timeout], 4);
        let hung = run.phases[&Phase::EndOfData].outcomes[&Measured::Unanswered];
        assert!(hung.count == 4 && hung.p50 >= Some(1_000_000_000), "{hung:?}");
        assert_eq!(run.phases[&Phase::Message].outcomes[&Measured::Unanswered].count, 4);
        assert!(run.phases[&Phase::Mail].outcomes.is_empty());
    };
    std::thread::scope(|scope| {
        engines().into_iter().for_each(|engine| drop(scope.spawn(move || silent(engine))));
    });
}

#[test]
fn connections_get_an_equal_part_of_the_messages() {
    for engine in engines() {
        // Of 20 messages each, 15 connections do, or eight on each of two cores.
        for (each, connections) in [(300, 10..=10), (20, 15..=16)] {
            let host = serve(Protocol::Smtp, Extensions::ALL, Manner::Good);
            let stop = StopAfter::Messages(300);
            let plan = plan(&host.address.to_string(), engine);
            let run =
                go(&Plan { connections: 10, stop, per_connection: Some((each, each)), ..plan }).run;
            let counts = &run.counts;
            assert_eq!(counts.messages_ok, 300);
            assert!(connections.contains(&counts.connections_opened), "{counts:?}");
        }
    }
}
