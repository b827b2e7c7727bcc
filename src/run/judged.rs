//! A condition, and how a run met it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A condition, and how a run met it; part of `run.json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Judged {
    /// As given: `p99>20ms`.
    pub condition: String,
    /// The figure, by its full name: `response.p99`.
    pub figure: String,
    /// In the unit of the bound; `null` where there was nothing to measure.
    pub measured: Option<f64>,
    /// `ms`, `%`, `k` and so on; empty for a plain number.
    pub unit: String,
    /// Where `measured` is `null`: why, or what is known in its place.
    #[serde(default)]
    pub unknown: Option<String>,
    /// Whether the condition held; `null` where there was nothing to measure, so that it neither held nor
    /// did not hold.
    pub holds: Option<bool>,
}

impl Judged {
    /// Whether a `--fail-if` of this condition fails the run: it held, or it is unknown whether it did.
    pub fn fails(&self) -> bool {
        self.holds != Some(false)
    }
}

/// One sentence: `p99>20ms: response.p99 is 23.14ms`.
impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ", self.condition, self.figure)?;
        match self.measured {
            None => {
                let why = self.unknown.as_deref().unwrap_or("there was nothing to measure");
                if self.holds.is_none() {
                    f.write_str("is unknown: ")?;
                }
                f.write_str(why)
            }
            Some(value) => write!(f, "is {}{}", four_digits(value), self.unit),
        }
    }
}

pub(super) fn four_digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v == v.trunc() || v >= 1_000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        v if v >= 0.001 => 3,
        _ => 6,
    };
    format!("{value:.decimals$}")
}
