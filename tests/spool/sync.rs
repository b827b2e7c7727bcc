//! Durability `sync`: what a barrier covers, and that a failed one is final for its segment.

use std::time::{Duration, Instant};

use ringpost::spool::{Barrier, Draft, Durability, Options, Place, SpoolError, Writer};

use super::{octets, open_one, read_all, seal, small, store};

fn synced() -> Options {
    Options { durability: Durability::Sync, ..small(8) }
}

fn dirty(writer: &Writer) -> Vec<Barrier> {
    writer.dirty().collect()
}

fn sync(barrier: &Barrier) {
    rustix::fs::fdatasync(barrier).unwrap();
}

#[test]
fn a_barrier_covers_what_was_sealed_before_it_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), synced());
    assert!(dirty(&writer).is_empty());
    store(&mut writer, b"one").unwrap();
    let barriers = dirty(&writer);
    assert_eq!(barriers.len(), 1);
    sync(&barriers[0]);
    store(&mut writer, b"two").unwrap();
    writer.synced(&barriers[0]).unwrap();
    let barriers = dirty(&writer);
    assert_eq!(barriers.len(), 1, "the second message is not covered");
    sync(&barriers[0]);
    writer.synced(&barriers[0]).unwrap();
    assert!(dirty(&writer).is_empty());
}

#[test]
fn a_segment_that_was_left_stays_dirty_until_it_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), synced());
    store(&mut writer, b"early").unwrap();
    let early = dirty(&writer);
    for seed in 0..3 {
        store(&mut writer, &octets(seed, 50_000)).unwrap();
    }
    writer.synced(&early[0]).unwrap();
    let barriers = dirty(&writer);
    assert_eq!(barriers.len(), 3, "the early barrier does not cover the whole first segment");
    for barrier in &barriers {
        sync(barrier);
        writer.synced(barrier).unwrap();
    }
    assert!(dirty(&writer).is_empty());
}

#[test]
fn without_sync_nothing_is_ever_dirty() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), small(8));
    for seed in 0..3 {
        store(&mut writer, &octets(seed, 50_000)).unwrap();
    }
    assert!(dirty(&writer).is_empty());
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged_from_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), synced());
    let mut open = Draft::default();
    writer.append(&mut open, b"begun before").unwrap();
    let before = store(&mut writer, b"sealed before").unwrap();
    let barriers = dirty(&writer);
    let late = barriers.clone();
    writer.poison(&barriers[0]);
    assert!(dirty(&writer).is_empty(), "a poisoned segment is never synced again");

    let error = writer.synced(&late[0]).unwrap_err();
    assert!(matches!(error, SpoolError::Poisoned { core: 0, segment: 1 }), "{error}");
    let error = seal(&mut writer, &mut open).unwrap_err();
    assert!(matches!(error, SpoolError::Poisoned { .. }), "{error}");
    assert!(!error.is_full());

    let after = store_when_there_is_room(&mut writer, b"sealed after");
    assert!(after.segment > before.segment);
    assert_eq!(writer.stats().poisoned, 1);
    let barriers = dirty(&writer);
    assert_eq!(barriers.len(), 1);
    writer.synced(&barriers[0]).unwrap();
    let (read, survey) = read_all(dir.path());
    assert_eq!(read, [(after, b"sealed after".to_vec())], "what was refused is not shown");
    assert!(survey.is_sound() && survey.torn.is_empty(), "{survey}");
}

/// A new segment is used only when the disk has taken a write to it and a sync.
fn store_when_there_is_room(writer: &mut Writer, body: &[u8]) -> Place {
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(error) = writer.room() {
        assert!(matches!(error, SpoolError::Poisoned { .. }), "{error}");
        assert!(Instant::now() < until, "the writer never took mail again");
        std::thread::sleep(Duration::from_millis(5));
    }
    store(writer, body).unwrap()
}

#[test]
fn what_was_acknowledged_before_the_disk_failed_stays_and_what_was_not_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), synced());
    let kept = store(&mut writer, b"acknowledged").unwrap();
    let barriers = dirty(&writer);
    sync(&barriers[0]);
    writer.synced(&barriers[0]).unwrap();
    store(&mut writer, b"refused").unwrap();
    // The segment is left before its sync fails.
    // A piece of this one too, and its end is not.
    let mut across = Draft::default();
    writer.append(&mut across, &octets(1, 20_000)).unwrap();
    let mut later = kept;
    while later.segment == kept.segment {
        later = store(&mut writer, &octets(2, 20_000)).unwrap();
    }
    seal(&mut writer, &mut across).unwrap();
    let barriers = dirty(&writer);
    assert_eq!(barriers.len(), 2);
    writer.poison(&barriers[0]);
    sync(&barriers[1]);
    writer.synced(&barriers[1]).unwrap_err();
    assert!(dirty(&writer).is_empty());
    drop(writer);
    drop(spool);
    let (read, survey) = read_all(dir.path());
    assert_eq!(read, [(kept, b"acknowledged".to_vec())], "none of the others may be acknowledged");
    assert!(survey.is_sound() && survey.torn.is_empty(), "{survey}");
}
