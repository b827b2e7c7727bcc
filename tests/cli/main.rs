//! Command lines and what is written about them: help, manual, README.

mod conditions;
mod help;
mod manual;
mod plans;
mod readme;
mod usage;
