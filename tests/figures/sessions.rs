//! What sessions do, as servers see it: how many messages a connection brings, how long it pauses, whom it
//! visits and from where, and that none of this depends on another.

use super::conservation::number;
use super::generator::{Disturbance, cores, has_cores, run, words};
use super::server::{Log, Server, good, unix_offset_ns};
use super::statistics::{assert_usual, chi_square, rank_correlation};

/// Messages of a run; sessions have three on average.
const MESSAGES: u64 = 1_500;

/// By so much two clocks of a machine may be apart as two programs read them.
const CLOCKS_S: f64 = 0.002;

/// One session of the generator, from the side of its server.
#[derive(Debug)]
struct Session {
    core: u16,
    target: f64,
    /// When it was due, since the wall clock began.
    due_ns: u64,
    count: f64,
    /// Of its first message.
    size: f64,
    recipients: f64,
    /// Seconds between the reply to its first message and the time when the second was due.
    pause: Option<f64>,
}

fn sessions(logs: &[Log]) -> Vec<Session> {
    let offset_ns = unix_offset_ns();
    let mut all = Vec::new();
    for (target, log) in logs.iter().enumerate() {
        for connection in 0..log.connections {
            let mut of = log.transactions.iter().filter(|of| of.connection == connection);
            let (first, second) = (of.next().unwrap(), of.next());
            let stamp = first.stamp.unwrap();
            let answered_ns = first.answered_ns + offset_ns;
            all.push(Session {
                core: stamp.core,
                target: target as f64,
                due_ns: stamp.due_unix_ns,
                count: 1.0 + f64::from(u8::from(second.is_some())) + of.count() as f64,
                size: first.octets as f64,
                recipients: first.recipients_asked as f64,
                pause: second.map(|second| {
                    (second.stamp.unwrap().due_unix_ns as i64 - answered_ns as i64) as f64 / 1e9
                }),
            });
        }
    }
    all.sort_by_key(|session| session.due_ns);
    all
}

/// Runs sessions at random and gives them in the order in which they were due, without the last of each core:
/// for these too few messages were left.
fn observe(cores_count: usize, weights: [u32; 2], seed: u64) -> Vec<Session> {
    let servers = weights.map(|_| Server::start(good));
    let [a, b] = [0, 1].map(|n| servers[n].address());
    let [of_a, of_b] = weights;
    let arguments = words(&format!(
        "--session-rate 400 --arrivals poisson --per-connection 1..5 --think exp:5ms -c 64 -n {MESSAGES} \
         --size 400..2k --recipients 1..4 --seed {seed} --cores {} --drain 60s {of_a}={a} {of_b}={b}",
        cores(cores_count)
    ));
    let ran = run(&arguments, Disturbance::None, seed);
    assert_eq!(ran.count("messages_ok"), MESSAGES, "{}", ran.errors);
    let mut sessions = sessions(&servers.each_ref().map(Server::log));
    for core in 0..cores_count as u16 {
        let last = sessions.iter().rposition(|session| session.core == core).unwrap();
        sessions.remove(last);
    }
    sessions
}

fn independent(sessions: &[Session], what: &str) {
    let gaps: Vec<f64> =
        sessions.windows(2).map(|two| (two[1].due_ns - two[0].due_ns) as f64).collect();
    let of = |value: fn(&Session) -> f64| sessions.iter().skip(1).map(value).collect::<Vec<_>>();
    let columns = [
        ("gap", gaps),
        ("count", of(|session| session.count)),
        ("size", of(|session| session.size)),
        ("recipients", of(|session| session.recipients)),
        ("target", of(|session| session.target)),
    ];
    for (n, (a, values)) in columns.iter().enumerate() {
        for (b, others) in &columns[n + 1..] {
            assert_usual(rank_correlation(values, others), &format!("{what}: {a} and {b}"));
        }
        // Targets are dealt in turn, so that one of them says which is next.
        if *a != "target" {
            let next = rank_correlation(&values[1..], &values[..values.len() - 1]);
            assert_usual(next, &format!("{what}: {a} and the next"));
        }
    }
    let paused: Vec<&Session> = sessions.iter().filter(|session| session.pause.is_some()).collect();
    let pauses: Vec<f64> = paused.iter().filter_map(|session| session.pause).collect();
    for (name, value) in [
        ("count", (|session| session.count) as fn(&Session) -> f64),
        ("size", |session| session.size),
        ("recipients", |session| session.recipients),
    ] {
        let values: Vec<f64> = paused.iter().map(|session| value(session)).collect();
        assert_usual(rank_correlation(&pauses, &values), &format!("{what}: pause and {name}"));
    }
}

#[test]
fn what_a_session_does_depends_on_nothing_else() {
    let seed = number("FIGURES_SEED", 1);
    for cores in [1, 2] {
        if !has_cores(cores) {
            continue;
        }
        let sessions = observe(cores, [2, 1], seed);
        let what = format!("{cores} cores");
        independent(&sessions, &what);
        for core in 0..cores as u16 {
            let own: Vec<Session> = observe_core(&sessions, core);
            independent(&own, &format!("core {core} of {cores}"));
        }
        let mut counts = [0; 5];
        sessions.iter().for_each(|session| counts[session.count as usize - 1] += 1);
        assert_usual(chi_square(&counts, &[1.0; 5]), &format!("{what}: messages of a session"));
        let to_first = sessions.iter().filter(|session| session.target == 0.0).count() as u64;
        let targets = [to_first, sessions.len() as u64 - to_first];
        assert_usual(chi_square(&targets, &[2.0, 1.0]), &format!("{what}: targets"));
        // A pause begins when the reply was heard, which is after it was written; two clocks of a machine are
        // read by two programs.
        let pauses: Vec<f64> = sessions.iter().filter_map(|session| session.pause).collect();
        assert!(pauses.iter().all(|pause| *pause > -CLOCKS_S), "{what}: {pauses:?}");
    }
}

/// Which target a session goes to is one decision of the run, and not one of each core: the first sessions are
/// shared out by weight, whichever core they are on.
#[test]
fn all_cores_deal_their_sessions_as_one() {
    if !has_cores(2) {
        return;
    }
    for (weights, load, expected) in [
        (&[1, 1][..], "-c 2 -n 2", &[1, 1][..]),
        (&[3, 1], "-c 4 -n 40", &[3, 1]),
        (&[1, 1, 1], "-c 4 -n 40", &[2, 1, 1]),
        (&[1, 1], "-c 2 -n 4 --per-connection 1", &[2, 2]),
        (&[5, 1], "-q 400 -c 2 -n 12 --per-connection 1", &[10, 2]),
        (&[1, 1, 1], "--session-rate 200 -c 4 -n 12 --per-connection 2", &[2, 2, 2]),
    ] {
        let servers: Vec<Server> = weights.iter().map(|_| Server::start(good)).collect();
        let mut arguments = words(&format!("{load} --cores {} --drain 60s", cores(2)));
        arguments.extend(
            weights
                .iter()
                .zip(&servers)
                .map(|(weight, server)| format!("{weight}={}", server.address())),
        );
        let ran = run(&arguments, Disturbance::None, 0);
        let seen: Vec<u64> = servers.iter().map(|server| server.log().connections).collect();
        assert_eq!(seen, expected, "{weights:?}: {load}: {}", ran.errors);
    }
}

fn observe_core(sessions: &[Session], core: u16) -> Vec<Session> {
    let own = sessions.iter().filter(|session| session.core == core);
    own.map(|session| Session { ..*session }).collect()
}
