//! Somebody cuts a live segment: nobody dies, nothing that may be lost is acknowledged, and mail goes
//! on in another segment.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use ringpost::spool::{Draft, Durability, Options, Place, SpoolError, Survey, Writer};

use super::tape::file;
use super::{SEGMENT, octets, open_one, read_all, seal, small, store};

const BOTH: [Durability; 2] = [Durability::Process, Durability::Sync];

fn options(durability: Durability) -> Options {
    Options { durability, ..small(8) }
}

fn cut(dir: &Path, number: u32, bytes: u64) {
    let segment = OpenOptions::new().write(true).open(file(dir, number)).unwrap();
    segment.set_len(bytes).unwrap();
}

/// What a sink does before it sends its 250s; the places that it may acknowledge.
fn acknowledge(writer: &mut Writer, sealed: &[Place]) -> Vec<Place> {
    let before = writer.failures();
    let barriers: Vec<_> = writer.dirty().collect();
    barriers.iter().for_each(|barrier| rustix::fs::fdatasync(barrier).unwrap());
    if writer.all_synced(&barriers).is_ok()
        && writer.acknowledge().is_ok()
        && writer.failures() == before
    {
        sealed.to_vec()
    } else {
        Vec::new()
    }
}

fn is_torn(error: &SpoolError) -> bool {
    matches!(error, SpoolError::Torn { core: 0, .. }) && !error.is_full()
}

/// All that was acknowledged and ended below the cut is there, and of the rest nothing but what was
/// acknowledged.
fn check_ledger(dir: &Path, kept: &[Place], lost: &[Place], cut: u64, end: impl Fn(Place) -> u64) {
    let found: BTreeSet<_> = read_all(dir).0.into_iter().map(|(place, _)| place).collect();
    for place in kept {
        let below = place.segment > 1 || end(*place) <= cut;
        assert!(found.contains(place) || !below, "{place} lay below {cut}");
    }
    for place in lost {
        assert!(!found.contains(place), "{place} was refused");
    }
}

#[test]
fn a_live_segment_may_be_cut_anywhere_between_two_messages() {
    let page = rustix::param::page_size() as u64;
    for durability in BOTH {
        for at in [0, 1, 63, 64, 100, page - 1, page, page + 1, 9_000, 12_000, SEGMENT - page - 1] {
            let dir = tempfile::tempdir().unwrap();
            let (spool, _, mut writer) = open_one(dir.path(), options(durability));
            let (mut kept, mut ends) = (Vec::new(), Vec::new());
            for seed in 0..4 {
                kept.push(store(&mut writer, &octets(seed, 2_500)).unwrap());
                ends.push((kept[seed as usize], u64::from(writer.position().offset)));
            }
            assert_eq!(acknowledge(&mut writer, &kept).len(), 4);
            cut(dir.path(), 1, at);
            let error = store(&mut writer, b"into the lost part").unwrap_err();
            assert!(is_torn(&error), "{durability:?}, cut to {at}: {error}");
            assert_eq!((writer.stats().torn, writer.failures()), (1, 1));
            writer.room().unwrap();
            let after = store(&mut writer, b"afterwards").unwrap();
            assert!(after.segment > 1);
            kept.extend(acknowledge(&mut writer, &[after]));
            assert_eq!(kept.len(), 5);
            let end = |place| ends.iter().find(|(of, _)| *of == place).map_or(0, |(_, end)| *end);
            check_ledger(dir.path(), &kept, &[], at, end);
            drop(writer);
            drop(spool);
            check_ledger(dir.path(), &kept, &[], at, end);
            assert_eq!(fs::metadata(file(dir.path(), 1)).unwrap().len(), at, "left as it was cut");
        }
    }
}

#[test]
fn who_asks_before_the_next_message_loses_none() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (_spool, _, mut writer) = open_one(dir.path(), options(durability));
        let before = store(&mut writer, b"before").unwrap();
        acknowledge(&mut writer, &[before]);
        cut(dir.path(), 1, 20_000);
        writer.room().unwrap();
        let after = store(&mut writer, b"after").unwrap();
        assert_eq!((after.segment, writer.stats().torn), (2, 1));
        assert_eq!(acknowledge(&mut writer, &[after]), [after]);
        assert_eq!(read_all(dir.path()).0.len(), 2);
    }
}

