//! What a run writes.

use std::path::PathBuf;

use clap::Args;

use super::watching::LiveArg;
use crate::blast::plan::Plan;
use crate::cli::value;
use crate::run::threshold::ThresholdError;
use crate::run::{Conditions, LAG_LIMIT_PERCENT_DEFAULT};

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Report")]
pub(super) struct ArtefactArgs {
    /// Write run.json, run.hlog, run.hgrm, run.csv, run.msgs and report.html into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to call the run: shown above its report, and kept in run.json
    #[arg(long, value_name = "TEXT", value_parser = line, default_value = "", hide_default_value = true)]
    pub(super) name: String,
    /// A note on the run, such as what was changed: shown in its report, and kept in run.json
    #[arg(long, value_name = "TEXT", value_parser = text, default_value = "", hide_default_value = true)]
    pub(super) note: String,
    /// Print the result as one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
    /// What stderr shows during the run
    #[arg(long, value_enum, value_name = "VIEW", default_value = "auto")]
    pub(super) live: LiveArg,
    /// Show the dialogue of the first N sessions on stderr: C: is the generator, S: is the server. The
    /// octets of messages are only counted, and passwords are hidden. --live auto then shows nothing
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value::whole)]
    trace: u64,
    /// Print the plan and one example message instead of running it: nothing is connected or written
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Fail the run (exit code 1) if this is true, such as 'p99>20ms' or 'failed>0.1%,rate<5k'. p99 is of
    /// the response time of an open loop, and of the service time of a closed loop. Other figures:
    /// response.p999, end_of_data.p50, send_lag.max, errors, errors.timeout, replies.4xx,
    /// rcpt.replies.451, cpu_busy. Operators: < <= > >= == !=. May be given more than once
    #[arg(long, value_name = "CONDITION", value_parser = conditions)]
    fail_if: Vec<Conditions>,
    #[command(flatten)]
    pub(super) lag: LagArgs,
    /// End with exit code 0 where it would be 1 or 4: the report alone says how the run went
    #[arg(long)]
    pub(super) exit_zero: bool,
}

/// When a schedule that the generator did not keep decides the verdict.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Report")]
pub(super) struct LagArgs {
    /// In an open loop, the largest part of the response time that the generator's own lag may be, at p99 and
    /// on the mean. Above it, and 1 ms that any timer may be late, the verdict is generator-limited
    #[arg(long = "lag-limit", value_name = "PERCENT", value_parser = lag_limit, default_value = "10%")]
    pub(super) percent: f64,
}

impl Default for LagArgs {
    fn default() -> Self {
        Self { percent: LAG_LIMIT_PERCENT_DEFAULT }
    }
}

fn lag_limit(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    number
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| format!("'{text}' is not a part of the response time; write 0% to 100%"))
}

impl ArtefactArgs {
    /// Of the steps of a sweep or search, whose other options are their own.
    pub(super) fn of_steps(lag: LagArgs) -> Self {
        Self { lag, ..Self::default() }
    }

    pub(super) fn put_into(self, plan: &mut Plan) {
        plan.fail_if = self.fail_if();
        plan.lag_limit_percent = self.lag.percent;
        plan.transcripts = self.trace;
        plan.out = self.out;
        plan.name = self.name;
        plan.note = self.note;
    }

    fn fail_if(&self) -> Conditions {
        Conditions(self.fail_if.iter().flat_map(|list| list.0.iter().copied()).collect())
    }
}

/// One line of text for a report.
pub(super) fn line(given: &str) -> Result<String, String> {
    match given.contains('\n') {
        true => Err("a name is one line; write the rest into --note".to_owned()),
        false => text(given),
    }
}

/// Text for a report, without controls that a terminal would obey.
pub(super) fn text(given: &str) -> Result<String, String> {
    match given.chars().any(|c| c.is_control() && c != '\n') {
        true => Err("control characters may not be in it; leave them out".to_owned()),
        false => Ok(given.to_owned()),
    }
}

/// Conditions on one run.
pub(super) fn conditions(text: &str) -> Result<Conditions, String> {
    let conditions: Conditions = text.parse().map_err(|error: ThresholdError| error.to_string())?;
    if let Some(of) = conditions.0.iter().find(|condition| condition.is_of_delivery()) {
        return Err(format!("'{of}' is about deliveries; ringpost report delivery tells them"));
    }
    match conditions.0.iter().find(|condition| condition.is_change()) {
        Some(change) => Err(format!(
            "'{change}' is a change; ringpost report compare holds two runs against it"
        )),
        None => Ok(conditions),
    }
}
