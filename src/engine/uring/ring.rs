//! The ring of one core: its settings, whether this host allows one, and its life.
//!
//! INVARIANT: the ring outlives every operation whose memory the kernel may still touch; those are counted
//! in `FLIGHTS`.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{IoUring, opcode};

use super::cancel::cancel;
use super::flight::FLIGHTS;
use crate::engine::blocking::working;
use crate::limits::{RING_COMPLETIONS, RING_ENTRIES};

/// Time that operations get to end after a core's future did. What still holds memory then makes
/// us keep the ring and that memory until the process ends.
const CORE_END_MS: u64 = 250;

/// Longest wait for memory for a ring. The kernel frees that of a ring some time after it was closed, and those who
/// begin core after core (the steps of a search) would fail for no reason on a busy machine.
const RING_MEMORY_MS: u64 = 3_000;

/// Ring settings, best first. A kernel that does not know a flag answers EINVAL. Never
/// DEFER_TASKRUN: tokio-uring waits on the ring's descriptor and would sleep for ever.
fn ring_settings() -> [io_uring::Builder; 3] {
    let plain = || {
        let mut builder = tokio_uring::uring_builder();
        builder.setup_clamp();
        builder
    };
    let mut cooperative = plain();
    cooperative.setup_coop_taskrun().setup_taskrun_flag();
    let mut best = cooperative.clone();
    best.setup_single_issuer();
    [best, cooperative, plain()]
}

/// Whether this host allows a ring that can cancel by descriptor, which `interrupt` needs.
pub(in crate::engine) fn probe() -> io::Result<()> {
    let mut built = Err(io::ErrorKind::Unsupported.into());
    for settings in ring_settings() {
        built = settings.build(2);
        if !matches!(&built, Err(error) if error.raw_os_error() == Some(libc::EINVAL)) {
            break;
        }
    }
    let mut ring: IoUring = built?;
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    let fd = Fd(ours.as_raw_fd());
    let poll = opcode::PollAdd::new(fd, libc::POLLIN as u32).build().user_data(1);
    let cancel = opcode::AsyncCancel2::new(CancelBuilder::fd(fd)).build().user_data(2);
    for entry in [poll, cancel] {
        // SAFETY: neither operation points to memory.
        unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    }
    // Waits for the cancel alone; the poll would never complete where the cancel is refused.
    ring.submit_and_wait(1)?;
    let refused = ring.completion().find(|entry| entry.user_data() == 2 && entry.result() < 0);
    match refused {
        Some(entry) => Err(io::Error::from_raw_os_error(-entry.result())),
        None => Ok(()),
    }
}

/// The runtime, and the promise that it outlives every flight.
struct RingRuntime {
    runtime: ManuallyDrop<tokio_uring::Runtime>,
}

impl RingRuntime {
    fn new() -> io::Result<Self> {
        let mut refused = None;
        for mut ring in ring_settings() {
            ring.setup_cqsize(RING_COMPLETIONS);
            let mut builder = tokio_uring::builder();
            builder.entries(RING_ENTRIES).uring_builder(&ring);
            let limit = Duration::from_millis(RING_MEMORY_MS);
            match with_patience(limit, || tokio_uring::Runtime::new(&builder)) {
                Ok(runtime) => return Ok(Self { runtime: ManuallyDrop::new(runtime) }),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
    }
}

/// Makes something again while there is no memory for it, for at most so long.
fn with_patience<T>(limit: Duration, mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let until = Instant::now() + limit;
    loop {
        match make() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && Instant::now() < until => {
                thread::sleep(limit / 100);
            }
            made => return made,
        }
    }
}

impl Drop for RingRuntime {
    fn drop(&mut self) {
        // With flights left, freeing the runtime frees memory that the kernel may still write to.
        // Then it stays: a leak at the end of a thread that went wrong, in place of corruption.
        // Its drop also waits for blocking work, which may hang.
        if is_at_rest() {
            // SAFETY: not used again; this is the drop.
            unsafe { ManuallyDrop::drop(&mut self.runtime) };
        }
    }
}

pub(in crate::engine) fn run<F: Future>(future: F) -> io::Result<F::Output> {
    let core = RingRuntime::new()?;
    Ok(core.runtime.block_on(async {
        let output = future.await;
        end_flights().await;
        output
    }))
}

fn is_at_rest() -> bool {
    FLIGHTS.get() == 0 && working() == 0
}

/// Cancels what tasks left in the ring, so that it can be freed.
async fn end_flights() {
    for _ in 0..CORE_END_MS {
        if is_at_rest() {
            return;
        }
        cancel(CancelBuilder::any()).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_comes_back_is_waited_for_and_other_errors_are_not() {
        for (errno, failures, expected) in [
            (libc::ENOMEM, 0, None),
            (libc::ENOMEM, 3, None),
            (libc::ENOMEM, usize::MAX, Some(libc::ENOMEM)),
            (libc::EPERM, 1, Some(libc::EPERM)),
            (libc::EINVAL, 1, Some(libc::EINVAL)),
        ] {
            let mut tried = 0;
            // As long as it takes, where it comes back.
            let limit = if failures == 3 { 20_000 } else { 50 };
            let made = with_patience(Duration::from_millis(limit), || {
                tried += 1;
                if tried <= failures { Err(io::Error::from_raw_os_error(errno)) } else { Ok(()) }
            });
            assert_eq!(made.err().and_then(|error| error.raw_os_error()), expected, "{failures}");
            let again = usize::from(errno == libc::ENOMEM) * failures;
            assert!(failures == usize::MAX || tried == 1 + again, "{errno}: {tried} times");
        }
    }
}
