//! `ringpost report`: a run shown again from its artefacts.
#![doc = ""]
#![doc = include_str!("report/manual.md")]

mod delivery;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use self::delivery::DeliveryArgs;
use super::exit::{self, Exit, ExitError};
use super::man::{Page, help_end};
use crate::delivery::SentError;
use crate::printable::printable;
use crate::report;
use crate::report::colour::Colour;
use crate::report::columns::Width;
use crate::report::compare::{self, Comparison};
use crate::report::text;
use crate::report::{foreign, html};
use crate::run::Judged;
use crate::run::curve::Curve;
use crate::run::foreign::{LogUnit, Reading};
use crate::run::merge::{MergeError, merge};
use crate::run::messages::MessagesError;
use crate::run::schema;
use crate::run::threshold::Condition;
use crate::run::{Conditions, Verdict};
use crate::run::{LoadError, Loaded};
use crate::spool::SpoolError;

/// Exit status for runs that do not belong together.
const MISMATCH: u8 = 5;

/// Show, merge and compare runs of ringpost-blast
#[derive(Args, Debug)]
#[command(after_help = help_end(Page::Report, ""))]
pub struct ReportArgs {
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Debug, Subcommand)]
enum ReportCommand {
    /// Print the report as text
    Show {
        /// Directories of runs, sweeps or searches, or HdrHistogram logs of any program
        #[arg(required = true, value_name = "RUN_DIR|LOG")]
        runs: Vec<PathBuf>,
        /// Print each run.json on one line instead
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        logs: LogArgs,
    },
    /// Make one run out of several: add up counts, histograms and seconds, exactly
    ///
    /// The runs must have the same plan (seed and cores may differ) and must overlap in time; if not,
    /// nothing is written and the exit code is 5. The result can be shown, compared and merged again.
    /// The exit code is 1 if a --fail-if of the runs is true for the result, and 4 if a generator was
    /// the limit.
    Merge {
        /// Directories that hold a run.json
        #[arg(required = true, value_name = "RUN_DIR")]
        runs: Vec<PathBuf>,
        /// Directory for the result; created if it does not exist
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        /// Also merge runs that have different plans, or that did not run at the same time
        #[arg(long)]
        mixed: bool,
        /// Print the result as one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Show what changed from one run to another, and whether it is more than noise
    ///
    /// Two directories of sweeps or searches are compared by the rates that both have. A file in place of a
    /// directory is read as an HdrHistogram log of any program. Figures that a log
    /// does not have are shown as unknown, and no condition may use them.
    Compare {
        /// The run to compare with, or a log
        #[arg(value_name = "BEFORE")]
        before: PathBuf,
        /// The run to judge, or a log
        #[arg(value_name = "AFTER")]
        after: PathBuf,
        #[command(flatten)]
        logs: LogArgs,
        /// Fail (exit code 1) if this is true, such as 'p99>+10%' (more than a tenth above BEFORE),
        /// 'rate<-5%' or 'failed>0' (of AFTER alone); may be given more than once
        #[arg(long, value_name = "CONDITION")]
        fail_if: Vec<Conditions>,
        /// Also write the comparison as one self-contained page
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Print the comparison as one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    Delivery(DeliveryArgs),
    /// Write the report as one self-contained page
    Html {
        /// Directories that hold a run.json
        #[arg(required = true, value_name = "RUN_DIR")]
        runs: Vec<PathBuf>,
        /// Where to write the page; - is stdout [default: report.html in the run's directory]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the JSON Schema (2020-12) of a result file
    Schema {
        /// The file: run.json, sweep.json or find-max.json; or what compare --json or delivery --json prints
        #[arg(value_enum, value_name = "ARTEFACT", default_value = "run")]
        of: Described,
    },
}

/// An artefact that has a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Described {
    Run,
    Sweep,
    FindMax,
    Compare,
    Delivery,
}

impl Described {
    fn schema(self) -> &'static str {
        match self {
            Self::Run => schema::RUN,
            Self::Sweep => schema::SWEEP,
            Self::FindMax => schema::FIND_MAX,
            Self::Compare => schema::COMPARE,
            Self::Delivery => schema::DELIVERY,
        }
    }
}

/// How the logs of other programs are read.
#[derive(Args, Debug)]
struct LogArgs {
    /// The unit of the values of a log; two units for two logs that differ, such as us,ms [default: ns]
    #[arg(long, value_enum, value_name = "UNIT", value_delimiter = ',')]
    unit: Vec<UnitArg>,
    /// Read the lines of a log that have this tag [default: those without one]
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum UnitArg {
    Ns,
    Us,
    Ms,
    S,
}

impl LogArgs {
    /// Refuses options that would be ignored: the directory of a run has its own units and tags.
    fn check<P: AsRef<Path>>(&self, runs: &[P]) -> Result<(), ReportError> {
        let given = [(!self.unit.is_empty(), "--unit"), (self.tag.is_some(), "--tag")];
        match given.into_iter().find(|(given, _)| *given) {
            Some((_, what)) if runs.iter().all(|run| run.as_ref().is_dir()) => {
                Err(ReportError::NoLog(what))
            }
            _ => Ok(()),
        }
    }

