//! What a run counted and how long things took.
//!
//! ```text
//! core 0: Recorder --Tally, once a second--> Collector --Interval--> run.hlog, run.csv, live line
//! core 1: Recorder --Tally, once a second-->     |
//!                                                +--Totals, after the join--> Run (run.json), run.hgrm
//! ```
//!
//! A core writes plain values that no other thread sees; they are added up when the core hands its tally
//! over at a tick. Tallies add up exactly, in any order. All latencies are nanoseconds.

mod audit;
mod board;
mod collect;
mod counters;
mod cuts;
mod enhanced;
mod handshakes;
mod histogram;
mod interval;
mod kind;
mod message;
pub mod misbehaviour;
mod open;
mod portion;
mod recorder;
mod refusal_words;
mod spans;
mod split;
mod tally;
mod team;

pub use board::{Board, Snapshot};
pub use collect::{Collected, Collector};
pub use counters::{COUNT_MAX, Counters};
pub use cuts::Cuts;
pub use enhanced::EnhancedKey;
pub use handshakes::{Handshakes, TlsAgreement};
pub use histogram::{HEADLINE_DIGITS, PHASE_DIGITS, long_histogram};
pub use interval::{Interval, Totals};
pub use kind::{ErrorKind, Outcome, Phase};
pub use message::{MessageSample, Mode, OpenLoop, RecipientCounts};
pub use misbehaviour::Misbehaviour;
pub use open::OpenTally;
pub use portion::Portion;
pub use recorder::Recorder;
pub use refusal_words::RefusalWords;
pub use split::Split;
pub use tally::Tally;
pub use team::team;
