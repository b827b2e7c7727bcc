//! CPU time, waiting time and page faults of the program itself: a run whose generator was busy says
//! little about the server, and a core that faults pages waits for the kernel.
//!
//! Invariant of the one unsafe call: the kernel is handed writable memory of the size it fills.

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

    /// One thread of this process, by its number in the kernel; `None` where it is gone, or the kernel
    /// does not count it. The sum is exact, its parts are told apart by ticks of the clock.
    pub fn of_task(tid: i32) -> Option<Self> {
        let read = |name| std::fs::read_to_string(format!("/proc/self/task/{tid}/{name}")).ok();
        let spent_ns: u64 = read("schedstat")?.split_ascii_whitespace().next()?.parse().ok()?;
        let stat = read("stat")?;
        // The name may hold anything; after it the twelfth field and the next are of user and system.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let (user, system) = (ticks()?, ticks()?);
        let user_ns = u128::from(spent_ns) * u128::from(user) / u128::from((user + system).max(1));
        let user = Duration::from_nanos(user_ns as u64);
        Some(Self { user, system: Duration::from_nanos(spent_ns) - user })
    }
}

/// Page faults: pages that were not mapped, or not writable, when they were touched.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PageFaults {
    /// The page was in memory.
    pub minor: u64,
    /// It had to be read from a disk.
    pub major: u64,
}

impl PageFaults {
    /// Of the calling thread since its start.
    pub fn of_thread() -> io::Result<Self> {
        let usage = read_usage(libc::RUSAGE_THREAD)?;
        // The kernel counts up from 0.
        Ok(Self { minor: usage.ru_minflt as u64, major: usage.ru_majflt as u64 })
    }

    /// Those after `earlier`, a reading of the same thread.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            minor: self.minor.saturating_sub(earlier.minor),
            major: self.major.saturating_sub(earlier.major),
        }
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
        let usage = read_usage(who)?;
        Ok(Self { user: duration(usage.ru_utime), system: duration(usage.ru_stime) })
    }
}

/// How long the calling thread was ready to run and something else had its CPU, since its start.
/// `None` where the kernel does not count it.
pub fn waited_by_thread() -> Option<Duration> {
    waited("/proc/thread-self/schedstat")
}

/// The same of another thread of this process, by its number in the kernel.
pub fn waited_by_task(tid: i32) -> Option<Duration> {
    waited(&format!("/proc/self/task/{tid}/schedstat"))
}

fn waited(schedstat: &str) -> Option<Duration> {
    let text = std::fs::read_to_string(schedstat).ok()?;
    let waited_ns = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(waited_ns))
}

fn read_usage(who: libc::c_int) -> io::Result<libc::rusage> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` points to writable memory of the size the kernel fills, and a zeroed `rusage`
    // (integers only) is valid even where the call fails.
    unsafe {
        if libc::getrusage(who, usage.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(usage.assume_init())
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
    fn two_threads_on_one_cpu_wait_for_each_other() {
        let mut cpu = rustix::thread::CpuSet::new();
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        cpu.set((0..).find(|&n| allowed.is_set(n)).unwrap());
        let work = move || {
            rustix::thread::sched_setaffinity(None, &cpu).unwrap();
            let before = waited_by_thread().unwrap();
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_millis(200) {}
            waited_by_thread().unwrap() - before
        };
        let other = std::thread::spawn(work);
        let both = work() + other.join().unwrap();
        assert!(both > Duration::from_millis(100), "{both:?}");
    }

    #[test]
    fn a_touch_of_fresh_memory_shows_as_a_fault_of_this_thread() {
        let before = PageFaults::of_thread().unwrap();
        // An allocator may hand out memory that was touched before.
        let mut fresh = memmap2::MmapMut::map_anon(1 << 20).unwrap();
        fresh.iter_mut().step_by(4096).for_each(|octet| *octet = 1);
        assert!(PageFaults::of_thread().unwrap().since(before).minor > 0);
    }

    #[test]
    fn a_thread_that_works_shows_in_its_own_and_in_the_process_time() {
        let (tell, told) = std::sync::mpsc::channel();
        let (done, end) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let mut sum = 0u64;
            while end.try_recv().is_err() {
                sum = (0..10_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
            }
        });
        let tid = told.recv().unwrap();
        let read = || (CpuTime::of_process().unwrap(), CpuTime::of_task(tid).unwrap());
        let before = read();
        let mut after = before;
        while after.1.since(before.1).total() < Duration::from_millis(100) {
            std::thread::sleep(Duration::from_millis(5));
            after = read();
        }
        done.send(()).unwrap();
        worker.join().unwrap();
        // The kernel brings the time of a thread that runs up to date at each tick.
        let slack = Duration::from_millis(20);
        assert!(after.0.since(before.0).total() + slack >= after.1.since(before.1).total());
        assert!(after.1.user > after.1.system, "{after:?}");
        assert_eq!(CpuTime::of_task(tid), None);
    }
}
