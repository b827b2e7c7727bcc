//! Group commit: one `fdatasync` covers every message sealed before it began.
//!
//! A session that sealed messages awaits [`GroupCommit::decided`] before it sends their 250. The first such
//! session starts a sync. A session that comes while the sync runs cannot use it, because its stores may
//! be later than the kernel's snapshot of dirty pages; it waits for the next sync, and shares that with all
//! others that wait. So the batch grows with the load, and a single message waits for one sync only.

use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;

use crate::engine;
use crate::engine::task::{Notify, give_way};
use crate::notice::notice;
use crate::spool::{Barrier, Ticket, TicketFate, Writer};

/// The syncs of one core's spool.
pub(super) struct GroupCommit {
    /// INVARIANT: set while one session is in `lead`, and that session clears it.
    running: Cell<bool>,
    /// Notified at the end of each sync.
    turn: Notify,
}

impl GroupCommit {
    pub(super) fn new() -> Self {
        Self { running: Cell::new(false), turn: Notify::new() }
    }

    /// Returns once the fate of the message is known: kept, or lost. A lost message stays lost: the kernel
    /// reports a write-back error once, and a second sync would succeed without having written anything.
    pub(super) async fn decided(&self, ticket: Ticket, writer: &RefCell<Writer>) {
        while is_waiting(ticket, writer) {
            if self.running.get() {
                self.turn.notified().await;
            } else {
                self.lead(ticket, writer).await;
            }
        }
    }

    /// Syncs all that is not on the disk, or finds that the fate of the message is known.
    async fn lead(&self, ticket: Ticket, writer: &RefCell<Writer>) {
        assert!(!self.running.replace(true), "two syncs of one spool at the same time");
        // Sessions whose octets have arrived seal their messages now, and share this sync.
        give_way().await;
        let barriers: Vec<Barrier> = writer.borrow_mut().dirty().collect();
        if barriers.is_empty() {
            // The segment was found to be gone while this task gave way. Without this check the
            // caller would ask for a sync of nothing again and again.
            assert!(!is_waiting(ticket, writer), "a message waits, and there is nothing to sync");
        } else {
            sync(&barriers, writer).await;
        }
        self.running.set(false);
        self.turn.notify_waiters();
    }
}

/// Whether the fate of the message is not known yet.
fn is_waiting(ticket: Ticket, writer: &RefCell<Writer>) -> bool {
    writer.borrow_mut().fate(ticket) == TicketFate::Waiting
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
    // Only after the last sync: if a later one fails, the messages of the earlier ones are refused too. The
    // writer has reported an error, and counts it as a failure.
    let _ = writer.borrow_mut().all_synced(barriers);
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::future::poll_fn;
    use std::path::Path;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::engine::{EngineKind, run_core};
    use crate::spool::{Draft, Durability, Meta, Options, Place, Sealed, Spool, SpoolError};

    struct Desk {
        dir: tempfile::TempDir,
        gate: GroupCommit,
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
            Self { dir, gate: GroupCommit::new(), writer, _spool: spool }
        }

        fn store(&self) -> Result<Sealed, SpoolError> {
            let mut draft = Draft::default();
            let mut writer = self.writer.borrow_mut();
            writer.append(&mut draft, &[b'x'; 5_000])?;
            let to: [(&[u8], &[u8]); 1] = [(b"b@x.example", b"")];
            writer.seal(&mut draft, &Meta::default(), to)
        }

        fn ticket(&self) -> Ticket {
            self.store().unwrap().ticket
        }

        fn fate(&self, ticket: Ticket) -> TicketFate {
            self.writer.borrow_mut().fate(ticket)
        }

        fn cut(&self) {
            let Place { core, segment, .. } = self.writer.borrow().position();
            let name = format!("c{core:03}-{segment:08}.seg");
            let path = self.dir.path().join(Path::new(&name));
            OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
        }

        /// Whether the message is kept, as of its sync.
        async fn reaches(&self, ticket: Ticket) -> bool {
            self.gate.decided(ticket, &self.writer).await;
            self.fate(ticket) == TicketFate::Kept
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
    fn a_segment_that_is_found_torn_before_its_sync_begins_loses_its_message() {
        on_a_core(async {
            let desk = Desk::new(Durability::Sync);
            let waits = desk.ticket();
            let mut reaches = pin!(desk.reaches(waits));
            let begun = poll_fn(|context| Poll::Ready(reaches.as_mut().poll(context))).await;
            assert!(begun.is_pending(), "it gives way to other sessions first");
            desk.cut();
            desk.writer.borrow_mut().check_path().unwrap_err();
            assert!(!reaches.await);
            let after = desk.ticket();
            assert!(desk.reaches(after).await, "the next segment is synced");
        });
    }

    #[test]
    fn a_segment_that_is_torn_between_seal_and_reply_is_met_without_a_sync() {
        let desk = Desk::new(Durability::Process);
        let first = desk.ticket();
        assert_eq!(desk.fate(first), TicketFate::Kept);
        let waits = desk.ticket();
        desk.cut();
        assert_eq!(desk.fate(waits), TicketFate::Lost);
        let after = desk.ticket();
        assert_eq!(desk.fate(after), TicketFate::Kept);
    }

    #[test]
    fn a_failed_sync_takes_with_it_what_was_sealed_while_it_ran() {
        on_a_core(async {
            let desk = Desk::new(Durability::Sync);
            let (one, barrier) = (desk.ticket(), desk.writer.borrow_mut().dirty().next().unwrap());
            let two = desk.ticket();
            desk.writer.borrow_mut().poison(&barrier);
            for waits in [one, two] {
                assert!(!desk.reaches(waits).await);
            }
        });
    }
}
