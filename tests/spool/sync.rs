//! Durability `sync`: what a barrier covers, and that a failed one is final for its segment.

use std::path::Path;
use std::time::{Duration, Instant};

use ringpost::spool::{Barrier, Draft, Durability, Options, Place, Reader, SpoolError, Writer};

use super::{SEGMENT, octets, open_one, read_all, seal, small, store};

fn synced() -> Options {
    Options { durability: Durability::Sync, ..small(8) }
}

fn dirty(writer: &mut Writer) -> Vec<Barrier> {
    writer.dirty().collect()
}

fn sync(barrier: &Barrier) {
    rustix::fs::fdatasync(barrier).unwrap();
}

#[test]
fn a_barrier_covers_what_was_sealed_before_it_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), synced());
    assert!(dirty(&mut writer).is_empty());
    store(&mut writer, b"one").unwrap();
    let barriers = dirty(&mut writer);
    assert_eq!(barriers.len(), 1);
    sync(&barriers[0]);
    store(&mut writer, b"two").unwrap();
    writer.synced(&barriers[0]).unwrap();
    let barriers = dirty(&mut writer);
    assert_eq!(barriers.len(), 1, "the second message is not covered");
    sync(&barriers[0]);
    writer.synced(&barriers[0]).unwrap();
    assert!(dirty(&mut writer).is_empty());
}

/// The mark in a segment's header.
fn mark(dir: &Path, number: u32) -> u32 {
    let header = std::fs::read(dir.join(format!("c000-{number:08}.seg"))).unwrap();
    u32::from_le_bytes(header[48..52].try_into().unwrap())
}

fn wait_for_mark(dir: &Path, number: u32, end: u32) {
    let until = Instant::now() + Duration::from_secs(120);
    while mark(dir, number) < end {
        assert!(Instant::now() < until, "{} and not {end}", mark(dir, number));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_was_synced_is_marked_soon_and_no_more_is() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), synced());
    let sync_all = |writer: &mut Writer| {
        for barrier in dirty(writer) {
            sync(&barrier);
            writer.synced(&barrier).unwrap();
        }
    };
    std::thread::sleep(Duration::from_millis(1_100));
    store(&mut writer, b"one").unwrap();
    sync_all(&mut writer);
    let one = writer.position().offset;
    wait_for_mark(dir.path(), 1, one);
    store(&mut writer, &octets(1, 20_000)).unwrap();
    assert_eq!(mark(dir.path(), 1), one);
    let mut end = 0;
    while writer.position().segment == 1 {
        end = writer.position().offset;
        store(&mut writer, &octets(1, 15_000)).unwrap();
    }
    sync_all(&mut writer);
    wait_for_mark(dir.path(), 1, end);
    assert_eq!(mark(dir.path(), 1), end);
}

#[test]
fn sealed_segments_of_a_core_that_rests_are_written_back_and_marked() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), small(8));
    let mut end = 0;
    while writer.position().segment == 1 {
        end = writer.position().offset;
        store(&mut writer, &octets(1, 15_000)).unwrap();
    }
    wait_for_mark(dir.path(), 1, end);
    assert_eq!(mark(dir.path(), 1), end);
    assert_eq!(mark(dir.path(), 2), 0, "nobody has synced the segment that is written");
}

#[test]
fn a_spool_that_was_closed_is_marked_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(8));
    while writer.position().segment < 4 {
        store(&mut writer, &octets(1, 15_000)).unwrap();
    }
    let last = writer.position();
    drop(writer);
    drop(spool);
    for number in 1..4 {
        assert!(mark(dir.path(), number) > 40_000, "segment {number}");
    }
    assert_eq!(mark(dir.path(), last.segment), last.offset);
}

#[test]
fn a_segment_that_was_left_stays_dirty_until_it_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), synced());
    store(&mut writer, b"early").unwrap();
    let early = dirty(&mut writer);
    for seed in 0..3 {
        store(&mut writer, &octets(seed, 50_000)).unwrap();
    }
    writer.synced(&early[0]).unwrap();
    let barriers = dirty(&mut writer);
    assert_eq!(barriers.len(), 3, "the early barrier does not cover the whole first segment");
    for barrier in &barriers {
        sync(barrier);
        writer.synced(barrier).unwrap();
    }
    assert!(dirty(&mut writer).is_empty());
}

#[test]
fn without_sync_nothing_is_ever_dirty() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), small(8));
    for seed in 0..3 {
        store(&mut writer, &octets(seed, 50_000)).unwrap();
    }
    assert!(dirty(&mut writer).is_empty());
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged_from_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), synced());
    let mut open = Draft::default();
    writer.append(&mut open, b"begun before").unwrap();
    let before = store(&mut writer, b"sealed before").unwrap();
    let barriers = dirty(&mut writer);
    let late = barriers.clone();
    writer.poison(&barriers[0]);
    assert!(dirty(&mut writer).is_empty(), "a poisoned segment is never synced again");

    let error = writer.synced(&late[0]).unwrap_err();
    assert!(matches!(error, SpoolError::Poisoned { core: 0, segment: 1 }), "{error}");
    let error = seal(&mut writer, &mut open).unwrap_err();
    assert!(matches!(error, SpoolError::Poisoned { .. }), "{error}");
    assert!(!error.is_full());

    let after = store_when_there_is_room(&mut writer, b"sealed after");
    assert!(after.segment > before.segment);
    assert_eq!(writer.stats().poisoned, 1);
    let barriers = dirty(&mut writer);
    assert_eq!(barriers.len(), 1);
    writer.synced(&barriers[0]).unwrap();
    let (read, survey) = read_all(dir.path());
    assert_eq!(read, [(after, b"sealed after".to_vec())], "what was refused is not shown");
    assert!(survey.is_sound() && survey.torn.is_empty(), "{survey}");
}

