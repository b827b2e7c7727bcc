//! The helper thread: makes the next segment of each core ready, and takes the full ones away, so that
//! a core never waits for the disk or for a page.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::barrier::Barrier;
use super::flush::Flusher;
use super::job::{Job, Order, Ready, Supplies};
use super::recover::Old;
use super::segment::{self, Kept, Segment, fresh_header};
use crate::limits::{FLUSH_CLOSE_MS, FLUSH_IDLE_MS, SPOOL_RETRY_MS};
use crate::notice::notice;
use crate::spool::error::SpoolError;
use crate::spool::format::{SegmentHeader, file_name};
use crate::spool::options::{Durability, Options, WhenFull};
use crate::spool::read::check_marker;

/// One core as the helper sees it.
struct Shelf {
    ready: Sender<Ready>,
    floor: Arc<AtomicU32>,
    failed: Arc<AtomicU64>,
    next_number: u32,
    /// Full ones, oldest first.
    sealed: VecDeque<FullSegment>,
    /// Files of this core, of this run: the one being written, the ready one, the sealed ones.
    held: u64,
    /// When room was last looked for in vain: the core knows, and gets a segment as soon as there is.
    short: Option<Instant>,
    /// The writer's, when it last had a segment probed.
    suspicion: u32,
}

/// A segment that is not written any more.
struct FullSegment {
    number: u32,
    /// The disk has not failed it.
    sound: bool,
    /// Only of a ring that [`Preparer::keeps_maps`].
    kept: Option<Kept>,
}

impl Shelf {
    /// `None` where no room is looked for.
    fn until_retry(&self) -> Option<Duration> {
        let pause = Duration::from_millis(SPOOL_RETRY_MS);
        self.short.map(|tried| pause.saturating_sub(tried.elapsed()))
    }
}

pub(super) struct Preparer {
    dir: PathBuf,
    options: Options,
    /// Files that each core may hold.
    quota: u64,
    shelves: Vec<Shelf>,
    /// Oldest first.
    old: VecDeque<Old>,
    /// Octets of all segment files.
    disk_bytes: u64,
    /// `None` for durability sync, which leaves nothing to write back.
    flusher: Option<Flusher>,
    /// The latest write-back failed.
    failing: bool,
    /// Writers that live.
    writers: usize,
}

impl Preparer {
    /// `first_number` is above every number in the directory; `old` are the segments there.
    pub(super) fn new(
        dir: PathBuf,
        options: Options,
        first_number: u32,
        old: VecDeque<Old>,
    ) -> (Self, Receiver<Job>, Vec<Supplies>) {
        let (jobs, inbox) = mpsc::channel();
        let (shelves, supplies) = (0..options.cores)
            .map(|_| {
                let (ready, taken) = mpsc::channel();
                let (floor, failed) = <(Arc<AtomicU32>, Arc<AtomicU64>)>::default();
                let shelf = Shelf {
                    ready,
                    floor: floor.clone(),
                    failed: failed.clone(),
                    next_number: first_number,
                    sealed: VecDeque::new(),
                    held: 0,
                    short: None,
                    suspicion: 0,
                };
                (shelf, Supplies { ready: taken, jobs: jobs.clone(), floor, failed })
            })
            .unzip();
        let quota = options.limit_bytes / options.segment_bytes / options.cores as u64;
        let disk_bytes = old.iter().map(|old| old.bytes).sum();
        let flusher = (options.durability == Durability::Process).then(|| Flusher::new(jobs));
        let writers = options.cores;
        let failing = false;
        let preparer =
            Self { dir, options, quota, shelves, old, disk_bytes, flusher, failing, writers };
        (preparer, inbox, supplies)
    }

    /// Serves the cores until the last of them is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Job>) {
        let mut closing: Option<Instant> = None;
        let close = Duration::from_millis(FLUSH_CLOSE_MS);
        while self.writers > 0 || self.flusher.as_ref().is_some_and(Flusher::is_busy) {
            let job = match self.pause() {
                Some(pause) => inbox.recv_timeout(pause),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => self.rest(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.retry();
            // A spool that was closed is on the disk and marked, if the disk is not too slow for that.
            if self.writers == 0
                && let Some(flusher) = &mut self.flusher
            {
                if closing.get_or_insert_with(Instant::now).elapsed() < close {
                    flusher.idle();
                } else {
                    flusher.give_up();
                }
            }
        }
    }

    /// How long to wait for a job before there is something else to do.
    fn pause(&self) -> Option<Duration> {
        let backlog = self.flusher.as_ref().is_some_and(Flusher::has_backlog);
        let rest = backlog.then_some(Duration::from_millis(FLUSH_IDLE_MS));
        self.shelves.iter().filter_map(Shelf::until_retry).chain(rest).min()
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Want { core } => self.supply(core),
            Job::Retire { core, segment, used, sound } => self.retire(core, segment, used, sound),
            Job::Durable { core, barrier } => {
                if self.is_alive(core, barrier.segment()) {
                    // Without its mark a segment is as sound as before; less is known of it.
                    let _ = segment::mark(&barrier.file, &barrier.header, barrier.end as u32);
                }
            }
            Job::Flushed { order, outcome } => self.flushed(&order, outcome),
            Job::Void { core, barrier } => self.void(core, &barrier),
            Job::Replace { core, segment } => {
                self.disk_bytes -= segment.finish(0);
                self.shelves[core].held -= 1;
                self.supply(core);
            }
            Job::Probe { core, segment, suspicion } => {
                self.shelves[core].suspicion = suspicion;
                let probed = self.probe(core, segment);
                self.hand_out(core, probed);
            }
            Job::Finish { segment, used } => self.disk_bytes -= segment.finish(used),
            Job::Leave { ready } => {
                self.take_back(&ready);
                self.writers -= 1;
            }
        }
    }

