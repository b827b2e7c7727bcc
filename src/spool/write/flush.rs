//! Write-back of sealed segments, for [`Durability::Process`](crate::spool::Durability::Process): on a thread
//! of its own, because it waits for the disk, and paced, so that neither the kernel's own write-back nor
//! its brake on those who dirty pages ever has much to do.
//!
//! A segment that is recycled before its turn is not written at all.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::job::{Job, Order, WriteBack};
use super::sys;
use crate::limits::WRITE_STEP_BYTES;
use crate::spool::file::{self, Access};

/// Octets of sealed segments that may wait for their write-back. Below it a ring that goes round is never
/// written to the disk while it is busy, which would cost a core more than all else the spool does.
const FLUSH_BACKLOG_BYTES: u64 = 1024 * 1024 * 1024;

/// The same as a part of the memory: the kernel begins to write at a tenth of what is free, and to brake
/// who dirties more at some sixth.
const FLUSH_BACKLOG_MEMORY_PART: u64 = 16;

pub(super) struct Flusher {
    /// `None` when there is no thread: then the kernel does it in its own time.
    orders: Option<Sender<Order>>,
    busy: bool,
    /// Oldest first.
    waiting: VecDeque<Order>,
    waiting_bytes: u64,
    backlog_bytes: u64,
}

impl Flusher {
    /// `orders` is the way to the thread that writes back.
    pub(super) fn new(orders: Option<Sender<Order>>) -> Self {
        let memory = rustix::system::sysinfo();
        let memory = memory.totalram as u64 * u64::from(memory.mem_unit);
        Self {
            orders,
            busy: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            backlog_bytes: FLUSH_BACKLOG_BYTES.min(memory / FLUSH_BACKLOG_MEMORY_PART),
        }
    }

    /// Octets of full segments that need not be written back while the helper has other work.
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes
    }

    pub(super) fn add(&mut self, order: Order) {
        self.waiting_bytes += order.end as u64;
        self.waiting.push_back(order);
        self.go_on();
    }

    /// The segment is recycled, or gone: do not write it.
    pub(super) fn forget(&mut self, core: usize, number: u32) {
        let here = |order: &Order| order.core == core && order.header.number == number;
        if let Some(order) =
            self.waiting.iter().position(here).and_then(|at| self.waiting.remove(at))
        {
            self.waiting_bytes -= order.end as u64;
        }
    }

    /// The write-back thread is done with a segment.
    pub(super) fn came_back(&mut self) {
        self.busy = false;
        self.go_on();
    }

    /// The helper has nothing else to do, so part of the backlog can be written.
    pub(super) fn idle(&mut self) {
        self.send_oldest();
    }

    /// Whether [`Flusher::idle`] has something to begin.
    pub(super) fn has_backlog(&self) -> bool {
        self.orders.is_some() && !self.waiting.is_empty()
    }

    /// Whether the write-back thread is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Forgets the backlog: the kernel writes it in its own time.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    fn go_on(&mut self) {
        if self.waiting_bytes > self.backlog_bytes {
            self.send_oldest();
        }
    }

    fn send_oldest(&mut self) {
        if self.busy {
            return;
        }
        let Some(orders) = &self.orders else { return };
        let Some(order) = self.waiting.pop_front() else { return };
        self.waiting_bytes -= order.end as u64;
        // If the thread has panicked, the panic was printed, and the kernel writes the segment in its own time.
        self.busy = orders.send(order).is_ok();
    }
}

/// Starts the thread that writes back. For each segment, `done` gets a [`Job::Flushed`].
pub(super) fn start(done: Sender<Job>) -> Option<Sender<Order>> {
    let (orders, inbox) = mpsc::channel();
    let work = move || run(&inbox, &done);
    let thread = thread::Builder::new().name("spool-flush".to_owned()).spawn(work);
    thread.is_ok().then_some(orders)
}

fn run(inbox: &Receiver<Order>, done: &Sender<Job>) {
    for order in inbox {
        let outcome = write_back(&order);
        if done.send(Job::Flushed { order, outcome }).is_err() {
            return;
        }
    }
}

/// Only a write or a sync that fails condemns a segment.
fn write_back(order: &Order) -> WriteBack {
    let Ok(file) = file::open(&order.path, Access::Write) else {
        return WriteBack::Unopened;
    };
    match write(&file, order.end) {
        Ok(()) => WriteBack::Written(file),
        Err(error) => WriteBack::Failed(error),
    }
}

fn write(file: &File, end: usize) -> io::Result<()> {
    for at in (0..end).step_by(WRITE_STEP_BYTES) {
        sys::write_back(file.as_fd(), at as u64, WRITE_STEP_BYTES as u64)?;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    use crate::spool::write::make::fresh_header;

    fn order(number: u32) -> Order {
        Order { core: 0, header: fresh_header(0, number, 100), path: PathBuf::new(), end: 100 }
    }

    #[test]
    fn a_backlog_is_written_one_by_one_until_it_is_given_up() {
        let (orders, sent) = mpsc::channel();
        let mut flusher = Flusher {
            orders: Some(orders),
            busy: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            backlog_bytes: 150,
        };
        let sent = move || sent.try_iter().map(|order| order.header.number).collect::<Vec<_>>();
        (1..=5).for_each(|number| flusher.add(order(number)));
        assert_eq!((sent(), flusher.is_busy()), (vec![1], true));
        flusher.came_back();
        assert_eq!(sent(), [2]);
        flusher.give_up();
        flusher.came_back();
        flusher.idle();
        assert_eq!((sent(), flusher.is_busy(), flusher.has_backlog()), (vec![], false, false));
    }
}
