//! The toolbox: `ringpost spool …`.

use std::process::ExitCode;

use clap::Parser;
use ringpost::cli::{exit, toolbox::Cli};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => return exit::usage(&error),
    };
    exit::finish("ringpost", outcome)
}