#[test]
fn what_was_sealed_and_not_yet_acknowledged_is_refused_with_the_rest() {
    for durability in BOTH {
        for at in [0, 3_000, 8_192] {
            let dir = tempfile::tempdir().unwrap();
            let (_spool, _, mut writer) = open_one(dir.path(), options(durability));
            let sealed = [1, 2].map(|seed| store(&mut writer, &octets(seed, 4_000)).unwrap());
            cut(dir.path(), 1, at);
            assert!(acknowledge(&mut writer, &sealed).is_empty(), "{durability:?}, cut to {at}");
            let after = store(&mut writer, b"after").unwrap();
            assert_eq!(acknowledge(&mut writer, &[after]), [after]);
            check_ledger(dir.path(), &[after], &sealed, 0, |_| 0);
        }
    }
}

#[test]
fn a_cut_ahead_of_the_log_is_met_at_once_even_if_it_took_one_octet() {
    for durability in BOTH {
        for at in [40_000, SEGMENT - 9, SEGMENT - 1] {
            let dir = tempfile::tempdir().unwrap();
            let (_spool, _, mut writer) = open_one(dir.path(), options(durability));
            let before = store(&mut writer, &octets(1, 30_000)).unwrap();
            assert_eq!(acknowledge(&mut writer, &[before]).len(), 1);
            cut(dir.path(), 1, at);
            let error = store(&mut writer, b"into what was cut").unwrap_err();
            assert!(is_torn(&error), "{error}");
            assert!(store(&mut writer, b"after").unwrap().segment > 1);
            assert_eq!(read_all(dir.path()).0[0].0, before);
        }
    }
}

#[test]
fn a_segment_that_is_cut_and_made_longer_again_is_given_up_and_shows_that_messages_are_missing() {
    for durability in BOTH {
        for at in [0, 1, 64, 100, 4_096, 9_000, 12_000, 40_000, SEGMENT - 1] {
            let dir = tempfile::tempdir().unwrap();
            let (spool, _, mut writer) = open_one(dir.path(), options(durability));
            let kept: Vec<_> =
                (0..4).map(|seed| store(&mut writer, &octets(seed, 4_000)).unwrap()).collect();
            assert_eq!(acknowledge(&mut writer, &kept).len(), 4);
            let end = u64::from(writer.position().offset);
            let waits = store(&mut writer, &octets(5, 2_500)).unwrap();
            cut(dir.path(), 1, at);
            cut(dir.path(), 1, SEGMENT);
            assert!(acknowledge(&mut writer, &[waits]).is_empty(), "{durability:?}, cut to {at}");
            let after = store(&mut writer, b"after").unwrap();
            assert_eq!((after.segment, writer.stats().torn, writer.failures()), (2, 1, 1));
            assert_eq!(acknowledge(&mut writer, &[after]), [after]);
            let missing = |read: usize, survey: &Survey| {
                assert_eq!(read == 5, at >= end, "cut to {at}: {read}");
                let told = survey.damage.len() + survey.torn.len();
                assert_eq!(told > 0, at < end, "cut to {at}: {survey}");
            };
            check_ledger(dir.path(), &[after], &[waits], at, |_| 0);
            let (read, survey) = read_all(dir.path());
            missing(read.len(), &survey);
            drop(writer);
            drop(spool);
            let (read, survey) = read_all(dir.path());
            missing(read.len(), &survey);
        }
    }
}

