//! Two runs compared: what changed, and whether that is more than noise.
//!
//! Noise is judged by the seconds of both runs: a change of the mean over the seconds that is smaller
//! than twice its standard error could be chance. That measures the spread within the two runs only.
//! It cannot see what differs from one run to the next (a neighbour on the machine, a cache, a clock),
//! and every comparison says so.

mod json;
mod page;
mod plot;
mod text;

pub use self::json::render as json;
pub use self::page::render as html;
pub(super) use self::text::change_of;
pub use self::text::render as text;
use super::words::phase_title;
use crate::measure::{Mode, Phase};
use crate::report::foreign::log_name;
use crate::run::Judged;
use crate::run::Loaded;
pub use crate::run::compared::Noise;
use crate::run::merge::{Difference, differences};
use crate::run::series::Second;
use crate::run::threshold::Conditions;
use crate::run::{CpuPerMessage, Latency, Run, Verdict};

/// With fewer seconds in either run, nothing is said about noise.
const SECONDS_MIN: usize = 10;

/// A change of as many standard errors may be due to chance.
const ERRORS_OF_CHANCE: f64 = 2.0;

/// Shown where a log does not hold the figure.
const UNKNOWN: &str = "unknown";

/// Relative change up to which a figure of unknown noise is called neither better nor worse. Phases
/// are recorded to 1 %, so a smaller limit would show rounding.
const TELLING: f64 = 0.1;

/// Said under every comparison, a line each.
pub const NOISE_NOTES: [&str; 3] = [
    "≈ a change that the spread between the seconds of the two runs can explain",
    "? unknown: too few seconds, or a figure that is not recorded for each second",
    "The seconds of one run are not repeated runs: repeat each side before you believe a small change.",
];

/// What a comparison found.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub rows: Vec<ComparisonRow>,
    /// Fields of the plan that differ, so that the runs measured different things.
    pub differences: Vec<Difference>,
    /// Warnings for the reader, one sentence each.
    pub notes: Vec<String>,
    pub thresholds: Vec<Judged>,
    /// Which of the two is a log.
    pub logs: [bool; 2],
}

/// One figure of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparisonRow {
    pub name: String,
    pub kind: FigureKind,
    /// `None` where a run has no such figure.
    pub before: Option<f64>,
    pub after: Option<f64>,
    pub noise: Noise,
}

/// What a figure is, which decides how it is written and whether more is better.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FigureKind {
    /// Per second; more is better.
    Rate,
    /// Per second, where the runs were asked for different rates: neither is better.
    Asked,
    /// Nanoseconds; less is better.
    Time,
    /// Of one; less is better.
    Share,
}

/// Which way a change goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trend {
    Better,
    Worse,
    /// None, or none that can be told from noise.
    Level,
}

impl ComparisonRow {
    /// Relative to the first run; `None` where that had nothing to change from.
    pub fn change(&self) -> Option<f64> {
        match (self.before?, self.after?) {
            (0.0, 0.0) => Some(0.0),
            (0.0, _) => None,
            (before, after) => Some((after - before) / before),
        }
    }

    pub fn trend(&self) -> Trend {
        let (Some(before), Some(after)) = (self.before, self.after) else { return Trend::Level };
        let small = self.change().is_some_and(|change| change.abs() < TELLING);
        if self.noise == Noise::Within || (self.noise == Noise::Unknown && small) || before == after
        {
            return Trend::Level;
        }
        if self.kind == FigureKind::Asked {
            return Trend::Level;
        }
        let rose = after > before;
        if rose == (self.kind == FigureKind::Rate) { Trend::Better } else { Trend::Worse }
    }
}

