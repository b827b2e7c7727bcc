//! Group commit: one `fdatasync` covers every message sealed before it began.
//!
//! A session that sealed messages asks [`Gate::reached`] before it sends their 250. The first such
//! session starts the sync; those that come while it runs cannot ride on it, because their stores
//! may have come after its snapshot of dirty pages, and wait for the next one, which they share. So
//! the batch grows with the load and a lone message waits for one sync only.

use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;

use tokio::sync::Notify;

use crate::engine;
use crate::spool::{Barrier, Writer};

/// The sync state of one core's spool.
#[derive(Default)]
pub(super) struct Gate {
    /// Messages sealed so far, as counted by the sessions.
    sealed: Cell<u64>,
    /// Messages whose seal lies before the start of a finished sync, well or badly ended.
    synced: Cell<u64>,
    /// Tickets covered by each sync that failed: those after the first and up to the second. There are
    /// few, because each poisons a segment.
    failed: RefCell<Vec<(u64, u64)>>,
    running: Cell<bool>,
    turn: Notify,
}

/// A sync failed; the messages it covered are not known to be on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unsynced;

impl Gate {
    /// Notes one sealed message and returns its ticket.
    pub(super) fn sealed(&self) -> u64 {
        self.sealed.set(self.sealed.get() + 1);
        self.sealed.get()
    }

    /// Returns once every message up to `ticket` is synced.
    ///
    /// # Errors
    /// [`Unsynced`] when the sync that covered the ticket failed. It stays failed: the kernel
    /// reports a write-back error once and then forgets it, so trying again would lie.
    pub(super) async fn reached(
        &self,
        ticket: u64,
        writer: &RefCell<Writer>,
    ) -> Result<(), Unsynced> {
        loop {
            let covers = |&(after, up_to): &(u64, u64)| after < ticket && ticket <= up_to;
            if self.failed.borrow().iter().any(covers) {
                return Err(Unsynced);
            }
            if self.synced.get() >= ticket {
                return Ok(());
            }
            if self.running.get() {
                self.turn.notified().await;
            } else {
                self.lead(writer).await;
            }
        }
    }

    async fn lead(&self, writer: &RefCell<Writer>) {
        self.running.set(true);
        // Sessions whose octets are here already ride along. This does not wait for any other.
        tokio::task::yield_now().await;
        let covers = self.sealed.get();
        let barriers: Vec<Barrier> = writer.borrow().dirty().collect();
        let mut ok = true;
        for barrier in &barriers {
            ok &= sync(barrier, writer).await;
        }
        if !ok {
            self.failed.borrow_mut().push((self.synced.get(), covers));
        }
        self.synced.set(covers);
        self.running.set(false);
        self.turn.notify_waiters();
    }
}

/// Syncs one segment; `false` when what it holds may not be on the disk.
async fn sync(barrier: &Barrier, writer: &RefCell<Writer>) -> bool {
    let outcome = engine::sync_data(barrier.as_raw_fd()).await;
    let mut writer = writer.borrow_mut();
    match outcome {
        Ok(()) => writer.synced(barrier).is_ok(),
        Err(error) => {
            writer.poison(barrier);
            eprintln!(
                "ringpost-sink: segment {} of core {} could not be synced ({error}); its messages \
                 that wait for their 250 get 451, and mail is refused until a sync of the next segment \
                 succeeds; check the disk",
                barrier.segment(),
                writer.core(),
            );
            false
        }
    }
}