    fn retire(&mut self, core: usize, segment: Segment, used: usize, sound: bool) {
        let (header, path) = (segment.header, segment.path.clone());
        let kept = if sound && self.keeps_maps() { Kept::new(segment) } else { None };
        self.shelves[core].sealed.push_back(FullSegment { number: header.number, sound, kept });
        if let Some(flusher) = self.flusher.as_mut().filter(|_| sound) {
            flusher.add(Order { core, header, path, end: used });
        }
    }

    /// A ring that goes round without being written back finds its pages writable. In a larger one they
    /// are clean when their turn comes, have to be made writable again in any case, and the map would
    /// cost its page tables for nothing.
    fn keeps_maps(&self) -> bool {
        let flusher = self.flusher.as_ref();
        self.options.when_full == WhenFull::Recycle
            && flusher.is_some_and(|flusher| flusher.backlog_bytes() >= self.options.limit_bytes)
    }

    fn flushed(&mut self, order: &Order, outcome: io::Result<File>) {
        let (core, number) = (order.core, order.header.number);
        let mut sealed = self.shelves[core].sealed.iter_mut();
        // It may have been recycled, or moved away, while it was written.
        if let Some(sealed) = sealed.find(|sealed| sealed.number == number) {
            match outcome.and_then(|file| segment::mark(&file, &order.header, order.end as u32)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    sealed.sound = false;
                    self.shelves[core].failed.fetch_add(1, Ordering::Relaxed);
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
                Ok(()) => self.failing = false,
                Err(_) => {}
            }
        }
        if let Some(flusher) = &mut self.flusher {
            flusher.came_back();
        }
    }

    /// Whether a segment of this run has its file still to itself.
    fn is_alive(&self, core: usize, number: u32) -> bool {
        number >= self.shelves[core].floor.load(Ordering::Acquire)
    }

    fn rest(&mut self) {
        if let Some(flusher) = &mut self.flusher {
            flusher.idle();
        }
    }

    /// Looks for room again for the cores whose turn it is, however busy the others keep the helper.
    fn retry(&mut self) {
        let is_due = |shelf: &Shelf| shelf.until_retry() == Some(Duration::ZERO);
        if !self.shelves.iter().any(is_due) {
            return;
        }
        self.forget_missing();
        for core in 0..self.shelves.len() {
            if is_due(&self.shelves[core]) {
                self.supply(core);
            }
        }
    }

    fn supply(&mut self, core: usize) {
        let mut made = self.prepare(core);
        if self.shelves[core].suspicion > 0 {
            made = made.and_then(|segment| self.probe(core, segment));
        }
        self.hand_out(core, made);
    }

    fn probe(&mut self, core: usize, mut segment: Segment) -> Ready {
        match segment.probe(self.shelves[core].suspicion) {
            Ok(()) => Ok(segment),
            Err(error) => {
                self.disk_bytes -= segment.finish(0);
                self.shelves[core].held -= 1;
                Err(error)
            }
        }
    }

    /// Takes what the disk has failed out of a segment, if it is still the one it was.
    fn void(&mut self, core: usize, barrier: &Barrier) {
        let mut sealed = self.shelves[core].sealed.iter_mut();
        if let Some(sealed) = sealed.find(|sealed| sealed.number == barrier.segment()) {
            sealed.sound = false;
            // One that was cut is not made longer again.
            let cut = segment::shortened_to(&barrier.file, &barrier.header).map(|cut| cut as usize);
            let end = barrier.end.min(cut.unwrap_or(barrier.end));
            // The disk may refuse this too; then all that readers see was refused with 451 or better.
            let zeros = vec![0; end.saturating_sub(barrier.start)];
            let _ = barrier.file.write_all_at(&zeros, barrier.start as u64);
        }
    }

    fn hand_out(&mut self, core: usize, made: Ready) {
        let shelf = &mut self.shelves[core];
        let short = made.is_err().then(Instant::now);
        let told_before = std::mem::replace(&mut shelf.short, short).is_some();
        if made.is_err() && told_before {
            return;
        }
        if let Err(mpsc::SendError(Ok(segment))) = shelf.ready.send(made) {
            self.disk_bytes -= segment.finish(0);
        }
    }

