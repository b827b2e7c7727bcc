//! The command line of `ringpost man`.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum as _};

use super::page::Page;
use super::{pager, roff, terminal};
use crate::cli::exit::{self, Exit, ExitError};
use crate::report::colour::Colour;

/// Print a page of the manual; without a page, list the pages
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The page to print
    page: Option<Page>,
    /// Print the source of a page for man(1), as packages install it
    #[arg(long, requires = "page")]
    roff: bool,
}

impl ManArgs {
    pub(in crate::cli) fn run(self) -> Result<ExitCode, ExitError> {
        let told = match self.page {
            None => exit::tell(list()),
            Some(page) if self.roff => exit::tell(roff::render(page)),
            Some(page) => pager::show(&terminal::render(
                &page.blocks(),
                terminal::columns(),
                Colour::of_stdout(),
            )),
        };
        told.map(|()| ExitCode::SUCCESS).map_err(|error| {
            ExitError::new(Exit::Io, format_args!("cannot write to stdout: {error}"))
        })
    }
}

fn list() -> String {
    let mut text = String::from("The pages of the manual:\n\n");
    for page in Page::value_variants() {
        let _ = writeln!(text, "  ringpost man {:<6}  {}", page.name(), page.summary());
    }
    text
}
