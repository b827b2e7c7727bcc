//! The helper's supply of segments: makes the next segment of each core ready, in free room or else from the
//! oldest segment.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use super::budget::{Budget, Reservation};
use super::flush::Flusher;
use super::job::{Job, NOTHING_HELD, Ready, Supplies};
use super::make::{SegmentPlan, fresh_header};
use super::numbers::Numbers;
use super::open_room::{DeadRoom, OpenPool, OpenRoom};
#[cfg(test)]
use super::planted::{PlantedFault, is_planted};
use super::recover::Old;
use super::segment::{RetainedMap, Segment};
use crate::limits::{SEGMENT_STEP_BYTES, SPOOL_RETRY_MS};
use crate::notice::notice;
use crate::spool::error::SpoolError;
use crate::spool::file;
use crate::spool::format::{SegmentHeader, file_name, name_in_making};
use crate::spool::options::{Options, WhenFull};
use crate::spool::read::check_marker;

/// One core as the helper sees it.
pub(super) struct Shelf {
    ready: Sender<Ready>,
    /// Segments of this core with a lower number are gone, or about to go.
    ///
    /// INVARIANT: it is raised before the file of such a segment is touched.
    pub(super) floor: Arc<AtomicU32>,
    /// See [`Supplies`].
    hold: Arc<AtomicU32>,
    /// The core has no segment, because the oldest one holds messages whose fate is not known.
    held_up: bool,
    pub(super) failed: Arc<AtomicU64>,
    next_number: u32,
    /// Full ones, oldest first.
    full: VecDeque<FullSegment>,
    /// When we last found no room for the core. The core knows of the shortage, and gets a segment as soon as
    /// there is room.
    short: Option<Instant>,
    /// How soon the core needs the next segment.
    need: NextNeed,
    /// That of the writer when it last had a segment probed.
    suspicion: u32,
}

/// How soon a core needs its next segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NextNeed {
    /// The present one has just begun. A segment is made in free room only: mail is not deleted for it yet.
    Later,
    /// As before, and there was no free room, so the segment is still to be made.
    Deferred,
    /// The present one is half full, or must not be written to any more.
    Soon,
}

/// A segment to which the log does not write any more.
pub(super) struct FullSegment {
    pub(super) number: u32,
    /// No sync or write-back of it has failed.
    pub(super) sound: bool,
    pub(super) room: Reservation,
    pub(super) retained: Option<RetainedMap>,
}

impl Shelf {
    /// When to look for room again; `None` if the core has a segment.
    fn until_retry(&self, now: Instant) -> Option<Duration> {
        let pause = Duration::from_millis(SPOOL_RETRY_MS);
        self.short.map(|tried| pause.saturating_sub(now.duration_since(tried)))
    }

    pub(super) fn add(&mut self, full: FullSegment) {
        debug_assert!(self.full.back().is_none_or(|last| last.number < full.number));
        self.full.push_back(full);
    }

    /// A full segment, if it was not recycled or moved away meanwhile.
    pub(super) fn find(&mut self, number: u32) -> Option<&mut FullSegment> {
        self.full.iter_mut().find(|full| full.number == number)
    }

    /// Whether a segment of this run was not taken to be recycled.
    pub(super) fn is_alive(&self, number: u32) -> bool {
        number >= self.floor.load(Ordering::Acquire)
    }

    /// Whether the oldest full segment holds pieces of messages whose fate is not known.
    fn is_held(&self) -> bool {
        #[cfg(test)]
        if is_planted(PlantedFault::TakesWhatWaits) {
            return false;
        }
        let hold = self.hold.load(Ordering::Acquire);
        self.full.front().is_some_and(|oldest| oldest.number >= hold)
    }
}

/// A segment of an earlier run.
struct EarlierSegment {
    file: Old,
    room: Reservation,
    dead: DeadRoom,
}

pub(super) struct Supply {
    dir: PathBuf,
    options: Options,
    budget: Budget,
    shelves: Vec<Shelf>,
    /// Oldest first.
    earlier: VecDeque<EarlierSegment>,
    pub(super) numbers: Numbers,
    now: Instant,
}

