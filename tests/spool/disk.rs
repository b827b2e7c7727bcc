//! A disk that loses its power: of what was written since the last sync, each sector may be there, or
//! not, or be an earlier one, or half of each; some come back with a bit turned, or in another's place.
//!
//! `RINGPOST_DISK_SEEDS=1000000 cargo test --release --test spool disk` for more of them; a failure names
//! its seed, and `RINGPOST_SEED` begins with it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ringpost::spool::{Damage, Doubt, Message, Place, Reader, Survey};

use super::tape::{Sealed, Tape, file};
use super::{number_from, open_one, small, store};

const SECTOR: usize = 512;
const PAGE: usize = 4_096;
/// Crashes out of one recording.
const SEEDS_PER_TAPE: u64 = 50;
/// One crash out of so many is read by the independent reader too.
const SEEDS_PER_OTHER_READER: u64 = 500;

/// How a disk treats what it was not told to keep: chances for each sector or page, out of 256.
struct Habit {
    unit: usize,
    /// Keeps what was there at the last sync.
    drops: u8,
    /// Keeps any of the versions since, and so writes them in no order.
    reorders: u8,
    /// Two versions, cut between any two words.
    tears: u8,
    flips: u8,
    /// Another sector's octets.
    misdirects: u8,
}

impl Habit {
    fn new(random: &mut fastrand::Rng) -> Self {
        let unit = if random.bool() { SECTOR } else { PAGE };
        let honest = random.bool();
        let mut chance = |rare: u8| random.choice([0, 0, rare, 127]).unwrap();
        let (drops, reorders, tears) = (chance(40), chance(60), chance(10));
        let (flips, misdirects) = if honest { (0, 0) } else { (chance(2) / 2, chance(2) / 2) };
        Self { unit, drops, reorders, tears, flips, misdirects }
    }

    /// Whether a sector always comes back as it was at some time, or as two halves of such: then what
    /// was synced is safe even where it shares its sector with what came later.
    fn is_honest(&self) -> bool {
        self.flips == 0 && self.misdirects == 0
    }

    /// What the disk holds of a file of which it was given these versions, the first one synced.
    fn keep(&self, versions: &[impl AsRef<Vec<u8>>], random: &mut fastrand::Rng) -> Vec<u8> {
        let durable = versions[0].as_ref();
        let latest = versions[versions.len() - 1].as_ref();
        let mut image = latest.clone();
        for at in (0..image.len()).step_by(self.unit) {
            let range = at..(at + self.unit).min(image.len());
            // A sector that nobody wrote to since is as safe as it ever was.
            if versions
                .iter()
                .all(|version| version.as_ref()[range.clone()] == durable[range.clone()])
            {
                continue;
            }
            let mut any = || versions[random.usize(0..versions.len())].as_ref();
            let (one, other) = (any(), any());
            let mut happens = |chance: u8| random.u8(..) < chance;
            if happens(self.drops) {
                image[range.clone()].copy_from_slice(&durable[range.clone()]);
            } else if happens(self.reorders) {
                image[range.clone()].copy_from_slice(&one[range.clone()]);
            } else if happens(self.tears) {
                // Aligned words of 8 octets are kept whole, which the durable mark relies on.
                let cut = random.usize(range.clone()) & !7;
                image[range.start..cut].copy_from_slice(&one[range.start..cut]);
                image[cut..range.end].copy_from_slice(&other[cut..range.end]);
            } else if happens(self.misdirects) && at > 0 {
                // A segment header of zeros is a segment in the making, wherever the zeros came from.
                let from = random.usize(0..latest.len() / self.unit) * self.unit;
                image[range.clone()].copy_from_slice(&latest[from..from + self.unit]);
            } else if happens(self.flips) {
                image[random.usize(range)] ^= 1 << random.u32(0..8);
            }
        }
        image
    }
}

