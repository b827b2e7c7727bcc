//! Conditions on the figures of a run: `p99<20ms`, `errors<0.1%`, `rate>=5k`.
//!
//! ```text
//! list      = condition *( "," condition )
//! condition = figure ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) bound
//! figure    = [ time "." ] statistic | count | delivery | "errors." KIND | [ phase "." ] "replies." CODE | "rate"
//! bound     = number unit | ( "+" | "-" ) number "%"
//! ```
//!
//! A time without a name is the response time where there is one, which is in an open loop, and else
//! the service time; [`Judged::figure`] says which. A bound with a sign is a change against another
//! run, in per cent of the figure of that run. One grammar serves `--fail-if`, whose conditions must
//! not hold, and `--slo`, whose conditions must.

mod bound;
mod level;
mod metric;

use std::fmt;
use std::str::FromStr;

pub use self::bound::{Bound, Operator, Unit};
pub use self::metric::{Codes, DeliveryCount, Metric, Statistic, Time};
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
    #[error(
        "'{given}' is no service level, because it is true when the figure is bad; a level says what must be \
         true: write {meant}"
    )]
    NoLevel { given: String, meant: String },
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

    /// Whether it asks what became of messages behind the server, which only a report of deliveries tells.
    pub fn is_of_delivery(&self) -> bool {
        matches!(self.figure, Metric::Delivery(_) | Metric::Time(Time::Delivery | Time::Transit, _))
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
mod tests;
