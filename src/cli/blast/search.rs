//! `ringpost-blast sweep` and `find-max`: the same run at many rates.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::content::ContentArgs;
use super::load::{self, ArrivalsArg, LoadArgs};
use super::machine::MachineArgs;
use super::policy::PolicyArgs;
use super::protocol::ProtocolArgs;
use super::{ArtefactArgs, Error, RunArgs, artefacts, plan, status, watch_signals, with_page};
use crate::blast::plan::{CONNECTIONS_DEFAULT, Plan};
use crate::blast::schedule::Spacing;
use crate::blast::search::{
    EarlyEnd, EndCause, FoundMax, Observer, Rates, SearchError, SearchOptions, StepEvent, Steps,
    Sweep, Tried,
};
use crate::blast::{BlastError, StopRequest};
use crate::cli::exit;
use crate::cli::value;
use crate::human;
use crate::notice::notice;
use crate::report::columns::{Layout, Width};
use crate::report::sweep::{self, absences};
use crate::run::curve::Curve;
use crate::run::{ArtefactError, Conditions};

/// What both tasks run at each rate.
#[derive(Debug, Args)]
struct StepArgs {
    /// smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT, lmtps://HOST:PORT, smtp+unix:/PATH, lmtp+unix:/PATH or
    /// HOST:PORT. Several
    /// targets share the sessions; WEIGHT=TARGET gives a target more of them, as in 3=10.0.0.1:25
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// Number of connections that may be open at the same time
    #[arg(short, long, value_name = "N", default_value_t = CONNECTIONS_DEFAULT, value_parser = value::at_least_one, help_heading = "Steps")]
    connections: usize,
    /// How messages that are due are spread over time
    #[arg(
        long,
        value_enum,
        value_name = "SPREAD",
        default_value = "constant",
        help_heading = "Steps"
    )]
    arrivals: ArrivalsArg,
    /// Time at the start of each step that is not counted
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "2s", help_heading = "Steps")]
    settle: Duration,
    /// Time of each step that is measured
    #[arg(long, value_name = "DURATION", value_parser = value::span, default_value = "5s", help_heading = "Steps")]
    measure: Duration,
    /// Time after each step for messages that are not finished
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "2s", help_heading = "Steps")]
    drain: Duration,
    /// Rate of the first step, in messages per second
    #[arg(long, value_name = "RATE", value_parser = load::rate_number, default_value = "500", help_heading = "Steps")]
    start: f64,
    /// The highest rate to try
    #[arg(long, value_name = "RATE", value_parser = load::rate_number, default_value = "1M", help_heading = "Steps")]
    most: f64,
    #[command(flatten)]
    content: ContentArgs,
    #[command(flatten)]
    protocol: ProtocolArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// Write the curve into this directory as JSON, CSV and a page, with the files of each step
    #[arg(long, value_name = "DIR", help_heading = "Report")]
    out: Option<PathBuf>,
    /// What to call the curve: shown above its page, and kept in the run.json of each step
    #[arg(long, value_name = "TEXT", value_parser = artefacts::line, default_value = "", hide_default_value = true, help_heading = "Report")]
    name: String,
    /// A note on it, such as what was changed
    #[arg(long, value_name = "TEXT", value_parser = artefacts::text, default_value = "", hide_default_value = true, help_heading = "Report")]
    note: String,
    /// Print the result as one JSON object instead of text
    #[arg(long, help_heading = "Report")]
    json: bool,
    #[command(flatten)]
    lag: artefacts::LagArgs,
    /// End with exit code 0 where it would be 1 or 4: the report alone says what was found
    #[arg(long, help_heading = "Report")]
    exit_zero: bool,
}

/// Measure latency under load: one step for each rate, and the knee of the curve
///
/// Without --rates the rate doubles from --start until it was not kept twice in a row. What ends a run by
/// --on-error, --stop-on or --max-errors ends the sweep, with the curve up to there.
#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// The rates of the steps in messages per second, with commas between them: 1k,2k,4k
    #[arg(long, value_name = "RATES", value_parser = load::rate_number, value_delimiter = ',', conflicts_with_all = ["start", "most"], help_heading = "Steps")]
    rates: Vec<f64>,
    #[command(flatten)]
    step: StepArgs,
}

