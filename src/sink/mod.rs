//! The sink: cores that take mail over SMTP or LMTP and keep it in the spool, or count it.
//!
//! One thread per core, each with its own listeners, sessions, spool segments and counters. Cores
//! share nothing while they run; they hear of the end through a watch channel and hand their
//! numbers over when they are joined.

mod accept;
mod board;
mod connection_limit;
mod core;
mod counters;
mod deadline;
mod deviation_counts;
mod doze;
mod fault_plan;
mod group_commit;
mod hints;
mod keep;
mod lingering_close;
mod message;
mod networks;
mod odmr;
mod peer_limit;
mod plan;
mod port_feed;
mod pregreet;
pub mod proxy;
mod quota;
mod refusal_counts;
mod replies;
mod reply_times;
mod round;
mod round_clock;
mod run;
mod session;
mod session_log;
mod stop;
mod store;
mod stored_session;
mod summary;
mod tls_facts;
mod tls_fault_counts;

pub use self::board::{BoardSnapshot, CoreSnapshot, LiveBoard, VerbTimes};
pub use self::counters::SinkCounters;
pub use self::fault_plan::FaultHits;
pub use self::keep::{BadKeepRule, Keep, KeepRule, KeepRules};
pub use self::networks::{NetworkError, Networks};
pub use self::plan::{PeerPolicy, Port, PortTls, SinkPlan};
pub use self::port_feed::PortFeed;
pub use self::quota::Quota;
pub use self::refusal_counts::{RefusalCount, RefusalTable};
pub use self::reply_times::ReplyTimes;
pub use self::run::{Sink, SinkError, sessions_allowed};
pub use self::session_log::{LogFormat, LogLevel, LogPlan};
pub use self::stop::Stop;
pub use self::store::Store;
pub use self::summary::{CoreSummary, FailedSegments, SpoolSummary, Summary, durability_name};
pub use self::tls_fault_counts::TlsFaultCounts;
