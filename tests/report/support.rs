//! A run made of fixed numbers, written through the same door as a real one.

use std::path::Path;
use std::time::Duration;

use ringpost::host::CpuTime;
use ringpost::measure::{
    Collected, ErrorKind, MessageSample, Mode, OpenLoop, Outcome, Phase, RecipientCounts, Recorder,
    Totals, team,
};
use ringpost::run::{Machine, Run, RunDir, RunPlan, Versions};

const SECOND_NS: u64 = 1_000_000_000;
const CORES: usize = 2;
const SECONDS: u64 = 12;
const MESSAGES_PER_SECOND: u64 = 1_500;
/// In this second the server stalls, which is what makes a report worth reading.
const STALL_SECOND: u64 = 7;

/// Writes a run of twelve seconds into `dir` and returns what was written.
pub(crate) fn write_run(dir: &Path, mode: Mode) -> (Run, Totals) {
    write_run_at(dir, mode, "2026-05-04T12:30:00Z", 7)
}

/// The same with other numbers, begun at another time.
pub(crate) fn write_run_at(dir: &Path, mode: Mode, started: &str, seed: u64) -> (Run, Totals) {
    let started = started.parse().unwrap();
    let warmup = Duration::from_secs(1);
    let (recorders, mut collector) = team(CORES, mode, warmup, None);
    let mut out = RunDir::create(dir, started, mode).unwrap();
    for (core, recorder) in recorders.into_iter().enumerate() {
        play(seed + core as u64, recorder);
    }
    while let Collected::Interval(interval) = collector.next(Duration::ZERO) {
        out.interval(&interval).unwrap();
    }
    let totals = collector.into_totals();
    let cpu = CpuTime { user: Duration::from_millis(1_420), system: Duration::from_millis(6_930) };
    let mut run = Run::new(started, plan(mode), machine(), &totals, cpu);
    run.versions = Versions { ringpost: "0.1.0".to_owned() };
    run.id = format!("{seed:016x}");
    out.finish(&run, &totals).unwrap();
    (run, totals)
}

fn play(seed: u64, mut recorder: Recorder) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..32 {
        recorder.connection_opened();
        recorder.record_phase(Phase::Connect, Outcome::Accepted, 60_000 + random.u64(0..90_000));
        recorder.record_phase(Phase::Banner, Outcome::Accepted, 110_000 + random.u64(0..200_000));
        recorder.record_phase(Phase::Hello, Outcome::Accepted, 80_000 + random.u64(0..100_000));
        recorder.count_reply(Phase::Banner, 220, None);
        recorder.count_reply(Phase::Hello, 250, None);
    }
    for second in 0..=SECONDS {
        for n in 0..MESSAGES_PER_SECOND {
            recorder.tick(second * SECOND_NS + n * SECOND_NS / MESSAGES_PER_SECOND);
            recorder.set_in_flight(32);
            message(&mut recorder, &mut random, second);
        }
        recorder.publish();
    }
    recorder.count_error_at(ErrorKind::Reset, SECOND_NS, SECOND_NS);
    for _ in 0..32 {
        recorder.connection_closed();
        recorder.count_reply(Phase::Quit, 221, Some((2, 0, 0)));
        recorder.record_phase(Phase::Quit, Outcome::Accepted, 70_000 + random.u64(0..50_000));
    }
    recorder.finish((SECONDS + 1) * SECOND_NS);
}