    /// How to read the log at this place of the command line.
    fn reading(&self, index: usize) -> Reading {
        let unit = match self.unit.get(index).or(self.unit.last()) {
            None | Some(UnitArg::Ns) => LogUnit::Ns,
            Some(UnitArg::Us) => LogUnit::Us,
            Some(UnitArg::Ms) => LogUnit::Ms,
            Some(UnitArg::S) => LogUnit::S,
        };
        Reading { unit, tag: self.tag.clone() }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("cannot write {}: {error}", .path.display())]
    Create { path: PathBuf, error: io::Error },
    #[error("{}: a log has no run.json; leave out --json", .0.display())]
    NoJson(PathBuf),
    #[error(
        "--fail-if '{0}' needs a figure that a log does not hold; it holds percentiles and the \
         rate"
    )]
    Untold(Condition),
    #[error("{0} is for logs, and the directory of a run was given; leave it out, or name the log")]
    NoLog(&'static str),
    #[error(
        "{} holds a sweep or search and {} does not; compare two of them, or the runs of two steps, such as {}/step-01-*",
        .0.display(), .1.display(), .0.display()
    )]
    CurveAndRun(PathBuf, PathBuf),
    #[error(
        "--fail-if is about runs; to judge a sweep or search, compare the runs of two of its steps"
    )]
    CurveCondition,
    #[error(
        "--json is about runs; of a sweep or search, compare the runs of two steps, or read both sweep.json"
    )]
    CurveJson,
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
    #[error(transparent)]
    Sent(#[from] SentError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("--fail-if '{0}' is a change; ringpost report compare holds two runs against it")]
    NoChange(Condition),
    #[error(
        "--fail-if '{0}' is about the generator's own figures, which are those of one run; leave it out, or name one run"
    )]
    OneRun(Condition),
    #[error("--output takes one run, and {0} were given; leave it out to write into each of them")]
    ManyToOne(usize),
}

impl ReportError {
    fn code(&self) -> u8 {
        match self {
            Self::Merge(error) if error.is_mismatch() => MISMATCH,
            other => other.exit() as u8,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Merge(MergeError::Load(error)) => load(error),
            Self::Merge(MergeError::Artefact(_)) => Exit::CantCreate,
            Self::Merge(MergeError::Missing { .. }) => Exit::NoInput,
            Self::Merge(_) => Exit::Data,
            Self::Load(error) => load(error),
            Self::Stdout(_) => Exit::Io,
            Self::Sent(SentError::Load(error)) => load(error),
            Self::Sent(SentError::Messages(MessagesError::Missing(_))) => Exit::NoInput,
            Self::Sent(SentError::Messages(MessagesError::Io { error, .. })) => exit::read(error),
            Self::Sent(_) => Exit::Data,
            Self::Spool(error) => exit::spool(error),
            Self::Create { .. } => Exit::CantCreate,
            Self::CurveAndRun(..)
            | Self::CurveCondition
            | Self::CurveJson
            | Self::ManyToOne(_)
            | Self::NoJson(_)
            | Self::NoLog(_)
            | Self::NoChange(_)
            | Self::OneRun(_)
            | Self::Untold(_) => Exit::Usage,
        }
    }
}