#[test]
fn what_was_refused_in_the_segment_before_is_taken_out_too() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, mut writer) = open_one(dir.path(), options(durability));
        let kept = store(&mut writer, &octets(1, 30_000)).unwrap();
        assert_eq!(acknowledge(&mut writer, &[kept]).len(), 1);
        // One round of a client: its messages stand in two segments.
        let mut refused = Vec::new();
        while refused.len() < 6 {
            refused.push(store(&mut writer, &octets(2, 9_000)).unwrap());
        }
        assert_eq!(writer.position().segment, 2);
        cut(dir.path(), 2, 500);
        assert!(acknowledge(&mut writer, &refused).is_empty());
        let after = store(&mut writer, b"after").unwrap();
        assert_eq!(acknowledge(&mut writer, &[after]), [after]);
        drop(writer);
        drop(spool);
        let found: Vec<_> = read_all(dir.path()).0.into_iter().map(|(place, _)| place).collect();
        assert_eq!(found, [kept, after], "{durability:?}");
    }
}

/// How somebody takes the file of a live segment away.
type Theft = (&'static str, fn(&Path));

const TAKEN_AWAY: [Theft; 4] = [
    ("removed", |file| fs::remove_file(file).unwrap()),
    ("moved", |file| fs::rename(file, file.with_extension("moved")).unwrap()),
    ("moved over another", |file| {
        let other = file.with_extension("other");
        fs::write(&other, b"of another program").unwrap();
        fs::rename(&other, file).unwrap();
    }),
    ("replaced by a copy", |file| {
        let copy = file.with_extension("copy");
        fs::copy(file, &copy).unwrap();
        fs::rename(&copy, file).unwrap();
    }),
];

#[test]
fn a_segment_whose_file_is_taken_away_is_given_up_at_the_next_look() {
    for durability in BOTH {
        for (how, take) in TAKEN_AWAY {
            let dir = tempfile::tempdir().unwrap();
            let (spool, _, mut writer) = open_one(dir.path(), options(durability));
            let lost = [1, 2, 3].map(|seed| store(&mut writer, &octets(seed, 4_000)).unwrap());
            assert_eq!(acknowledge(&mut writer, &lost).len(), 3);
            writer.check_path().unwrap();
            let waits = store(&mut writer, &octets(4, 4_000)).unwrap();
            take(&file(dir.path(), 1));
            // A sync ends in a look of its own.
            if durability == Durability::Sync {
                assert!(acknowledge(&mut writer, &[waits]).is_empty());
            } else {
                let error = writer.check_path().unwrap_err();
                assert!(matches!(error, SpoolError::Removed { segment: 1, .. }), "{how}: {error}");
            }
            writer.check_path().unwrap();
            let stats = writer.stats();
            assert_eq!((stats.removed, stats.removed_messages, stats.torn), (1, 3, 0), "{how}");
            assert_eq!(writer.failures(), 1);
            let after = store(&mut writer, b"after").unwrap();
            assert_eq!(acknowledge(&mut writer, &[after]), [after]);
            let found: Vec<_> = read_all(dir.path()).0.into_iter().map(|(at, _)| at).collect();
            let copied = how == "replaced by a copy";
            assert!(found.contains(&after));
            assert_eq!(found.len(), if copied { 5 } else { 1 }, "{how}");
            drop(writer);
            drop(spool);
            assert_eq!(file(dir.path(), 1).exists(), how.contains("another") || copied, "{how}");
            let moved = file(dir.path(), 1).with_extension("moved");
            if how == "moved" {
                fs::rename(moved, file(dir.path(), 1)).unwrap();
                let found: Vec<_> = read_all(dir.path()).0.into_iter().map(|(at, _)| at).collect();
                assert_eq!(found, [lost[0], lost[1], lost[2], after], "what waited was refused");
            }
        }
    }
}

#[test]
fn a_segment_that_was_made_ready_and_taken_away_is_never_written() {
    for durability in BOTH {
        for (how, take) in TAKEN_AWAY {
            // In the hands of the helper, and in those of the writer.
            for in_hand in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let (spool, _, mut writer) = open_one(dir.path(), options(durability));
                while !file(dir.path(), 2).exists() {
                    std::thread::yield_now();
                }
                let mut kept = vec![store(&mut writer, &octets(1, 9_000)).unwrap()];
                while in_hand && writer.room().is_ok() && kept.len() < 6 {
                    kept.push(store(&mut writer, &octets(1, 9_000)).unwrap());
                }
                assert_eq!(acknowledge(&mut writer, &kept).len(), kept.len());
                take(&file(dir.path(), 2));
                while writer.position().segment < 5 {
                    let place = store(&mut writer, &octets(2, 9_000)).unwrap();
                    assert_ne!(place.segment, 2, "{how}");
                    kept.extend(acknowledge(&mut writer, &[place]));
                }
                assert_eq!((writer.stats().removed, writer.failures()), (0, 0), "{how}");
                drop(writer);
                drop(spool);
                let found: Vec<_> = read_all(dir.path()).0.into_iter().map(|(at, _)| at).collect();
                assert_eq!(found, kept, "{how}");
            }
        }
    }
}

