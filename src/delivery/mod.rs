//! A run held against the spools of the sinks behind the server under test: what became of each message.
//!
//! ```text
//! run.msgs --SentRun--> what was sent, to whom, and what the server said    \
//! spools --StampedArrival--> the stamp, what changed, the recipients, the time      > Join --> DeliveryResult
//! ```
//!
//! The unit is a delivery: a message for one recipient of its envelope. Its place in memory is a bit, so that
//! ten million of them take little; times go into histograms at once.

mod alteration;
mod bits;
mod bounce;
mod content;
mod hops;
mod join;
mod sent;
mod settle;
mod spools;
mod sums;
#[cfg(test)]
mod tests;
mod timeline;

pub use alteration::Alteration;
pub use join::{Join, JoinOptions};
pub use sent::{SentError, SentRun};
pub use spools::{Joined, join, join_once};
pub use sums::DeliveryTimes;
