//! Two runs compared, as `ringpost report compare --json` tells it.

use serde::{Deserialize, Serialize};

use super::judged::Judged;
use super::merge::Difference;
use super::verdict::Verdict;

/// Version of the object, as that of `run.json`.
pub const SCHEMA: u32 = 1;

/// What a comparison found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Compared {
    pub schema: u32,
    pub before: ComparedRun,
    pub after: ComparedRun,
    pub figures: Vec<ComparedFigure>,
    /// What differs in plan, machine and version.
    pub differences: Vec<Difference>,
    /// Warnings, one sentence each.
    pub notes: Vec<String>,
    /// The conditions of `--fail-if`.
    pub thresholds: Vec<ComparedCondition>,
}

/// One of the two runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ComparedRun {
    /// As it was given: a directory or a log.
    pub name: String,
    /// RFC 3339, UTC; empty where a log does not tell.
    pub started: String,
    /// `null` of a log of another program.
    pub verdict: Option<Verdict>,
}

/// One figure of both runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ComparedFigure {
    pub name: String,
    /// `1/s`, `ns`, or `1` for a share.
    pub unit: String,
    /// `null` where a run has no such figure.
    pub before: Option<f64>,
    pub after: Option<f64>,
    /// Of the first run: 0.1 is a tenth more; `null` where there was nothing to change from.
    pub change: Option<f64>,
    pub noise: Noise,
}

/// A condition, and how the second run, or its change, met it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ComparedCondition {
    #[serde(flatten)]
    pub judged: Judged,
    /// Whether it fails the comparison: it holds, or it is unknown whether it does.
    pub fails: bool,
    /// Of a condition on a change, whether the runs can tell that change from chance; else `null`.
    pub noise: Option<Noise>,
}

/// Whether a change is more than chance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// The spread between the seconds of the two runs can explain it.
    Within,
    /// It is more than that.
    Beyond,
    /// Too few seconds, or a figure that is not recorded for each second.
    Unknown,
}
