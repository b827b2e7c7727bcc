//! Servers whose times follow from arithmetic, and what the generator makes of them.
//!
//! Each time of a message lies between two of the server's own: the reply was written before the generator heard
//! it, and the generator was heard again after that. So each percentile lies between two that are computed from
//! the server's log, on any machine. Where the machine was so late that these two lie far from the law, the run
//! is not judged by the law, and tried again; enough of the runs must be judged.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use ringpost::blast::schedule::Profile;

use super::generator::{Disturbance, Ran, cores, run, words};
use super::laws::dues;
use super::pulse::{Judged, Pulse, judge};
use super::server::{Answer, Ask, Asked, Log, Server, Transaction, What, good, unix_offset_ns};
use super::statistics::{at_quantile, mean};

const S: f64 = 1e9;

/// By so much the two clocks of a machine may be apart as two programs read them; and a cell of a histogram is
/// wide.
const CLOCKS_S: f64 = 0.002;
const CELL: f64 = 0.002;

/// A run is judged by its law where the server's log leaves it no more room than this.
const ROOM: f64 = 0.25;
const ROOM_S: f64 = 0.004;

const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)];

/// The messages of a run, rising, and what the server knows of their times, in seconds.
struct Bounds {
    dues: Vec<f64>,
    /// Each lies between these two; sorted one by one.
    least: Vec<f64>,
    most: Vec<f64>,
}

fn rising(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Response times in an open loop.
fn responses(log: &Log) -> Bounds {
    let offset = unix_offset_ns();
    let due_ns = |of: &Transaction| of.stamp.unwrap().due_unix_ns - offset;
    let span = |from_ns: u64, to_ns: u64| (to_ns as f64 - from_ns as f64) / S;
    let each = |time: fn(&Transaction) -> u64| {
        rising(log.transactions.iter().map(|of| span(due_ns(of), time(of))).collect())
    };
    let dues = rising(log.transactions.iter().map(|of| due_ns(of) as f64 / S).collect());
    Bounds { dues, least: each(|of| of.answered_ns), most: each(|of| of.heard_ns) }
}

/// Service times: from MAIL to the last reply. MAIL was there some time after it was sent, and it was sent after the
/// server wrote what the client heard last: the reply to the message before, or to EHLO.
fn services(log: &Log) -> Bounds {
    let wrote_before = |of: &Transaction| {
        let own = log.events.iter().filter(|event| event.connection == of.connection);
        let wrote = own.filter(|event| event.what == What::Wrote && event.at_ns < of.began_ns);
        wrote.map(|event| event.at_ns).max().expect("a banner comes before MAIL")
    };
    let each = |from: &dyn Fn(&Transaction) -> u64, to: fn(&Transaction) -> u64| {
        let span = |of: &Transaction| (to(of) - from(of)) as f64 / S;
        rising(log.transactions.iter().map(span).collect())
    };
    let least = each(&|of| of.began_ns, |of| of.answered_ns);
    let most = each(&wrote_before, |of| of.heard_ns);
    Bounds { dues: Vec::new(), least, most }
}

/// Part of the time of a run for which the generator waited for its CPU.
fn waited(ran: &Ran) -> f64 {
    ran.count("cpu_wait_ns") as f64 / S / ran.float("/elapsed_s").max(0.001)
}

/// Runs the generator while the machine is watched.
fn watched(text: &str, seed: u64) -> (Ran, bool) {
    let pulse = Pulse::start();
    let ran = run(&words(text), Disturbance::None, seed);
    let was_late = pulse.was_late(waited(&ran), ran.verdict() == "generator-limited");
    (ran, was_late)
}

/// Holds each percentile of `figure` between its bounds. Answers whether these leave so little room that it is
/// held to `law` too.
fn holds(ran: &Ran, figure: &str, bounds: &Bounds, law: &[f64], what: &str) -> bool {
    assert_eq!(ran.run[figure]["count"], bounds.least.len(), "{what}: {}", ran.errors);
    let told = |name: &str| ran.float(&format!("/{figure}/{name}")) / S;
    let mut judged = true;
    let quantiles = QUANTILES.map(|(name, quantile)| {
        let at = |values: &[f64]| at_quantile(values, quantile);
        (name, [at(&bounds.least), at(&bounds.most), at(law)])
    });
    let means = [("mean", [mean(&bounds.least), mean(&bounds.most), mean(law)])];
    for (name, [least, most, law]) in quantiles.into_iter().chain(means) {
        let told = told(name);
        let from = least * (1.0 - CELL) - CLOCKS_S;
        let to = most * (1.0 + CELL) + CLOCKS_S;
        assert!((from..=to).contains(&told), "{what}: {name} is {told} and lies in {from}..{to}");
        // The server cannot be earlier than its law.
        assert!(told >= law * (1.0 - CELL) - CLOCKS_S, "{what}: {name} is {told}, by law {law}");
        if name != "max" {
            judged &= most <= law * (1.0 + ROOM) + ROOM_S;
        }
    }
    judged
}

/// Service times of the law, in seconds: all the same, or exponential.
fn service_times(random_ones: bool, mean_s: f64, count: usize, seed: u64) -> Vec<f64> {
    let mut random = super::generator::random(seed);
    let mut time = || match random_ones {
        true => -(1.0 - random.f64()).ln() * mean_s,
        false => mean_s,
    };
    (0..count).map(|_| time()).collect()
}

/// The response times of one worker who takes one after the other, by Lindley's recursion.
fn queue(dues: &[f64], services: &[f64]) -> Vec<f64> {
    let mut free = f64::MIN;
    let done = dues.iter().zip(services).map(|(&due, &service)| {
        free = free.max(due) + service;
        free - due
    });
    done.collect()
}

/// A server with one worker: it works on one message after the other, for times that were drawn before, and notes
/// on which connection each came.
fn one_worker(services: Vec<f64>) -> (Server, Arc<Mutex<Vec<u64>>>) {
    let order = Arc::<Mutex<Vec<u64>>>::default();
    let (theirs, free_ns) = (Arc::clone(&order), AtomicU64::new(0));
    let server = Server::start(move |ask: Ask<'_>| {
        let Asked::Message { .. } = ask.what else { return good(ask) };
        let mut order = theirs.lock().unwrap();
        let service_ns = (services[order.len()] * S) as u64;
        order.push(ask.connection);
        let done_ns = ask.at_ns.max(free_ns.load(Relaxed)) + service_ns;
        free_ns.store(done_ns, Relaxed);
        Answer::SayAt(done_ns, "250 2.0.0 ok".to_owned())
    });
    (server, order)
}

