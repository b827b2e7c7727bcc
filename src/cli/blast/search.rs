//! `ringpost-blast sweep` and `find-max`: the same run at many rates.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use clap::Args;

use super::content::ContentArgs;
use super::load::{self, ArrivalsArg, LoadArgs};
use super::machine::MachineArgs;
use super::policy::PolicyArgs;
use super::protocol::ProtocolArgs;
use super::{ArtefactArgs, Error, RunArgs, artefacts, plan, watch_signals, with_page};
use crate::blast::plan::{CONNECTIONS_DEFAULT, Load, Plan};
use crate::blast::schedule::{Profile, Schedule, Spacing};
use crate::blast::search::{Manner, Search, Tried};
use crate::blast::{self, BlastError, Failure};
use crate::cli::exit;
use crate::cli::value;
use crate::notice::notice;
use crate::report::human;
use crate::report::sweep::{self, absences};
use crate::run::curve::{Curve, RateStep};
use crate::run::{ArtefactError, Conditions, Stopped, Verdict};

/// Rates at which an automatic sweep ends at the latest.
const DOUBLINGS_MAX: u32 = 20;
/// Steps in a row at which the rate is not kept, after which a sweep that doubles has seen enough.
const BEHIND_MAX: usize = 2;

/// What both tasks run at each rate.
#[derive(Debug, Args)]
struct StepArgs {
    /// smtp://HOST:PORT, lmtp://HOST:PORT, smtp+unix:/PATH, lmtp+unix:/PATH or HOST:PORT. Several
    /// share the sessions; WEIGHT=TARGET gives one more of them, as in 3=10.0.0.1:25
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// Connections open at once, at most
    #[arg(short, long, value_name = "N", default_value_t = CONNECTIONS_DEFAULT, value_parser = value::at_least_one, help_heading = "Steps")]
    connections: usize,
    /// How what is due is spread over time
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
    /// Time after each step for what was due and is not done
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "2s", help_heading = "Steps")]
    drain: Duration,
    /// Rate of the first step, in messages a second
    #[arg(long, value_name = "RATE", value_parser = load::rate_number, default_value = "500", help_heading = "Steps")]
    start: f64,
    /// Rate of the last step at most
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
    /// Put the curve there as JSON, CSV and a page, and the artefacts of each step below it
    #[arg(long, value_name = "DIR", help_heading = "Report")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object instead of text
    #[arg(long, help_heading = "Report")]
    json: bool,
}

/// Measure latency under load: one step for each rate, and the knee of the curve
///
/// Without --rates the rate doubles from --start until it was not kept twice in a row. What ends a run by
/// --on-error, --stop-on or --max-errors ends the sweep, with the curve up to there.
#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// Messages a second of each step, with commas between them: 1k,2k,4k
    #[arg(long, value_name = "RATES", value_parser = load::rate_number, value_delimiter = ',', conflicts_with_all = ["start", "most"], help_heading = "Steps")]
    rates: Vec<f64>,
    #[command(flatten)]
    step: StepArgs,
}

/// Find the highest rate at which a service level is kept
///
/// The rate doubles from --start until the level is missed, then the bracket is halved until its ends
/// are --precision apart. A rate keeps the level when every condition of --slo holds and the target
/// kept up. What ends a run by --on-error, --stop-on or --max-errors ends the search; errors that are to
/// count against a rate, and not to end the search, belong into --slo.
#[derive(Debug, Args)]
pub(super) struct FindMaxArgs {
    /// Service level: conditions that must hold, such as 'p99<20ms,errors<0.1%'; the figures are those
    /// of --fail-if
    #[arg(long, value_name = "CONDITIONS", value_parser = artefacts::conditions, help_heading = "Search")]
    slo: Conditions,
    /// How far the ends of the bracket may be apart
    #[arg(long, value_name = "PERCENT", value_parser = precision, default_value = "5%", help_heading = "Search")]
    precision: f64,
    /// Runs of one rate at most; more than half of them decide
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99), help_heading = "Search")]
    repeats: u32,
    #[command(flatten)]
    step: StepArgs,
}

/// Percent above zero, as a share.
fn precision(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let share = number.map(|number| number / 100.0).filter(|share| (0.001..=1.0).contains(share));
    share.ok_or_else(|| format!("'{text}' is no precision; write 0.1% to 100%"))
}

