//! The command line of `ringpost`, the toolbox.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::exit::{Exit, Failure};
use super::{exit, spool};

/// Looks into what the sink stored.
#[derive(Debug, Parser)]
#[command(name = "ringpost", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the messages of a sink, also while it runs.
    #[command(subcommand)]
    Spool(spool::Command),
}

/// The whole program.
pub fn main() -> ExitCode {
    exit::run("ringpost", Exit::Usage as u8, |cli: Cli| cli.run().map(ExitCode::from))
}

impl Cli {
    /// Does what was asked; gives the exit code.
    fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Spool(command) => command.run(),
        }
    }
}
