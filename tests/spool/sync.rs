//! Durability `sync`: what a barrier covers, and that a failed one is final for its segment.

use ringpost::spool::{Barrier, Draft, Durability, Options, SpoolError, Writer};

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

    let after = store(&mut writer, b"sealed after").unwrap();
    assert!(after.segment > before.segment);
    let barriers = dirty(&writer);
    assert_eq!(barriers.len(), 1);
    writer.synced(&barriers[0]).unwrap();
    assert_eq!(read_all(dir.path()).0.len(), 2);
}
