//! `ringpost-blast`: loads an SMTP or LMTP server and says how long each message took.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringpost::cli::blast::main()
}
