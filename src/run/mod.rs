//! One run as files, written and read back: its counts become a result that a later version, on another
//! machine, can show, judge, compare and add up.
//!
//! ```text
//! Interval --RunDir--> run.hlog, run.csv      a line a second
//! what became of each message --RunMessagesWriter--> run.msgs     once a second
//! Totals --> Run --RunDir--> run.json, run.hgrm   at the end
//! directory --Loaded--> Run, histograms, seconds  --merge--> a directory again
//! ```

pub mod artefact;
pub mod compared;
pub mod curve;
pub mod delivery;
pub mod foreign;
pub mod hgrm;
pub mod hlog;
mod judged;
pub mod kept;
mod latency;
pub mod load;
pub mod merge;
pub mod messages;
mod plan;
mod rate;
pub mod restore;
pub mod result;
pub mod schema;
pub mod series;
mod shown;
pub mod stopped;
pub mod threshold;
mod tls_result;
pub mod verdict;

pub use artefact::{ArtefactError, NewRunDir, RunDir};
pub use judged::Judged;
pub use latency::Latency;
pub use load::{LoadError, Loaded, ReportOrigin};
pub use plan::{PlannedTarget, RunPlan};
pub use result::{CpuPerMessage, Machine, PhaseResult, Run, Shard, TargetResult, Versions};
pub use stopped::Stopped;
pub use threshold::Conditions;
pub use tls_result::TlsResult;
pub use verdict::{LAG_LIMIT_PERCENT_DEFAULT, Verdict};
