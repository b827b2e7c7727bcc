//! The helper thread: makes the next segment of each core ready, and has full ones written back, so that a
//! core never waits for the disk or for a page.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::barrier::Barrier;
use super::flush::{self, Flusher};
use super::job::{Job, Order, Supplies, WriteBack};
use super::recover::Old;
use super::segment::{self, Segment};
use super::sigbus::Guarded;
use super::supply::{FullSegment, Supply, take_back};
use crate::notice::notice;
use crate::spool::error::SpoolError;
use crate::spool::format::SEGMENT_HEADER_BYTES;
use crate::spool::options::{Durability, Options, WhenFull};

/// Pause without work after which the helper thread has the backlog written all the same.
const FLUSH_IDLE_MS: u64 = 1_000;

/// Time that the end of a spool may take to have the backlog written.
const FLUSH_CLOSE_MS: u64 = 5_000;

pub(super) struct Preparer {
    options: Options,
    supply: Supply,
    /// `None` for [`Durability::Sync`], which leaves nothing to write back.
    flusher: Option<Flusher>,
    /// The latest write-back failed.
    failing: bool,
    /// Writers that live.
    writers: usize,
    /// When the last writer left.
    closing: Option<Instant>,
}

impl Preparer {
    /// `first_number` is above every number in the directory; `old` are the segments there.
    pub(super) fn new(
        dir: PathBuf,
        options: Options,
        first_number: u32,
        old: VecDeque<Old>,
    ) -> (Self, Receiver<Job>, Vec<Supplies>) {
        Self::with_write_back(dir, options, first_number, old, flush::start)
    }

    /// As [`new`](Self::new). `write_back` takes the way back for what was written, and gives the way for
    /// what is to be written, if there is one.
    pub(super) fn with_write_back(
        dir: PathBuf,
        options: Options,
        first_number: u32,
        old: VecDeque<Old>,
        write_back: impl FnOnce(Sender<Job>) -> Option<Sender<Order>>,
    ) -> (Self, Receiver<Job>, Vec<Supplies>) {
        let (jobs, inbox) = mpsc::channel();
        let (supply, supplies) = Supply::new(dir, options, first_number, old, &jobs);
        let writes_back = options.durability == Durability::Process;
        let flusher = writes_back.then(|| Flusher::new(write_back(jobs)));
        let writers = options.cores;
        let preparer = Self { options, supply, flusher, failing: false, writers, closing: None };
        (preparer, inbox, supplies)
    }

    /// The first segment of `core`, before the helper runs.
    pub(super) fn prepare(&mut self, core: usize) -> Result<Segment, SpoolError> {
        self.supply.prepare_first(core, self.flusher.as_mut())
    }

