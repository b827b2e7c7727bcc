//! Command lines: clap types in, checked plans out. Nothing below this room sees clap.
//!
//! The documentation of [`sink`], [`blast`], [`spool`] and [`report`] is their manual, which `ringpost man`
//! prints.

pub mod blast;
pub mod exit;
mod man;
mod pem_files;
pub mod report;
mod signals;
pub mod sink;
pub mod spool;
mod tls_names;
pub mod toolbox;
mod usage;
mod value;