/// Find the highest rate at which a service level is kept
///
/// The rate doubles from --start until the level is missed, then the interval between the best good rate and
/// the lowest bad one is halved until its ends are --precision apart. A rate keeps the level when every condition of --slo holds and the target
/// kept up. What ends a run by --on-error, --stop-on or --max-errors ends the search; errors that are to
/// count against a rate, and not to end the search, belong into --slo.
#[derive(Debug, Args)]
pub(super) struct FindMaxArgs {
    /// The service level: conditions that must be true, such as 'p99<20ms,errors<0.1%', in the figures of
    /// --fail-if
    #[arg(long, value_name = "CONDITIONS", value_parser = level, help_heading = "Search")]
    slo: Conditions,
    /// How far apart the ends of the interval may be
    #[arg(long, value_name = "PERCENT", value_parser = precision, default_value = "5%", help_heading = "Search")]
    precision: f64,
    /// The largest number of runs of one rate; more than half of them decide
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99), help_heading = "Search")]
    repeats: u32,
    #[command(flatten)]
    step: StepArgs,
}

/// Conditions that hold where the target is good.
fn level(text: &str) -> Result<Conditions, String> {
    artefacts::conditions(text)?.level().map_err(|error| error.to_string())
}

/// Percent above zero, as a share.
fn precision(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let share = number.map(|number| number / 100.0).filter(|share| (0.001..=1.0).contains(share));
    share.ok_or_else(|| format!("'{text}' is not a precision; write 0.1% to 100%"))
}

impl SweepArgs {
    pub(super) fn run(self) -> Result<u8, Error> {
        let Self { rates, step } = self;
        let exit_zero = step.exit_zero;
        let rates = match rates.is_empty() {
            true => Rates::Doubling { start: step.start, most: step.most },
            false => Rates::Given(rates),
        };
        let task = RateTask::prepare(step)?;
        let (sweep, unwritten) = task.perform("sweep", |steps, see| steps.sweep(&rates, see))?;
        let code = status(sweep.exit_code(), exit_zero);
        let unwritten = unwritten.or_else(|| failed_step(sweep.early.as_ref()));
        let finished = task.finish(&curve_of(sweep));
        unwritten.map_or(finished, Err).map(|()| code)
    }
}

impl FindMaxArgs {
    pub(super) fn run(self) -> Result<u8, Error> {
        let exit_zero = self.step.exit_zero;
        let Self { slo, precision, repeats, step } = self;
        let options = SearchOptions { start: step.start, most: step.most, precision, repeats };
        let task = RateTask::prepare(step)?;
        let (found, unwritten) =
            task.perform("find-max", |steps, see| steps.find_max(&slo, options, see))?;
        let unwritten = unwritten.or_else(|| failed_step(found.early.as_ref()));
        let code = status(found.verdict().exit_code(), exit_zero);
        let said = sentences(&found, &slo);
        let mark = found.low.map(|low| (low.rate, "max"));
        let slo = Some(slo.to_string());
        let finished =
            task.finish(&Curve { task: "find-max", steps: found.steps, said, slo, mark });
        unwritten.map_or(finished, Err).map(|()| code)
    }
}

/// The curve of a sweep. Of a step that was cut short nothing follows: it is shown where it is all there is, or
/// tells what ended the sweep.
fn curve_of(sweep: Sweep) -> Curve {
    let Sweep { steps, cut_short, early } = sweep;
    let mut curve = Curve::of_sweep(steps);
    if let Some(last) = cut_short {
        if curve.steps.is_empty() {
            (curve.said, curve.mark) = (Vec::new(), None);
        }
        let asked = matches!(early, None | Some(EarlyEnd { cause: EndCause::Asked(_), .. }));
        if asked {
            let rate = human::rate(last.asked);
            curve.said.push(format!("The sweep was broken off in the step at {rate} messages/s."));
        }
        if !asked || curve.steps.is_empty() {
            curve.steps.push(last);
        }
    }
    curve.said.extend(early.as_ref().map(why_early));
    curve
}