/// Makes in `dir` the spool that a cut at `step` leaves.
fn leave(tape: &Tape, step: usize, habit: &Habit, dir: &Path, random: &mut fastrand::Rng) {
    fs::write(dir.join("SPOOL"), "ringpost-spool 2\n").unwrap();
    let files = &tape.steps[step];
    for &number in files.keys() {
        fs::write(file(dir, number), habit.keep(&tape.versions(number, step), random)).unwrap();
    }
    let (newest, made) = files.iter().next_back().unwrap();
    // The segment that was being made while this step was done may be at any point of it.
    let is_ahead = *newest > tape.heads[step].segment;
    let in_the_making =
        step > 0 && is_ahead && !tape.steps[step - 1].contains_key(newest) && random.bool();
    if !in_the_making {
        return;
    }
    let taken = tape.steps[step - 1].iter().find(|(number, _)| !files.contains_key(number));
    match taken {
        Some((number, old)) => half_recycled(dir, (*number, old), (*newest, made), random),
        None => half_made(&file(dir, *newest), made, random),
    }
}

/// A new file: not there, empty or short under its first name, or long and without a header under either: it has
/// its length before it gets its name.
fn half_made(path: &Path, made: &[u8], random: &mut fastrand::Rng) {
    let first = path.with_extension("new");
    let (name, octets) = match random.u32(0..5) {
        0 => return fs::remove_file(path).unwrap(),
        1 => (&first, 0),
        2 => (&first, random.usize(0..made.len())),
        3 => (&first, made.len()),
        _ => (&path.to_owned(), made.len()),
    };
    fs::remove_file(path).unwrap();
    fs::write(name, vec![0; octets]).unwrap();
}

/// An old file on its way to a new life: under either name, its first sector at any point of it.
fn half_recycled(
    dir: &Path,
    (old_number, old): (u32, &[u8]),
    (new_number, new): (u32, &[u8]),
    random: &mut fastrand::Rng,
) {
    let mut image = old.to_vec();
    match random.u32(0..4) {
        0 => {}
        1 => image[..64].fill(0),
        2 => image[..128].fill(0),
        _ => image[..SECTOR].copy_from_slice(&new[..SECTOR]),
    }
    fs::remove_file(file(dir, new_number)).unwrap();
    fs::write(file(dir, if random.bool() { old_number } else { new_number }), image).unwrap();
}

struct Shown {
    messages: Vec<Message>,
    survey: Survey,
}

impl Shown {
    fn read(reader: &Reader) -> Self {
        let mut messages = reader.messages();
        let listed = messages.by_ref().map(Result::unwrap).collect();
        Self { messages: listed, survey: messages.survey().clone() }
    }

    /// Whether anything is said to be wrong, be it what a power cut may leave.
    fn is_in_doubt(&self) -> bool {
        !self.survey.damage.is_empty() || !self.survey.torn.is_empty()
    }
}

/// Nothing is shown that was not sealed, or that is other than it was sealed.
fn check_shown(shown: &Shown, reader: &Reader, sealed: &[&Sealed], changed: &[u32]) {
    let known: HashMap<Place, &Sealed> =
        sealed.iter().map(|sealed| (sealed.place, *sealed)).collect();
    let mut seen = HashSet::new();
    for message in &shown.messages {
        let place = message.place;
        assert!(seen.insert(place), "{place} is shown twice");
        let sealed = known.get(&place).unwrap_or_else(|| panic!("{place} was never sealed"));
        let segments = sealed.first_segment..=place.segment;
        if changed.iter().any(|number| segments.contains(number)) {
            let body = reader.body(message).unwrap();
            assert!(body == sealed.body, "{place} is not what was sealed");
        }
        assert_eq!(message.bytes, sealed.body.len() as u64, "{place}");
    }
}

