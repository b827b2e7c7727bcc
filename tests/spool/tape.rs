//! What a real writer did to its files, step by step, so that any moment of it can be gone back to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringpost::spool::{Draft, Durability, Options, Place, Writer};

use super::{SEGMENT, octets, open_one, seal, small};

const DRAFTS: usize = 4;
const HELPER_MAX: Duration = Duration::from_secs(20);

/// A message that was sealed.
pub(super) struct Sealed {
    pub(super) place: Place,
    pub(super) body: Vec<u8>,
    /// No piece of it lies in an earlier segment.
    pub(super) first_segment: u32,
    pub(super) step: usize,
}

/// The files of the spool as they were after a step, by number.
pub(super) type Files = BTreeMap<u32, Rc<Vec<u8>>>;

/// One run under [`Durability::Sync`].
#[derive(Default)]
pub(super) struct Tape {
    pub(super) sealed: Vec<Sealed>,
    /// After each step; the first is the new spool.
    pub(super) steps: Vec<Files>,
    /// Steps after which everything was synced.
    pub(super) syncs: Vec<usize>,
    /// Where the log ended after each step.
    pub(super) heads: Vec<Place>,
    /// Segments that the spool may have.
    segments: u32,
}

impl Tape {
    /// Messages in pieces, several open at once, syncs between, in a ring or not.
    pub(super) fn record(seed: u64, scratch: &Path) -> Self {
        let dir = tempfile::tempdir_in(scratch).unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let segments = if random.bool() { 4 } else { 64 };
        let options = Options { durability: Durability::Sync, ..small(segments) };
        let (_spool, _, mut writer) = open_one(dir.path(), options);
        let mut tape = Self { segments: segments as u32, ..Self::default() };
        let mut drafts: Vec<Open> = Vec::new();
        drafts.resize_with(DRAFTS, Open::default);
        tape.look(dir.path(), &writer);
        for step in 1..random.usize(12..90) {
            match random.u32(0..24) {
                0..12 => random.choice(&mut drafts).unwrap().grow(&mut writer, seed, &mut random),
                12..20 => {
                    let draft = random.choice(&mut drafts).unwrap();
                    tape.sealed.extend(draft.seal(&mut writer, step));
                }
                20 => {
                    let draft = random.choice(&mut drafts).unwrap();
                    writer.discard(&mut draft.draft);
                    *draft = Open::default();
                }
                _ => tape.sync(&mut writer, step),
            }
            tape.look(dir.path(), &writer);
        }
        tape
    }

    fn sync(&mut self, writer: &mut Writer, step: usize) {
        let barriers: Vec<_> = writer.dirty().collect();
        for barrier in &barriers {
            writer.synced(barrier).unwrap();
        }
        self.syncs.push(step);
    }

    /// Keeps the files as they are now that the helper is at rest.
    fn look(&mut self, dir: &Path, writer: &Writer) {
        let head = writer.position();
        // A full ring gives up its oldest segment when the present one is half full.
        let has_free_room = head.segment < self.segments;
        if has_free_room || u64::from(head.offset) >= SEGMENT / 2 {
            wait_for(&file(dir, head.segment + 1));
        }
        let before = self.steps.last();
        let mut files = Files::new();
        for number in numbers(dir) {
            // Only the head of the log is written to, and what was ahead of it a step ago.
            let still =
                before.filter(|_| number < self.heads.last().map_or(0, |last| last.segment));
            let kept = still.and_then(|files| files.get(&number)).cloned();
            let bytes = kept.unwrap_or_else(|| {
                let bytes = Rc::new(fs::read(file(dir, number)).unwrap());
                let same = before.and_then(|files| files.get(&number)).filter(|old| **old == bytes);
                same.cloned().unwrap_or(bytes)
            });
            files.insert(number, bytes);
        }
        self.steps.push(files);
        self.heads.push(head);
    }

    /// The latest step up to `step` after which all was synced; 0 is the new spool.
    pub(super) fn synced_by(&self, step: usize) -> usize {
        self.syncs.iter().copied().take_while(|sync| *sync <= step).last().unwrap_or(0)
    }

    /// Every state that the disk may hold of a file at `step`, the durable one first. A segment is
    /// synced when it is made, so its first appearance is durable too.
    pub(super) fn versions(&self, number: u32, step: usize) -> Vec<Rc<Vec<u8>>> {
        let mut versions: Vec<Rc<Vec<u8>>> = Vec::new();
        for files in &self.steps[self.synced_by(step)..=step] {
            let Some(bytes) = files.get(&number) else { continue };
            if versions.last().is_none_or(|last| !Rc::ptr_eq(last, bytes)) {
                versions.push(bytes.clone());
            }
        }
        versions
    }

    /// Segments that were written to since they were synced.
    pub(super) fn changed(&self, step: usize) -> Vec<u32> {
        let files = self.steps[step].keys().copied();
        files.filter(|number| self.versions(*number, step).len() > 1).collect()
    }
}

/// A message in the making.
#[derive(Default)]
struct Open {
    draft: Draft,
    body: Vec<u8>,
    first_segment: Option<u32>,
}

impl Open {
    fn grow(&mut self, writer: &mut Writer, seed: u64, random: &mut fastrand::Rng) {
        let most = [60, 900, 5_000, 40_000][random.choice([0, 0, 1, 1, 1, 1, 2, 3]).unwrap()];
        let piece = octets(seed ^ random.u64(..), random.usize(1..most));
        self.first_segment.get_or_insert(writer.position().segment);
        writer.append(&mut self.draft, &piece).unwrap();
        self.body.extend_from_slice(&piece);
    }

    /// Nothing where the ring has taken the start of the message.
    fn seal(&mut self, writer: &mut Writer, step: usize) -> Option<Sealed> {
        let first_segment = self.first_segment.take().unwrap_or(writer.position().segment);
        let body = std::mem::take(&mut self.body);
        let place = seal(writer, &mut self.draft).ok()?;
        Some(Sealed { place, body, first_segment, step })
    }
}

pub(super) fn file(dir: &Path, number: u32) -> std::path::PathBuf {
    dir.join(format!("c000-{number:08}.seg"))
}

fn numbers(dir: &Path) -> Vec<u32> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let number = |name: std::ffi::OsString| {
        let name = name.into_string().unwrap();
        name.strip_prefix("c000-")?.strip_suffix(".seg")?.parse().ok()
    };
    names.filter_map(number).collect()
}

/// The helper makes one segment ahead; it is ready when it has a header.
fn wait_for(path: &Path) {
    let until = Instant::now() + HELPER_MAX;
    loop {
        let ready = fs::read(path).is_ok_and(|bytes| {
            bytes.len() as u64 == SEGMENT && bytes[..64].iter().any(|&b| b != 0)
        });
        if ready {
            return;
        }
        assert!(Instant::now() < until, "{} was not made ready", path.display());
        std::thread::yield_now();
    }
}
