//! Conditions on the figures of a run: `p99<20ms`, `errors<0.1%`, `rate>=5k`.
//!
//! ```text
//! list      = condition *( "," condition )
//! condition = figure ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) bound
//! figure    = [ time "." ] statistic | count | "errors." KIND | [ phase "." ] "replies." CODE | "rate"
//! bound     = number unit | ( "+" | "-" ) number "%"
//! ```
//!
//! A time without a name is the response time where there is one, which is in an open loop, and else
//! the service time; [`Judged::figure`] says which. A bound with a sign is a change against another
//! run, in per cent of the figure of that run. One grammar serves `--fail-if`, whose conditions must
//! not hold, and `--slo`, whose conditions must.

mod bound;
mod metric;

use std::fmt;
use std::str::FromStr;

pub use self::bound::{Bound, Operator, Unit};
pub use self::metric::{Codes, Metric, Statistic, Time};
use super::judged::{Judged, four_digits};
use super::result::Run;
use super::verdict::Verdict;
use crate::human;

/// A figure compared with a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    pub figure: Metric,
    pub operator: Operator,
    pub bound: Bound,
}

/// Conditions in the order given; `p99<20ms,failed<0.1%`. Never empty when parsed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions(pub Vec<Condition>);

/// Which part of an expression cannot be read, and what may be written in its place.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ThresholdError {
    #[error(
        "'{0}' has no comparison; write FIGURE, one of < <= > >= == != and a bound, as in p99<20ms"
    )]
    NoOperator(String),
    #[error("'{0}' is not a figure; write one of {names}", names = Metric::names())]
    Figure(String),
    #[error("'{0}' is not a number with a unit; write 20ms, 0.1%, 5k or 12")]
    Number(String),
    #[error("'{bound}' does not fit {figure}, which {takes}")]
    Unit { figure: String, bound: String, takes: &'static str },
}

impl FromStr for Condition {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let text = text.trim();
        let found = Operator::ALL
            .into_iter()
            .filter_map(|operator| Some((text.find(operator.text())?, operator)))
            // The leftmost; of two at one place the longer, which comes first.
            .min_by_key(|(at, _)| *at);
        let (at, operator) = found.ok_or_else(|| ThresholdError::NoOperator(text.to_owned()))?;
        let name = text[..at].trim();
        let figure =
            Metric::from_name(name).ok_or_else(|| ThresholdError::Figure(name.to_owned()))?;
        let bound = text[at + operator.text().len()..].trim();
        let parsed: Bound = bound.parse()?;
        if let Some(takes) = figure.refuses(parsed.unit) {
            let (figure, bound) = (figure.to_string(), bound.to_owned());
            return Err(ThresholdError::Unit { figure, bound, takes });
        }
        Ok(Self { figure, operator, bound: parsed })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.figure, self.operator.text(), self.bound)
    }
}