impl Supply {
    /// `first_number` is above every number in the directory; `old` are the segments there. Also returns each
    /// core's end of the channels, with `jobs`.
    pub(super) fn new(
        dir: PathBuf,
        options: Options,
        first_number: u32,
        old: VecDeque<Old>,
        jobs: &Sender<Job>,
    ) -> (Self, Vec<Supplies>) {
        let pool = OpenPool::new(options.open_bytes);
        let (shelves, supplies) = (0..options.cores)
            .map(|_| {
                let (ready, taken) = mpsc::channel();
                let (floor, failed) = <(Arc<AtomicU32>, Arc<AtomicU64>)>::default();
                let hold = Arc::new(AtomicU32::new(NOTHING_HELD));
                let shelf = Shelf {
                    ready,
                    floor: floor.clone(),
                    failed: failed.clone(),
                    hold: hold.clone(),
                    held_up: false,
                    next_number: first_number,
                    full: VecDeque::new(),
                    short: None,
                    need: NextNeed::Soon,
                    suspicion: 0,
                };
                let open_room = OpenRoom::new(pool.clone(), &options);
                let jobs = jobs.clone();
                (shelf, Supplies { ready: taken, jobs, floor, hold, failed, open_room })
            })
            .unzip();
        let budget = Budget::new(&options);
        let count = |file: Old| EarlierSegment {
            room: budget.count_old(file.bytes),
            dead: DeadRoom::count(&pool, &options, file.dead_bytes),
            file,
        };
        let earlier = old.into_iter().map(count).collect();
        let numbers = Numbers::new(dir.clone(), options.durability, first_number);
        let now = Instant::now();
        (Self { dir, options, budget, shelves, earlier, numbers, now }, supplies)
    }

    pub(super) fn shelf(&mut self, core: usize) -> &mut Shelf {
        &mut self.shelves[core]
    }

    /// When to look for room again; `None` if no core lacks it.
    pub(super) fn until_retry(&self, now: Instant) -> Option<Duration> {
        self.shelves.iter().filter_map(|shelf| shelf.until_retry(now)).min()
    }

    /// Tells the time, which only the caller looks at.
    pub(super) fn set_time(&mut self, now: Instant) {
        self.now = now;
    }

    /// Looks for room again for the cores whose turn it is, however busy the other cores keep the helper.
    pub(super) fn retry(&mut self, mut flusher: Option<&mut Flusher>) {
        let now = self.now;
        let is_due = |shelf: &Shelf| shelf.until_retry(now) == Some(Duration::ZERO);
        if !self.shelves.iter().any(is_due) {
            return;
        }
        self.forget_missing();
        for core in 0..self.shelves.len() {
            if is_due(&self.shelves[core]) {
                self.supply(core, flusher.as_deref_mut());
            }
        }
    }

    /// The core has begun a segment, and wants one ahead.
    pub(super) fn want(&mut self, core: usize, flusher: Option<&mut Flusher>) {
        self.shelves[core].need = NextNeed::Later;
        self.supply(core, flusher);
    }

    /// The core will need the segment that it wanted soon.
    pub(super) fn need(&mut self, core: usize, flusher: Option<&mut Flusher>) {
        let before = std::mem::replace(&mut self.shelves[core].need, NextNeed::Soon);
        if before == NextNeed::Deferred {
            self.supply(core, flusher);
        }
    }

    /// The fate of more messages of the core is known, so that it may get the segment that it could not get.
    pub(super) fn settled(&mut self, core: usize, flusher: Option<&mut Flusher>) {
        let shelf = &mut self.shelves[core];
        if std::mem::take(&mut shelf.held_up) && shelf.short.is_some() {
            self.supply(core, flusher);
        }
    }

    /// Sends `core` one more segment, or why there is none. Puts it off if mail would have to be deleted for
    /// a segment that is not needed soon.
    pub(super) fn supply(&mut self, core: usize, flusher: Option<&mut Flusher>) {
        let Some(mut made) = self.prepare(core, flusher) else {
            let shelf = &mut self.shelves[core];
            (shelf.need, shelf.short) = (NextNeed::Deferred, None);
            return;
        };
        let shelf = &mut self.shelves[core];
        if shelf.need == NextNeed::Deferred {
            // It is put off no more: when it is needed, it has been made.
            shelf.need = NextNeed::Later;
        }
        if shelf.suspicion > 0 {
            made = made.and_then(|segment| self.probe(core, segment));
        }
        self.hand_out(core, made);
    }

    /// Probes this segment, and from now on each later segment of the core, by a write and a sync.
    pub(super) fn suspect(&mut self, core: usize, segment: Segment, suspicion: u32) {
        debug_assert!(suspicion >= self.shelves[core].suspicion, "suspicion never falls");
        self.shelves[core].suspicion = suspicion;
        let probed = self.probe(core, segment);
        self.hand_out(core, probed);
    }

