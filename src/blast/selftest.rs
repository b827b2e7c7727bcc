//! The generator's proof of itself: a real server that stands still for a known part of each period,
//! the response times that follow from that by arithmetic, and those that are measured.
//!
//! A message that is due `u` into a stall of length S waits S - u. With one stall in each period P and
//! messages due evenly, the share of messages that wait longer than w is (S - w) / P, so that the
//! quantile q of the response time is S - (1 - q) P, as long as that is above zero. A closed loop
//! has no more messages in the stall than it has connections, and the service time of an open one
//! shows no more of it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::content::Content;
use super::content::spread::Spread;
use super::error::BlastError;
use super::plan::{Load, Plan, StopAfter};
use super::runner::run;
use super::schedule::{Profile, ProfileError, Schedule, Spacing};
use crate::dial::Target;
use crate::engine::{self, Address, Alarm, BindError, Conn, EngineKind, Listener, task};
use crate::host::{self, CpuTime, waited_by_task};
use crate::limits::RECV_LARGE_BYTES;
use crate::run::{Latency, Run, Verdict};
use crate::smtp::auth::AuthPolicy;
use crate::smtp::extension::Extensions;
use crate::smtp::server::{
    BareNewline, Commands, Event, Policy, Protocol, Server, Syntax, TlsPolicy,
};

/// How far a measured percentile may be from the computed one.
pub const TOLERANCE: f64 = 0.05;

/// The percentiles that are computed and compared.
const QUANTILES: [Quantile; 2] = [(0.99, |latency| latency.p99), (0.999, |latency| latency.p999)];

type Quantile = (f64, fn(&Latency) -> Option<u64>);

/// What to try.
#[derive(Clone, Debug)]
pub struct Trial {
    pub stall: Duration,
    pub period: Duration,
    pub periods: u32,
    /// Messages a second.
    pub rate: f64,
    pub connections: usize,
    pub engine: EngineKind,
}

/// Why a trial cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error(
        "--stall {stall:?} in each {period:?} of --every; give more than a fiftieth of it and less than a half"
    )]
    Stall { stall: Duration, period: Duration },
    #[error(
        "--connections {connections} is more than one in 200 of the messages in a period, so that the stall \
         would show in the 99th percentile of the service time too; ask for a higher rate or fewer connections"
    )]
    Connections { connections: usize },
    #[error(transparent)]
    Rate(#[from] ProfileError),
    #[error("cannot serve: {0}")]
    Bind(#[from] BindError),
    #[error("cannot serve: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Blast(#[from] BlastError),
}

/// One percentile of the response time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Compared {
    pub quantile: f64,
    pub computed_ns: u64,
    pub measured_ns: u64,
    /// Of the same messages, counted from their first octet.
    pub service_ns: u64,
    /// Of a closed loop against the same server.
    pub closed_ns: u64,
    /// Measured less computed, in parts of the computed.
    pub off: f64,
}

/// The result of a trial.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    pub stall_s: f64,
    pub period_s: f64,
    pub rate_msg_s: f64,
    pub connections: usize,
    pub messages: u64,
    pub closed_messages: u64,
    pub compared: Vec<Compared>,
    pub verdict: Verdict,
    /// How long the server ran, and how long it was ready to and something else had its CPU; 0 where the
    /// kernel does not count it.
    pub server_cpu_ns: u64,
    pub server_wait_ns: u64,
    pub passed: bool,
}

impl Proof {
    /// Whether it failed for want of CPU: the generator was the limit, or the server waited for longer
    /// than the tolerance allows, and not only for the moment that each waking takes. Then nothing is
    /// proven.
    pub fn is_disturbed(&self) -> bool {
        let late_ns = TOLERANCE * self.compared[0].computed_ns as f64;
        let starved = self.server_wait_ns as f64 > late_ns.max(self.server_cpu_ns as f64 / 2.0);
        !self.passed && (starved || self.verdict == Verdict::GeneratorLimited)
    }
}

impl Trial {
    /// Runs the open and then the closed loop against a server in a thread of its own.
    pub fn run(&self) -> Result<Proof, TrialError> {
        self.check()?;
        let server = StallingServer::start(self.stall, self.period)?;
        let schedule =
            Schedule { profile: Profile::constant(self.rate)?, spacing: Spacing::Constant };
        let open = self.plan(&server, Load::Messages(schedule), self.period * self.periods)?;
        let closed = self.plan(&server, Load::Closed, self.period)?;
        let go = |plan| Ok::<_, TrialError>(run(&plan, Arc::default(), &mut |_, _, _| ())?.run);
        let before = server.share();
        let open = go(open)?;
        let after = server.share();
        let share = CpuShare {
            ran: after.ran.saturating_sub(before.ran),
            waited: after.waited.saturating_sub(before.waited),
        };
        Ok(self.compare(&open, &go(closed)?, share))
    }