/// M/D/1 and M/M/1 through the network, at half load, four fifths and nineteen twentieths.
fn queue_of(load: f64, random_ones: bool, seed: u64) -> Judged {
    let (service_s, count) = (0.008, 250);
    let services = service_times(random_ones, service_s, count, seed);
    let (server, order) = one_worker(services.clone());
    let rate = load / service_s;
    let arguments = format!(
        "-q {rate} --arrivals poisson -n {count} -c 200 --per-connection 1 --drain 60s --seed {seed} \
         --cores {} {}",
        cores(1),
        server.address()
    );
    let (ran, was_late) = watched(&arguments, seed);
    let log = server.log();
    let bounds = responses(&log);
    // The messages were due when the schedule says, to the nanosecond.
    let schedule = dues(&Profile::constant(rate).unwrap(), seed, 1, 0, count as u64);
    let first = bounds.dues[0] - schedule[0];
    for (due, planned) in bounds.dues.iter().zip(&schedule) {
        assert!((due - first - planned).abs() < 1e-5, "due at {due}, planned at {planned}");
    }
    // In the order in which they came to the worker: on a busy machine one may come before one that was due
    // earlier. Each connection brought one.
    let due_of = |connection: &u64| {
        let of = log.transactions.iter().find(|of| of.connection == *connection);
        of.unwrap().stamp.unwrap().due_unix_ns
    };
    let dues_ns: Vec<u64> = order.lock().unwrap().iter().map(due_of).collect();
    let first_ns = *dues_ns.iter().min().unwrap();
    let came: Vec<f64> = dues_ns.iter().map(|due_ns| (due_ns - first_ns) as f64 / S).collect();
    let law = rising(queue(&came, &services));
    let what = format!("load {load}, random {random_ones}");
    Judged::of(holds(&ran, "response_ns", &bounds, &law, &what), was_late)
}

#[test]
fn response_times_are_those_of_a_queue_with_one_worker() {
    // Both at once, because they wait more than they work.
    std::thread::scope(|scope| {
        for random_ones in [false, true] {
            scope.spawn(move || {
                let of = if random_ones { "M/M/1" } else { "M/D/1" };
                for percent in [50, 80, 95] {
                    let (what, load) = (format!("{of} at {percent} %"), f64::from(percent) / 100.0);
                    judge(&what, |seed| queue_of(load, random_ones, seed));
                }
            });
        }
    });
}

