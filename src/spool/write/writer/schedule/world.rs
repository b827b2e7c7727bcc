//! A spool, its disk, and those that use it, one step at a time.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::disk::SyncedDisk;
use super::helper::SteppedHelper;
use super::promises::{Doubts, Promises, SealedMessage, path};
use crate::spool::envelope::Meta;
use crate::spool::error::SpoolError;
use crate::spool::options::{Durability, Options, WhenFull};
use crate::spool::write::barrier::Barrier;
use crate::spool::write::job::{Order, WriteBack};
use crate::spool::write::marker;
use crate::spool::write::recover::recover;
use crate::spool::write::ticket::TicketFate;
use crate::spool::write::writer::{Draft, Writer};

/// Two pages, so that a file can lose one.
const SEGMENT_BYTES: u64 = 8_192;
const SESSIONS: usize = 4;

/// What a seed plays with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    durability: Durability,
    when_full: WhenFull,
    segments: usize,
    /// One sync, or write-back, out of so many fails; 0: none.
    fails_one_in: u8,
    /// Somebody cuts and removes segments.
    is_meddled_with: bool,
}

impl Scene {
    pub(super) fn new(random: &mut fastrand::Rng) -> Self {
        let durability = if random.u8(0..4) > 0 { Durability::Sync } else { Durability::Process };
        let when_full = if random.u8(0..8) > 0 { WhenFull::Recycle } else { WhenFull::Refuse };
        let segments = random.usize(3..6);
        let fails_one_in = random.choice([0, 4, 12]).unwrap();
        let is_meddled_with = random.u8(0..16) == 0;
        Self { durability, when_full, segments, fails_one_in, is_meddled_with }
    }

    /// A ring that [`Options::check`] does not let be.
    pub(super) fn of_two_segments() -> Self {
        let (durability, when_full) = (Durability::Process, WhenFull::Recycle);
        Self { durability, when_full, segments: 2, fails_one_in: 0, is_meddled_with: false }
    }

    fn options(&self) -> Options {
        Options {
            segment_bytes: SEGMENT_BYTES,
            limit_bytes: self.segments as u64 * SEGMENT_BYTES,
            when_full: self.when_full,
            durability: self.durability,
            cores: 1,
            ..Options::default()
        }
    }
}

#[derive(Default)]
struct Sender {
    draft: Draft,
    body: Vec<u8>,
}

/// A group commit that is under way.
struct RunningSync {
    barriers: Vec<Barrier>,
    synced: usize,
}

pub(super) struct World {
    scene: Scene,
    pub(super) random: fastrand::Rng,
    folder: tempfile::TempDir,
    pub(super) helper: Rc<RefCell<SteppedHelper>>,
    /// `None` only at the end.
    writer: Option<Writer>,
    senders: [Sender; SESSIONS],
    /// Sealed, and not answered.
    waiting: Vec<SealedMessage>,
    running: Option<RunningSync>,
    disk: SyncedDisk,
    promises: Promises,
}

