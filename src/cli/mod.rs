//! Command lines: text in, checked options out. Nothing below sees clap.

pub mod value;
