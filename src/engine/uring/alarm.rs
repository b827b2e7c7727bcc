//! Waking at an instant, by the ring.

use std::io;
use std::time::Duration;

use io_uring::opcode;
use io_uring::types::{TimeoutFlags, Timespec};

use super::flight::launch;

/// Absolute timeouts of the ring (IORING_OP_TIMEOUT on CLOCK_MONOTONIC).
#[derive(Debug, Default)]
pub(in crate::engine) struct UringAlarm {
    /// Where the kernel reads the time; with the kernel while the alarm is set.
    time: Option<Box<Timespec>>,
}

impl UringAlarm {
    pub(in crate::engine) async fn until(&mut self, at: Duration) -> io::Result<()> {
        let mut time = self.time.take().unwrap_or_default();
        *time = Timespec::new().sec(at.as_secs()).nsec(at.subsec_nanos());
        let entry = opcode::Timeout::new(&raw const *time).flags(TimeoutFlags::ABS).build();
        let (result, time) = launch(None, time, entry).await;
        self.time = Some(time);
        match result {
            // How a timeout says that it has come.
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            other => other.map(drop),
        }
    }
}
