//! The limit: recycling keeps the newest, refusing keeps the oldest, and neither uses more disk.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ringpost::host::PageFaults;
use ringpost::spool::{Draft, Options, Reader, SpoolError, WhenFull};

use super::{SEGMENT, octets, open_one, read_all, seal, small, store};

fn disk_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let segments = entries.filter(|entry| entry.file_name() != "SPOOL");
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
    let (spool, _, mut writer) = open_one(dir.path(), small(2));
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
    let options = Options { when_full: WhenFull::Refuse, ..small(2) };
    let (_spool, _, mut writer) = open_one(dir.path(), options);
    let mut draft = Draft::default();
    let error = writer.append(&mut draft, &octets(1, 4 * SEGMENT as usize)).unwrap_err();
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
