//! The ring of one core: its settings, whether this host allows one, and its life.
//!
//! INVARIANT: the ring outlives every operation whose memory the kernel may still touch; those are counted
//! in `FLIGHTS`.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{IoUring, opcode};

use super::cancel::cancel;
use super::flight::FLIGHTS;
use crate::engine::blocking::working;
use crate::limits::{RING_COMPLETIONS, RING_ENTRIES};

/// Time that operations get to end after a core's future did. What still holds memory then makes
/// us keep the ring and that memory until the process ends.
const CORE_END_MS: u64 = 250;

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
            match tokio_uring::Runtime::new(&builder) {
                Ok(runtime) => return Ok(Self { runtime: ManuallyDrop::new(runtime) }),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
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