impl Comparison {
    /// Compares `after` with `before`; `conditions` may ask for changes.
    pub fn of(before: &Loaded, after: &Loaded, conditions: &Conditions) -> Self {
        let (a, b) = (&before.run, &after.run);
        let same_mode = before.is_like(after);
        let log = before.is_log() || after.is_log();
        let mut notes = Vec::new();
        if log {
            notes.push(
                "a log holds latencies only: whether they count from an intended start, \
                 and from which plan, machine and failures they come, is unknown"
                    .to_owned(),
            );
        }
        if !same_mode {
            notes.push(
                "one run is an open loop and the other a closed one: only their service times can \
                 be compared, and a closed loop hides the waiting that it causes"
                    .to_owned(),
            );
        }
        if asks_other_rates(a, b) {
            notes.push(
                "the runs were asked for different rates: their times are those of different loads, and what was \
                 accepted per second follows from what was asked"
                    .to_owned(),
            );
        }
        for (sign, run) in [("A", a), ("B", b)] {
            if run.verdict == Verdict::Stopped {
                let why = run.verdict_reasons.first().map_or("", String::as_str);
                notes.push(format!("{sign} was ended before it had done what was asked: {why}"));
            }
        }
        let judge = |condition: &crate::run::threshold::Condition| condition.judge_change(a, b);
        Self {
            rows: rows(before, after, same_mode),
            differences: match log {
                true => Vec::new(),
                false => differences(&a.plan, &b.plan)
                    .into_iter()
                    // `rate` says what `rate_msg_s` does.
                    .filter(|difference| {
                        !["command", "name", "note", "rate_msg_s"].contains(&&*difference.field)
                    })
                    .chain(surroundings(a, b))
                    .collect(),
            },
            logs: [before.is_log(), after.is_log()],
            notes,
            thresholds: conditions.0.iter().map(judge).collect(),
        }
    }
}

/// Whether both are open loops, and what they were asked for is not the same.
fn asks_other_rates(a: &Run, b: &Run) -> bool {
    a.plan.rate.is_some() && b.plan.rate.is_some() && a.plan.rate != b.plan.rate
}

impl Comparison {
    /// Whether the runs can tell the change that a condition is about from chance; `None` where it is about none.
    fn noise_of_condition(&self, judged: &Judged) -> Option<Noise> {
        let is_change = judged.condition.contains(['+', '-']) && judged.measured.is_some();
        is_change.then(|| self.noise_of(&judged.figure))
    }

    /// The same in words, to be said beside the outcome.
    fn surety(&self, judged: &Judged) -> &'static str {
        match self.noise_of_condition(judged) {
            None | Some(Noise::Beyond) => "",
            Some(Noise::Within) => {
                " (≈ chance can explain this change, so it may come out otherwise next time)"
            }
            Some(Noise::Unknown) => " (? these runs cannot tell this change from chance)",
        }
    }

    /// The noise of the row that shows a figure of a condition.
    fn noise_of(&self, figure: &str) -> Noise {
        let (of, statistic) = figure.split_once('.').unwrap_or((figure, ""));
        let statistic = match statistic {
            "p999" => "p99.9",
            known => known,
        };
        let name = match of {
            "rate" => "accepted per second".to_owned(),
            "response" | "service" => format!("{of} time {statistic}"),
            _ => return Noise::Unknown,
        };
        let row = self.rows.iter().find(|row| row.name == name);
        row.map_or(Noise::Unknown, |row| row.noise)
    }
}

/// When a run began, and its verdict.
fn identity(loaded: &Loaded) -> String {
    let run = &loaded.run;
    let what = log_name(loaded.origin).unwrap_or(run.verdict.name());
    match run.started.is_empty() {
        true => what.to_owned(),
        false => format!("{}  {what}", run.started),
    }
}

/// What differs beside the plan: machine and version.
fn surroundings(a: &Run, b: &Run) -> Vec<Difference> {
    let pairs = [
        ("CPU", &a.machine.cpu_model, &b.machine.cpu_model),
        ("kernel", &a.machine.kernel, &b.machine.kernel),
        ("engine", &a.machine.engine, &b.machine.engine),
        ("ringpost", &a.versions.ringpost, &b.versions.ringpost),
    ];
    pairs
        .into_iter()
        .filter(|(_, before, after)| before != after)
        .map(|(field, before, after)| Difference {
            field: field.to_owned(),
            before: before.clone(),
            after: after.clone(),
        })
        .collect()
}