/// The error of a step that could not take place or be kept.
fn failed_step(early: Option<&EarlyEnd>) -> Option<Error> {
    match early {
        Some(EarlyEnd { rate, cause: EndCause::Failed(error) }) => {
            Some(Error::Step { rate: *rate, error: Arc::clone(error) })
        }
        _ => None,
    }
}

fn why_early(early: &EarlyEnd) -> String {
    format!("At {} messages/s: {}.", human::rate(early.rate), early.cause)
}

/// What a search found, how sure it is, and why it ended.
fn sentences(found: &FoundMax, slo: &Conditions) -> Vec<String> {
    let FoundMax { steps, low, high, settled, limited, broken_off, early } = found;
    let of = |tried: &Tried, count: u32, verb: &str| {
        let runs = human::part(count.into(), (tried.kept + tried.missed).into(), "run");
        format!("{} messages/s {verb} {slo} in {runs}", human::rate(tried.rate))
    };
    let mut said = Vec::new();
    said.extend(low.map(|low| of(&low, low.kept, "kept") + "."));
    said.extend(high.map(|high| of(&high, high.missed, "missed") + "."));
    said.push(match (low, high) {
        (Some(low), Some(high)) if *settled => format!(
            "So the highest rate is between {} and {} messages/s, {} apart; more than half of the runs \
             kept the level at the lower end, and no more than half at the upper.",
            human::rate(low.rate),
            human::rate(high.rate),
            human::percent(high.rate / low.rate - 1.0)
        ),
        (Some(low), None) if limited.is_none() && !broken_off => format!(
            "Nothing was missed up to {} messages/s, which is as far as --most lets it go.",
            human::rate(low.rate)
        ),
        (None, Some(_)) => "No rate kept it, down to one message a second.".to_owned(),
        (Some(_), Some(_)) => "The search ended before the two were as near to each other as \
                               --precision asks."
            .to_owned(),
        (Some(low), None) => format!(
            "The search ended before a rate missed the level, so the target may do more than {} \
             messages/s.",
            human::rate(low.rate)
        ),
        (None, None) => "The search ended before it was decided for any rate.".to_owned(),
    });
    said.extend(limited.map(|rate| {
        format!(
            "At {} messages/s the generator was the limit; the target may do more. The reasons stand in run.json \
             of that step (--out): busy cores need more --cores or another machine, a lack of sessions more \
             --connections, and lag with idle cores a quieter machine.",
            human::rate(rate)
        )
    }));
    said.extend(absences(steps));
    said.extend(early.as_ref().map(why_early));
    if let Some(EarlyEnd { cause: EndCause::Policy(stopped), .. }) = early {
        let by = &stopped.by;
        said.push(format!(
            "To have errors count against a rate and search on, bound them in --slo and leave out {by}."
        ));
    }
    said
}

/// What is run, and where its result goes.
struct RateTask {
    plan: Plan,
    spacing: Spacing,
    json: bool,
    /// Whether the directory of the result is new.
    made_out: bool,
}

impl RateTask {
    fn prepare(args: StepArgs) -> Result<Self, Error> {
        let StepArgs { targets, content, protocol, policy, machine, out, json, name, note, .. } =
            args;
        let spacing = args.arrivals.spacing();
        let load = LoadArgs::steps(args.connections, args.settle, args.measure, args.drain);
        let artefacts = ArtefactArgs::of_steps(args.lag);
        let args = RunArgs { targets, load, content, protocol, policy, machine, artefacts };
        let plan = Plan { out, name, note, ..plan(args)? };
        let made_out = plan.out.as_ref().is_some_and(|dir| !dir.exists());
        if let Some(dir) = &plan.out {
            let failed = |error| ArtefactError::Io { path: dir.clone(), error };
            fs::create_dir_all(dir).map_err(failed).map_err(BlastError::from)?;
            if ["sweep.json", "find-max.json"].iter().any(|name| dir.join(name).exists()) {
                return Err(BlastError::from(ArtefactError::Taken(dir.clone())).into());
            }
        }
        Ok(Self { plan, spacing, json, made_out })
    }

