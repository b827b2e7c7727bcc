//! `ringpost report`: a run's artefacts, told again.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use crate::measure::Verdict;
use crate::report::merge::{MergeError, merge};
use crate::report::text::{self, Colour};
use crate::report::{LoadError, Loaded, html};

/// Exit status for runs that do not belong together.
const MISMATCH: u8 = 5;

/// Show a run of ringpost-blast again, from the directory that its --out named
#[derive(Args, Debug)]
pub struct ReportArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the report as text
    Show {
        /// Directories that hold a run.json
        #[arg(required = true, value_name = "RUN_DIR")]
        runs: Vec<PathBuf>,
        /// Print each run.json on one line instead
        #[arg(long)]
        json: bool,
    },
    /// Add up runs of one load to one run: counts, histograms and seconds, exactly
    ///
    /// The runs must have had the same plan (seed and cores aside) and ended no earlier than another
    /// began; otherwise nothing is written and the exit status is 5. The sum can be shown, compared
    /// and merged again. Exit status as ringpost-blast: 1 where a --fail-if of the runs holds for the
    /// sum, 4 where a generator was the limit.
    Merge {
        /// Directories that hold a run.json
        #[arg(required = true, value_name = "RUN_DIR")]
        runs: Vec<PathBuf>,
        /// Directory for the sum; made where it is missing
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
        /// Also merge runs that differ in plan, or that did not run at the same time
        #[arg(long)]
        mixed: bool,
        /// Print the result as one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Write the report as one self-contained page
    Html {
        /// Directories that hold a run.json
        #[arg(required = true, value_name = "RUN_DIR")]
        runs: Vec<PathBuf>,
        /// Where to write it, - for stdout [default: report.html in the run's directory]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("cannot write {}: {error}", .path.display())]
    Create { path: PathBuf, error: io::Error },
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
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
            Self::Create { .. } => Exit::CantCreate,
            Self::ManyToOne(_) => Exit::Usage,
        }
    }
}

fn load(error: &LoadError) -> Exit {
    match error {
        LoadError::NoDirectory(_) | LoadError::NoRun(_) => Exit::NoInput,
        LoadError::Io { .. } => Exit::Io,
        _ => Exit::Data,
    }
}

impl ReportArgs {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let done = match &self.command {
            Command::Show { runs, json } => show(runs, *json).map(|()| ExitCode::SUCCESS),
            Command::Merge { runs, output, mixed, json } => {
                merge_runs(runs, output, *mixed, *json).map(|verdict| verdict.exit_code().into())
            }
            Command::Html { runs, output } => {
                write_html(runs, output.as_deref()).map(|()| ExitCode::SUCCESS)
            }
        };
        match done {
            Ok(code) => Ok(code),
            // Whoever reads us has seen enough, as in `ringpost report show DIR | head -1`.
            Err(ReportError::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Err(Failure::with_code(error.code(), error)),
        }
    }
}

fn show(runs: &[PathBuf], json: bool) -> Result<(), ReportError> {
    let mut out = io::stdout().lock();
    let plain = !out.is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let colour = if plain { Colour::Plain } else { Colour::Ansi };
    for (index, dir) in runs.iter().enumerate() {
        let loaded = Loaded::open(dir)?;
        let text = if json {
            serde_json::to_string(&loaded.run).expect("string keys and plain values") + "\n"
        } else {
            let gap = if index > 0 { "\n" } else { "" };
            format!("{gap}{}", text::render(&loaded, colour))
        };
        out.write_all(text.as_bytes()).map_err(ReportError::Stdout)?;
    }
    out.flush().map_err(ReportError::Stdout)
}

fn merge_runs(
    runs: &[PathBuf],
    output: &Path,
    mixed: bool,
    json: bool,
) -> Result<Verdict, ReportError> {
    let run = merge(runs, output, mixed)?;
    let page = output.join("report.html");
    fs::write(&page, html::render(&Loaded::open(output)?))
        .map_err(|error| ReportError::Create { path: page, error })?;
    show(&[output.to_owned()], json)?;
    Ok(run.verdict)
}

fn write_html(runs: &[PathBuf], output: Option<&Path>) -> Result<(), ReportError> {
    if output.is_some() && runs.len() > 1 {
        return Err(ReportError::ManyToOne(runs.len()));
    }
    for dir in runs {
        let page = html::render(&Loaded::open(dir)?);
        let path = output.map_or_else(|| dir.join("report.html"), Path::to_owned);
        if path == Path::new("-") {
            io::stdout().write_all(page.as_bytes()).map_err(ReportError::Stdout)?;
            continue;
        }
        fs::write(&path, page)
            .map_err(|error| ReportError::Create { path: path.clone(), error })?;
        println!("{}", path.display());
    }
    Ok(())
}
