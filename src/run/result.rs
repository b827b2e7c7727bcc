//! `run.json`: the result of one run, complete enough to be read without the command that made it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::delivery::DeliveryResult;
use super::judged::Judged;
use super::latency::Latency;
use super::plan::{PlannedTarget, RunPlan};
use super::rate::{rate_time_s, ratio};
use super::stopped::Stopped;
use super::tls_result::TlsResult;
use super::verdict::{Judgement, LAG_LIMIT_PERCENT_DEFAULT, Verdict};
use crate::host::CpuTime;
use crate::measure::{
    Counters, ErrorKind, Misbehaviour, Mode, Outcome, Phase, Split, Tally, Totals,
};

/// Version of `run.json`. A field may be added without a new version; one that changes its meaning or
/// goes away makes a new one.
pub const SCHEMA: u32 = 1;

/// The whole result. Names and units are part of the command line contract.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    pub schema: u32,
    /// 16 hex digits, drawn at random: the `run` in the header of each message. Empty for a sum.
    #[serde(default)]
    pub id: String,
    /// When the clock of the run started, from which all times count: RFC 3339, UTC.
    pub started: String,
    pub verdict: Verdict,
    /// One sentence each; empty when there is nothing to say.
    pub verdict_reasons: Vec<String>,
    /// The conditions that fail the run (`--fail-if`), and whether they did.
    #[serde(default)]
    pub thresholds: Vec<Judged>,
    /// What ended the run early, where an option asked for that.
    #[serde(default)]
    pub stopped: Option<Stopped>,
    #[serde(flatten)]
    pub counts: Counters,
    /// Of the failed ones, those refused in any other way.
    #[serde(default)]
    pub messages_refused_5xx: u64,
    /// Messages that were due: `messages_ok` and `messages_failed` together, and the whole of every share.
    /// In a closed loop that a duration ends, those that were begun; where none was, one for each
    /// connection.
    #[serde(default)]
    pub messages_due: u64,
    /// From the end of the warm-up. In an open loop the length that the duration, or the number of messages
    /// and the rate, give; in a closed loop until the last reply to a message. No QUIT is part of it.
    pub elapsed_s: f64,
    /// When the first and the last accepted message got its reply, from the end of the warm-up; `null` where
    /// none was accepted, or an earlier version did not tell.
    #[serde(default)]
    pub accepted_from_s: Option<f64>,
    #[serde(default)]
    pub accepted_until_s: Option<f64>,
    /// Accepted messages a second, over `elapsed_s`, or over the time between the two above where that is
    /// longer; `null` where no time was measured.
    pub rate_msg_s: Option<f64>,
    /// Intended start to the last reply; `null` in a closed loop, which has no intended start.
    pub response_ns: Option<Latency>,
    /// First octet sent to the last reply, of messages accepted or never answered.
    pub service_ns: Latency,
    /// Intended start to the first octet sent; `null` in a closed loop.
    pub send_lag_ns: Option<Latency>,
    /// Of the send lag, what passed while a session was free: the generator's own lateness.
    #[serde(default)]
    pub own_lag_ns: Option<Latency>,
    /// How late the oldest message was that was due and not begun when the measured time ended, and
    /// how many there were. Zero in a closed loop.
    #[serde(default)]
    pub behind_ns: u64,
    #[serde(default)]
    pub behind_messages: u64,
    /// Time of the refused messages: response time where defined, else service time.
    pub refused_ns: Latency,
    pub phases: BTreeMap<Phase, PhaseResult>,
    /// Replies of all phases by code.
    pub replies: BTreeMap<u16, u64>,
    /// Replies whose code has a second digit above 5, which RFC 5321 §4.2 does not know; they are in
    /// `replies` too.
    pub replies_odd: u64,
    /// Replies with an enhanced code that found no room in their table.
    pub enhanced_rest: u64,
    pub errors: BTreeMap<ErrorKind, u64>,
    /// The most messages in flight at once in the measured time; cores are added as if they peaked at the same moment.
    pub in_flight_peak: u64,
    /// Due, or in a closed loop begun, in the warm-up; in no other figure.
    pub warmup_messages: u64,
    /// Due, or in a closed loop begun, after the measured time; in no other figure.
    #[serde(default)]
    pub cooldown_messages: u64,
    /// Errors in the warm-up; in no other figure.
    #[serde(default)]
    pub warmup_errors: u64,
    /// Errors after the measured time, on connections that worked for the cool-down; in no other figure.
    #[serde(default)]
    pub cooldown_errors: u64,
    /// Generator cores that died; what they recorded in their last second is missing.
    pub cores_lost: u32,
    /// The generator's CPU time over the messages that were begun; `null` where none was.
    pub cpu_per_message_ns: Option<CpuPerMessage>,
    /// The generator's CPU time over the time its cores had: 1 is all of them busy. `null` where no time was
    /// measured.
    pub cpu_busy: Option<f64>,
    /// Handshakes of TLS; absent where no session was under TLS or was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsResult>,
    /// Of several targets, the part of each, in the order of the plan; empty for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetResult>,
    /// How clients that break the rules were answered (`--misbehave`); in no other figure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misbehaviour: Vec<Misbehaviour>,
    /// What became of the messages behind the server, where that was looked at; in no file of a run.
    #[serde(skip)]
    pub delivery: Option<Box<DeliveryResult>>,
    pub plan: RunPlan,
    pub machine: Machine,
    pub versions: Versions,
    /// The runs that this one is the sum of; empty for a run that was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Shard>,
}