    fn probe(&self, core: usize, mut segment: Segment) -> Ready {
        match segment.probe(self.shelves[core].suspicion) {
            Ok(()) => Ok(segment),
            Err(error) => {
                segment.finish(0);
                Err(error)
            }
        }
    }

    fn hand_out(&mut self, core: usize, made: Ready) {
        let short = made.is_err().then_some(self.now);
        let shelf = &mut self.shelves[core];
        let told_before = std::mem::replace(&mut shelf.short, short).is_some();
        if made.is_err() && told_before {
            return;
        }
        if let Err(mpsc::SendError(Ok(segment))) = shelf.ready.send(made) {
            segment.finish(0);
        }
    }

    /// The first segment of `core`, which is needed at once.
    pub(super) fn prepare_first(&mut self, core: usize, flusher: Option<&mut Flusher>) -> Ready {
        assert_eq!(self.shelves[core].need, NextNeed::Soon, "core {core} has a segment");
        self.prepare(core, flusher).expect("what is needed soon is not put off")
    }

    /// Makes one more segment for `core`, in free room, or else from the oldest segment. `None` if it would
    /// have to be from the oldest one, and is not needed soon.
    fn prepare(&mut self, core: usize, flusher: Option<&mut Flusher>) -> Option<Ready> {
        // A spool directory that was moved away may come back. A segment in another directory of that name is
        // of no use to readers.
        if let Err(error) = check_marker(&self.dir) {
            return Some(Err(error));
        }
        let mut shortage = self.full();
        if let Some(made) = self.create_in_free_room(core, &mut shortage) {
            return Some(made);
        }
        if self.options.when_full == WhenFull::Refuse {
            return Some(Err(shortage));
        }
        let may_take_earlier = self.budget.may_hold_more(core) && !self.earlier.is_empty();
        let can_recycle = may_take_earlier || !self.shelves[core].full.is_empty();
        if can_recycle && self.shelves[core].need != NextNeed::Soon {
            return None;
        }
        Some(self.recycle_oldest(core, shortage, flusher))
    }

    /// Makes a segment from the oldest one, or in its room. Returns `shortage` if there is none.
    fn recycle_oldest(
        &mut self,
        core: usize,
        mut shortage: SpoolError,
        flusher: Option<&mut Flusher>,
    ) -> Ready {
        while self.budget.may_hold_more(core)
            && self.can_make_room()
            && let Some(earlier) = self.earlier.pop_front()
        {
            let EarlierSegment { file, mut room, dead } = earlier;
            if file.bytes == self.options.segment_bytes && self.is_whole(&file.path) {
                room.give_to(core);
                let made = self.recycle(core, &file.path, None, room);
                if made.is_err() && file::is_there(&file.path) {
                    let room = self.budget.count_old(file.bytes);
                    self.earlier.push_front(EarlierSegment { file, room, dead });
                }
                return made;
            }
            // The segment has another size, so we can only use its room.
            let _ = fs::remove_file(&file.path);
            drop(room);
            if let Some(made) = self.create_in_free_room(core, &mut shortage) {
                return made;
            }
        }
        if self.shelves[core].is_held() {
            self.shelves[core].held_up = true;
            return Err(SpoolError::Held { core: core as u16 });
        }
        let Some(oldest) = self.shelves[core].full.pop_front() else { return Err(shortage) };
        self.reuse(core, oldest, flusher)
    }

    /// Whether the segments of earlier runs can become one of ours. Where other files have filled the disk and all
    /// of them together are too small, none is removed: mail would be lost, and nothing won.
    fn can_make_room(&self) -> bool {
        let segment_bytes = self.options.segment_bytes;
        let sizes = || self.earlier.iter().map(|earlier| earlier.file.bytes);
        // A file system that does not tell how much is free is tried.
        let free_bytes =
            statvfs(&self.dir).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let least_bytes = segment_bytes + SEGMENT_STEP_BYTES;
        sizes().any(|bytes| bytes == segment_bytes)
            || free_bytes.saturating_add(sizes().sum()) >= least_bytes
    }

    /// `None` if there is no room; then `shortage` says why.
    fn create_in_free_room(&mut self, core: usize, shortage: &mut SpoolError) -> Option<Ready> {
        let room = self.budget.reserve(core)?;
        match self.create(core, room) {
            // Other files have filled the disk, so there is no room in spite of the budget.
            Err(no_space @ SpoolError::NoSpace { .. }) => {
                *shortage = no_space;
                None
            }
            made => Some(made),
        }
    }

