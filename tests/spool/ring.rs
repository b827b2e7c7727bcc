//! The limit: recycling keeps the newest, refusing keeps the oldest, and neither uses more disk.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ringpost::host::PageFaults;
use ringpost::spool::{Draft, Options, Reader, Spool, SpoolError, WhenFull};

use super::{SEGMENT, octets, open_one, read_all, seal, small, store};

fn disk_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let is_small = |name: &str| matches!(name, "SPOOL" | "numbers");
    let segments = entries.filter(|entry| !is_small(entry.file_name().to_str().unwrap()));
    segments.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}

#[test]
fn a_ring_keeps_the_newest_and_stays_within_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(4));
    let mut stored = Vec::new();
    for seed in 0..300 {
        let body = octets(seed, 3_000);
        stored.push((store(&mut writer, &body).unwrap(), body));
        assert!(disk_bytes(dir.path()) <= 4 * SEGMENT);
    }
    assert!(writer.stats().rolls > 10);
    drop(writer);
    drop(spool);
    let (read, survey) = read_all(dir.path());
    assert!(survey.is_sound(), "{survey}");
    assert!(read.len() >= 20, "{}", read.len());
    assert!(read == stored[stored.len() - read.len()..]);
    let gone = Reader::open(dir.path()).unwrap().get(stored[0].0).unwrap_err();
    assert!(matches!(gone, SpoolError::NoMessage { .. }), "{gone}");
}

#[test]
fn a_ring_goes_on_over_the_segments_of_earlier_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut stored = Vec::new();
    for run in 0..6 {
        let (spool, _, mut writer) = open_one(dir.path(), small(5));
        for seed in 0..70 {
            let body = octets(run * 1_000 + seed, 3_000);
            stored.push((store(&mut writer, &body).unwrap(), body));
            assert!(disk_bytes(dir.path()) <= 5 * SEGMENT);
        }
        drop(writer);
        drop(spool);
        let (read, survey) = read_all(dir.path());
        assert!(survey.is_sound(), "{survey}");
        assert!(read.len() >= 30, "{}", read.len());
        assert!(read == stored[stored.len() - read.len()..], "run {run}");
    }
}

/// Mail that fits, then one restart after the other; each makes a live segment, and one ahead if it can.
#[test]
fn restarts_keep_all_mail_that_fits() {
    for (segments, is_killed) in [3, 4, 8].into_iter().flat_map(|n| [(n, false), (n, true)]) {
        let mut dir = tempfile::tempdir().unwrap();
        let mut stored = Vec::new();
        for run in 0..10 {
            let (spool, recovery, mut writer) = open_one(dir.path(), small(segments));
            assert_eq!(recovery.survey.messages, stored.len() as u64, "run {run}");
            let body = octets(run, 10_000);
            stored.push((store(&mut writer, &body).unwrap(), body));
            let left = is_killed.then(|| as_killed(dir.path()));
            drop(writer);
            drop(spool);
            dir = left.unwrap_or(dir);
            assert!(read_all(dir.path()).0 == stored, "run {run} in a ring of {segments}");
        }
    }
}

/// What the death of its process leaves of a spool.
fn as_killed(live: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(live).unwrap() {
        let entry = entry.unwrap();
        // A segment in the making may have got its name meanwhile.
        match fs::copy(entry.path(), copy.path().join(entry.file_name())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            Ok(_) | Err(_) => {}
        }
    }
    copy
}

/// There is no room for a segment ahead of each core.
#[test]
fn cores_that_do_nothing_keep_the_mail_of_the_cores_before_them() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { cores: 2, ..small(6) };
    let mut stored = Vec::new();
    for run in 0..6 {
        let (spool, _, mut writers) = Spool::open(dir.path(), options).unwrap();
        let body = octets(run, SEGMENT as usize / 2 - 2_000);
        stored.push((store(&mut writers[run as usize % 2], &body).unwrap(), body));
        drop(writers);
        drop(spool);
        let (mut read, mut expected) = (read_all(dir.path()).0, stored.clone());
        read.sort();
        expected.sort();
        assert!(read == expected, "run {run}");
    }
}

#[test]
fn a_restart_of_a_full_ring_costs_the_oldest_segment_only() {
    for segments in [3, 4, 8] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, mut writer) = open_one(dir.path(), small(segments));
        let mut stored = Vec::new();
        while writer.stats().rolls < 3 * segments {
            let body = octets(stored.len() as u64, 3_000);
            stored.push((store(&mut writer, &body).unwrap(), body));
        }
        drop(writer);
        drop(spool);
        let before = read_all(dir.path()).0;
        assert!(before == stored[stored.len() - before.len()..]);
        let oldest = before[0].0.segment;
        let (spool, _, writer) = open_one(dir.path(), small(segments));
        drop(writer);
        drop(spool);
        let (after, survey) = read_all(dir.path());
        assert!(survey.is_sound(), "{survey}");
        assert!(after == before[before.len() - after.len()..]);
        let first_kept = before.iter().position(|(place, _)| place.segment > oldest).unwrap();
        assert!(before.len() - after.len() <= first_kept, "a ring of {segments}");
    }
}

