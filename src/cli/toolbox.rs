//! The command line of `ringpost`, the toolbox.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::exit::{Exit, Failure};
use super::man::{ManArgs, Page, help_end};
use super::report::ReportArgs;
use super::{exit, spool};

/// Looks into what the sink stored and what the generator measured.
#[derive(Debug, Parser)]
#[command(name = "ringpost", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the messages of a sink, also while it runs.
    #[command(subcommand, after_help = help_end(Page::Spool, ""))]
    Spool(Box<spool::Command>),
    Report(ReportArgs),
    Man(ManArgs),
}

/// The whole program.
pub fn main() -> ExitCode {
    exit::run("ringpost", Exit::Usage as u8, Cli::run)
}

impl Cli {
    /// Does what was asked; gives the exit code.
    fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Spool(command) => command.run().map(ExitCode::from),
            Command::Report(args) => args.run(),
            Command::Man(args) => args.run(),
        }
    }
}
