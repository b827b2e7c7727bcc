//! Command lines: clap's types become checked values here, and nothing below sees clap.

pub mod exit;
pub mod spool;
pub mod toolbox;
