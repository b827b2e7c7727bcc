//! Tasks of one core, and what they wait for.
//!
//! The rooms above know the runtime by this file alone; of its own names they use only the channels.
//!
//! Nothing waits by yielding: io_uring operations are submitted when the core has nothing to run,
//! and a task that only yields keeps it from ever getting there. [`give_way`] is for one turn.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

pub use super::blocking::spawn_blocking;

pub(crate) use tokio::select;
pub use tokio::sync::{Notify, Semaphore, SemaphorePermit};
pub use tokio::task::{JoinHandle, JoinSet};
pub use tokio::task::{spawn_local as spawn, yield_now as give_way};
pub use tokio::time::{Interval, sleep, timeout};

/// Ticks every `period`, the first time at once. A core that stalls ticks late and makes up for
/// nothing: the next tick comes a whole period after the late one.
///
/// # Panics
///
/// When `period` is zero, or no core runs on this thread.
pub fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