#[test]
fn a_message_that_outlives_the_ring_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(3));
    let mut slow = Draft::default();
    writer.append(&mut slow, b"the beginning").unwrap();
    for seed in 0..200 {
        store(&mut writer, &octets(seed, 3_000)).unwrap();
    }
    writer.append(&mut slow, b"the end").unwrap();
    let error = seal(&mut writer, &mut slow).unwrap_err();
    assert!(matches!(error, SpoolError::Outlived) && error.is_full(), "{error}");
    store(&mut writer, b"and life goes on").unwrap();
    drop(writer);
    drop(spool);
    assert!(read_all(dir.path()).1.is_sound());
}

#[test]
fn a_message_larger_than_the_spool_is_refused_and_the_next_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { open_bytes: u64::MAX, ..small(3) };
    let (spool, _, mut writer) = open_one(dir.path(), options);
    let mut huge = Draft::default();
    writer.append(&mut huge, &vec![b'x'; 6 * SEGMENT as usize]).unwrap();
    let error = seal(&mut writer, &mut huge).unwrap_err();
    assert!(matches!(error, SpoolError::Outlived), "{error}");
    let place = store(&mut writer, b"small").unwrap();
    drop(writer);
    drop(spool);
    assert_eq!(read_all(dir.path()).0, [(place, b"small".to_vec())]);
}

#[test]
fn an_envelope_larger_than_a_segment_is_refused_and_the_next_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), small(4));
    let mut draft = Draft::default();
    writer.append(&mut draft, b"to very many").unwrap();
    let meta = ringpost::spool::Meta::default();
    let to: &[u8] = b"somebody@example.org";
    let error = writer.seal(&mut draft, &meta, std::iter::repeat_n((to, &b""[..]), 10_000));
    assert!(matches!(error, Err(SpoolError::EnvelopeTooLarge { .. })), "{error:?}");
    store(&mut writer, b"to two").unwrap();
    assert_eq!(read_all(dir.path()).0.len(), 1);
}

#[test]
fn refusing_keeps_everything_and_takes_mail_again_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { when_full: WhenFull::Refuse, ..small(3) };
    let (_spool, _, mut writer) = open_one(dir.path(), options);
    let body = octets(1, 3_000);
    let mut stored = 0;
    let error = loop {
        match store(&mut writer, &body) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SpoolError::Full { .. }) && error.is_full(), "{error}");
    assert!(error.to_string().contains("--spool-limit 196608 is used up"), "{error}");
    assert!(stored > 50, "{stored}");
    assert!(writer.room().unwrap_err().is_full());
    assert_eq!(read_all(dir.path()).0.len(), stored);

    fs::remove_file(dir.path().join("c000-00000001.seg")).unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while writer.room().is_err() {
        assert!(Instant::now() < until, "the writer never took mail again");
        std::thread::sleep(Duration::from_millis(20));
    }
    store(&mut writer, &body).unwrap();
}

#[test]
fn a_draft_that_met_a_full_spool_cannot_be_sealed_by_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { when_full: WhenFull::Refuse, ..small(3) };
    let (_spool, _, mut writer) = open_one(dir.path(), options);
    let mut draft = Draft::default();
    let error = writer.append(&mut draft, &octets(1, 5 * SEGMENT as usize)).unwrap_err();
    assert!(error.is_full(), "{error}");
    let error = writer.append(&mut draft, b"more").unwrap_err();
    assert!(matches!(error, SpoolError::Broken), "{error}");
    let error = seal(&mut writer, &mut draft).unwrap_err();
    assert!(matches!(error, SpoolError::Broken), "{error}");
    assert!(draft.is_empty());
    assert!(read_all(dir.path()).0.is_empty());
}

#[test]
fn a_roll_finds_its_segment_ready() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), small(64));
    for seed in 0..12 {
        store(&mut writer, &octets(seed, 40_000)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(writer.stats().rolls >= 6);
    assert!(writer.stats().roll_waits <= 2, "{:?}", writer.stats());
}

#[test]
fn a_recycled_ring_faults_no_page_on_the_core_that_writes() {
    let dir = tempfile::tempdir().unwrap();
    let segment_bytes = 1024 * 1024;
    let options = Options { segment_bytes, limit_bytes: 4 * segment_bytes, ..small(4) };
    let (_spool, _, mut writer) = open_one(dir.path(), options);
    let body = octets(1, 1_024);
    let mut laps = |laps: u64| {
        let before = (PageFaults::of_thread().unwrap(), writer.stats());
        while writer.stats().rolls < before.1.rolls + laps * 4 {
            store(&mut writer, &body).unwrap();
        }
        let faults = PageFaults::of_thread().unwrap().since(before.0);
        (faults.minor + faults.major, writer.stats().messages - before.1.messages)
    };
    laps(2);
    let (faults, messages) = laps(5);
    assert!(messages > 15_000, "{messages}");
    // A fault a page would be a quarter of the messages.
    assert!(faults * 1_000 < messages, "{faults} page faults in {messages} messages");
}