/// Everything that was synced is shown, or there is a word of doubt where bits may turn; and where one is
/// missing before one that is shown, there is a word of doubt too. An honest disk is never called
/// damaged, but for a segment that was being reused: it can look as if somebody had renamed it. What another sector's octets were written over may end there as if that was all.
fn check_missing(shown: &Shown, sealed: &[&Sealed], synced: usize, oldest: u32, habit: &Habit) {
    let honest = habit.is_honest();
    let is_reuse = |damage: &Damage| damage.what == Doubt::SegmentName;
    let is_sound = shown.survey.damage.iter().all(is_reuse);
    assert!(!honest || is_sound, "a power cut is no damage: {}", shown.survey);
    let found: HashSet<Place> = shown.messages.iter().map(|message| message.place).collect();
    let mut missing_in = None;
    for message in sealed.iter().filter(|sealed| sealed.first_segment >= oldest) {
        let place = message.place;
        if found.contains(&place) {
            let silent = !shown.is_in_doubt() && missing_in == Some(place.segment);
            assert!(!silent, "one before {place} is missing, and all is said to be well");
        } else {
            let told = shown.is_in_doubt() || habit.misdirects > 0;
            let safe = message.step <= synced && (honest || !told);
            assert!(!safe, "{place} was synced and is not there");
            missing_in = Some(place.segment);
        }
    }
}

fn crash(tape: &Tape, seed: u64, scratch: &Path) {
    let mut random = fastrand::Rng::with_seed(seed);
    let step = random.usize(0..tape.steps.len());
    let dir = tempfile::tempdir_in(scratch).unwrap();
    let habit = Habit::new(&mut random);
    leave(tape, step, &habit, dir.path(), &mut random);

    let reader = Reader::open(dir.path()).unwrap();
    let shown = Shown::read(&reader);
    let sealed: Vec<_> = tape.sealed.iter().filter(|sealed| sealed.step <= step).collect();
    check_shown(&shown, &reader, &sealed, &tape.changed(step));
    let oldest = *tape.steps[step].keys().next().unwrap();
    check_missing(&shown, &sealed, tape.synced_by(step), oldest, &habit);

    if seed.is_multiple_of(SEEDS_PER_OTHER_READER) {
        let listed =
            shown.messages.iter().map(|message| format!("{} {}", message.place, message.bytes));
        assert_eq!(listed.collect::<Vec<_>>(), by_the_other_reader(dir.path()));
    }

    // The next sink takes nothing of it away, finds the same, and can write.
    let (spool, recovery, mut writer) = open_one(dir.path(), small(4_096));
    assert_eq!(recovery.survey, shown.survey);
    let place = store(&mut writer, b"after the cut").unwrap();
    drop(writer);
    drop(spool);
    let again = Shown::read(&Reader::open(dir.path()).unwrap());
    let (last, before) = again.messages.split_last().unwrap();
    assert!(before == shown.messages, "the next sink changed what is shown");
    assert_eq!(last.place, place);
}

/// Name and octets of each message, as the reader in Python lists them. It says too what is damaged.
fn by_the_other_reader(dir: &Path) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/spool_reader.py");
    let output = Command::new("python3").arg("-B").arg(script).arg(dir).output();
    let output = output.expect("python3 runs the independent reader");
    assert!(matches!(output.status.code(), Some(0 | 65)), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Where files cost nothing, if there is such a place.
fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

#[test]
fn a_disk_that_loses_its_power_keeps_what_was_synced_and_shows_nothing_false() {
    let first = number_from("RINGPOST_SEED", 0) / SEEDS_PER_TAPE;
    let tapes = number_from("RINGPOST_DISK_SEEDS", 20_000).div_ceil(SEEDS_PER_TAPE);
    let next = AtomicU64::new(first);
    let work = || {
        let scratch = tempfile::tempdir_in(scratch()).unwrap();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= first + tapes {
                return;
            }
            let tape = Tape::record(number, scratch.path());
            for seed in number * SEEDS_PER_TAPE..(number + 1) * SEEDS_PER_TAPE {
                let outcome = catch_unwind(AssertUnwindSafe(|| crash(&tape, seed, scratch.path())));
                if let Err(panic) = outcome {
                    eprintln!("RINGPOST_SEED={seed}");
                    resume_unwind(panic);
                }
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for worker in (0..workers).map(|_| scope.spawn(work)).collect::<Vec<_>>() {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
}
