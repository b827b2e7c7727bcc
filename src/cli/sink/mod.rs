//! `ringpost-sink`: its options, checked and handed down as a plan.
#![doc = ""]
#![doc = include_str!("manual.md")]

mod auth;
mod commands;
mod faults;
mod listen;
mod live;
mod options;
mod peers;
mod plan;
mod relay;
mod relay_tls;
mod reload;
mod serve;
mod tls;
mod voice;

pub use serve::main;