/// A new segment is used only when the disk has taken a write to it and a sync.
fn store_when_there_is_room(writer: &mut Writer, body: &[u8]) -> Place {
    // The next segment is written with zeros and synced first, on a disk that other tests keep busy.
    let until = Instant::now() + Duration::from_secs(120);
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
    let barriers = dirty(&mut writer);
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
    let barriers = dirty(&mut writer);
    assert_eq!(barriers.len(), 2);
    writer.poison(&barriers[0]);
    sync(&barriers[1]);
    writer.synced(&barriers[1]).unwrap_err();
    assert!(dirty(&mut writer).is_empty());
    drop(writer);
    drop(spool);
    let (read, survey) = read_all(dir.path());
    assert_eq!(read, [(kept, b"acknowledged".to_vec())], "none of the others may be acknowledged");
    assert!(survey.is_sound() && survey.torn.is_empty(), "{survey}");
}

#[test]
fn what_was_synced_while_its_segment_was_left_survives_the_failure_of_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), synced());
    let kept = store(&mut writer, b"acknowledged").unwrap();
    let barriers = dirty(&mut writer);
    // The log rolls while the sync runs.
    while writer.position().segment == kept.segment {
        store(&mut writer, &octets(2, 20_000)).unwrap();
    }
    sync(&barriers[0]);
    writer.all_synced(&barriers).unwrap();
    let next = dirty(&mut writer).pop().unwrap();
    assert_ne!(next.segment(), kept.segment);
    writer.poison(&next);
    drop(writer);
    drop(spool);
    assert_eq!(read_all(dir.path()).0, [(kept, b"acknowledged".to_vec())]);
}

#[test]
fn a_segment_is_not_recycled_while_a_message_in_it_waits_for_its_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) =
        open_one(dir.path(), Options { limit_bytes: 3 * SEGMENT, ..synced() });
    let mut stored = Vec::new();
    let mut open = Draft::default();
    writer.append(&mut open, b"begins in the first").unwrap();
    let refusal = loop {
        assert!(stored.len() < 20, "messages that wait were recycled");
        let body = octets(stored.len() as u64, 20_000);
        match store(&mut writer, &body) {
            Ok(place) => stored.push((place, body)),
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, SpoolError::Held { core: 0 }) && refusal.is_full(), "{refusal}");
    assert!(stored.len() >= 6, "two segments and more: {}", stored.len());
    let barriers = dirty(&mut writer);
    barriers.iter().for_each(sync);
    assert!(read_all(dir.path()).0 == stored, "all of them may be acknowledged");
    writer.all_synced(&barriers).unwrap();
    // The first segment may be recycled now.
    let until = Instant::now() + Duration::from_secs(120);
    while let Err(error) = writer.room() {
        assert!(error.is_full() && Instant::now() < until, "{error}");
        std::thread::sleep(Duration::from_millis(5));
    }
    store(&mut writer, b"and life goes on").unwrap();
    let error = seal(&mut writer, &mut open).unwrap_err();
    assert!(matches!(error, SpoolError::Outlived), "{error}");
}

#[test]
fn a_message_that_waits_holds_the_segment_in_which_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) =
        open_one(dir.path(), Options { limit_bytes: 3 * SEGMENT, ..synced() });
    let mut across = Draft::default();
    writer.append(&mut across, b"begins in the first").unwrap();
    while writer.position().segment == 1 {
        store(&mut writer, &octets(1, 20_000)).unwrap();
    }
    for barrier in dirty(&mut writer) {
        sync(&barrier);
        writer.synced(&barrier).unwrap();
    }
    let whole = seal(&mut writer, &mut across).unwrap();
    let barrier = dirty(&mut writer).pop().unwrap();
    // Its own segment is left, and its sync is slow.
    let full = (0..20).find_map(|seed| store(&mut writer, &octets(seed, 20_000)).err());
    assert!(matches!(full, Some(SpoolError::Held { .. })), "{full:?}");
    let message = Reader::open(dir.path()).unwrap().get(whole).unwrap();
    assert_eq!(message.bytes, 19);
    sync(&barrier);
    writer.synced(&barrier).unwrap();
}

#[test]
fn a_message_with_pieces_in_a_sound_segment_goes_on_when_the_next_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), synced());
    let mut across = Draft::default();
    writer.append(&mut across, b"begins in a sound segment, ").unwrap();
    while writer.position().segment == 1 {
        store(&mut writer, &octets(1, 20_000)).unwrap();
    }
    for barrier in dirty(&mut writer) {
        sync(&barrier);
        writer.synced(&barrier).unwrap();
    }
    store(&mut writer, b"refused").unwrap();
    let barriers = dirty(&mut writer);
    writer.poison(&barriers[0]);
    let until = Instant::now() + Duration::from_secs(120);
    while let Err(error) = writer.room() {
        assert!(Instant::now() < until, "{error}");
        std::thread::sleep(Duration::from_millis(5));
    }
    writer.append(&mut across, b"and goes on in another").unwrap();
    let place = seal(&mut writer, &mut across).unwrap();
    assert_eq!(place.segment, 3, "the second was given up");
    for barrier in dirty(&mut writer) {
        sync(&barrier);
        writer.synced(&barrier).unwrap();
    }
    let (read, survey) = read_all(dir.path());
    let body = b"begins in a sound segment, and goes on in another".to_vec();
    assert_eq!(read.last(), Some(&(place, body)));
    assert!(survey.is_sound() && survey.torn.is_empty(), "{survey}");
}
