//! The toolbox.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringpost::cli::report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Toolbox of ringpost: look into runs
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Report(report::ReportArgs),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Report(args) => report::run(&args),
    }
}
