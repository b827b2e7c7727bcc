//! How a sweep is shown: its knee in sentences, its steps as a table, its curve on a page.

mod page;

pub(super) use self::page::{latency, rising};
use std::fmt::Write as _;

use super::columns::{Column, Layout, Width};
use crate::human;
use crate::limits::SEND_LAG_NOISE_NS;
use crate::run::TargetResult;
use crate::run::curve::{Curve, KNEE_FACTOR, RateStep, knee};
use crate::run::kept::RATE_KEPT_PERCENT;

/// One sentence for each of several targets that some step had no connection with.
pub fn absences(steps: &[RateStep]) -> Vec<String> {
    let targets = steps.first().map_or(&[][..], |step| &step.run.targets);
    let absent = |(index, target): (usize, &TargetResult)| {
        let opened = |step: &RateStep| step.run.targets.get(index).map(|of| of.connections_opened);
        let without = steps.iter().filter(|step| opened(step) == Some(0)).count();
        let of = human::part(without as u64, steps.len() as u64, "step");
        (without > 0).then(|| format!("{} had no connection in {of}.", target.target))
    };
    targets.iter().enumerate().filter_map(absent).collect()
}

impl Curve {
    /// A sweep, with its knee marked.
    pub fn of_sweep(steps: Vec<RateStep>) -> Self {
        let found = knee(&steps).map(|step| step.asked);
        let rule = format!(
            "The rule: the highest rate up to which {RATE_KEPT_PERCENT} % of what was due was accepted in time, \
             and p99 stayed below {} or within {KNEE_FACTOR} times the lowest p99 of the slower steps.",
            human::latency(SEND_LAG_NOISE_NS)
        );
        let mut said = match found {
            Some(rate) => vec![knee_at(&steps, rate), rule],
            None if steps.first().is_some_and(RateStep::limited) => {
                vec![
                    "No knee was found: the generator was the limit from the first step on."
                        .to_owned(),
                    rule,
                ]
            }
            None => vec!["The first step is beyond the knee already.".to_owned(), rule],
        };
        let beyond = steps.iter().skip_while(|step| Some(step.asked) != found).skip(1);
        if found.is_some() && beyond.clone().all(RateStep::limited) {
            said.insert(1, "No step went beyond it, so it may be higher.".to_owned());
        }
        said.extend(absences(&steps));
        let late = steps.iter().filter(|step| step.limited()).count();
        if late > 0 {
            said.push(format!(
                "In {} the generator was the limit, which says nothing about the target.",
                human::part(late as u64, steps.len() as u64, "step")
            ));
        }
        Self { task: "sweep", steps, said, slo: None, mark: found.map(|rate| (rate, "knee")) }
    }

    /// What was run, in one line.
    pub fn title(task: &str, target: &str) -> String {
        format!("{task} of {target}")
    }

    /// The finding, a sentence on each line.
    pub fn findings(&self, width: Width) -> String {
        self.said.iter().map(|sentence| width.wrap(0, sentence) + "\n").collect()
    }

    pub fn text(&self, width: Width) -> String {
        let layout = layout(width);
        let mut text = width.wrap(2, &Self::title(self.task, self.target()));
        let _ = writeln!(text, "\n\n{}", layout.head());
        for step in &self.steps {
            let _ = writeln!(text, "{}", layout.row(&step.cells()));
        }
        text.push('\n');
        text + &self.findings(width)
    }
}

const HEAD: [&str; 9] =
    ["due/s", "accepted/s", "p50", "p99", "p99.9", "errors", "own lag p99", "CPU", "verdict"];
/// The columns of a table of steps, for rows that come one after the other.
pub fn layout(width: Width) -> Layout {
    const COLUMNS: [Column; 9] = [
        Column::right(HEAD[0], 10, 0),
        Column::right(HEAD[1], 12, 0),
        Column::right(HEAD[2], 11, 0),
        Column::right(HEAD[3], 11, 0),
        Column::right(HEAD[4], 11, 2),
        Column::right(HEAD[5], 10, 0),
        Column::right(HEAD[6], 13, 1),
        Column::right(HEAD[7], 8, 3),
        Column::right(HEAD[8], 19, 0),
    ];
    Layout::new(&COLUMNS, 0, width)
}

impl RateStep {
    /// The cells of a row of [`layout`].
    pub fn cells(&self) -> [String; 9] {
        let (run, response) = (&self.run, self.response());
        let own_lag = run.own_lag_ns.unwrap_or_default();
        let verdict = match self.kept {
            Some(true) => "kept".to_owned(),
            Some(false) if self.kept_up() => "missed".to_owned(),
            _ => run.verdict.name().to_owned(),
        };
        [
            human::rate(self.asked),
            human::known(run.rate_msg_s, human::rate),
            human::time(response.p50),
            human::time(response.p99),
            human::time(response.p999),
            human::known(self.errors_share(), human::percent),
            human::time(own_lag.p99),
            human::known(run.cpu_busy, human::percent),
            verdict,
        ]
    }
}

