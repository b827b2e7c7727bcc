//! What a run counted and how long things took.
//!
//! ```text
//! core 0: Recorder --Tally, once a second--> Collector --Interval--> run.hlog, run.csv, live line
//! core 1: Recorder --Tally, once a second-->     |
//!                                                +--Totals, after the join--> Run (run.json), run.hgrm
//! ```
//!
//! A core writes plain values that nobody else can see; they meet when the core hands its tally over
//! at a tick. Tallies add up exactly, in any order. All latencies are nanoseconds.

pub mod board;
pub mod collect;
mod enhanced;
pub mod kind;
pub mod misbehaviour;
pub mod open;
pub mod portion;
pub mod recorder;
mod spans;
pub mod split;
pub mod tally;
mod team;

pub use board::{Board, Snapshot};
pub use collect::{Collector, Interval, Next, Totals};
pub use enhanced::EnhancedKey;
pub use kind::{ErrorKind, Outcome, Phase};
pub use misbehaviour::Misbehaviour;
pub use recorder::{Message, Mode, OpenLoop, Recorder};
pub use split::Split;
pub use tally::Tally;
pub use team::team;
