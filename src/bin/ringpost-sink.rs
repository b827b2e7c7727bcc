//! `ringpost-sink`: takes mail over SMTP and LMTP and keeps it, or counts it.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringpost::cli::sink::main()
}