fn load(error: &LoadError) -> Exit {
    match error {
        LoadError::NoDirectory(_) | LoadError::NoRun(_) | LoadError::NotADirectory(_) => {
            Exit::NoInput
        }
        LoadError::Io { error, .. } => exit::read(error),
        _ => Exit::Data,
    }
}

impl ReportArgs {
    pub(super) fn run(self) -> Result<ExitCode, ExitError> {
        let done = match &self.command {
            ReportCommand::Show { runs, json, logs } => {
                show(runs, *json, logs).map(|()| ExitCode::SUCCESS)
            }
            ReportCommand::Merge { runs, output, mixed, json } => {
                merge_runs(runs, output, *mixed, *json).map(ExitCode::from)
            }
            ReportCommand::Compare { before, after, fail_if, html, json, logs } => {
                let shown = (html.as_deref(), *json);
                compare_runs([before, after], logs, fail_if, shown).map(ExitCode::from)
            }
            ReportCommand::Delivery(args) => args.run().map(ExitCode::from),
            ReportCommand::Html { runs, output } => {
                write_html(runs, output.as_deref()).map(|()| ExitCode::SUCCESS)
            }
            ReportCommand::Schema { of } => exit::tell_json(of.schema())
                .map(|()| ExitCode::SUCCESS)
                .map_err(ReportError::Stdout),
        };
        done.map_err(|error| ExitError::with_code(error.code(), error))
    }
}

/// A path as it is shown.
fn name(path: &Path) -> String {
    printable(&path.display().to_string()).into_owned()
}

fn compare_runs(
    dirs: [&PathBuf; 2],
    logs: &LogArgs,
    fail_if: &[Conditions],
    (page, json): (Option<&Path>, bool),
) -> Result<u8, ReportError> {
    logs.check(&dirs)?;
    if let Some(curves) = curves(dirs)? {
        if json {
            return Err(ReportError::CurveJson);
        }
        return compare_curves(&curves, dirs, fail_if, page);
    }
    let before = Loaded::open_any(dirs[0], &logs.reading(0))?.shown();
    let after = Loaded::open_any(dirs[1], &logs.reading(1))?.shown();
    let conditions = Conditions(fail_if.iter().flat_map(|list| list.0.iter().copied()).collect());
    if (before.is_log() || after.is_log())
        && let Some(untold) = conditions.0.iter().find(|condition| !condition.is_of_headline())
    {
        return Err(ReportError::Untold(*untold));
    }
    let comparison = Comparison::of(&before, &after, &conditions);
    let names = dirs.map(|dir| name(dir));
    let names = [names[0].as_str(), names[1].as_str()];
    if let Some(path) = page {
        fs::write(path, compare::html(&comparison, names, [&before, &after]))
            .map_err(|error| ReportError::Create { path: path.to_owned(), error })?;
    }
    let runs = [&before, &after];
    let told = match json {
        true => compare::json(&comparison, names, runs)
            .map_err(io::Error::from)
            .and_then(|json| exit::tell_json(json + "\n")),
        false => {
            let look = (Colour::of_stdout(), Width::of_stdout());
            exit::tell(compare::text(&comparison, names, runs, look))
        }
    };
    told.map_err(ReportError::Stdout)?;
    let failed = comparison.thresholds.iter().any(Judged::fails);
    Ok(if failed { Verdict::ThresholdFailed.exit_code() } else { 0 })
}

/// Both curves, where both directories hold one; `None` where neither does.
fn curves(dirs: [&PathBuf; 2]) -> Result<Option<[Curve; 2]>, ReportError> {
    match (open_curve(dirs[0])?, open_curve(dirs[1])?) {
        (Some(before), Some(after)) => Ok(Some([before.shown(), after.shown()])),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ReportError::CurveAndRun(dirs[0].clone(), dirs[1].clone())),
        (None, Some(_)) => Err(ReportError::CurveAndRun(dirs[1].clone(), dirs[0].clone())),
    }
}