/// One of the runs that a sum was made from.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shard {
    /// The directory it was read from, as it was given.
    pub name: String,
    pub run: Run,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PhaseResult {
    /// Whatever the outcome.
    pub latency_ns: Latency,
    /// By outcome; empty where all was accepted. Unanswered counts the time waited until the
    /// connection broke or the run ended.
    #[serde(default)]
    pub outcomes: BTreeMap<Outcome, Latency>,
    pub replies: BTreeMap<u16, u64>,
    /// By code and enhanced code, as in `250 2.1.5`.
    pub enhanced: BTreeMap<String, u64>,
    /// Refusals by code and the server's words, as in `550 5.1.1 no such user`; a word of four characters
    /// or more with a digit in it is `#`. What found no room is the difference to `replies`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, u64>,
}

/// The part of one target. Messages that were never begun belong to no target.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TargetResult {
    /// As a URL.
    pub target: String,
    pub weight: u32,
    pub messages_ok: u64,
    pub messages_failed: u64,
    /// Accepted messages a second; `null` where no time was measured.
    pub rate_msg_s: Option<f64>,
    pub connections_opened: u64,
    /// Response time in an open loop, else service time; right to 1 %.
    pub headline_ns: Latency,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CpuPerMessage {
    pub user: f64,
    pub system: f64,
}

/// The generator's machine.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Machine {
    /// CPUs that the process may use.
    pub cpus: u64,
    pub cpu_model: String,
    pub kernel: String,
    /// `uring` or `epoll`.
    pub engine: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Versions {
    pub ringpost: String,
}

impl Machine {
    /// Asks the system. What it does not tell stays empty: that is no reason to fail.
    pub fn here(engine: &str) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cpus: std::thread::available_parallelism().map_or(0, |cpus| cpus.get() as u64),
            cpu_model: model.map_or("", |(_, name)| name.trim()).to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            engine: engine.to_owned(),
        }
    }
}

impl CpuPerMessage {
    fn of(cpu: CpuTime, messages: u64) -> Option<Self> {
        let each = |time: Duration| ratio(time.as_nanos() as f64, messages as f64);
        Some(Self { user: each(cpu.user)?, system: each(cpu.system)? })
    }

