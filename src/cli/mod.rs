//! Command lines: typed, checked, and turned into what the rooms below need.

pub mod blast;
pub mod report;
pub mod value;
