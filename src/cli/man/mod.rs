//! `ringpost man` prints the pages of the manual. They are markdown files beside the command lines that
//! they describe.
//!
//! [`markdown`] parses a page, [`terminal`] draws it for a terminal or a pipe, and [`roff`] writes it for
//! man(1). The crate's documentation has the same text in the modules of the four programs.

mod args;
mod help;
mod markdown;
mod page;
mod pager;
mod roff;
mod terminal;

pub(super) use args::ManArgs;
pub(super) use help::help_end;
pub(super) use page::Page;
