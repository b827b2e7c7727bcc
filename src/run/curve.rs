//! Runs of one plan at rising rates: the curve of latency under load, its knee, and its files.

mod read;

use serde::Serialize;

use super::latency::Latency;
use super::result::{Run, TargetResult};
use super::verdict::Verdict;
use crate::limits::SEND_LAG_NOISE_NS;
use crate::printable;

/// Version of the JSON of a sweep or search.
pub(super) const SCHEMA: u32 = 1;
/// A rate is beyond the knee if its p99 is more than so many times the lowest p99 of the slower rates.
pub const KNEE_FACTOR: u64 = 3;

/// The directory of a step within that of its curve; steps count from 1.
pub fn step_dir(number: usize, asked: f64) -> String {
    format!("step-{number:02}-{asked:.0}")
}

/// One rate, measured.
#[derive(Clone, Debug)]
pub struct RateStep {
    /// Messages a second that were due.
    pub asked: f64,
    pub run: Run,
    /// Whether the service level was kept, where there is one.
    pub kept: Option<bool>,
}

/// The steps that were measured, and what follows from them.
#[derive(Clone, Debug)]
pub struct Curve {
    /// `sweep` or `find-max`.
    pub task: &'static str,
    /// In the order in which they were run.
    pub steps: Vec<RateStep>,
    /// The finding and its rule, in whole sentences.
    pub said: Vec<String>,
    /// The service level of a search, as it was given.
    pub slo: Option<String>,
    /// The rate that was found, and its name.
    pub mark: Option<(f64, &'static str)>,
}

/// One step in CSV, and in JSON with its targets; times in nanoseconds, shares from 0 to 1. What was not
/// measured is `null`, and empty in CSV.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StepRow {
    asked_msg_s: f64,
    rate_msg_s: Option<f64>,
    kept: Option<bool>,
    verdict: Verdict,
    response_p50_ns: Option<u64>,
    response_p99_ns: Option<u64>,
    response_p999_ns: Option<u64>,
    response_max_ns: Option<u64>,
    service_p99_ns: Option<u64>,
    own_lag_p99_ns: Option<u64>,
    messages_ok: u64,
    messages_failed: u64,
    messages_not_begun: u64,
    errors_share: Option<f64>,
    cpu_busy: Option<f64>,
}

/// The whole in JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct CurveJson<'a> {
    schema: u32,
    task: &'a str,
    target: &'a str,
    /// The service level of a search, as it was given; `null` for a sweep.
    slo: Option<&'a str>,
    found_msg_s: Option<f64>,
    said: &'a [String],
    steps: Vec<StepJson<'a>>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StepJson<'a> {
    #[serde(flatten)]
    row: StepRow,
    /// Of several targets, the part of each, in the order of the command line; empty for one.
    targets: &'a [TargetResult],
}

impl RateStep {
    /// Response times, of which an open loop has some whenever anything was due.
    pub fn response(&self) -> Latency {
        self.run.response_ns.unwrap_or_default()
    }

    /// Whether the target took what was due, by the rule of [`Run::kept`]. A step that the generator
    /// limited says nothing about the target, so it does not count as kept.
    pub fn kept_up(&self) -> bool {
        self.decides() && self.run.kept()
    }

    /// Whether the step says anything about its rate.
    pub fn decides(&self) -> bool {
        use Verdict::{GeneratorLimited, Stopped, Unreachable};
        !matches!(self.run.verdict, GeneratorLimited | Unreachable | Stopped)
    }

    /// Whether the generator was the limit.
    pub fn limited(&self) -> bool {
        self.run.verdict == Verdict::GeneratorLimited
    }

    fn told(&self) -> StepJson<'_> {
        StepJson { row: self.row(), targets: &self.run.targets }
    }

    /// Messages refused, unanswered or never begun, of all that were due; `None` where none was.
    pub fn errors_share(&self) -> Option<f64> {
        let counts = &self.run.counts;
        let due = counts.messages();
        (due > 0).then(|| counts.messages_failed as f64 / due as f64)
    }

    fn row(&self) -> StepRow {
        let Self { asked, run, kept } = self;
        let response = self.response();
        StepRow {
            asked_msg_s: *asked,
            rate_msg_s: run.rate_msg_s,
            kept: kept.or_else(|| self.decides().then(|| self.kept_up())),
            verdict: run.verdict,
            response_p50_ns: response.p50,
            response_p99_ns: response.p99,
            response_p999_ns: response.p999,
            response_max_ns: response.max,
            service_p99_ns: run.service_ns.p99,
            own_lag_p99_ns: run.own_lag_ns.unwrap_or_default().p99,
            messages_ok: run.counts.messages_ok,
            messages_failed: run.counts.messages_failed,
            messages_not_begun: run.counts.messages_not_begun,
            errors_share: self.errors_share(),
            cpu_busy: run.cpu_busy,
        }
    }
}