impl FromStr for Conditions {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.0.iter().enumerate() {
            write!(f, "{}{condition}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl Condition {
    /// Whether it asks for a time that only an open loop has.
    pub fn needs_schedule(&self) -> bool {
        matches!(self.figure, Metric::Time(Time::Response | Time::SendLag | Time::OwnLag, _))
    }

    /// Whether it asks for the headline or the rate, which any log of latencies holds.
    pub fn is_of_headline(&self) -> bool {
        matches!(self.figure, Metric::Time(Time::Headline, _) | Metric::Rate)
    }

    /// Whether it asks for a change, which needs two runs.
    pub fn is_change(&self) -> bool {
        self.bound.unit == Unit::Change
    }

    /// Judges one run; a change cannot be judged by one run.
    pub fn judge(&self, run: &Run) -> Judged {
        let unit = self.bound.unit;
        let measured = match unit {
            Unit::Change => None,
            Unit::Percent => self.figure.measure(run, unit),
            _ => self.figure.measure(run, unit).map(|value| value / unit.scale()),
        };
        match self.figure.bounds(run) {
            Some(bounds) if measured.is_none() => self.judge_bounds(run, bounds),
            _ => self.judged(run, measured),
        }
    }

    /// Judges a percentile that the samples do not carry: it is between the least and the greatest of them,
    /// so that a bound beyond both decides.
    fn judge_bounds(&self, run: &Run, (least, most, count): (u64, u64, u64)) -> Judged {
        let unit = self.bound.unit;
        let [least, most] = [least, most].map(|ns| ns as f64 / unit.scale());
        let ends = [least, most].map(|end| self.operator.holds(end, self.bound.number));
        let judged = self.judged(run, None);
        if ends[0] != ends[1] || matches!(self.operator, Operator::Equal | Operator::Unequal) {
            return judged;
        }
        let [least, most] = [least, most].map(|end| format!("{}{}", four_digits(end), unit.text()));
        let more = if count == 1 { "does not tell more" } else { "do not tell more" };
        let samples = human::counted(count, "sample");
        let unknown = format!("is between {least} and {most}; {samples} {more}");
        Judged { unknown: Some(unknown), holds: Some(ends[0]), ..judged }
    }

    /// Judges `run`, or the change from `before` to `run`.
    pub fn judge_change(&self, before: &Run, run: &Run) -> Judged {
        if !self.is_change() {
            return self.judge(run);
        }
        let of = |run| self.figure.measure(run, self.bound.unit);
        let measured = match (of(before), of(run)) {
            // From zero to zero is no change; from zero to anything else is beyond any bound, and no number.
            (Some(0.0), Some(0.0)) => Some(0.0),
            (Some(0.0), Some(_)) => {
                let beyond = self.operator.holds(f64::INFINITY, self.bound.number);
                let unknown = Some("was 0 before and is not now".to_owned());
                return Judged { unknown, holds: Some(beyond), ..self.judged(run, None) };
            }
            (Some(before), Some(after)) => Some((after - before) / before * 100.0),
            (None, _) => {
                let why = self.figure.why_unknown(before);
                let unknown = Some(format!("of the run before, {why}"));
                return Judged { unknown, ..self.judged(run, None) };
            }
            (_, None) => None,
        };
        self.judged(run, measured)
    }

    fn judged(&self, run: &Run, measured: Option<f64>) -> Judged {
        Judged {
            condition: self.to_string(),
            figure: self.figure.resolved(run).to_string(),
            measured,
            unit: self.bound.unit.text().to_owned(),
            unknown: measured.is_none().then(|| self.figure.why_unknown(run)),
            holds: measured.map(|value| self.operator.holds(value, self.bound.number)),
        }
    }
}

impl Run {
    /// Judges the run by conditions of which none may hold. One that holds decides the verdict, unless
    /// there was no server to judge, or the figures are those of the generator.
    pub fn fail_if(&mut self, conditions: &Conditions) {
        self.thresholds = conditions.judge(self);
        let failed = self.thresholds.iter().filter(|judged| judged.fails());
        let reasons: Vec<String> = failed.map(ToString::to_string).collect();
        use Verdict::{GeneratorLimited, Stopped, Unreachable};
        if matches!(self.verdict, Unreachable | Stopped | GeneratorLimited) {
            self.verdict_reasons.extend(reasons);
        } else if !reasons.is_empty() {
            self.verdict = Verdict::ThresholdFailed;
            self.verdict_reasons.splice(0..0, reasons);
        }
    }
}

impl Conditions {
    pub fn judge(&self, run: &Run) -> Vec<Judged> {
        self.0.iter().map(|condition| condition.judge(run)).collect()
    }

