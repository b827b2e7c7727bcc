//! Waking at an instant, to some 50 microseconds: tokio's own timer counts in milliseconds, which is
//! longer than many servers take for a message.

use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::backend::{BackendAlarm, each};
use super::kind::current;
use super::task::sleep;

/// Wakes its owner on this core. One that wakes often costs one kernel operation each time and no
/// allocation.
#[derive(Debug)]
pub struct Alarm(BackendAlarm);

impl Alarm {
    /// An alarm of the core that runs on this thread. Under epoll it holds a descriptor.
    pub fn new() -> io::Result<Self> {
        Ok(Self(BackendAlarm::new(current()?)?))
    }

    /// Returns at `instant` or a little later, at once when it has passed. May be dropped before.
    pub async fn until(&mut self, instant: Instant) -> io::Result<()> {
        let left = instant.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        each!(&mut self.0, alarm => alarm.until(monotonic() + left).await)
    }
}

/// Pauses of an idle core: each costs one wake-up, where the timer of the runtime, which rounds down to
/// milliseconds and looks again, takes two.
#[derive(Debug)]
pub struct Pause(Option<Alarm>);

impl Default for Pause {
    fn default() -> Self {
        Self::new()
    }
}

impl Pause {
    /// A core that gets no alarm, for want of a descriptor, uses the timer of the runtime.
    pub fn new() -> Self {
        Self(Alarm::new().ok())
    }

    /// Returns after `span`, or a little later. May be dropped before.
    pub async fn wait(&mut self, span: Duration) {
        if let Some(alarm) = &mut self.0
            && alarm.until(Instant::now() + span).await.is_ok()
        {
            return;
        }
        sleep(span).await;
    }
}

/// CLOCK_MONOTONIC as the kernel counts it; `Instant` keeps its number to itself.
fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}
