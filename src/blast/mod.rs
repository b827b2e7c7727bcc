//! The load generator: sessions on pinned cores that send rendered messages and record what happens.
//!
//! [`plan`] says what to do, [`schedule`] when it is due, and [`corpus`] renders the messages. [`run()`] runs
//! it: `team` starts a thread for each core, `worker` keeps that core's sessions open, `core` is what they
//! share, `work` says which of them sends what when, and `session` is one connection. [`misbehave`] is the
//! clients that break the rules beside them. [`preview`] tells what a run would do, and [`selftest`] proves
//! the figures.

mod account;
mod artefacts;
mod clock;
pub mod connect_options;
pub mod content;
mod core;
pub mod corpus;
mod describe;
mod error;
mod failure;
mod in_flight;
mod message_log;
pub mod misbehave;
pub mod plan;
pub mod policy;
pub mod preview;
mod random;
mod runner;
pub mod schedule;
pub mod search;
pub mod security;
pub mod selftest;
mod session;
mod shared;
mod stop_request;
mod target_shares;
mod target_state;
pub mod targets;
mod team;
mod transcript;
mod work;
mod worker;

pub use self::error::BlastError;
pub use self::failure::Failure;
pub use self::runner::{RunOutcome, Seen, run};
pub use self::stop_request::StopRequest;