    fn check(&self) -> Result<(), TrialError> {
        let (stall, period) = (self.stall, self.period);
        if stall * 50 <= period || stall * 2 >= period {
            return Err(TrialError::Stall { stall, period });
        }
        let connections = self.connections;
        if connections as f64 * 200.0 > self.rate * period.as_secs_f64() {
            return Err(TrialError::Connections { connections });
        }
        Ok(())
    }

    fn plan(
        &self,
        server: &StallingServer,
        load: Load,
        duration: Duration,
    ) -> Result<Plan, TrialError> {
        let (from, to) = ("blast@client.example", "sink@server.example");
        let content = Content::plain(Spread::one(1024), from, to);
        // The last, as the server takes the first.
        let cpus = host::allowed()?.into_iter().next_back().into_iter().collect();
        Ok(Plan {
            connections: self.connections,
            load,
            stop: StopAfter::Duration(duration),
            drain: self.period,
            ..Plan::new(server.target().into(), content, cpus, self.engine)
        })
    }

    fn compare(&self, open: &Run, closed: &Run, server: CpuShare) -> Proof {
        let response = open.response_ns.unwrap_or_default();
        let compared = QUANTILES.map(|(quantile, of)| {
            // A trial too short for the quantile proves nothing: then 0 is far off.
            let of = |latency: &Latency| of(latency).unwrap_or_default();
            let computed_s = computed(self.stall, self.period, quantile);
            Compared {
                quantile,
                computed_ns: (computed_s * 1e9).round() as u64,
                measured_ns: of(&response),
                service_ns: of(&open.service_ns),
                closed_ns: of(&closed.service_ns),
                off: of(&response) as f64 / 1e9 / computed_s - 1.0,
            }
        });
        let told = compared.iter().all(|one| one.off.abs() <= TOLERANCE);
        // If the stall shows in the service time too, nothing was proven.
        let hidden =
            compared[0].service_ns.max(compared[0].closed_ns) < compared[0].computed_ns / 2;
        let whole = open.counts.messages_failed == 0 && open.counts.messages_not_begun == 0;
        Proof {
            stall_s: self.stall.as_secs_f64(),
            period_s: self.period.as_secs_f64(),
            rate_msg_s: self.rate,
            connections: self.connections,
            messages: open.counts.messages_ok,
            closed_messages: closed.counts.messages_ok,
            verdict: open.verdict,
            server_cpu_ns: server.ran.as_nanos() as u64,
            server_wait_ns: server.waited.as_nanos() as u64,
            passed: told && hidden && whole,
            compared: compared.to_vec(),
        }
    }
}

/// How long a thread ran, and how long it was ready to and did not.
#[derive(Clone, Copy, Debug)]
struct CpuShare {
    ran: Duration,
    waited: Duration,
}

/// Seconds that the message at this quantile waits.
fn computed(stall: Duration, period: Duration, quantile: f64) -> f64 {
    stall.as_secs_f64() - (1.0 - quantile) * period.as_secs_f64()
}

/// An SMTP server on one thread that discards what it gets, and whose thread sleeps in the last part
/// of each period, so that it neither reads nor answers.
struct StallingServer {
    address: Address,
    /// Number of its thread in the kernel.
    tid: i32,
    /// Dropping it ends the server.
    _running: Sender<()>,
}

impl StallingServer {
    fn start(stall: Duration, period: Duration) -> Result<Self, TrialError> {
        let anywhere = Address::resolve("127.0.0.1:0")?;
        let listener = engine::bind(&anywhere, 1)?.remove(0).remove(0);
        let address = listener.address().clone();
        let (running, over) = channel::<()>();
        let (tell, told) = channel();
        let cpu = host::allowed()?.into_iter().next();
        std::thread::Builder::new().name("stalling".to_owned()).spawn(move || {
            // `start` waits for this.
            let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get());
            // Unpinned, it shares a core with the generator and nothing else changes.
            drop(cpu.map(host::pin));
            let begun = Instant::now();
            engine::run_core(EngineKind::Epoll, async {
                task::spawn(accept(listener.attach()?));
                let mut alarm = Alarm::new()?;
                let mut end = begun;
                while over.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    end += period;
                    alarm.until(end - stall).await?;
                    std::thread::sleep(end.saturating_duration_since(Instant::now()));
                }
                Ok::<(), io::Error>(())
            })
        })?;
        let gone = |_| io::Error::other("its thread ended at once");
        let tid = told.recv().map_err(gone)?;
        Ok(Self { address, tid, _running: running })
    }

    /// The CPU time of the thread since its start, and its waits for a CPU.
    fn share(&self) -> CpuShare {
        CpuShare {
            ran: CpuTime::of_task(self.tid).unwrap_or_default().total(),
            waited: waited_by_task(self.tid).unwrap_or_default(),
        }
    }

    fn target(&self) -> Target {
        Target {
            protocol: Protocol::Smtp,
            implicit_tls: false,
            url: format!("smtp://{}", self.address),
            host: None,
            addresses: vec![self.address.clone()],
        }
    }
}