    /// User and system time together.
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

impl Versions {
    pub fn of_this_build() -> Self {
        Self { ringpost: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

impl Run {
    /// Puts the result together. `cpu` is what the generator spent on the messages, until the last answer.
    pub fn new(
        started: Timestamp,
        plan: RunPlan,
        machine: Machine,
        totals: &Totals,
        cpu: CpuTime,
    ) -> Self {
        let tally = &totals.tally;
        let open = tally.open.as_ref();
        let elapsed_s = totals.elapsed.as_secs_f64();
        let accepted_s =
            totals.accepted_ns.map(|(from, until)| (from as f64 / 1e9, until as f64 / 1e9));
        let rate_time_s = rate_time_s(elapsed_s, accepted_s);
        let cores_s = elapsed_s * plan.cores as f64;
        // The time of the CPUs is read a little before and after the time that is measured.
        let share = |spent_s| ratio(spent_s, cores_s).map(|share| share.min(1.0));
        let cpu_busy = totals.cpu_busy.or_else(|| share(cpu.total().as_secs_f64()));
        let cpu_wait = share(tally.counts.cpu_wait_ns as f64 / 1e9);
        assert!(tally.counts.add_up(), "every message is in one count: {:?}", tally.counts);
        let (busy, wait) = (cpu_busy.unwrap_or_default(), cpu_wait.unwrap_or_default());
        let lag_limit = plan.lag_limit_percent.unwrap_or(LAG_LIMIT_PERCENT_DEFAULT) / 100.0;
        let judgement = Judgement::of(totals, busy, wait, lag_limit);
        Self {
            schema: SCHEMA,
            id: String::new(),
            started: started.to_string(),
            verdict: judgement.verdict,
            verdict_reasons: judgement.reasons,
            thresholds: Vec::new(),
            stopped: None,
            counts: tally.counts,
            messages_refused_5xx: tally.counts.messages_refused_5xx(),
            messages_due: tally.counts.messages(),
            elapsed_s,
            accepted_from_s: accepted_s.map(|(from, _)| from),
            accepted_until_s: accepted_s.map(|(_, until)| until),
            rate_msg_s: ratio(tally.counts.messages_ok as f64, rate_time_s),
            response_ns: open.map(|open| Latency::from(&open.response_ns)),
            service_ns: Latency::from(&tally.service_ns),
            send_lag_ns: open.map(|open| Latency::from(&open.send_lag_ns)),
            own_lag_ns: open.map(|open| Latency::from(&open.own_lag_ns)),
            behind_ns: open.map_or(0, |open| open.behind_ns),
            behind_messages: open.map_or(0, |open| open.behind),
            refused_ns: Latency::from(&tally.refused_ns),
            phases: phases(tally),
            replies: all_replies(tally),
            replies_odd: tally.replies_odd(),
            enhanced_rest: tally.enhanced().1,
            errors: tally.errors().collect(),
            in_flight_peak: totals.in_flight_peak,
            warmup_messages: totals.warmup_messages,
            cooldown_messages: totals.cooldown_messages,
            warmup_errors: totals.warmup_errors,
            cooldown_errors: totals.cooldown_errors,
            cores_lost: totals.cores_lost,
            cpu_per_message_ns: CpuPerMessage::of(cpu, tally.counts.messages_begun()),
            cpu_busy,
            tls: TlsResult::of(&tally.handshakes, plan.asks_for_tls()),
            targets: targets(&plan, tally, rate_time_s),
            misbehaviour: Vec::new(),
            delivery: None,
            plan,
            machine,
            versions: Versions::of_this_build(),
            shards: Vec::new(),
        }
    }

    /// Takes away what earlier versions wrote as a number without having measured it.
    fn settle_figures(&mut self) {
        let phases = self.phases.values_mut();
        let phases = phases.flat_map(|phase| {
            std::iter::once(&mut phase.latency_ns).chain(phase.outcomes.values_mut())
        });
        [&mut self.service_ns, &mut self.refused_ns]
            .into_iter()
            .chain(
                [&mut self.response_ns, &mut self.send_lag_ns, &mut self.own_lag_ns]
                    .into_iter()
                    .flatten(),
            )
            .chain(self.targets.iter_mut().map(|target| &mut target.headline_ns))
            .chain(phases)
            .for_each(|latency| *latency = latency.carried());
        if self.counts.messages_begun() == 0 {
            self.cpu_per_message_ns = None;
        }
        if self.elapsed_s <= 0.0 {
            (self.rate_msg_s, self.cpu_busy) = (None, None);
            self.targets.iter_mut().for_each(|target| target.rate_msg_s = None);
        }
    }

    /// Brings the counts of a file of an earlier version up to date: there, what was never begun was in
    /// neither `messages_failed` nor `messages_unanswered`, and `messages_due` was not told.
    pub(super) fn settle(&mut self) {
        if self.messages_due == 0 {
            let not_begun = std::mem::take(&mut self.counts.messages_not_begun);
            self.counts.add_not_begun(not_begun);
            self.messages_due = self.counts.messages();
        }
        self.settle_figures();
        self.shards.iter_mut().for_each(|shard| shard.run.settle());
    }

    /// Replaces the verdict where the caller knows more, for example that a server went away.
    pub fn overrule(&mut self, verdict: Verdict, reason: String) {
        self.verdict = verdict;
        self.verdict_reasons.insert(0, reason);
    }

    /// Says what else is to be known, which makes a run that was all well one that was not.
    pub fn add_failure(&mut self, reason: String) {
        if self.verdict == Verdict::Ok {
            self.verdict = Verdict::Failures;
        }
        self.verdict_reasons.push(reason);
    }

    /// Says what ended the run. It decides the verdict, unless there was no server, or the figures are
    /// those of the generator.
    pub fn stop(&mut self, stopped: Stopped) {
        match self.verdict {
            Verdict::Unreachable | Verdict::GeneratorLimited => {
                self.verdict_reasons.push(stopped.to_string());
            }
            _ => self.overrule(Verdict::Stopped, stopped.to_string()),
        }
        self.stopped = Some(stopped);
    }

    pub fn mode(&self) -> Mode {
        if self.response_ns.is_some() { Mode::Open } else { Mode::Closed }
    }

    /// What all rates are over: the measured time, and longer where the accepted messages came for longer.
    pub fn rate_time_s(&self) -> f64 {
        rate_time_s(self.elapsed_s, self.accepted_from_s.zip(self.accepted_until_s))
    }

    /// Octets of accepted messages a second; `None` where no time was measured.
    pub fn bytes_s(&self) -> Option<f64> {
        ratio(self.counts.bytes as f64, self.rate_time_s())
    }

    /// Response time where it is defined, else service time.
    pub fn headline(&self) -> &Latency {
        self.response_ns.as_ref().unwrap_or(&self.service_ns)
    }
}

fn targets(plan: &RunPlan, tally: &Tally, rate_time_s: f64) -> Vec<TargetResult> {
    let result = |(index, planned): (usize, &PlannedTarget)| {
        let of = tally.targets.get(index);
        let messages_ok = of.map_or(0, |portion| portion.messages_ok);
        TargetResult {
            target: planned.target.clone(),
            weight: planned.weight,
            messages_ok,
            messages_failed: of.map_or(0, |portion| portion.messages_failed),
            rate_msg_s: ratio(messages_ok as f64, rate_time_s),
            connections_opened: of.map_or(0, |portion| portion.connections_opened),
            headline_ns: of.map(|of| Latency::from(&of.headline_ns)).unwrap_or_default(),
        }
    };
    plan.targets.iter().enumerate().map(result).collect()
}

/// The phases in which anything happened.
fn phases(tally: &Tally) -> BTreeMap<Phase, PhaseResult> {
    let (enhanced, _) = tally.enhanced();
    let result = |phase| PhaseResult {
        latency_ns: Latency::from(tally.phase(phase)),
        outcomes: outcomes(tally.split(phase)),
        replies: tally.replies(phase).collect(),
        enhanced: enhanced
            .iter()
            .filter(|(key, _)| key.phase == phase)
            .map(|&(key, count)| {
                let (class, subject, detail) = key.enhanced;
                (format!("{} {class}.{subject}.{detail}", key.code), count)
            })
            .collect(),
        refusals: tally.refusals.of(phase),
    };
    Phase::ALL
        .into_iter()
        .map(|phase| (phase, result(phase)))
        .filter(|(_, result)| result.latency_ns.count > 0 || !result.replies.is_empty())
        .collect()
}

fn outcomes(split: &Split) -> BTreeMap<Outcome, Latency> {
    if split.apart().next().is_none() {
        return BTreeMap::new();
    }
    let all = [Outcome::Accepted].into_iter().chain(Outcome::APART);
    all.filter_map(|outcome| Some((outcome, Latency::from(&split.of(outcome)?)))).collect()
}

fn all_replies(tally: &Tally) -> BTreeMap<u16, u64> {
    let mut replies = BTreeMap::new();
    for (code, count) in Phase::ALL.into_iter().flat_map(|phase| tally.replies(phase)) {
        *replies.entry(code).or_default() += count;
    }
    replies
}