fn rows(before: &Loaded, after: &Loaded, same_mode: bool) -> Vec<ComparisonRow> {
    let (a, b) = (&before.run, &after.run);
    let log = before.is_log() || after.is_log();
    let noise = |of: fn(&Second) -> Option<f64>| noise(&before.seconds, &after.seconds, of);
    let mut rows = vec![ComparisonRow {
        name: if log { "values per second" } else { "accepted per second" }.to_owned(),
        kind: if asks_other_rates(a, b) { FigureKind::Asked } else { FigureKind::Rate },
        before: a.rate_msg_s,
        after: b.rate_msg_s,
        noise: noise(|second| Some(second.messages_ok as f64 / second.seconds)),
    }];
    let headline =
        if same_mode { (*a.headline(), *b.headline()) } else { (a.service_ns, b.service_ns) };
    let open = !log && same_mode && a.mode() == Mode::Open;
    let name = match (log, open) {
        (true, _) => "latency",
        (false, true) => "response time",
        (false, false) => "service time",
    };
    // The rows by the second hold the headline, which means something else in the other mode.
    let timed = |of: fn(&Second) -> Option<f64>| if same_mode { noise(of) } else { Noise::Unknown };
    rows.extend([
        time(name, "p50", headline, |l| l.p50, timed(|second| second.p50_ns.map(|ns| ns as f64))),
        time(name, "p90", headline, |l| l.p90, timed(|second| second.p90_ns.map(|ns| ns as f64))),
        time(name, "p99", headline, |l| l.p99, timed(|second| second.p99_ns.map(|ns| ns as f64))),
        time(
            name,
            "p99.9",
            headline,
            |l| l.p999,
            timed(|second| second.p999_ns.map(|ns| ns as f64)),
        ),
        time(name, "max", headline, |l| l.max, Noise::Unknown),
    ]);
    if open {
        let both = (a.service_ns, b.service_ns);
        rows.push(time("service time", "p50", both, |l| l.p50, Noise::Unknown));
        rows.push(time("service time", "p99", both, |l| l.p99, Noise::Unknown));
    }
    let failed = |loaded: &Loaded| {
        let run = &loaded.run;
        let messages = run.counts.messages();
        (messages > 0 && !loaded.is_log())
            .then(|| run.counts.messages_failed as f64 / messages as f64)
    };
    rows.push(share("not accepted", failed(before), failed(after)));
    let cpu = |loaded: &Loaded| loaded.run.cpu_per_message_ns.map(CpuPerMessage::total);
    rows.push(ComparisonRow {
        name: "generator CPU per message".to_owned(),
        kind: FigureKind::Time,
        before: cpu(before),
        after: cpu(after),
        noise: Noise::Unknown,
    });
    targets(&mut rows, a, b);
    for phase in Phase::ALL {
        let of = |run: &Run| run.phases.get(&phase).map(|result| result.latency_ns);
        if let (Some(a), Some(b)) = (of(a), of(b)) {
            let name = phase_title(phase);
            rows.push(time(name, "p50", (a, b), |l| l.p50, Noise::Unknown));
            rows.push(time(name, "p99", (a, b), |l| l.p99, Noise::Unknown));
        }
    }
    rows
}

/// Of targets that both runs had.
fn targets(rows: &mut Vec<ComparisonRow>, a: &Run, b: &Run) {
    for a in &a.targets {
        let Some(b) = b.targets.iter().find(|b| b.target == a.target) else { continue };
        rows.push(ComparisonRow {
            name: format!("{} per second", a.target),
            kind: FigureKind::Rate,
            before: a.rate_msg_s,
            after: b.rate_msg_s,
            noise: Noise::Unknown,
        });
        let both = (a.headline_ns, b.headline_ns);
        rows.push(time(&a.target, "p50", both, |l| l.p50, Noise::Unknown));
        rows.push(time(&a.target, "p99", both, |l| l.p99, Noise::Unknown));
    }
}

fn time(
    name: &str,
    statistic: &str,
    (a, b): (Latency, Latency),
    of: fn(&Latency) -> Option<u64>,
    noise: Noise,
) -> ComparisonRow {
    let value = |latency: &Latency| of(latency).map(|ns| ns as f64);
    ComparisonRow {
        name: format!("{name} {statistic}"),
        kind: FigureKind::Time,
        before: value(&a),
        after: value(&b),
        noise,
    }
}

fn share(name: &str, before: Option<f64>, after: Option<f64>) -> ComparisonRow {
    ComparisonRow {
        name: name.to_owned(),
        kind: FigureKind::Share,
        before,
        after,
        noise: Noise::Unknown,
    }
}