/// The curve of a sweep or search in `dir`, if it holds no run.
fn open_curve(dir: &Path) -> Result<Option<Curve>, ReportError> {
    if dir.join("run.json").exists() { Ok(None) } else { Ok(Curve::open(dir)?) }
}

fn compare_curves(
    curves: &[Curve; 2],
    dirs: [&PathBuf; 2],
    fail_if: &[Conditions],
    page: Option<&Path>,
) -> Result<u8, ReportError> {
    if !fail_if.is_empty() {
        return Err(ReportError::CurveCondition);
    }
    let curves = [&curves[0], &curves[1]];
    let names = dirs.map(|dir| name(dir));
    let names = [names[0].as_str(), names[1].as_str()];
    if let Some(path) = page {
        fs::write(path, report::curves::page(curves, names))
            .map_err(|error| ReportError::Create { path: path.to_owned(), error })?;
    }
    let text = report::curves::text(curves, names, Width::of_stdout());
    exit::tell(text).map_err(ReportError::Stdout)?;
    Ok(0)
}

fn show(runs: &[PathBuf], json: bool, logs: &LogArgs) -> Result<(), ReportError> {
    logs.check(runs)?;
    let (colour, width) = (Colour::of_stdout(), Width::of_stdout());
    for (index, dir) in runs.iter().enumerate() {
        if let Some(curve) = open_curve(dir)? {
            let gap = if index > 0 { "\n" } else { "" };
            match json {
                true => curve.json().map_err(io::Error::from).and_then(exit::tell_json),
                false => exit::tell(format!("{gap}{}", curve.shown().text(width))),
            }
            .map_err(ReportError::Stdout)?;
            continue;
        }
        let loaded = Loaded::open_any(dir, &logs.reading(index))?;
        if json && loaded.is_log() {
            return Err(ReportError::NoJson(dir.clone()));
        }
        let told = if json {
            let json = serde_json::to_string(&loaded.run).expect("string keys and plain values");
            exit::tell_json(json + "\n")
        } else {
            let gap = if index > 0 { "\n" } else { "" };
            let loaded = loaded.shown();
            let text = match loaded.is_log() {
                true => foreign::text(&name(dir), &loaded, colour, width) + &whole_run(dir),
                false => text::render(&loaded, colour, width),
            };
            exit::tell(format!("{gap}{text}"))
        };
        told.map_err(ReportError::Stdout)?;
    }
    Ok(())
}

/// A line that says how to see the run that a log belongs to, where it lies in the run's directory.
fn whole_run(log: &Path) -> String {
    match log.parent() {
        Some(run) if run.join("run.json").is_file() => {
            let run = if run == Path::new("") { Path::new(".") } else { run };
            format!("\n  The whole run: ringpost report show {}\n", name(run))
        }
        _ => String::new(),
    }
}

fn merge_runs(runs: &[PathBuf], output: &Path, mixed: bool, json: bool) -> Result<u8, ReportError> {
    let run = merge(runs, output, mixed)?;
    let page = output.join("report.html");
    fs::write(&page, html::render(&Loaded::open(output)?))
        .map_err(|error| ReportError::Create { path: page, error })?;
    show(&[output.to_owned()], json, &LogArgs { unit: Vec::new(), tag: None })?;
    Ok(run.exit_code())
}

fn write_html(runs: &[PathBuf], output: Option<&Path>) -> Result<(), ReportError> {
    if output.is_some() && runs.len() > 1 {
        return Err(ReportError::ManyToOne(runs.len()));
    }
    for dir in runs {
        let page = match open_curve(dir)? {
            Some(curve) => curve.page(),
            None => html::render(&Loaded::open(dir)?),
        };
        let path = output.map_or_else(|| dir.join("report.html"), Path::to_owned);
        if path == Path::new("-") {
            exit::tell(page).map_err(ReportError::Stdout)?;
            continue;
        }
        fs::write(&path, page)
            .map_err(|error| ReportError::Create { path: path.clone(), error })?;
        exit::tell(name(&path) + "\n").map_err(ReportError::Stdout)?;
    }
    Ok(())
}