    /// Removes a full segment that holds nothing but dead room, and serves the core if it lacks a segment.
    pub(super) fn free(&mut self, core: usize, number: u32, mut flusher: Option<&mut Flusher>) {
        let shelf = &mut self.shelves[core];
        let Some(at) = shelf.full.iter().position(|full| full.number == number) else { return };
        if let Some(flusher) = flusher.as_deref_mut() {
            flusher.forget(core, number);
        }
        match fs::remove_file(self.dir.join(file_name(core as u16, number))) {
            // It stays in the ring, and is recycled in its turn.
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return,
            Ok(()) | Err(_) => drop(shelf.full.remove(at)),
        }
        if shelf.short.is_some() || shelf.need == NextNeed::Deferred {
            self.supply(core, flusher);
        }
    }

    /// Makes a segment from the oldest full one of `core`.
    fn reuse(
        &mut self,
        core: usize,
        oldest: FullSegment,
        flusher: Option<&mut Flusher>,
    ) -> Result<Segment, SpoolError> {
        // From here on a message that began in that segment and is still open cannot be sealed.
        let floor = self.shelves[core].floor.swap(oldest.number + 1, Ordering::AcqRel);
        debug_assert!(floor <= oldest.number + 1, "the floor never falls");
        if let Some(flusher) = flusher {
            flusher.forget(core, oldest.number);
        }
        let path = self.dir.join(file_name(core as u16, oldest.number));
        // A segment that the disk has failed, or that was cut, is not used again.
        if !oldest.sound || !self.is_whole(&path) {
            return match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    self.shelves[core].full.push_front(oldest);
                    Err(SpoolError::io("remove the segment", &path, cause))
                }
                Ok(()) | Err(_) => {
                    drop(oldest);
                    self.create(core, self.budget.count(core))
                }
            };
        }
        let FullSegment { number, sound, room, retained } = oldest;
        let made = self.recycle(core, &path, retained, room);
        // If the file could not be renamed, it is there as before, and counts.
        if made.is_err() && file::is_there(&path) {
            let room = self.budget.count(core);
            self.shelves[core].full.push_front(FullSegment { number, sound, room, retained: None });
        }
        made
    }

    fn is_whole(&self, segment: &Path) -> bool {
        file::metadata(segment)
            .is_ok_and(|found| found.is_file() && found.len() == self.options.segment_bytes)
    }

    fn create(&mut self, core: usize, room: Reservation) -> Result<Segment, SpoolError> {
        self.plan(core, room)?.create()
    }

    fn recycle(
        &mut self,
        core: usize,
        old: &Path,
        retained: Option<RetainedMap>,
        room: Reservation,
    ) -> Result<Segment, SpoolError> {
        self.plan(core, room)?.recycle(old, retained)
    }

    fn plan(&mut self, core: usize, room: Reservation) -> Result<SegmentPlan<'_>, SpoolError> {
        let header = self.next_header(core)?;
        Ok(SegmentPlan { dir: &self.dir, header, durability: self.options.durability, room })
    }

    fn next_header(&mut self, core: usize) -> Result<SegmentHeader, SpoolError> {
        // Somebody may have put a segment into the spool while the sink runs.
        let mut number = self.shelves[core].next_number;
        while let Some(taken) = self.taken_name(core, number) {
            notice!("ringpost-sink: {}: is there already, and stays as it is", taken.display());
            number += 1;
        }
        self.numbers.reserve(number)?;
        self.shelves[core].next_number = number + 1;
        Ok(fresh_header(core as u16, number, self.options.segment_bytes))
    }

    /// What has one of the names of the segment with this number.
    fn taken_name(&self, core: usize, number: u32) -> Option<PathBuf> {
        let names = [file_name, name_in_making].map(|name| name(core as u16, number));
        names.into_iter().map(|name| self.dir.join(name)).find(|path| file::is_there(path))
    }

    /// Forgets segments whose files are gone: somebody may have moved them away to make room.
    fn forget_missing(&mut self) {
        for (core, shelf) in self.shelves.iter_mut().enumerate() {
            let path = |number| self.dir.join(file_name(core as u16, number));
            shelf.full.retain(|full| file::is_there(&path(full.number)));
        }
        self.earlier.retain(|earlier| file::is_there(&earlier.file.path));
    }

    fn full(&self) -> SpoolError {
        SpoolError::Full { dir: self.dir.clone(), limit_bytes: self.options.limit_bytes }
    }
}

/// Removes the segments that were made ready for a core that is gone.
pub(super) fn take_back(ready: &Receiver<Ready>) {
    for segment in ready.try_iter().flatten() {
        segment.finish(0);
    }
}