impl World {
    pub(super) fn new(scene: Scene, random: fastrand::Rng) -> Self {
        let folder = memory_folder();
        let lock = Arc::new(marker::lock(folder.path()).unwrap());
        let (helper, first, supplies) = SteppedHelper::new(folder.path(), scene.options());
        let writer = Writer::new(0, first, 0, supplies, scene.durability, lock);
        Self {
            scene,
            random,
            folder,
            helper: Rc::new(RefCell::new(helper)),
            writer: Some(writer),
            senders: Default::default(),
            waiting: Vec::new(),
            running: None,
            disk: SyncedDisk::default(),
            promises: Promises::default(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("until the end")
    }

    fn one_in(&mut self, many: u8) -> bool {
        many > 0 && self.random.u8(0..many) == 0
    }

    /// Does one thing.
    pub(super) fn step(&mut self) {
        match self.random.u8(0..100) {
            0..30 => self.append(),
            30..50 => self.seal(),
            50..53 => self.discard(),
            53..75 => drop(self.helper.borrow_mut().work()),
            75..79 => self.helper.borrow_mut().rest(),
            79..94 => self.sync(),
            94..96 => self.write_back(),
            96..98 => {
                let _ = self.writer().room();
                let _ = self.writer().check_path();
            }
            _ if self.scene.is_meddled_with => self.meddle(),
            _ => {}
        }
        self.answer();
    }

    fn append(&mut self) {
        let bytes = if self.one_in(8) { 9_000 } else { 1_500 };
        let mut piece = vec![0; self.random.usize(1..bytes)];
        self.random.fill(&mut piece);
        let at = self.random.usize(0..SESSIONS);
        let given_up = self.given_up();
        let mut sender = std::mem::take(&mut self.senders[at]);
        let appended = self.writer().append(&mut sender.draft, &piece);
        sender.body.extend_from_slice(&piece);
        match appended {
            Ok(()) => {
                let latest = sender.draft.latest.expect("a piece").segment;
                assert!(
                    !given_up.contains(&latest),
                    "a piece goes to {latest}, which was given up"
                );
                self.senders[at] = sender;
            }
            Err(error) => {
                let pieces = self.pieces(&sender.draft);
                self.check_refusal(&sender.draft, &pieces, &error);
                self.writer().discard(&mut sender.draft);
            }
        }
    }

    fn seal(&mut self) {
        let at = self.random.usize(0..SESSIONS);
        let mut sender = std::mem::take(&mut self.senders[at]);
        let draft = Draft { ..sender.draft };
        let mut pieces = self.pieces(&draft);
        let (given_up, failures) = (self.given_up(), self.writer().failures());
        let to: [(&[u8], &[u8]); 1] = [(b"b@x.example", b"")];
        let sealed = self.writer().seal(&mut sender.draft, &Meta::default(), to);
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => return self.check_refusal(&draft, &pieces, &error),
        };
        let place = sealed.place;
        assert!(!given_up.contains(&place.segment), "{place} goes to a segment that was given up");
        let first_segment = if draft.id == 0 { place.segment } else { draft.first_segment };
        pieces.remove(&place.segment);
        let end = self.writer().head;
        let (ticket, body) = (sealed.ticket, sender.body);
        self.waiting.push(SealedMessage {
            place,
            ticket,
            body,
            first_segment,
            pieces,
            end,
            failures,
        });
    }

    fn discard(&mut self) {
        let at = self.random.usize(0..SESSIONS);
        let mut sender = std::mem::take(&mut self.senders[at]);
        self.writer().discard(&mut sender.draft);
    }

    /// Segments that hold pieces of the message.
    fn pieces(&mut self, draft: &Draft) -> HashSet<u32> {
        self.writer().pieces.segments(draft.piece)
    }

    /// A message is refused for a reason.
    fn check_refusal(&mut self, draft: &Draft, pieces: &HashSet<u32>, error: &SpoolError) {
        let is_idle = !self.helper.borrow_mut().has_jobs();
        let spoilt = !self.promises.spoilt.is_empty();
        if matches!(error, SpoolError::Outlived) && !spoilt {
            let newer = self.helper.borrow().newer(draft.first_segment);
            let promised = self.scene.segments.saturating_sub(2).max(1);
            assert!(newer >= promised, "a message is outlived that began {newer} segments ago");
        }
        if matches!(error, SpoolError::Held { .. }) && is_idle {
            assert!(!self.waiting.is_empty(), "the ring is held, and no message waits");
        }
        // Where there is a shortage, its cause may lie elsewhere.
        let is_refused = matches!(error, SpoolError::Poisoned { .. } | SpoolError::Torn { .. });
        if is_refused && !spoilt && self.writer().shortage.is_none() {
            let given_up = self.given_up();
            let present = self.writer().segment().header.number;
            let is_hit = given_up.contains(&present) || !pieces.is_disjoint(&given_up);
            assert!(is_hit, "a message is refused for {error}, and has nothing there");
        }
    }

    fn given_up(&mut self) -> HashSet<u32> {
        let left = self.helper.borrow().left.clone();
        let writer = self.writer();
        let present = writer.segment().header.number;
        let all = left.iter().map(|(number, _)| *number).chain([present]);
        all.filter(|number| writer.barriers.is_poisoned(*number)).collect()
    }

    /// A step of group commit, as the sink does it: all that is dirty is synced, one segment after the
    /// other, and other sessions go on meanwhile.
    fn sync(&mut self) {
        if self.scene.durability == Durability::Process || self.waiting.is_empty() {
            return;
        }
        let Some(mut running) = self.running.take() else {
            let barriers: Vec<_> = self.writer().dirty().collect();
            assert!(!barriers.is_empty(), "a message waits, and there is nothing to sync");
            self.running = Some(RunningSync { barriers, synced: 0 });
            return;
        };
        let barrier = running.barriers[running.synced].clone();
        if self.one_in(self.scene.fails_one_in) {
            self.disk.fails(barrier.segment());
            return self.writer().poison(&barrier);
        }
        self.disk.synced(&barrier);
        running.synced += 1;
        if running.synced == running.barriers.len() {
            let _ = self.writer().all_synced(&running.barriers);
        } else {
            self.running = Some(running);
        }
    }

    fn write_back(&mut self) {
        let fails = self.one_in(self.scene.fails_one_in);
        let has_no_descriptor = self.one_in(8);
        let outcome = |order: &Order| match OpenOptions::new().write(true).open(&order.path) {
            Ok(_) if fails => WriteBack::Failed(io::ErrorKind::Other.into()),
            Ok(file) if !has_no_descriptor => WriteBack::Written(file),
            _ => WriteBack::Unopened,
        };
        self.helper.borrow().write_back(outcome);
    }

    /// Somebody cuts or removes a segment.
    fn meddle(&mut self) {
        self.helper.borrow_mut().look();
        let left = self.helper.borrow().left.clone();
        let present = self.writer().segment().header.number;
        let numbers: Vec<_> = left.iter().map(|(number, _)| *number).chain([present]).collect();
        let segment = *self.random.choice(&numbers).unwrap();
        let path = path(&self.dir(), segment);
        let Ok(file) = OpenOptions::new().write(true).open(&path) else { return };
        self.promises.spoil(segment);
        if self.random.bool() {
            fs::remove_file(path).unwrap();
        } else {
            file.set_len(self.random.u64(64..SEGMENT_BYTES)).unwrap();
        }
    }

    /// Each message whose fate is known gets its reply.
    fn answer(&mut self) {
        let dir = self.dir();
        for message in std::mem::take(&mut self.waiting) {
            match self.writer().fate(message.ticket) {
                TicketFate::Waiting => self.waiting.push(message),
                TicketFate::Kept => self.acknowledge(&dir, message),
                TicketFate::Lost => {
                    let failures = self.writer().failures();
                    assert!(failures > message.failures, "{} is lost for no reason", message.place);
                }
            }
        }
    }

    fn acknowledge(&mut self, dir: &Path, message: SealedMessage) {
        let mut helper = self.helper.borrow_mut();
        helper.look();
        let (first, last) = (message.first_segment, message.place.segment);
        let used_of = |segment: &u32| (*segment, helper.used(*segment).expect("the log left it"));
        let mut used: Vec<_> = message.pieces.iter().map(used_of).collect();
        used.push((last, message.end));
        if self.scene.durability == Durability::Sync {
            for &(segment, end) in &used {
                let durable = self.disk.durable(segment);
                let place = message.place;
                assert!(durable >= end, "{place} gets 250, and {end} of {segment} is not synced");
            }
        } else if helper.newer(first) >= self.scene.segments - 2 {
            // The ring does not promise to keep it so long as until its answer.
            self.promises.unpromised.insert(message.place);
            return;
        }
        drop(helper);
        self.promises.acknowledge(dir, message, &used);
    }

    /// All that was promised is there.
    pub(super) fn check(&mut self) {
        let dir = self.dir();
        let gone = self.promises.check(&dir);
        let helper = self.helper.borrow();
        for segment in gone {
            let newer = helper.newer(segment);
            let promised = self.scene.segments.saturating_sub(2);
            assert!(newer >= promised, "{segment} is recycled, and only {newer} are newer");
        }
        drop(helper);
        let looks = self.one_in(12);
        if looks && !self.helper.borrow_mut().has_to_void() {
            self.promises.check_listing(&dir, Doubts::None, &self.places());
        }
    }

    fn places(&self) -> HashSet<crate::spool::format::Place> {
        self.waiting.iter().map(|message| message.place).collect()
    }

    /// The power is cut, or the sink ends; then the spool is opened again.
    pub(super) fn end(&mut self) {
        let (dir, waiting) = (self.dir(), self.places());
        if self.scene.durability == Durability::Sync && self.one_in(3) {
            let left = memory_folder();
            self.disk.cut_power(&dir, left.path(), &mut self.random);
            self.promises.check_listing(left.path(), Doubts::AfterCut, &waiting);
            recover(left.path()).unwrap();
            return self.promises.check_listing(left.path(), Doubts::AfterRecovery, &waiting);
        }
        self.scene.fails_one_in = 0;
        while self.helper.borrow_mut().work() {}
        for _ in 0..100 {
            self.sync();
            self.answer();
        }
        assert!(self.waiting.is_empty(), "a message never gets its reply");
        self.check();
        self.writer = None;
        while self.helper.borrow_mut().work() {}
        self.check();
        self.promises.check_listing(&dir, Doubts::None, &HashSet::new());
        recover(&dir).unwrap();
        self.promises.check_listing(&dir, Doubts::None, &HashSet::new());
    }
}

/// A folder in memory, where there is such a thing: a sync takes no time there.
fn memory_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
