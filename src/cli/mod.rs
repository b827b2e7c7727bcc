//! Command lines: clap types in, checked plans out. Nothing below this room sees clap.

mod auth;
pub mod blast;
mod commands;
pub mod exit;
mod listen;
mod peers;
mod relay;
pub mod report;
mod signals;
pub mod sink;
pub mod spool;
pub mod toolbox;
mod value;
