//! How the programs end: the codes of sysexits(3).

use std::fmt;
use std::process::ExitCode;

/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The data is damaged.
pub const DATA: u8 = 65;
/// What was named is not there, or is not what it should be.
pub const NO_INPUT: u8 = 66;
/// Something could not be created.
pub const CANT_CREATE: u8 = 73;
/// Reading or writing failed.
pub const IO: u8 = 74;

/// A failure that ends the program: one line for people and a code for scripts.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub line: String,
}

impl Failure {
    pub fn new(code: u8, line: impl fmt::Display) -> Self {
        Self { code, line: line.to_string() }
    }
}

/// Prints the failure, if there is one, and gives the exit code.
pub fn finish(program: &str, outcome: Result<u8, Failure>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{program}: {}", failure.line);
            ExitCode::from(failure.code)
        }
    }
}

/// Prints what clap has to say: help and version go to stdout and are no failure, the rest is usage.
pub fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when this cannot be printed.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}
