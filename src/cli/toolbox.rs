//! The command line of `ringpost`, the toolbox.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::exit::{Exit, ExitError};
use super::man::{ManArgs, Page, help_end};
use super::report::ReportArgs;
use super::{exit, spool};

/// Reads what the sink stored and what the generator measured
#[derive(Debug, Parser)]
#[command(
    name = "ringpost",
    version,
    max_term_width = 100,
    after_help = "The manual: ringpost man"
)]
struct Toolbox {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Read the messages of a sink, also while it runs
    #[command(subcommand, after_help = help_end(Page::Spool, ""))]
    Spool(Box<spool::SpoolCommand>),
    Report(ReportArgs),
    Man(ManArgs),
}

/// Runs the whole program and gives its exit code.
pub fn main() -> ExitCode {
    exit::run("ringpost", Exit::Usage as u8, Toolbox::run)
}

impl Toolbox {
    fn run(self) -> Result<ExitCode, ExitError> {
        match self.tool {
            Tool::Spool(command) => command.run().map(ExitCode::from),
            Tool::Report(args) => args.run(),
            Tool::Man(args) => args.run(),
        }
    }
}