/// Compares the means over the whole measured seconds of both runs that have the figure.
fn noise(before: &[Second], after: &[Second], of: fn(&Second) -> Option<f64>) -> Noise {
    let values = |seconds: &[Second]| -> Vec<f64> {
        let whole =
            seconds.iter().filter(|second| !second.warmup && !second.after && second.seconds > 0.9);
        whole.filter_map(of).collect()
    };
    let (a, b) = (values(before), values(after));
    if a.len().min(b.len()) < SECONDS_MIN {
        return Noise::Unknown;
    }
    let ((mean_a, error_a), (mean_b, error_b)) = (mean(&a), mean(&b));
    if (mean_b - mean_a).abs() <= ERRORS_OF_CHANCE * (error_a + error_b).sqrt() {
        Noise::Within
    } else {
        Noise::Beyond
    }
}

/// The mean, and the square of its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(rates: impl Iterator<Item = u64>) -> Vec<Second> {
        rates.map(|messages_ok| Second { messages_ok, seconds: 1.0, ..Second::default() }).collect()
    }

    fn verdict(before: &[Second], after: &[Second]) -> Noise {
        noise(before, after, |second| Some(second.messages_ok as f64))
    }

    #[test]
    fn a_change_within_the_spread_of_the_seconds_is_noise() {
        let wild = seconds((0..20).map(|n| 900 + (n % 5) * 50));
        let wild_too = seconds((0..20).map(|n| 910 + (n % 5) * 50));
        assert_eq!(verdict(&wild, &wild_too), Noise::Within);
        let calm = seconds((0..20).map(|n| 1_000 + n % 2));
        let slower = seconds((0..20).map(|n| 990 + n % 2));
        assert_eq!(verdict(&calm, &slower), Noise::Beyond);
        assert_eq!(verdict(&calm, &slower[..9]), Noise::Unknown);
        let mut warm = calm.clone();
        warm[..15].iter_mut().for_each(|second| second.warmup = true);
        assert_eq!(verdict(&calm, &warm), Noise::Unknown, "warm-up is no evidence");
    }

    #[test]
    fn a_condition_on_a_change_says_whether_the_runs_can_tell_it() {
        let row = |name: &str, noise| ComparisonRow {
            name: name.to_owned(),
            kind: FigureKind::Time,
            before: Some(1.0),
            after: Some(1.2),
            noise,
        };
        let rows = vec![
            row("accepted per second", Noise::Beyond),
            row("service time p99", Noise::Within),
            row("service time p99.9", Noise::Unknown),
        ];
        let logs = [false; 2];
        let comparison = Comparison {
            rows,
            differences: Vec::new(),
            notes: Vec::new(),
            thresholds: Vec::new(),
            logs,
        };
        let said = |condition: &str, figure: &str| {
            comparison.surety(&Judged {
                condition: condition.to_owned(),
                figure: figure.to_owned(),
                measured: Some(20.0),
                unit: "%".to_owned(),
                unknown: None,
                holds: Some(true),
            })
        };
        assert_eq!(said("rate<-5%", "rate"), "");
        assert!(said("p99>+10%", "service.p99").contains("≈ chance"));
        assert!(said("p999>+10%", "service.p999").contains("? these runs cannot"));
        assert!(said("mail.p99>+10%", "mail.p99").contains("? these runs cannot"));
        assert_eq!(said("p99>20ms", "service.p99"), "");
    }

    #[test]
    fn up_is_better_for_rates_and_worse_for_times() {
        let row = |kind, before, after, noise| ComparisonRow {
            name: String::new(),
            kind,
            before: Some(before),
            after: Some(after),
            noise,
        };
        assert_eq!(row(FigureKind::Rate, 1.0, 2.0, Noise::Beyond).trend(), Trend::Better);
        assert_eq!(row(FigureKind::Asked, 2.0, 1.0, Noise::Beyond).trend(), Trend::Level);
        assert_eq!(row(FigureKind::Time, 1.0, 2.0, Noise::Unknown).trend(), Trend::Worse);
        assert_eq!(row(FigureKind::Share, 2.0, 1.0, Noise::Unknown).trend(), Trend::Better);
        assert_eq!(row(FigureKind::Time, 1.0, 2.0, Noise::Within).trend(), Trend::Level);
        assert_eq!(row(FigureKind::Time, 1.0, 1.05, Noise::Unknown).trend(), Trend::Level);
        assert_eq!(row(FigureKind::Time, 1.0, 1.05, Noise::Beyond).trend(), Trend::Worse);
        assert_eq!(row(FigureKind::Time, 2.0, 3.0, Noise::Beyond).change(), Some(0.5));
        assert_eq!(row(FigureKind::Share, 0.0, 3.0, Noise::Beyond).change(), None);
    }
}
