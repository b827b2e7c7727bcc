//! Group commit: one `fdatasync` covers every message sealed before it began.
//!
//! A session that sealed messages asks [`Gate::reached`] before it sends their 250. The first such
//! session starts the sync; those that come while it runs cannot ride on it, because their stores
//! may have come after its snapshot of dirty pages, and wait for the next one, which they share. So
//! the batch grows with the load and a lone message waits for one sync only.

use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;

use crate::engine;
use crate::engine::task::{Notify, give_way};
use crate::notice::notice;
use crate::spool::{Barrier, Writer};

/// The sync state of one core's spool.
#[derive(Default)]
pub(super) struct Gate {
    /// Messages sealed so far, as counted by the sessions.
    sealed: Cell<u64>,
    /// Messages whose seal lies before the start of a finished sync, well or badly ended.
    synced: Cell<u64>,
    /// Tickets that were lost with a segment that the writer gave up: those after the first and up to the
    /// second. There are few, because each stands for a segment.
    lost: RefCell<Vec<(u64, u64)>>,
    /// The writer's count of such segments when we looked last.
    failures: Cell<u32>,
    running: Cell<bool>,
    turn: Notify,
}

impl Gate {
    /// Notes one sealed message and returns its ticket.
    pub(super) fn sealed(&self, writer: &RefCell<Writer>) -> u64 {
        // What was given up by now was so before this message found its place.
        self.heed(writer);
        self.sealed.set(self.sealed.get() + 1);
        self.sealed.get()
    }

    /// Looks whether everything that was sealed is still where it was sealed, as far as that can be known
    /// without a sync: what [`Gate::is_lost`] does not know then is acknowledged.
    pub(super) fn stand(&self, writer: &RefCell<Writer>) {
        // An error was told when it was met, and counts as a failure.
        let _ = writer.borrow_mut().acknowledge();
        self.heed(writer);
    }

    /// Returns once every message up to `ticket` is synced, or [lost](Gate::is_lost).
    pub(super) async fn reached(&self, ticket: u64, writer: &RefCell<Writer>) {
        loop {
            self.heed(writer);
            if self.synced.get() >= ticket {
                return;
            }
            if self.running.get() {
                self.turn.notified().await;
            } else {
                self.lead(writer).await;
            }
        }
    }

    /// Whether the message is not kept: the sync that was to cover it failed, or the segment that held it
    /// was given up meanwhile. It stays lost: the kernel reports a write-back error once and then forgets
    /// it, so trying again would lie.
    pub(super) fn is_lost(&self, ticket: u64) -> bool {
        self.lost.borrow().iter().any(|&(after, up_to)| after < ticket && ticket <= up_to)
    }

    /// Looks whether the writer has given a segment up. It has taken out all that was not synced, and with
    /// it what was sealed while a sync ran: that would find nothing to sync, and be taken for durable.
    fn heed(&self, writer: &RefCell<Writer>) {
        let failures = writer.borrow().failures();
        if self.failures.replace(failures) != failures {
            let sealed = self.sealed.get();
            self.lost.borrow_mut().push((self.synced.get(), sealed));
            self.synced.set(sealed);
        }
    }

    async fn lead(&self, writer: &RefCell<Writer>) {
        self.running.set(true);
        // Sessions whose octets are here already ride along. This does not wait for any other.
        give_way().await;
        let covers = self.sealed.get();
        let barriers: Vec<Barrier> = writer.borrow().dirty().collect();
        sync(&barriers, writer).await;
        self.heed(writer);
        self.synced.set(self.synced.get().max(covers));
        self.running.set(false);
        self.turn.notify_waiters();
    }
}