impl SweepArgs {
    pub(super) fn run(self) -> Result<Verdict, Error> {
        let Self { mut rates, step } = self;
        // The knee is looked for on the way up.
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let (start, most) = (step.start, step.most);
        let given = !rates.is_empty();
        let doubled = (0..DOUBLINGS_MAX).map(|n| start * f64::from(1 << n));
        let rates = if given { rates } else { doubled.take_while(|rate| *rate <= most).collect() };
        let mut bench = Bench::prepare(step)?;
        let mut behind = 0;
        for rate in rates {
            let Some(step) = bench.step(rate, None)? else { break };
            behind = if step.kept_up() { 0 } else { behind + 1 };
            if behind >= BEHIND_MAX && !given {
                break;
            }
        }
        let (why, verdict) = bench.early().unzip();
        let mut curve = bench.curve();
        curve.said.extend(why);
        bench.finish(&curve)?;
        Ok(verdict.unwrap_or(Verdict::Ok))
    }
}

impl FindMaxArgs {
    pub(super) fn run(self) -> Result<Verdict, Error> {
        let Self { slo, precision, repeats, step } = self;
        let (start, most) = (step.start, step.most);
        let mut search = Search::new(Manner { start, most, precision, repeats });
        let mut bench = Bench::prepare(step)?;
        let (mut excused, mut limited) = (0, None);
        while let Some(rate) = search.next() {
            let Some(step) = bench.step(rate, Some(&slo))? else {
                search.end();
                break;
            };
            let kept = step.kept == Some(true);
            // The generator's lateness is in the response time: a level that is kept in spite of it
            // is kept, and one that is missed says nothing of the target.
            if kept || step.run.verdict != Verdict::GeneratorLimited {
                excused = 0;
                search.tell(kept);
            } else {
                excused += 1;
                if excused > repeats / 2 {
                    limited = Some(rate);
                    search.end();
                }
            }
        }
        let (low, high) = search.bracket();
        let mut said = sentences(&search, &slo, limited, bench.stopped());
        let (why, early) = bench.early().unzip();
        said.extend(absences(&bench.steps));
        said.extend(why);
        if let Some(Ended::Policy(stopped)) = &bench.ended {
            let by = &stopped.by;
            said.push(format!(
                "To have errors count against a rate and search on, bound them in --slo and leave out {by}."
            ));
        }
        let mark = low.map(|low| (low.rate, "max"));
        let steps = std::mem::take(&mut bench.steps);
        bench.finish(&Curve { task: "find-max", steps, said, mark })?;
        let found = match (low, high, limited) {
            (_, _, Some(_)) => Verdict::GeneratorLimited,
            (None, Some(_), None) => Verdict::ThresholdFailed,
            _ => Verdict::Ok,
        };
        Ok(early.unwrap_or(found))
    }
}

/// What the search found, how sure it is, and why it ended.
fn sentences(
    search: &Search,
    slo: &Conditions,
    limited: Option<f64>,
    broken_off: bool,
) -> Vec<String> {
    let (low, high) = search.bracket();
    let of = |tried: &Tried, count: u32, verb: &str| {
        let runs = tried.kept + tried.missed;
        format!("{} messages/s {verb} {slo} in {count} of {runs} runs", human::rate(tried.rate))
    };
    let mut said = Vec::new();
    said.extend(low.map(|low| of(&low, low.kept, "kept") + "."));
    said.extend(high.map(|high| of(&high, high.missed, "missed") + "."));
    said.push(match (low, high) {
        (Some(low), Some(high)) if search.settled() => format!(
            "So the highest rate is between {} and {} messages/s, {} apart; each end has the \
             majority of its runs.",
            human::rate(low.rate),
            human::rate(high.rate),
            human::percent(high.rate / low.rate - 1.0)
        ),
        (Some(low), None) if limited.is_none() && !broken_off => format!(
            "Nothing was missed up to {} messages/s, which is as far as --most lets it go.",
            human::rate(low.rate)
        ),
        (None, Some(_)) => "No rate kept it, down to one message a second.".to_owned(),
        _ => {
            "The search ended early: there is no bracket, or a wider one than was asked.".to_owned()
        }
    });
    said.extend(limited.map(|rate| {
        format!(
            "At {} messages/s the generator was the limit; the target may do more. Give it more \
             --cores, or --connections.",
            human::rate(rate)
        )
    }));
    said
}

/// What ends a task before its last step, other than a signal.
enum Ended {
    /// One of the options that end a run.
    Policy(Stopped),
    Gone(Failure),
}

/// Runs steps, shows them, and keeps them.
struct Bench {
    plan: Plan,
    spacing: Spacing,
    out: Option<PathBuf>,
    json: bool,
    stop: Arc<AtomicBool>,
    steps: Vec<RateStep>,
    /// The last of them was cut short.
    broken_off: bool,
    ended: Option<Ended>,
}