    /// Whether all hold, as a service level asks. One that could not be measured does not hold.
    pub fn met(&self, run: &Run) -> bool {
        self.judge(run).iter().all(|judged| judged.holds == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::{Counters, ErrorKind, Phase};
    use crate::run::{Latency, PhaseResult};

    fn times() -> impl Strategy<Value = Time> {
        prop_oneof![
            Just(Time::Headline),
            Just(Time::Response),
            Just(Time::Service),
            Just(Time::SendLag),
            Just(Time::OwnLag),
            prop::sample::select(&Phase::ALL[..]).prop_map(Time::Phase),
        ]
    }

    fn figures() -> impl Strategy<Value = Metric> {
        let codes =
            || prop_oneof![(200..600u16).prop_map(Codes::One), (2..6u16).prop_map(Codes::Class)];
        let phase = prop::option::of(prop::sample::select(&Phase::ALL[..]));
        prop_oneof![
            (times(), prop::sample::select(&Statistic::ALL[..]))
                .prop_map(|(time, statistic)| Metric::Time(time, statistic)),
            prop::sample::select(&ErrorKind::ALL[..]).prop_map(Metric::ErrorsOf),
            (phase, codes()).prop_map(|(phase, codes)| Metric::Replies(phase, codes)),
            Just(Metric::Rate),
            Just(Metric::Accepted),
            Just(Metric::Failed),
            Just(Metric::Refused),
            Just(Metric::Unanswered),
            Just(Metric::Errors),
            Just(Metric::Errors4xx),
            Just(Metric::Errors5xx),
            Just(Metric::CpuBusy),
        ]
    }

    fn units() -> impl Strategy<Value = Unit> {
        use Unit::{Change, Giga, Kilo, Mega, Ms, Ns, One, Percent, S, Us};
        prop::sample::select(vec![Ns, Us, Ms, S, Percent, Change, One, Kilo, Mega, Giga])
    }

    fn conditions() -> impl Strategy<Value = Condition> {
        let operator = prop::sample::select(&Operator::ALL[..]);
        let number = prop_oneof![0.0..1e12f64, (0..10_000u32).prop_map(f64::from)];
        (figures(), operator, number, any::<bool>(), units())
            .prop_filter("a bound that fits", |(figure, .., unit)| figure.refuses(*unit).is_none())
            .prop_map(|(figure, operator, number, fall, unit)| {
                let number = if fall && unit == Unit::Change { -number } else { number };
                Condition { figure, operator, bound: Bound { number, unit } }
            })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(list in prop::collection::vec(conditions(), 1..4)) {
            let conditions = Conditions(list);
            prop_assert_eq!(conditions.to_string().parse(), Ok(conditions));
        }

        #[test]
        fn no_text_breaks_the_reader(text in "[a-z0-9.<>=!%+µ, -]{0,24}") {
            if let Ok(conditions) = text.parse::<Conditions>() {
                prop_assert_eq!(conditions.to_string().parse(), Ok(conditions));
            }
        }

        #[test]
        fn a_condition_and_its_opposite_never_agree(condition in conditions()) {
            use Operator::{AtLeast, AtMost, Equal, Greater, Less, Unequal};
            let operator = match condition.operator {
                Less => AtLeast,
                AtLeast => Less,
                Greater => AtMost,
                AtMost => Greater,
                Equal => Unequal,
                Unequal => Equal,
            };
            let run = run();
            let holds = condition.judge(&run).holds;
            let opposite = Condition { operator, ..condition }.judge(&run).holds;
            prop_assert_eq!(holds.map(|holds| !holds), opposite);
        }
    }

    /// A closed loop of 1,000 messages, 3 of them refused at RCPT and one never answered.
    fn run() -> Run {
        let latency = Latency {
            min: Some(900_000),
            mean: Some(2.5e6),
            p50: Some(2_000_000),
            p99: Some(19_000_000),
            p999: Some(30_000_000),
            max: Some(31_000_000),
            count: 997,
            ..Latency::default()
        };
        let rcpt = PhaseResult {
            latency_ns: Latency { p50: Some(700_000), count: 1_000, ..Latency::default() },
            replies: [(250, 997), (451, 2), (550, 1)].into(),
            ..PhaseResult::default()
        };
        Run {
            counts: Counters {
                messages_ok: 996,
                messages_failed: 4,
                messages_refused_4xx: 2,
                messages_unanswered: 1,
                ..Counters::default()
            },
            messages_refused_5xx: 1,
            elapsed_s: 2.0,
            rate_msg_s: Some(498.0),
            service_ns: latency,
            phases: [(Phase::Rcpt, rcpt)].into(),
            replies: [(250, 2_990), (354, 997), (451, 2), (550, 1)].into(),
            errors: [(ErrorKind::Timeout, 1)].into(),
            cpu_busy: Some(0.4),
            ..Run::default()
        }
    }

    #[test]
    fn figures_are_held_against_bounds_in_any_unit() {
        let (run, open) = (run(), Run { response_ns: Some(run().service_ns), ..run() });
        for (text, holds) in [
            ("p99<20ms", true),
            ("p99<=19ms", true),
            ("p99>0.019s", false),
            ("p99.9 == 30000us", true),
            ("service.p50>=2000000ns", true),
            ("mean<2.5ms", false),
            ("rcpt.p50<1ms", true),
            ("errors==4", true),
            ("errors>0.39%", true),
            ("errors.timeout==1", true),
            ("errors.4xx==2", true),
            ("errors.5xx>0.2%", false),
            ("errors.reset==0", true),
            ("failed<0.1%", false),
            ("refused==3", true),
            ("unanswered!=1", false),
            ("accepted>=99.6%", true),
            ("rate>=0.498k", true),
            ("replies.451<1%", true),
            ("replies.451==2", true),
            ("replies.4xx>=0.05%", true),
            ("rcpt.replies.5xx==0.1%", true),
            ("rcpt.replies.4xx<0.2%", false),
            ("cpu_busy<50%", true),
            ("failed>0.4%", false),
            ("failed>=0.4%", true),
        ] {
            let condition: Condition = text.parse().unwrap();
            let judged = condition.judge(&run);
            assert_eq!(judged.holds, Some(holds), "{judged}");
            assert_eq!(condition.judge(&open).holds, Some(holds), "{text}");
        }
        let p99: Condition = "p99>18ms".parse().unwrap();
        assert_eq!(p99.judge(&run).to_string(), "p99>18ms: service.p99 is 19ms");
        assert_eq!(p99.judge(&open).figure, "response.p99");
    }

    #[test]
    fn a_figure_that_was_not_measured_fails_either_condition() {
        let run = Run::default();
        for text in ["p99>1s", "response.p99>1s", "mail.p50>1s", "failed>0.1%", "rate<5", "p99>+1%"]
        {
            let conditions: Conditions = text.parse().unwrap();
            assert!(!conditions.met(&run), "{text}");
            assert!(conditions.judge(&run)[0].fails(), "{text}");
        }
        let conditions: Conditions = "errors>0,failed>0".parse().unwrap();
        assert!(conditions.judge(&run).iter().all(|judged| !judged.fails()), "nothing is a count");
    }

    #[test]
    fn a_percentile_that_the_sample_does_not_carry_is_unknown_and_says_why() {
        let mut run = run();
        let (min, max) = (Some(1_000_000), Some(9_000_000));
        run.service_ns = Latency { min, max, count: 20, ..Latency::default() };
        for (text, holds, told) in [
            ("p99>5ms", None, "is unknown: it takes 100 samples, and there are 20"),
            ("p99==1ms", None, "is unknown: it takes 100 samples, and there are 20"),
            ("p99>9ms", Some(false), "is between 1ms and 9ms; 20 samples do not tell more"),
            ("p99<10ms", Some(true), "is between 1ms and 9ms; 20 samples do not tell more"),
            ("max>5ms", Some(true), "is 9ms"),
        ] {
            let condition: Condition = text.parse().unwrap();
            let judged = condition.judge(&run);
            assert_eq!(judged.holds, holds, "{text}");
            assert!(judged.to_string().ends_with(told), "{judged}");
        }
    }

    #[test]
    fn a_share_is_compared_as_exactly_as_it_was_written() {
        for percent in 0..=100u32 {
            let counts = Counters {
                messages_ok: u64::from(100 - percent),
                messages_failed: u64::from(percent),
                ..Counters::default()
            };
            let run = Run { counts, ..Run::default() };
            let condition: Condition = format!("failed>{percent}%").parse().unwrap();
            assert_eq!(condition.judge(&run).holds, Some(false), "{condition}");
            let condition: Condition = format!("failed=={percent}%").parse().unwrap();
            assert_eq!(condition.judge(&run).holds, Some(true), "{condition}");
        }
    }

    #[test]
    fn what_was_never_begun_has_failed_and_a_rate_of_nothing_is_unknown() {
        let mut run = Run { elapsed_s: 2.0, ..Run::default() };
        run.counts.add_not_begun(10);
        for (text, fails) in [
            ("failed>0", true),
            ("failed>99%", true),
            ("unanswered>0", true),
            ("accepted<1", true),
            ("refused>0", false),
            ("rate>5", true),
            ("rate<5", true),
        ] {
            let conditions: Conditions = text.parse().unwrap();
            assert_eq!(conditions.judge(&run)[0].fails(), fails, "{text}");
        }
    }

    #[test]
    fn a_change_is_told_from_two_runs() {
        let before = run();
        let mut after = run();
        after.service_ns.p99 = Some(21_000_000);
        after.rate_msg_s = Some(450.0);
        after.errors.clear();
        for (text, holds) in [
            ("p99>+10%", Some(true)),
            ("p99>+11%", Some(false)),
            ("rate<-9%", Some(true)),
            ("rate<-10%", Some(false)),
            ("errors.reset>+0%", Some(false)),
            ("errors.timeout==-100%", Some(true)),
            ("response.p99>+10%", None),
            ("p99>20ms", Some(true)),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(condition.judge_change(&before, &after).holds, holds, "{text}");
        }
        let appeared: Condition = "errors.timeout>+1000%".parse().unwrap();
        let judged = appeared.judge_change(&after, &before);
        assert_eq!((judged.holds, judged.measured), (Some(true), None), "infinity is no number");
        assert!(
            judged.to_string().ends_with("errors.timeout was 0 before and is not now"),
            "{judged}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_can() {
        for (text, says) in [
            ("p99", "'p99' has no comparison"),
            ("", "'' has no comparison"),
            ("p99<20ms,", "'' has no comparison"),
            ("p98<20ms", "'p98' is not a figure; write one of p50 p75"),
            ("data.p98<20ms", "'data.p98' is not a figure"),
            ("errors.rest>1", "'errors.rest' is not a figure"),
            ("replies.700>1", "'replies.700' is not a figure"),
            ("p99=20ms", "'p99=20ms' has no comparison"),
            ("p99<>20ms", "'>20ms' is not a number"),
            ("p99<fast", "'fast' is not a number"),
            ("p99<1e3ms", "'1e3ms' is not a number"),
            ("p99<+20ms", "'+20ms' is not a number"),
            ("p99<20", "'20' does not fit p99, which is a time: write ns"),
            ("rate<5%", "'5%' does not fit rate"),
            ("failed<5ms", "'5ms' does not fit failed, which is a count"),
            ("cpu_busy<5", "'5' does not fit cpu_busy"),
        ] {
            let error = text.parse::<Conditions>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
