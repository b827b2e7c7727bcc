//! `ringpost`: the toolbox that reads what the sink and the generator left.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringpost::cli::toolbox::main()
}