#[test]
fn a_message_that_began_in_a_segment_that_was_moved_away_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), options(Durability::Process));
    let mut draft = Draft::default();
    writer.append(&mut draft, &octets(1, 20_000)).unwrap();
    while writer.position().segment == 1 {
        store(&mut writer, &octets(2, 9_000)).unwrap();
    }
    writer.acknowledge().unwrap();
    fs::remove_file(file(dir.path(), 1)).unwrap();
    let error = seal(&mut writer, &mut draft).unwrap_err();
    assert!(error.is_full(), "{error}");
    // To make room so is anybody's right.
    assert_eq!((writer.failures(), writer.stats().removed), (0, 0));
}

#[test]
fn the_end_of_a_message_goes_to_no_segment_that_was_given_up_meanwhile() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, mut writer) = open_one(dir.path(), options(durability));
        let mut draft = Draft::default();
        writer.append(&mut draft, &octets(1, 5_000)).unwrap();
        let mut sealed = Vec::new();
        while writer.position().segment == 1 {
            sealed.push(store(&mut writer, &octets(2, 9_000)).unwrap());
        }
        assert_eq!(acknowledge(&mut writer, &sealed), sealed);
        cut(dir.path(), 2, SEGMENT - 1);
        assert!(is_torn(&store(&mut writer, b"meets it").unwrap_err()));
        // None of it is in the segment that was cut.
        let place = seal(&mut writer, &mut draft).unwrap();
        assert!(place.segment > 2, "{durability:?}: {place}");
        assert_eq!(acknowledge(&mut writer, &[place]), [place]);
        drop(writer);
        drop(spool);
        assert!(read_all(dir.path()).0.iter().any(|(there, _)| *there == place));
    }
}

#[test]
fn a_message_of_which_a_piece_was_cut_off_is_refused() {
    for durability in BOTH {
        // Cut while the message is open, in the same segment or in one that the log has left.
        for left in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (spool, _, mut writer) = open_one(dir.path(), options(durability));
            let mut draft = Draft::default();
            writer.append(&mut draft, &octets(1, 20_000)).unwrap();
            let mut other = Draft::default();
            writer.append(&mut other, b"another, so that there are fragments").unwrap();
            while left && writer.position().segment == 1 {
                store(&mut writer, &octets(2, 9_000)).unwrap();
            }
            cut(dir.path(), 1, 10_000);
            let appended = writer.append(&mut draft, &octets(3, 5_000));
            let error =
                appended.and_then(|()| seal(&mut writer, &mut draft).map(|_| ())).unwrap_err();
            assert!(is_torn(&error), "{durability:?}, {left}: {error}");
            let error = seal(&mut writer, &mut other).unwrap_err();
            assert!(is_torn(&error), "{durability:?}, {left}: {error}");
            let after = store(&mut writer, b"after").unwrap();
            assert_eq!(acknowledge(&mut writer, &[after]), [after]);
            drop(writer);
            drop(spool);
            let (found, _) = read_all(dir.path());
            assert!(found.iter().all(|(_, body)| body == b"after" || body.len() == 9_000));
        }
    }
}

