//! `ringpost report`: a run's artefacts, told again.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::report::text::{self, Colour};
use crate::report::{LoadError, Loaded, html};

/// Exit statuses of sysexits.h.
const EX_USAGE: u8 = 64;
const EX_DATAERR: u8 = 65;
const EX_NOINPUT: u8 = 66;
const EX_CANTCREAT: u8 = 73;
const EX_IOERR: u8 = 74;

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
    #[error("cannot write {}: {error}", .path.display())]
    Create { path: PathBuf, error: io::Error },
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
    #[error("--output takes one run, and {0} were given; leave it out to write into each of them")]
    ManyToOne(usize),
}

impl ReportError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Load(LoadError::NoDirectory(_) | LoadError::NoRun(_)) => EX_NOINPUT,
            Self::Load(LoadError::Io { .. }) | Self::Stdout(_) => EX_IOERR,
            Self::Load(_) => EX_DATAERR,
            Self::Create { .. } => EX_CANTCREAT,
            Self::ManyToOne(_) => EX_USAGE,
        }
    }
}

/// Runs the command; says on stderr what went wrong.
pub fn run(args: &ReportArgs) -> ExitCode {
    let done = match &args.command {
        Command::Show { runs, json } => show(runs, *json),
        Command::Html { runs, output } => write_html(runs, output.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has seen enough, as in `ringpost report show DIR | head -1`.
        Err(ReportError::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ringpost: {error}");
            ExitCode::from(error.exit_code())
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