    fn take_back(&mut self, ready: &Receiver<Ready>) {
        for segment in ready.try_iter().flatten() {
            self.disk_bytes -= segment.finish(0);
        }
    }

    /// One more segment for `core`, from free room, or else from the oldest there is.
    pub(super) fn prepare(&mut self, core: usize) -> Result<Segment, SpoolError> {
        // A directory that was moved away may come back; what is made in another is lost to readers.
        check_marker(&self.dir)?;
        let mut shortage = self.full();
        if self.has_room(core) {
            match self.create(core) {
                Err(no_space @ SpoolError::NoSpace { .. }) => shortage = no_space,
                made => return made,
            }
        }
        if self.options.when_full == WhenFull::Refuse {
            return Err(shortage);
        }
        while self.shelves[core].held < self.quota
            && let Some(old) = self.old.pop_front()
        {
            if old.bytes == self.options.segment_bytes && self.is_whole(&old.path) {
                self.shelves[core].held += 1;
                let made = self.recycle(core, &old.path, None);
                if made.is_err() && old.path.exists() {
                    self.shelves[core].held -= 1;
                    self.old.push_front(old);
                }
                return made;
            }
            // Of another size: its room is what we can use.
            let _ = fs::remove_file(&old.path);
            self.disk_bytes -= old.bytes;
            if self.has_room(core) {
                match self.create(core) {
                    // Others have filled the disk: that was not room enough.
                    Err(no_space @ SpoolError::NoSpace { .. }) => shortage = no_space,
                    made => return made,
                }
            }
        }
        let Some(oldest) = self.shelves[core].sealed.pop_front() else { return Err(shortage) };
        // A message that began there and is still open must not be acknowledged from here on.
        self.shelves[core].floor.store(oldest.number + 1, Ordering::Release);
        if let Some(flusher) = &mut self.flusher {
            flusher.forget(core, oldest.number);
        }
        let path = self.dir.join(file_name(core as u16, oldest.number));
        // What the disk has failed, or somebody has cut, gets no new life.
        if !oldest.sound || !self.is_whole(&path) {
            return match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    self.shelves[core].sealed.push_front(oldest);
                    Err(SpoolError::io("remove the segment", &path, cause))
                }
                Ok(()) | Err(_) => {
                    self.lose(core);
                    self.create(core)
                }
            };
        }
        let FullSegment { number, sound, kept } = oldest;
        let made = self.recycle(core, &path, kept);
        if made.is_err() && path.exists() {
            self.shelves[core].sealed.push_front(FullSegment { number, sound, kept: None });
        }
        made
    }

    fn is_whole(&self, segment: &Path) -> bool {
        fs::metadata(segment).is_ok_and(|found| found.len() == self.options.segment_bytes)
    }

    fn has_room(&self, core: usize) -> bool {
        self.shelves[core].held < self.quota
            && self.disk_bytes + self.options.segment_bytes <= self.options.limit_bytes
    }

    fn create(&mut self, core: usize) -> Result<Segment, SpoolError> {
        let header = self.next_header(core);
        let made = Segment::create(&self.dir, header, self.options.durability)?;
        self.shelves[core].held += 1;
        self.disk_bytes += self.options.segment_bytes;
        Ok(made)
    }

    fn recycle(
        &mut self,
        core: usize,
        old: &Path,
        kept: Option<Kept>,
    ) -> Result<Segment, SpoolError> {
        let header = self.next_header(core);
        let made = Segment::recycle(&self.dir, old, kept, header, self.options.durability);
        // One that could not be touched is there as before, and counted.
        if made.is_err() && !old.exists() {
            self.lose(core);
        }
        made
    }

    fn next_header(&mut self, core: usize) -> SegmentHeader {
        let shelf = &mut self.shelves[core];
        let number = shelf.next_number;
        shelf.next_number += 1;
        fresh_header(core as u16, number, self.options.segment_bytes)
    }

    /// One file of `core` is no longer ours to count.
    fn lose(&mut self, core: usize) {
        self.shelves[core].held -= 1;
        self.disk_bytes -= self.options.segment_bytes;
    }

    /// Somebody may have moved segments away to make room.
    fn forget_missing(&mut self) {
        for core in 0..self.shelves.len() {
            let sealed = std::mem::take(&mut self.shelves[core].sealed);
            for segment in sealed {
                if self.dir.join(file_name(core as u16, segment.number)).exists() {
                    self.shelves[core].sealed.push_back(segment);
                } else {
                    self.lose(core);
                }
            }
        }
        let disk_bytes = &mut self.disk_bytes;
        self.old.retain(|old| {
            let there = old.path.exists();
            if !there {
                *disk_bytes -= old.bytes;
            }
            there
        });
    }

    fn full(&self) -> SpoolError {
        SpoolError::Full { dir: self.dir.clone(), limit_bytes: self.options.limit_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
