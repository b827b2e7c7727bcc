//! `ringpost-sink`: its options, checked and handed down as a plan.

mod auth;
mod commands;
mod listen;
mod options;
mod peers;
mod relay;

pub use options::main;
