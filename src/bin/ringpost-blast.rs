//! The load generator.

use std::process::ExitCode;

use clap::Parser;
use ringpost::cli::blast;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    blast::run(blast::Args::parse())
}