#[test]
fn a_number_that_no_segment_has_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), options(Durability::Process));
    while !file(dir.path(), 2).exists() {
        std::thread::yield_now();
    }
    // The helper's next attempt fails.
    fs::write(dir.path().join("c000-00000003.new"), b"").unwrap();
    let mut draft = Draft::default();
    writer.append(&mut draft, &octets(1, 20_000)).unwrap();
    while writer.position().segment < 4 {
        if writer.room().is_ok() {
            let _ = store(&mut writer, &octets(2, 9_000));
        }
    }
    assert!(!file(dir.path(), 3).exists());
    writer.append(&mut draft, &octets(3, 5_000)).unwrap();
    seal(&mut writer, &mut draft).unwrap();
    assert_eq!(writer.failures(), 0);
}

#[test]
fn a_message_larger_than_the_segment_that_is_cut_under_it_is_refused() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (_spool, _, mut writer) = open_one(dir.path(), options(durability));
        let mut draft = Draft::default();
        writer.append(&mut draft, &octets(1, 1_000)).unwrap();
        cut(dir.path(), 1, 0);
        let appended = writer.append(&mut draft, &octets(2, 3 * SEGMENT as usize));
        let error = appended.and_then(|()| seal(&mut writer, &mut draft).map(|_| ())).unwrap_err();
        assert!(is_torn(&error) || matches!(error, SpoolError::Broken), "{error}");
        store(&mut writer, b"after").unwrap();
    }
}

#[test]
fn a_segment_that_was_left_and_is_cut_before_its_sync_fails_all_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), options(Durability::Sync));
    let mut sealed = Vec::new();
    while writer.position().segment == 1 {
        sealed.push(store(&mut writer, &octets(1, 9_000)).unwrap());
    }
    cut(dir.path(), 1, 5_000);
    assert!(acknowledge(&mut writer, &sealed).is_empty());
    let after = store(&mut writer, b"after").unwrap();
    assert_eq!(acknowledge(&mut writer, &[after]), [after]);
    drop(writer);
    drop(spool);
    assert_eq!(read_all(dir.path()).0, [(after, b"after".to_vec())]);
}

#[test]
fn a_segment_that_was_cut_gets_no_new_life() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, mut writer) = open_one(dir.path(), Options { durability, ..small(4) });
        let fill = |writer: &mut Writer, until: u32| {
            while writer.position().segment < until {
                let place = store(writer, &octets(1, 9_000)).unwrap();
                // A ring whose messages wait is not recycled.
                acknowledge(writer, &[place]);
            }
        };
        fill(&mut writer, 3);
        // One that was left, and the one that is written.
        cut(dir.path(), 2, 10_000);
        cut(dir.path(), 3, 10_000);
        let marker = File::open(file(dir.path(), 2)).unwrap();
        store(&mut writer, &octets(1, 30_000)).unwrap_err();
        fill(&mut writer, 12);
        assert_eq!(marker.metadata().unwrap().len(), 10_000, "nobody made it longer again");
        drop(writer);
        drop(spool);
        let (read, survey) = read_all(dir.path());
        assert!(read.len() > 10 && survey.is_sound() && survey.torn.is_empty(), "{survey}");
    }
}

const CHILD_DIR: &str = "RINGPOST_TEST_TORN_DIR";

/// Not a test of its own: the other half of the next one, in another process.
#[test]
fn the_child_writes_while_its_segments_are_cut() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let dir = Path::new(&dir);
    let (_spool, _, mut writer) = open_one(dir, options(Durability::Process));
    let mut random = fastrand::Rng::with_seed(7);
    let mut refused = 0;
    for seed in 0..600 {
        let stored = store(&mut writer, &octets(seed, random.usize(1..9_000)));
        refused += u32::from(stored.is_err());
        let _ = writer.acknowledge();
        if random.u8(0..6) == 0 {
            cut(dir, writer.position().segment, random.u64(0..SEGMENT));
        }
    }
    println!("refused {refused} of 600, torn {}", writer.stats().torn);
    std::io::stdout().flush().unwrap();
}

#[test]
fn a_process_whose_segments_are_cut_all_the_time_lives() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "torn::the_child_writes_while_its_segments_are_cut", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.signal(), output.status.code()), (None, Some(0)), "{out} {err}");
    let told = err.lines().filter(|line| line.contains("was cut from outside, to ")).count();
    assert!(told > 50 && out.contains(&format!("torn {told}\n")), "{told}: {out}");
}