fn message(recorder: &mut Recorder, random: &mut fastrand::Rng, second: u64) {
    // Two humps and a tail, as a server that sometimes waits for its disk shows them.
    let base = 700_000.0 * (1.0 + random.f64() + random.f64() * random.f64());
    let slow = if random.u32(0..40) == 0 { 6.0 + 20.0 * random.f64() } else { 1.0 };
    let stall = if second == STALL_SECOND { 40.0 * random.f64() } else { 0.0 };
    let service_ns = (base * (slow + stall)) as u64;
    let refused = random.u32(0..500) == 0;
    transaction(recorder, service_ns, refused);
    let outcome = if refused { Outcome::Refused4xx } else { Outcome::Accepted };
    let send_lag_ns = 20_000 + random.u64(0..60_000);
    let wait_ns = (stall * 4_000_000.0) as u64;
    let open = OpenLoop {
        response_ns: service_ns + send_lag_ns + wait_ns,
        send_lag_ns,
        own_lag_ns: send_lag_ns,
    };
    let open = (recorder.mode() == Mode::Open).then_some(open);
    let start_ns = second * SECOND_NS;
    let bytes = 1_024;
    recorder.record_message(&MessageSample {
        outcome,
        bytes,
        recipients: RecipientCounts::of(outcome, 1),
        start_ns,
        ended_ns: start_ns + open.map_or(service_ns, |open| open.response_ns),
        service_ns,
        open,
    });
}

/// The commands of one message; one that is refused at RCPT goes no further.
fn transaction(recorder: &mut Recorder, service_ns: u64, refused: bool) {
    let (mail, rcpt, data) = (service_ns / 9, service_ns / 8, service_ns / 10);
    recorder.record_phase(Phase::Mail, Outcome::Accepted, mail);
    recorder.count_reply(Phase::Mail, 250, Some((2, 1, 0)));
    if refused {
        recorder.record_phase(Phase::Rcpt, Outcome::Refused4xx, rcpt);
        recorder.count_reply(Phase::Rcpt, 451, Some((4, 7, 1)));
        let wait = [30, 60, 300, 600, 900][service_ns as usize % 5];
        let said = format!("4.7.1 Try again in {wait} s (queue 4F{service_ns:X})");
        recorder.note_refusal(Phase::Rcpt, 451, said.as_bytes());
        return;
    }
    recorder.record_phase(Phase::Rcpt, Outcome::Accepted, rcpt);
    recorder.count_reply(Phase::Rcpt, 250, Some((2, 1, 5)));
    recorder.record_phase(Phase::Data, Outcome::Accepted, data);
    recorder.count_reply(Phase::Data, 354, None);
    recorder.record_phase(Phase::EndOfData, Outcome::Accepted, service_ns - mail - rcpt - data);
    recorder.count_reply(Phase::EndOfData, 250, Some((2, 0, 0)));
}

fn plan(mode: Mode) -> RunPlan {
    let open = mode == Mode::Open;
    let words = ["ringpost-blast", "smtp://127.0.0.1:1025", "-c", "64", "-z", "12s"];
    RunPlan {
        command: words.map(str::to_owned).to_vec(),
        name: String::new(),
        note: String::new(),
        target: "smtp://127.0.0.1:1025".to_owned(),
        targets: Vec::new(),
        connections: 64,
        cores: CORES as u64,
        messages: None,
        duration_s: Some(12.0),
        warmup_s: 1.0,
        cooldown_s: 0.0,
        rate_msg_s: open.then_some(3_000.0),
        rate: open.then(|| "3000".to_owned()),
        arrivals_of: open.then(|| "messages".to_owned()),
        arrivals: open.then(|| "poisson".to_owned()),
        lag_limit_percent: None,
        size: "1024".to_owned(),
        recipients: 1,
        per_connection: None,
        think: None,
        misbehave: None,
        pipelining: "commands".to_owned(),
        chunking: false,
        depth: 1,
        tls: "none".to_owned(),
        tls_insecure: false,
        tls_share_percent: None,
        tls_resume_percent: None,
        auth: None,
        hello: "ehlo".to_owned(),
        helo: "client.example".to_owned(),
        from: "<a&b@client.example>".to_owned(),
        to: "<c@server.example>".to_owned(),
        seed: 42,
        options: Vec::new(),
    }
}

fn machine() -> Machine {
    Machine {
        cpus: 2,
        cpu_model: "An Example CPU @ 3.00GHz".to_owned(),
        kernel: "6.12.0".to_owned(),
        engine: "uring".to_owned(),
    }
}
