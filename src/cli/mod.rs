//! Command lines: clap types in, checked plans out. Nothing below this room sees clap.

pub mod blast;
mod commands;
pub mod exit;
mod listen;
pub mod report;
pub mod sink;
pub mod spool;
pub mod toolbox;
mod value;
