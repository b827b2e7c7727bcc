//! Group commit: one `fdatasync` covers every message sealed before it began.
//!
//! A session that sealed messages asks [`Gate::reached`] before it sends their 250. The first such
//! session starts the sync; those that come while it runs cannot ride on it, because their stores
//! may have come after its snapshot of dirty pages, and wait for the next one, which they share. So
//! the batch grows with the load and a lone message waits for one sync only.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
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
    /// Tickets that each sync took with it that failed: those after the first and up to the second. There are
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

    /// Returns once every message up to the last of `tickets` is synced.
    ///
    /// # Errors
    /// [`Unsynced`] when a sync that was to cover one of the tickets failed. It stays failed: the kernel
    /// reports a write-back error once and then forgets it, so trying again would lie.
    pub(super) async fn reached(
        &self,
        tickets: RangeInclusive<u64>,
        writer: &RefCell<Writer>,
    ) -> Result<(), Unsynced> {
        let (first, last) = tickets.into_inner();
        loop {
            let takes = |&(after, up_to): &(u64, u64)| after < last && first <= up_to;
            if self.failed.borrow().iter().any(takes) {
                return Err(Unsynced);
            }
            if self.synced.get() >= last {
                return Ok(());
            }
            if self.running.get() {
                self.turn.notified().await;
            } else {
                self.lead(writer).await;
            }
        }
    }

    /// A sync has failed just now. The writer has taken out all that was not synced, and with it what
    /// was sealed while the sync ran: that would find nothing to sync, and be taken for durable.
    fn fail(&self) -> u64 {
        let sealed = self.sealed.get();
        self.failed.borrow_mut().push((self.synced.get(), sealed));
        sealed
    }

    async fn lead(&self, writer: &RefCell<Writer>) {
        self.running.set(true);
        // Sessions whose octets are here already ride along. This does not wait for any other.
        tokio::task::yield_now().await;
        let covers = self.sealed.get();
        let barriers: Vec<Barrier> = writer.borrow().dirty().collect();
        let covers = if sync(&barriers, writer).await { covers } else { self.fail() };
        self.synced.set(covers);
        self.running.set(false);
        self.turn.notify_waiters();
    }
}

/// Syncs the segments; `false` when what they hold may not be on the disk.
async fn sync(barriers: &[Barrier], writer: &RefCell<Writer>) -> bool {
    for barrier in barriers {
        if let Err(error) = engine::sync_data(barrier.as_raw_fd()).await {
            let mut writer = writer.borrow_mut();
            writer.poison(barrier);
            eprintln!(
                "ringpost-sink: segment {} of core {} could not be synced ({error}); its messages \
                 that wait for their 250 get 451, and mail is refused until a sync of the next segment \
                 succeeds; check the disk",
                barrier.segment(),
                writer.core(),
            );
            return false;
        }
    }
    // Not before the last: until then what the first ones cover may have to be refused with the rest.
    let mut writer = writer.borrow_mut();
    barriers.iter().all(|barrier| writer.synced(barrier).is_ok())
}
