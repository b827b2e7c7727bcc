//! The helper without its thread: each job is a step.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use crate::limits::SPOOL_RETRY_MS;
use crate::spool::options::Options;
use crate::spool::write::job::{Job, Order, Supplies, WriteBack};
use crate::spool::write::prepare::Preparer;
use crate::spool::write::segment::Segment;

pub(super) struct SteppedHelper {
    preparer: Preparer,
    inbox: Receiver<Job>,
    /// Jobs that were sent and not done, in order.
    jobs: VecDeque<Job>,
    now: Instant,
    /// Segments that the log has left, in order, and the octets that they hold.
    pub(super) left: Vec<(u32, usize)>,
    /// The write-back thread's ends.
    orders: Receiver<Order>,
    done: Sender<Job>,
}

impl SteppedHelper {
    pub(super) fn new(dir: &Path, options: Options) -> (Self, Segment, Supplies) {
        let (sender, orders) = mpsc::channel();
        let (mut preparer, inbox, mut supplies) =
            Preparer::with_write_back(dir.to_owned(), options, 1, VecDeque::new(), |_| {
                Some(sender)
            });
        let first = preparer.prepare(0).unwrap();
        let supplies = supplies.remove(0);
        let done = supplies.jobs.clone();
        let (jobs, left, now) = (VecDeque::new(), Vec::new(), Instant::now());
        (Self { preparer, inbox, jobs, now, left, orders, done }, first, supplies)
    }

    /// Takes note of the jobs that were sent.
    pub(super) fn look(&mut self) {
        for job in self.inbox.try_iter() {
            if let Job::Retire { segment, used, .. } = &job {
                self.left.push((segment.header.number, *used));
            }
            self.jobs.push_back(job);
        }
    }

    /// Does the next job. `false`: there is none.
    pub(super) fn work(&mut self) -> bool {
        self.look();
        let Some(job) = self.jobs.pop_front() else { return false };
        self.preparer.step(Some(job), self.now);
        true
    }

    /// Time passes without a job.
    pub(super) fn rest(&mut self) {
        self.now += Duration::from_millis(SPOOL_RETRY_MS + 100);
        self.preparer.step(None, self.now);
    }

    pub(super) fn has_jobs(&mut self) -> bool {
        self.look();
        !self.jobs.is_empty()
    }

    /// Whether messages that were refused are still to be taken out.
    pub(super) fn has_to_void(&mut self) -> bool {
        self.look();
        self.jobs.iter().any(|job| matches!(job, Job::Void { .. }))
    }

    /// The write-back thread is done with a segment, if it had one.
    pub(super) fn write_back(&self, outcome: impl FnOnce(&Order) -> WriteBack) {
        if let Ok(order) = self.orders.try_recv() {
            let outcome = outcome(&order);
            self.done.send(Job::Flushed { order, outcome }).unwrap();
        }
    }

    /// Octets that a segment held when the log left it; `None` if it did not.
    pub(super) fn used(&self, segment: u32) -> Option<usize> {
        self.left.iter().find(|(number, _)| *number == segment).map(|(_, used)| *used)
    }

    /// How many segments the log has left since it left this one.
    pub(super) fn newer(&self, segment: u32) -> usize {
        self.left.iter().filter(|(number, _)| *number > segment).count()
    }
}