    /// Runs all steps; each is shown when it has ended: on stdout, or beside JSON on stderr. What ended them
    /// because it could not be written is given beside what was measured until then.
    fn perform<T>(
        &self,
        task: &str,
        run: impl FnOnce(&Steps<'_>, &mut Observer<'_>) -> Result<T, SearchError>,
    ) -> Result<(T, Option<Error>), Error> {
        let stop = StopRequest::default();
        watch_signals(stop.clone(), self.plan.drain)?;
        let steps = Steps { plan: &self.plan, spacing: self.spacing, stop };
        let mut table = LiveTable::new(self, task);
        let mut unwritten = None;
        let mut written = Vec::new();
        let result = run(&steps, &mut |event| {
            let seen = match event {
                StepEvent::Running { .. } => Ok(()),
                StepEvent::Written(dir) => {
                    written.push(dir.to_owned());
                    with_page(dir).map(|_| ())
                }
                StepEvent::Done(step) => table.row(&step.cells()).map_err(Error::Report),
            };
            match seen {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    unwritten = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        if matches!(result, Err(SearchError::Failed(_))) && table.is_empty() {
            self.leave_nothing(&written);
        }
        Ok((result?, unwritten))
    }

    /// Removes what a task wrote whose target never worked, so that the same command can be tried again.
    fn leave_nothing(&self, written: &[PathBuf]) {
        // Best effort: what stays is named by the next try.
        for dir in written {
            let _ = fs::remove_dir_all(dir);
        }
        if self.made_out
            && let Some(out) = &self.plan.out
        {
            let _ = fs::remove_dir(out);
        }
    }

    /// Writes the whole into the directory of the result.
    fn write(&self, curve: &Curve, json: &str) -> Result<(), Error> {
        let Some(dir) = &self.plan.out else { return Ok(()) };
        let csv = curve.csv().map_err(|error| Error::Report(io::Error::other(error)))?;
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            let failed = |error| Error::Unwritten(ArtefactError::Io { path: path.clone(), error });
            fs::write(&path, text).map_err(failed)
        };
        write(&format!("{}.json", curve.task), json)?;
        write(&format!("{}.csv", curve.task), &csv)?;
        write("report.html", &curve.page())
    }

    /// Writes and prints the whole. What cannot be written is printed all the same.
    fn finish(&self, curve: &Curve) -> Result<(), Error> {
        let json = curve.json().map_err(|error| Error::Report(error.into()))?;
        let written = self.write(curve, &json);
        // The table has been told row by row.
        match self.json {
            true => exit::tell_json(json),
            false => exit::tell(format!("\n{}", curve.findings(Width::of_stdout()))),
        }
        .map_err(Error::Report)?;
        written
    }
}

/// The table of the steps, while they run.
struct LiveTable {
    layout: Layout,
    /// Its title and head, until the first row.
    head: Option<String>,
    json: bool,
}

impl LiveTable {
    fn new(of: &RateTask, task: &str) -> Self {
        let width = if of.json { Width::of_stderr() } else { Width::of_stdout() };
        let layout = sweep::layout(width);
        let head = match of.json {
            true => layout.head(),
            false => {
                let title = Curve::title(task, &of.plan.targets.names());
                format!("{}\n\n{}", width.wrap(2, &title), layout.head())
            }
        };
        Self { layout, head: Some(head), json: of.json }
    }

    fn is_empty(&self) -> bool {
        self.head.is_some()
    }

    fn row(&mut self, cells: &[String]) -> io::Result<()> {
        let row = self.layout.row(cells);
        for line in self.head.take().into_iter().chain([row]) {
            match self.json {
                true => notice!("{line}"),
                false => exit::tell(line + "\n")?,
            }
        }
        Ok(())
    }
}