/// Syncs the segments. Where what they hold may not be on the disk, the writer counts a failure.
async fn sync(barriers: &[Barrier], writer: &RefCell<Writer>) {
    for barrier in barriers {
        if let Err(error) = engine::sync_data(barrier.as_raw_fd()).await {
            let mut writer = writer.borrow_mut();
            writer.poison(barrier);
            notice!(
                "ringpost-sink: segment {} of core {} could not be synced ({error}); its messages \
                 that wait for their 250 get 451, and mail is refused until a sync of the next segment \
                 succeeds; check the disk",
                barrier.segment(),
                writer.core(),
            );
            return;
        }
    }
    // Not before the last: until then what the first ones cover may have to be refused with the rest. An
    // error was told, and counts as a failure.
    let _ = writer.borrow_mut().all_synced(barriers);
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use super::*;
    use crate::engine::{EngineKind, run_core};
    use crate::spool::{Draft, Durability, Meta, Options, Place, Spool, SpoolError};

    struct Desk {
        dir: tempfile::TempDir,
        gate: Gate,
        writer: RefCell<Writer>,
        _spool: Spool,
    }

    impl Desk {
        fn new(durability: Durability) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let segment_bytes = 64 * 1024;
            let limit_bytes = 8 * segment_bytes;
            let options = Options { segment_bytes, limit_bytes, durability, ..Options::default() };
            let (spool, _, mut writers) = Spool::open(dir.path(), options).unwrap();
            let writer = RefCell::new(writers.remove(0));
            Self { dir, gate: Gate::default(), writer, _spool: spool }
        }

        fn store(&self) -> Result<Place, SpoolError> {
            let mut draft = Draft::default();
            let mut writer = self.writer.borrow_mut();
            writer.append(&mut draft, &[b'x'; 5_000])?;
            let to: [(&[u8], &[u8]); 1] = [(b"b@x.example", b"")];
            writer.seal(&mut draft, &Meta::default(), to)
        }

        fn ticket(&self) -> u64 {
            self.store().unwrap();
            self.gate.sealed(&self.writer)
        }

        fn cut(&self) {
            let Place { core, segment, .. } = self.writer.borrow().position();
            let name = format!("c{core:03}-{segment:08}.seg");
            let path = self.dir.path().join(Path::new(&name));
            OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
        }

        /// Whether the message is kept, as of its sync.
        async fn reaches(&self, ticket: u64) -> bool {
            self.gate.reached(ticket, &self.writer).await;
            !self.gate.is_lost(ticket)
        }

        fn stands(&self, ticket: u64) -> bool {
            self.gate.stand(&self.writer);
            !self.gate.is_lost(ticket)
        }
    }

    fn on_a_core(future: impl Future<Output = ()>) {
        run_core(EngineKind::Epoll, future).unwrap();
    }

    #[test]
    fn who_waits_for_a_segment_that_is_torn_is_refused_and_who_comes_after_it_is_not() {
        on_a_core(async {
            for met_by_a_message in [false, true] {
                let desk = Desk::new(Durability::Sync);
                let kept = desk.ticket();
                assert!(desk.reaches(kept).await);
                let waits = desk.ticket();
                desk.cut();
                if met_by_a_message {
                    desk.store().unwrap_err();
                    let after = desk.ticket();
                    assert!(desk.reaches(after).await);
                }
                assert!(!desk.reaches(waits).await);
                assert!(!desk.reaches(waits).await, "for ever");
                assert!(desk.reaches(kept).await, "answered before");
                let after = desk.ticket();
                assert!(desk.reaches(after).await);
            }
        });
    }

    #[test]
    fn a_segment_that_is_torn_between_seal_and_reply_is_met_without_a_sync() {
        let desk = Desk::new(Durability::Process);
        let first = desk.ticket();
        assert!(desk.stands(first));
        let waits = desk.ticket();
        desk.cut();
        assert!(!desk.stands(waits));
        let after = desk.ticket();
        assert!(desk.stands(after));
    }

    #[test]
    fn a_failed_sync_takes_with_it_what_was_sealed_while_it_ran() {
        on_a_core(async {
            let desk = Desk::new(Durability::Sync);
            let (one, barrier) = (desk.ticket(), desk.writer.borrow().dirty().next().unwrap());
            let two = desk.ticket();
            desk.writer.borrow_mut().poison(&barrier);
            for waits in [one, two] {
                assert!(!desk.reaches(waits).await);
            }
        });
    }
}
