//! `ringpost man`: the manual pages, which lie as markdown beside the command lines that they describe.
//!
//! A page is parsed once ([`markdown`]) and drawn for a terminal or a pipe ([`terminal`]) or as a page of
//! `man` ([`roff`]). The crate's documentation holds the same text, in the modules of the four programs.

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