impl Bench {
    fn prepare(args: StepArgs) -> Result<Self, Error> {
        let StepArgs { targets, content, protocol, policy, machine, out, json, .. } = args;
        let spacing = args.arrivals.spacing();
        let load = LoadArgs::steps(args.connections, args.settle, args.measure, args.drain);
        let artefacts = ArtefactArgs::default();
        let args = RunArgs { targets, load, content, protocol, policy, machine, artefacts };
        let plan = plan(args)?;
        let stop = Arc::new(AtomicBool::new(false));
        watch_signals(Arc::clone(&stop), plan.drain)?;
        if let Some(dir) = &out {
            let failed = |error| ArtefactError::Io { path: dir.clone(), error };
            fs::create_dir_all(dir).map_err(failed).map_err(BlastError::from)?;
            if ["sweep.json", "find-max.json"].iter().any(|name| dir.join(name).exists()) {
                return Err(BlastError::from(ArtefactError::Taken(dir.clone())).into());
            }
        }
        Ok(Self {
            plan,
            spacing,
            out,
            json,
            stop,
            steps: Vec::new(),
            broken_off: false,
            ended: None,
        })
    }

    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// One run at `rate`; `None` where it was broken off, which is the end of the task and says nothing
    /// of the rate.
    fn step(&mut self, rate: f64, slo: Option<&Conditions>) -> Result<Option<&RateStep>, Error> {
        let profile = Profile::constant(rate)?;
        let load = Load::Messages(Schedule { profile, spacing: self.spacing });
        let number = self.steps.len() + 1;
        let out = self.out.as_ref().map(|dir| dir.join(format!("step-{number:02}-{rate:.0}")));
        let plan = Plan { load, out, ..self.plan.clone() };
        let outcome = blast::run(&plan, Arc::clone(&self.stop), &mut |_, _, _| ())?;
        if let Some(error) = outcome.unwritten {
            return Err(Error::Unwritten(error));
        }
        if let Some(dir) = &plan.out {
            with_page(dir)?;
        }
        let run = outcome.run;
        self.ended = match outcome.failure {
            // What never worked will not work at another rate.
            Some(failure) if self.steps.is_empty() || is_unfit(&failure) => {
                return Err(Error::Failed(failure));
            }
            Some(failure) => Some(Ended::Gone(failure)),
            None => run.stopped.clone().map(Ended::Policy),
        };
        let mut step = RateStep { asked: rate, run, kept: None };
        let whole = !self.stopped();
        step.kept = slo.filter(|_| whole).map(|slo| step.kept_up() && slo.met(&step.run));
        self.steps.push(step);
        let step = &self.steps[number - 1];
        if number == 1 {
            notice!("{}", sweep::head());
        }
        notice!("{}", step.line());
        self.broken_off = !whole;
        Ok(whole.then_some(step))
    }

    /// The curve of a sweep. Of a step that was broken off nothing follows: it is shown where it is all there
    /// is, or tells what ended it.
    fn curve(&mut self) -> Curve {
        let mut steps = std::mem::take(&mut self.steps);
        let cut_short = if self.broken_off { steps.pop() } else { None };
        let mut curve = Curve::of_sweep(steps);
        let Some(last) = cut_short else { return curve };
        if curve.steps.is_empty() {
            (curve.said, curve.mark) = (Vec::new(), None);
        }
        if self.ended.is_none() {
            let rate = human::rate(last.asked);
            curve.said.push(format!("The sweep was broken off in the step at {rate} messages/s."));
        }
        if self.ended.is_some() || curve.steps.is_empty() {
            curve.steps.push(last);
        }
        curve
    }

    /// Why it ended early, and what that makes of the task.
    fn early(&self) -> Option<(String, Verdict)> {
        let (what, verdict) = match self.ended.as_ref()? {
            Ended::Policy(stopped) => (stopped.to_string(), Verdict::Stopped),
            Ended::Gone(failure) => (failure.to_string(), Verdict::Unreachable),
        };
        let rate = human::rate(self.steps.last()?.asked);
        Some((format!("At {rate} messages/s: {what}."), verdict))
    }

    /// Writes and prints the whole.
    fn finish(self, curve: &Curve) -> Result<(), Error> {
        let json = curve.json().map_err(|error| Error::Report(error.into()))?;
        if let Some(dir) = &self.out {
            let csv = curve.csv().map_err(|error| Error::Report(io::Error::other(error)))?;
            let write = |name: &str, text: &str| fs::write(dir.join(name), text);
            let written = write(&format!("{}.json", curve.task), &json)
                .and_then(|()| write(&format!("{}.csv", curve.task), &csv))
                .and_then(|()| write("report.html", &curve.page()));
            written.map_err(Error::Report)?;
        }
        let text = if self.json { json } else { curve.text() };
        exit::tell(text).map_err(Error::Report)
    }
}

fn is_unfit(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::NotOffered { .. } | Failure::NoMechanism { .. } | Failure::Login { .. }
    )
}
