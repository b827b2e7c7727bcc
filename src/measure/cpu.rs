//! What the generator itself spent: a run whose generator was busy says little about the server.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// CPU time since the start of the process or thread.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CpuTime {
    pub user: Duration,
    pub system: Duration,
}

impl CpuTime {
    /// All threads of this process.
    pub fn of_process() -> io::Result<Self> {
        Self::read(libc::RUSAGE_SELF)
    }

    /// The calling thread.
    pub fn of_thread() -> io::Result<Self> {
        Self::read(libc::RUSAGE_THREAD)
    }
}

impl CpuTime {
    pub fn total(self) -> Duration {
        self.user + self.system
    }

    /// What was spent since `earlier`, a reading of the same process or thread.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    fn read(who: libc::c_int) -> io::Result<Self> {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: `usage` points to writable memory of the size the kernel fills, and a zeroed
        // `rusage` (integers only) is valid even where the call fails.
        let usage = unsafe {
            if libc::getrusage(who, usage.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            usage.assume_init()
        };
        Ok(Self { user: duration(usage.ru_utime), system: duration(usage.ru_stime) })
    }
}

/// The kernel keeps both fields non-negative, and microseconds below one million.
fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_shows_in_its_own_and_in_the_process_time() {
        let (process, thread) = (CpuTime::of_process().unwrap(), CpuTime::of_thread().unwrap());
        let mut sum = 0u64;
        while CpuTime::of_thread().unwrap().since(thread).total() < Duration::from_millis(20) {
            sum = (0..10_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(CpuTime::of_process().unwrap().since(process).total() >= Duration::from_millis(15));
    }
}