/// Where the knee is. Steps that the generator limited say nothing, so it may lie among those that follow it.
fn knee_at(steps: &[RateStep], knee: f64) -> String {
    let beyond = || steps.iter().skip_while(|step| step.asked != knee).skip(1);
    let unknown = beyond().take_while(|step| step.limited()).count();
    match (unknown, beyond().nth(unknown)) {
        (0, _) => format!("The knee is at {} messages/s.", human::rate(knee)),
        (_, None) => format!("The knee is at {} messages/s or above.", human::rate(knee)),
        (_, Some(bent)) => format!(
            "The knee is between {} and {} messages/s.",
            human::rate(knee),
            human::rate(bent.asked)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Latency, Run, Verdict};

    #[test]
    fn a_knee_before_steps_that_decide_nothing_is_told_as_an_interval() {
        const MS: u64 = 1_000_000;
        use Verdict::{GeneratorLimited, Ok, TargetLimited};
        let told = |steps: &[(f64, u64, Verdict)]| {
            let steps = steps.iter().map(|&(asked, p99, verdict)| step(asked, p99, verdict));
            Curve::of_sweep(steps.collect()).said.join(" ")
        };
        let (low, high) = ((20.0, MS, Ok), (120.0, 90 * MS, TargetLimited));
        let limited = [40.0, 60.0, 80.0].map(|rate| (rate, MS, GeneratorLimited));
        let unsure = told(&[&[low], &limited[..], &[high]].concat());
        assert!(unsure.contains("The knee is between 20.0 and 120 messages/s."), "{unsure}");
        let open = told(&[&[low], &limited[..]].concat());
        assert!(open.contains("at 20.0 messages/s or above. No step went beyond it"), "{open}");
        assert!(told(&[low, high]).contains("The knee is at 20.0 messages/s."));
    }

    fn step(asked: f64, p99: u64, verdict: Verdict) -> RateStep {
        let (p50, p999) = (Some(p99 / 2), Some(2 * p99));
        let response = Latency { p50, p99: Some(p99), p999, count: 9_999, ..Latency::default() };
        let mut run = Run { verdict, rate_msg_s: Some(asked), ..Run::default() };
        let lost = if verdict == Verdict::TargetLimited { 10 } else { 0 };
        (run.counts.messages_ok, run.counts.messages_failed) = (100 - lost, lost);
        run.response_ns = Some(response);
        run.plan.target = "smtp://<a>:25".to_owned();
        RateStep { asked, run, kept: None }
    }

    #[test]
    fn every_form_tells_the_same_steps() {
        let steps = vec![step(1e3, 2_000_000, Verdict::Ok), step(2e3, 90_000_000, Verdict::Ok)];
        let curve = Curve::of_sweep(steps);
        assert_eq!(curve.mark, Some((1e3, "knee")));
        let json: serde_json::Value = serde_json::from_str(&curve.json().unwrap()).unwrap();
        assert_eq!(json["found_msg_s"], 1e3);
        assert_eq!(json["steps"][1]["response_p99_ns"], 90_000_000);
        let csv = curve.csv().unwrap();
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let asked: Vec<_> = reader.records().map(|r| r.unwrap()[0].to_owned()).collect();
        assert_eq!(asked, ["1000.0", "2000.0"]);
        assert!(curve.text(Width::FULL).contains("90.0 ms"), "{}", curve.text(Width::FULL));
        let page = curve.page();
        assert!(
            page.contains("knee")
                && page.contains("smtp://&lt;a&gt;:25")
                && page.contains("<svg")
                && page.contains("href=\"step-02-2000/report.html\"")
        );
    }

    #[test]
    fn of_several_targets_each_step_tells_the_part_and_who_was_absent_is_named() {
        let part = |target: &str, connections_opened| TargetResult {
            target: target.to_owned(),
            connections_opened,
            ..TargetResult::default()
        };
        let with = |asked, second| {
            let mut step = step(asked, 1_000_000, Verdict::Ok);
            step.run.targets = vec![part("smtp://a:25", 3), part("smtp://b:25", second)];
            step
        };
        let curve = Curve::of_sweep(vec![with(1e3, 1), with(2e3, 0)]);
        let absent = "smtp://b:25 had no connection in 1 of 2 steps.";
        assert!(curve.said.iter().any(|said| said == absent), "{:?}", curve.said);
        assert!(!curve.said.iter().any(|said| said.contains("smtp://a:25")), "{:?}", curve.said);
        let json: serde_json::Value = serde_json::from_str(&curve.json().unwrap()).unwrap();
        assert_eq!(json["steps"][0]["targets"][1]["connections_opened"], 1);
        assert_eq!(json["steps"][1]["asked_msg_s"], 2e3);
        assert!(!curve.csv().unwrap().contains("targets"));
    }

    #[test]
    fn a_curve_without_a_bend_says_so() {
        let steps = vec![step(1e3, 2_000_000, Verdict::Ok), step(2e3, 2_000_000, Verdict::Ok)];
        let curve = Curve::of_sweep(steps);
        assert!(curve.said[1].contains("may be higher"), "{:?}", curve.said);
        let none = Curve::of_sweep(vec![step(1e3, 1, Verdict::TargetLimited)]);
        assert_eq!((none.mark, none.page().contains("class=\"chart")), (None, false));
    }
}