    /// Serves the cores until the last of them is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Job>) {
        while !self.is_done() {
            let job = match self.pause() {
                Some(pause) => inbox.recv_timeout(pause),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => self.step(Some(job), Instant::now()),
                Err(RecvTimeoutError::Timeout) => self.step(None, Instant::now()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whether every writer is gone, and nothing is being written back.
    fn is_done(&self) -> bool {
        self.writers == 0 && !self.flusher.as_ref().is_some_and(Flusher::is_busy)
    }

    /// Does a job, or, without one, what there is to do when no job comes. Then does what is due at `now`.
    pub(super) fn step(&mut self, job: Option<Job>, now: Instant) {
        self.supply.set_time(now);
        match job {
            Some(job) => self.take(job),
            None => self.rest(),
        }
        self.supply.retry(self.flusher.as_mut());
        // A spool that is closed gets written back and marked, unless the disk is too slow for that.
        if self.writers == 0
            && let Some(flusher) = &mut self.flusher
        {
            let closing = *self.closing.get_or_insert(now);
            if now.duration_since(closing) < Duration::from_millis(FLUSH_CLOSE_MS) {
                flusher.idle();
            } else {
                flusher.give_up();
            }
        }
    }

    /// How long to wait for a job; after that there is something else to do.
    fn pause(&self) -> Option<Duration> {
        let backlog = self.flusher.as_ref().is_some_and(Flusher::has_backlog);
        let rest = backlog.then_some(Duration::from_millis(FLUSH_IDLE_MS));
        self.supply.until_retry(Instant::now()).into_iter().chain(rest).min()
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Want { core } => self.supply.want(core, self.flusher.as_mut()),
            Job::Need { core } => self.supply.need(core, self.flusher.as_mut()),
            Job::Retire { core, segment, used, sound } => self.retire(core, segment, used, sound),
            Job::Durable { core, barrier } => {
                if self.supply.shelf(core).is_alive(barrier.segment()) {
                    // A segment without its mark is as sound; readers only know less about it.
                    let _ = segment::mark(&barrier.file, &barrier.header, barrier.end as u32);
                }
            }
            Job::Flushed { order, outcome } => self.flushed(&order, outcome),
            Job::Settled { core } => self.supply.settled(core, self.flusher.as_mut()),
            Job::Void { core, barrier } => self.void(core, &barrier),
            Job::Replace { core, segment } => {
                segment.finish(0);
                self.supply.supply(core, self.flusher.as_mut());
            }
            Job::Probe { core, segment, suspicion } => {
                self.supply.suspect(core, segment, suspicion);
            }
            Job::Free { core, segment } => self.supply.free(core, segment, self.flusher.as_mut()),
            Job::Finish { segment, used } => {
                if used > SEGMENT_HEADER_BYTES {
                    self.supply.numbers.note_used(segment.header.number);
                }
                segment.finish(used);
            }
            Job::Leave { ready } => {
                take_back(&ready);
                assert!(self.writers > 0, "a writer leaves once");
                self.writers -= 1;
                if self.writers == 0 {
                    self.supply.numbers.close();
                }
            }
        }
    }

    fn retire(&mut self, core: usize, segment: Segment, used: usize, sound: bool) {
        let (header, path) = (segment.header, segment.path.clone());
        self.supply.numbers.note_used(header.number);
        let (room, retained) = segment.leave(sound && self.retains_maps());
        self.supply.shelf(core).add(FullSegment { number: header.number, sound, room, retained });
        if let Some(flusher) = self.flusher.as_mut().filter(|_| sound) {
            flusher.add(Order { core, header, path, end: used });
        }
    }

    /// Whether the maps of full segments are worth retaining. The pages of a ring that is small enough are
    /// never written back, and are still writable when they are used again. The pages of a larger ring are
    /// clean by then and have to be made writable again, so that a retained map would only cost memory. A
    /// process has a bounded number of maps, and those that are written come first.
    fn retains_maps(&self) -> bool {
        let flusher = self.flusher.as_ref();
        self.options.when_full == WhenFull::Recycle
            && flusher.is_some_and(|flusher| flusher.backlog_bytes() >= self.options.limit_bytes)
            && Guarded::are_few()
    }

    fn flushed(&mut self, order: &Order, outcome: WriteBack) {
        let (core, number) = (order.core, order.header.number);
        let shelf = self.supply.shelf(core);
        let failed = shelf.failed.clone();
        if let Some(full) = shelf.find(number) {
            let marked = match outcome {
                WriteBack::Written(file) => {
                    Some(segment::mark(&file, &order.header, order.end as u32))
                }
                WriteBack::Failed(error) => Some(Err(error)),
                WriteBack::Unopened => None,
            };
            match marked {
                Some(Err(error)) => {
                    full.sound = false;
                    failed.fetch_add(1, Ordering::Relaxed);
                    // A disk that fails one after the other is told of once.
                    if !std::mem::replace(&mut self.failing, true) {
                        notice!(
                            "ringpost-sink: {}: could not be written back ({error}): the disk may \
                             hold less of it than was acknowledged, and of those after it; check \
                             the disk",
                            order.path.display()
                        );
                    }
                }
                Some(Ok(())) => self.failing = false,
                None => {}
            }
        }
        if let Some(flusher) = &mut self.flusher {
            flusher.came_back();
        }
    }

    fn rest(&mut self) {
        if let Some(flusher) = &mut self.flusher {
            flusher.idle();
        }
    }

    /// Takes what was not acknowledged out of a segment, if it was not recycled meanwhile.
    fn void(&mut self, core: usize, barrier: &Barrier) {
        debug_assert!(barrier.start <= barrier.end);
        if let Some(full) = self.supply.shelf(core).find(barrier.segment()) {
            full.sound = false;
            // A file that was cut must not become longer again.
            let cut = segment::shortened_to(&barrier.file, &barrier.header).map(|cut| cut as usize);
            let end = barrier.end.min(cut.unwrap_or(barrier.end));
            // The disk may refuse this too. Then readers see messages that the sink has refused with 451.
            let zeros = vec![0; end.saturating_sub(barrier.start)];
            let _ = barrier.file.write_all_at(&zeros, barrier.start as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::limits::SPOOL_RETRY_MS;
    use crate::spool::write::make::fresh_header;
    use crate::spool::write::marker;

    #[test]
    fn room_is_looked_for_again_however_busy_the_helper_is() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = marker::lock(dir.path()).unwrap();
        let options = Options {
            segment_bytes: 64 * 1024,
            limit_bytes: 128 * 1024,
            when_full: WhenFull::Refuse,
            durability: Durability::Sync,
            cores: 1,
            ..Options::default()
        };
        let (mut preparer, inbox, mut supplies) =
            Preparer::new(dir.path().to_owned(), options, 1, VecDeque::new());
        let Supplies { ready, jobs, .. } = supplies.remove(0);
        let (full, present) = (preparer.prepare(0).unwrap(), preparer.prepare(0).unwrap());
        let helper = std::thread::spawn(move || preparer.run(&inbox));
        jobs.send(Job::Want { core: 0 }).unwrap();
        assert!(ready.recv().unwrap().is_err());

        fs::remove_file(&full.path).unwrap();
        jobs.send(Job::Retire { core: 0, segment: full, used: 64, sound: true }).unwrap();
        let (header, file) = (fresh_header(0, 99, 0), present.file.clone());
        let of_another = Barrier { header, start: 0, end: 0, settled: 0, sealed: 0, file };
        let until = Instant::now() + Duration::from_secs(20);
        let next = loop {
            assert!(Instant::now() < until, "no room was looked for between the jobs");
            jobs.send(Job::Void { core: 0, barrier: of_another.clone() }).unwrap();
            match ready.recv_timeout(Duration::from_millis(SPOOL_RETRY_MS / 10)) {
                Ok(next) => break next.unwrap(),
                Err(_still_none) => {}
            }
        };
        for segment in [present, next] {
            jobs.send(Job::Finish { segment, used: 0 }).unwrap();
        }
        jobs.send(Job::Leave { ready }).unwrap();
        helper.join().unwrap();
    }

    #[test]
    fn a_segment_that_is_cut_and_gone_makes_room_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = marker::lock(dir.path()).unwrap();
        let options = Options {
            segment_bytes: 64 * 1024,
            limit_bytes: 128 * 1024,
            when_full: WhenFull::Recycle,
            durability: Durability::Sync,
            cores: 1,
            ..Options::default()
        };
        let (mut preparer, _inbox, supplies) =
            Preparer::new(dir.path().to_owned(), options, 1, VecDeque::new());
        let (present, mut segment) = (preparer.prepare(0).unwrap(), preparer.prepare(0).unwrap());
        for _ in 0..3 {
            segment.file.set_len(100).unwrap();
            fs::remove_file(&segment.path).unwrap();
            preparer.take(Job::Replace { core: 0, segment });
            segment = supplies[0].ready.recv().unwrap().unwrap();
        }
        segment.finish(0);
        present.finish(0);
    }

    #[test]
    fn a_ring_of_more_segments_than_maps_are_possible_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = marker::lock(dir.path()).unwrap();
        let options = Options {
            segment_bytes: 4_096,
            limit_bytes: 5_000 * 4_096,
            when_full: WhenFull::Recycle,
            durability: Durability::Process,
            cores: 1,
            ..Options::default()
        };
        let (mut preparer, _inbox, supplies) =
            Preparer::new(dir.path().to_owned(), options, 1, VecDeque::new());
        let mut present = preparer.prepare(0).unwrap();
        for number in 2..4_200 {
            preparer.take(Job::Want { core: 0 });
            let next = supplies[0].ready.try_recv().unwrap();
            let next = next.unwrap_or_else(|error| panic!("segment {number}: {error}"));
            let segment = std::mem::replace(&mut present, next);
            preparer.take(Job::Retire { core: 0, segment, used: 4_096, sound: true });
        }
        present.finish(0);
    }
}
