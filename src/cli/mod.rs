//! Command lines: clap types in, checked plans out. Nothing below this room sees clap.

pub mod exit;
mod listen;
pub mod sink;
mod value;
