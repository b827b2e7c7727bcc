//! Somebody cuts a live segment: nobody dies, nothing that may be lost is acknowledged, and mail goes
//! on in another segment.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use ringpost::spool::{Draft, Durability, Options, Place, SpoolError, Writer};

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
    let synced = barriers.iter().all(|barrier| {
        rustix::fs::fdatasync(barrier).unwrap();
        writer.synced(barrier).is_ok()
    });
    if synced && writer.check().is_ok() && writer.failures() == before {
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
            let refused: &[Place] = if durability == Durability::Sync { &sealed } else { &[] };
            check_ledger(dir.path(), &[after], refused, 0, |_| 0);
        }
    }
}

#[test]
fn a_cut_inside_of_the_last_page_is_met_when_the_log_comes_there() {
    let page = rustix::param::page_size() as u64;
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (_spool, _, mut writer) = open_one(dir.path(), options(durability));
        store(&mut writer, &octets(1, 30_000)).unwrap();
        cut(dir.path(), 1, SEGMENT - page + 100);
        let error = store(&mut writer, &octets(2, (SEGMENT - page - 30_000) as usize)).unwrap_err();
        assert!(is_torn(&error), "{error}");
        assert!(store(&mut writer, b"after").unwrap().segment > 1);
    }
}

#[test]
fn a_message_of_which_a_piece_was_cut_off_is_refused() {
    for durability in BOTH {
        // Cut while the message is open, in the same segment or in one that the log has left.
        for left in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (_spool, _, mut writer) = open_one(dir.path(), options(durability));
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
    let (_spool, _, mut writer) = open_one(dir.path(), options(Durability::Sync));
    let mut sealed = Vec::new();
    while writer.position().segment == 1 {
        sealed.push(store(&mut writer, &octets(1, 9_000)).unwrap());
    }
    cut(dir.path(), 1, 5_000);
    assert!(acknowledge(&mut writer, &sealed).is_empty());
    let after = store(&mut writer, b"after").unwrap();
    assert_eq!(acknowledge(&mut writer, &[after]), [after]);
    assert_eq!(read_all(dir.path()).0, [(after, b"after".to_vec())]);
}

#[test]
fn a_segment_that_was_cut_gets_no_new_life() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, mut writer) = open_one(dir.path(), Options { durability, ..small(4) });
        let fill = |writer: &mut Writer, until: u32| {
            while writer.position().segment < until {
                store(writer, &octets(1, 9_000)).unwrap();
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
