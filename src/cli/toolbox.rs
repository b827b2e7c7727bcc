//! The command line of `ringpost`, the toolbox.

use clap::{Parser, Subcommand};

use super::exit::Failure;
use super::spool;

/// Looks into what the sink stored.
#[derive(Debug, Parser)]
#[command(name = "ringpost", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the messages of a sink, also while it runs.
    #[command(subcommand)]
    Spool(spool::Command),
}

impl Cli {
    /// Does what was asked; gives the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        match self.command {
            Command::Spool(command) => command.run(),
        }
    }
}