/// The last step before the curve bends: the highest rate up to which the target kept up, and p99
/// stayed within [`KNEE_FACTOR`] times the lowest p99 of the slower steps or below the noise of the
/// machine. A step that the generator limited is passed over. `None` where the first step is beyond it.
pub fn knee(steps: &[RateStep]) -> Option<&RateStep> {
    let mut lowest = u64::MAX;
    let mut knee = None;
    for step in steps {
        // A step of too few messages has no p99, and shows no bend.
        let p99 = step.response().p99.unwrap_or(0);
        let bent = p99 > lowest.saturating_mul(KNEE_FACTOR) && p99 > SEND_LAG_NOISE_NS;
        if step.limited() {
            continue;
        }
        if bent || !step.kept_up() {
            break;
        }
        lowest = lowest.min(step.response().p99.unwrap_or(lowest));
        knee = Some(step);
    }
    knee
}

impl Curve {
    pub fn target(&self) -> &str {
        self.steps.first().map_or("", |step| &step.run.plan.target)
    }

    /// One JSON object with a line end.
    pub fn json(&self) -> serde_json::Result<String> {
        let told = CurveJson {
            schema: SCHEMA,
            task: self.task,
            slo: self.slo.as_deref(),
            target: self.target(),
            found_msg_s: self.mark.map(|(rate, _)| rate),
            said: &self.said,
            steps: self.steps.iter().map(RateStep::told).collect(),
        };
        Ok(printable::json(&(serde_json::to_string_pretty(&told)? + "\n")).into_owned())
    }

    /// A header line and one line for each step.
    pub fn csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        self.steps.iter().try_for_each(|step| writer.serialize(step.row()))?;
        let octets = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(asked: f64, p99: u64, verdict: Verdict) -> RateStep {
        let (p50, p999) = (Some(p99 / 2), Some(2 * p99));
        let response = Latency { p50, p99: Some(p99), p999, count: 9, ..Latency::default() };
        let mut run = Run { verdict, rate_msg_s: Some(asked), ..Run::default() };
        let lost = if verdict == Verdict::TargetLimited { 10 } else { 0 };
        (run.counts.messages_ok, run.counts.messages_failed) = (100 - lost, lost);
        run.response_ns = Some(response);
        run.plan.target = "smtp://<a>:25".to_owned();
        RateStep { asked, run, kept: None }
    }

    fn knee_of(steps: &[(f64, u64, Verdict)]) -> Option<f64> {
        let steps: Vec<_> = steps.iter().map(|(a, p, v)| step(*a, *p, *v)).collect();
        knee(&steps).map(|step| step.asked)
    }

    #[test]
    fn a_step_is_kept_or_not_unless_it_decides_nothing() {
        use Verdict::{Failures, GeneratorLimited, Ok, Stopped, TargetLimited};
        for (verdict, told) in [
            (Ok, Some(true)),
            (Failures, Some(true)),
            (TargetLimited, Some(false)),
            (GeneratorLimited, None),
            (Stopped, None),
        ] {
            let mut step = step(1e3, 1_000_000, verdict);
            assert_eq!(step.row().kept, told, "{verdict:?}");
            // The service level of a search has the last word.
            step.kept = Some(false);
            assert_eq!(step.row().kept, Some(false));
        }
    }

    #[test]
    fn the_knee_is_the_last_step_before_the_bend() {
        const MS: u64 = 1_000_000;
        use Verdict::{GeneratorLimited, Ok, TargetLimited};
        assert_eq!(knee_of(&[]), None);
        let rising = [(1e3, 2 * MS, Ok), (2e3, 3 * MS, Ok), (4e3, 6 * MS, Ok), (8e3, 7 * MS, Ok)];
        assert_eq!(knee_of(&rising), Some(4e3));
        let slow = [(1e3, 2 * MS, Ok), (2e3, 2 * MS, TargetLimited), (4e3, 2 * MS, Ok)];
        assert_eq!(knee_of(&slow), Some(1e3));
        assert_eq!(knee_of(&[(1e3, MS, GeneratorLimited), (2e3, 9 * MS, Ok)]), Some(2e3));
        assert_eq!(knee_of(&[(1e3, MS, Ok), (2e3, MS, GeneratorLimited)]), Some(1e3));
        assert_eq!(knee_of(&[(1e3, MS, GeneratorLimited)]), None);
        // Ten times as long, and still within the noise of the machine.
        assert_eq!(knee_of(&[(1e3, MS / 10, Ok), (2e3, MS, Ok)]), Some(2e3));
    }
}