/// Pollaczek and Khinchine: the mean wait of the planned arrivals at one worker is that of the theory.
#[test]
fn planned_arrivals_wait_as_queueing_theory_says() {
    for (load, count) in [(0.5_f64, 100_000), (0.8, 300_000), (0.95, 1_500_000)] {
        let arrivals = dues(&Profile::constant(load).unwrap(), 7, 1, 0, count as u64);
        // Daley: the variance of the mean of n waits at M/M/1 with service times of 1.
        let daley = load * (2.0 + 5.0 * load - 4.0 * load.powi(2) + load.powi(3))
            / (1.0 - load).powi(4)
            / count as f64;
        let wait = load / (1.0 - load);
        let room = 5.0 * daley.sqrt() / wait;
        for (random_ones, theory) in [(true, wait), (false, wait / 2.0)] {
            let services = service_times(random_ones, 1.0, count, 8);
            let times = queue(&arrivals, &services);
            let apart = (mean(&times) - mean(&services)) / theory - 1.0;
            assert!(apart.abs() < room, "load {load}: {apart} from the theory, room {room}");
            if random_ones {
                // All of a message's time at M/M/1 is exponential, with rate 1 - load.
                let times = rising(times);
                for quantile in [0.5, 0.9] {
                    let theory = -f64::ln(1.0 - quantile) / (1.0 - load);
                    let apart = at_quantile(&times, quantile) / theory - 1.0;
                    assert!(apart.abs() < room, "load {load}, quantile {quantile}: {apart}");
                }
            }
        }
    }
}

/// A server that takes an exponential time for each message, however many there are.
fn exponential(seed: u64) -> Judged {
    let services = service_times(true, 0.03, 200, seed);
    let theirs = services.clone();
    let server = Server::start(move |ask: Ask<'_>| match ask.what {
        Asked::Message { index, .. } => {
            let at_ns = ask.at_ns + (theirs[index as usize] * S) as u64;
            Answer::SayAt(at_ns, "250 2.0.0 ok".to_owned())
        }
        _ => good(ask),
    });
    let arguments = format!(
        "-q 150 -n 200 -c 100 --per-connection 1 --drain 60s --seed {seed} --cores {} {}",
        cores(1),
        server.address()
    );
    let (ran, was_late) = watched(&arguments, seed);
    let bounds = responses(&server.log());
    Judged::of(holds(&ran, "response_ns", &bounds, &rising(services), "exponential"), was_late)
}

/// A server that answers nothing in the last 300 ms of each 800 ms.
fn stalls(seed: u64) -> Judged {
    let (period, stall) = (800_000_000, 300_000_000);
    let end_of_stall = move |at_ns: u64| {
        let into = at_ns % period;
        if into < period - stall { at_ns } else { at_ns - into + period }
    };
    let server = Server::start(move |ask: Ask<'_>| match good(ask) {
        Answer::Say(text) => Answer::SayAt(end_of_stall(ask.at_ns), text),
        answer => answer,
    });
    let arguments = format!(
        "-q 125 -z 1600ms -c 100 --per-connection 1 --drain 60s --seed {seed} --cores {} {}",
        cores(1),
        server.address()
    );
    let (ran, was_late) = watched(&arguments, seed);
    let bounds = responses(&server.log());
    let law = bounds.dues.iter().map(|due| {
        let due_ns = (due * S) as u64;
        (end_of_stall(due_ns) - due_ns) as f64 / S
    });
    Judged::of(holds(&ran, "response_ns", &bounds, &rising(law.collect()), "stalls"), was_late)
}

/// A closed loop at a server that takes 20 ms for each message.
fn constant(seed: u64) -> Judged {
    let (service_s, connections) = (0.020, 4);
    let server = Server::start(move |ask: Ask<'_>| match ask.what {
        Asked::Message { .. } => {
            Answer::SayAt(ask.at_ns + (service_s * S) as u64, "250 2.0.0 ok".to_owned())
        }
        _ => good(ask),
    });
    let arguments =
        format!("-n 160 -c {connections} --seed {seed} --cores {} {}", cores(1), server.address());
    let (ran, was_late) = watched(&arguments, seed);
    let rate = ran.float("/rate_msg_s");
    assert!(rate <= f64::from(connections) / service_s * (1.0 + CELL), "{rate} messages a second");
    let follows = holds(&ran, "service_ns", &services(&server.log()), &[service_s], "constant");
    let is_full = rate >= f64::from(connections) / (service_s * 1.3 + 0.005);
    Judged::of(follows && is_full, was_late)
}

#[test]
fn times_are_those_of_servers_whose_law_is_known() {
    judge("exponential", exponential);
    judge("stalls", stalls);
    judge("constant", constant);
}