async fn accept(mut listener: Listener) {
    while let Ok((conn, _)) = listener.accept().await {
        task::spawn(serve(conn));
    }
}

/// One session: every message is taken and forgotten.
async fn serve(mut conn: Conn) {
    let mut server = Server::new(Rc::new(policy()));
    let mut replies = engine::Buf::with_capacity(1024);
    let mut received = engine::Buf::with_capacity(RECV_LARGE_BYTES);
    server.greet(replies.vec_mut());
    loop {
        let (sent, back) = conn.send_all(replies).await;
        replies = back;
        replies.clear();
        if sent.is_err() {
            return;
        }
        let (count, back) = conn.recv(received).await;
        received = back;
        let Ok(1..) = count else { return };
        let mut input = &received[..];
        while let Some(event) = server.step(&mut input, replies.vec_mut()) {
            match event {
                Event::End(_) => server.accept("discarded", replies.vec_mut()),
                Event::Close => {
                    // The client is leaving, and so are we.
                    drop(conn.send_all(replies).await);
                    return;
                }
                _ => {}
            }
        }
    }
}

fn policy() -> Policy {
    Policy {
        hostname: "selftest.example".into(),
        protocol: Protocol::Smtp,
        message_bytes_max: u64::MAX,
        recipients_max: 1,
        syntax: Syntax::Strict,
        bare_newline: BareNewline::Reject,
        extensions: Extensions::empty(),
        commands: Commands::default(),
        auth: AuthPolicy::default(),
        tls: TlsPolicy::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_that_of_messages_counted_one_by_one() {
        let (stall, period, rate) = (1.0, 10.0, 1_000);
        let mut waits: Vec<f64> = (0..10 * rate)
            .map(|n| (n as f64 / rate as f64) % period)
            .map(|into| if into >= period - stall { period - into } else { 0.0 })
            .collect();
        waits.sort_by(f64::total_cmp);
        for (quantile, _) in QUANTILES {
            let counted = waits[(quantile * waits.len() as f64) as usize - 1];
            let seconds = Duration::from_secs_f64;
            let computed = computed(seconds(stall), seconds(period), quantile);
            assert!((counted - computed).abs() < 0.002, "{quantile}: {counted} {computed}");
        }
    }

    #[test]
    fn a_failure_is_one_unless_the_cpu_was_with_others() {
        let second = Duration::from_secs(1);
        let trial = Trial {
            stall: second,
            period: 10 * second,
            periods: 1,
            rate: 1_000.0,
            connections: 16,
            engine: EngineKind::Epoll,
        };
        let latency = |p99| Latency { p99, p999: Some(990_000_000), ..Latency::default() };
        let run = |p99, verdict| Run { response_ns: Some(latency(p99)), verdict, ..Run::default() };
        let told = |p99, verdict, wait_ms| {
            let (ran, waited) = (Duration::from_millis(400), Duration::from_millis(wait_ms));
            let server = CpuShare { ran, waited };
            let proof = trial.compare(&run(p99, verdict), &Run::default(), server);
            (proof.passed, proof.is_disturbed())
        };
        let (right, wrong) = (Some(900_000_000), Some(950_000_000));
        assert_eq!(told(right, Verdict::Ok, 0), (true, false));
        assert_eq!(told(right, Verdict::GeneratorLimited, 500), (true, false));
        assert_eq!(told(wrong, Verdict::Ok, 199), (false, false));
        assert_eq!(told(wrong, Verdict::TargetLimited, 201), (false, true));
        assert_eq!(told(wrong, Verdict::GeneratorLimited, 0), (false, true));
    }

    #[test]
    fn trials_that_could_prove_nothing_are_refused() {
        let trial = Trial {
            stall: Duration::from_secs(1),
            period: Duration::from_secs(10),
            periods: 1,
            rate: 1_000.0,
            connections: 16,
            engine: EngineKind::Epoll,
        };
        assert!(trial.check().is_ok());
        let short = Trial { stall: Duration::from_millis(100), ..trial.clone() };
        assert!(matches!(short.check(), Err(TrialError::Stall { .. })));
        let crowded = Trial { connections: 100, ..trial };
        assert!(matches!(crowded.check(), Err(TrialError::Connections { connections: 100 })));
    }
}
