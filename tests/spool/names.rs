//! What lies in a spool beside its segments: names that look like theirs, and what is no regular file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringpost::spool::{Deliveries, DeliveryLog, Durability, Reader, Spool, SpoolError};

use super::{octets, open_one, read_all, small, store};

/// Puts something else than a regular file at `path`.
fn put(kind: &str, path: &Path, elsewhere: &Path) {
    match kind {
        "directory" => fs::create_dir(path).unwrap(),
        "link" => symlink(elsewhere.join("victim"), path).unwrap(),
        "loop" => symlink(path, path).unwrap(),
        "fifo" => {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, path, fifo, mode, 0).unwrap();
        }
        _ => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    }
}

const KINDS: [&str; 5] = ["directory", "link", "loop", "fifo", "socket"];

#[test]
fn a_file_whose_name_is_written_otherwise_is_no_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(8));
    let place = store(&mut writer, b"once").unwrap();
    drop((writer, spool));
    let one = dir.path().join("c000-00000001.seg");
    let twins = ["c000-000000001.seg", "c0000-00000001.seg", "c65536-00000001.seg"];
    for twin in twins {
        fs::copy(&one, dir.path().join(twin)).unwrap();
    }
    let (read, survey) = read_all(dir.path());
    assert_eq!(read, [(place, b"once".to_vec())]);
    assert_eq!(survey.strangers, twins);
    let (spool, recovery, writer) = open_one(dir.path(), small(8));
    assert_eq!(recovery.survey.messages, 1);
    assert!(recovery.to_string().contains("passed over c0000-00000001.seg"), "{recovery}");
    drop((writer, spool));
    assert!(twins.iter().all(|twin| dir.path().join(twin).exists()));
}

#[test]
fn what_is_no_regular_file_hides_nothing_and_is_left_alone() {
    for kind in KINDS {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, b"of somebody else").unwrap();
        let (spool, _, mut writer) = open_one(dir.path(), small(8));
        let place = store(&mut writer, b"kept").unwrap();
        drop((writer, spool));
        for name in ["c000-00000002.seg", "c000-00000009.seg", "c000-00000010.new"] {
            put(kind, &dir.path().join(name), elsewhere.path());
        }
        for _ in 0..2 {
            let (read, survey) = read_all(dir.path());
            assert_eq!(read[0], (place, b"kept".to_vec()), "{kind}");
            let told: Vec<_> = survey.damage.iter().map(|damage| damage.file.as_str()).collect();
            assert_eq!(told, ["c000-00000002.seg", "c000-00000009.seg"], "{kind}: {survey}");
            let (spool, recovery, mut writer) = open_one(dir.path(), small(8));
            assert!(recovery.quarantined.is_empty(), "{kind}: {recovery}");
            store(&mut writer, b"more").unwrap();
            drop((writer, spool));
        }
        for name in ["c000-00000002.seg", "c000-00000009.seg", "c000-00000010.new"] {
            let there = dir.path().join(name).symlink_metadata().unwrap();
            assert!(!there.is_file(), "{kind}: {name} was replaced");
        }
        assert_eq!(fs::read(&victim).unwrap(), b"of somebody else", "{kind}");
    }
}

#[test]
fn neither_marker_nor_deliveries_nor_quarantine_lead_out_of_the_spool() {
    for (kind, name) in KINDS.iter().flat_map(|kind| {
        ["SPOOL", "delivered", "delivered.new", "numbers", "quarantine"].map(|name| (*kind, name))
    }) {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, b"of somebody else").unwrap();
        let (spool, _, mut writer) = open_one(dir.path(), small(8));
        store(&mut writer, b"kept").unwrap();
        drop((writer, spool));
        let path = dir.path().join(name);
        let _ = fs::remove_file(&path);
        put(kind, &path, elsewhere.path());
        let told = match name {
            "SPOOL" => {
                let error = Reader::open(dir.path()).err().unwrap();
                let opened = Spool::open(dir.path(), small(8)).map(drop);
                opened.unwrap_err();
                Some(error)
            }
            "delivered" => {
                DeliveryLog::open(dir.path(), Durability::Process).unwrap_err();
                Deliveries::read(dir.path()).err()
            }
            "numbers" => Spool::open(dir.path(), small(8)).map(drop).err(),
            "delivered.new" => DeliveryLog::open(dir.path(), Durability::Process).err(),
            _ => {
                let segment = dir.path().join("c000-00000001.seg");
                let mut octets = fs::read(&segment).unwrap();
                octets[70] ^= 1;
                fs::write(&segment, &octets).unwrap();
                let (_spool, recovery, _writer) = open_one(dir.path(), small(8));
                if kind == "directory" {
                    assert_eq!(recovery.quarantined.len(), 1);
                } else {
                    assert_eq!(recovery.left_in_doubt.len(), 1, "{kind}: {recovery}");
                    assert_eq!(fs::read(&segment).unwrap(), octets, "{kind}");
                }
                None
            }
        };
        assert!(name == "quarantine" || told.is_some(), "{kind}: {name} was opened");
        assert_eq!(fs::read(&victim).unwrap(), b"of somebody else", "{kind}: {name}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "{kind}: {name}");
        assert!(!path.symlink_metadata().unwrap().is_file(), "{kind}: {name} was replaced");
    }
}

#[test]
fn a_segment_that_is_put_back_into_a_live_spool_stays() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (spool, _, mut writer) = open_one(other.path(), small(8));
    let mut restored = Vec::new();
    while writer.stats().rolls < 6 {
        restored.push(store(&mut writer, &octets(1, 9_000)).unwrap());
    }
    drop((writer, spool));
    let (_spool, _, mut writer) = open_one(dir.path(), small(16));
    store(&mut writer, b"begins").unwrap();
    let name = "c000-00000005.seg";
    fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    let mut stored = Vec::new();
    while writer.stats().rolls < 6 {
        stored.push(store(&mut writer, &octets(2, 9_000)).unwrap());
    }
    assert!(stored.iter().all(|place| place.segment != 5));
    let reader = Reader::open(dir.path()).unwrap();
    for place in restored.iter().filter(|place| place.segment == 5) {
        let message = reader.get(*place).unwrap();
        assert!(reader.body(&message).unwrap() == octets(1, 9_000));
    }
    for place in stored {
        let message = reader.get(place).unwrap();
        assert!(reader.body(&message).unwrap() == octets(2, 9_000), "{place}");
    }
}

/// A number that no sink can follow must not lead to one that was given before.
#[test]
fn numbers_never_wrap_and_never_name_two_messages() {
    for stray in ["c000-4294967295.seg", "c000-4294967292.seg", "c000-4000000001.seg"] {
        let dir = tempfile::tempdir().unwrap();
        let mut stored = Vec::new();
        for run in 0..4 {
            let (spool, recovery, mut writer) = open_one(dir.path(), small(64));
            assert_eq!(recovery.survey.messages, stored.len() as u64, "{stored:?}");
            for at in 0..20 {
                let body = octets(run * 100 + at, 9_000);
                stored.push((store(&mut writer, &body).unwrap(), body));
            }
            drop((writer, spool));
            if run == 0 {
                fs::write(dir.path().join(stray), b"any content").unwrap();
            } else if run == 1 {
                assert!(recovery.to_string().contains(stray), "{recovery}");
            }
        }
        assert!(stored.is_sorted_by(|one, next| one.0 < next.0));
        assert!(read_all(dir.path()).0 == stored);
    }
}

#[test]
fn a_spool_whose_numbers_are_used_up_says_so_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, writer) = open_one(dir.path(), small(64));
    drop((writer, spool));
    fs::write(dir.path().join("c000-3999999998.seg"), b"any content").unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(64));
    let mut stored = Vec::new();
    let error = loop {
        let body = octets(stored.len() as u64, 9_000);
        match store(&mut writer, &body) {
            Ok(place) => stored.push((place, body)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SpoolError::NumbersUsedUp { .. }) && error.is_full(), "{error}");
    drop((writer, spool));
    assert!(stored.len() > 10 && read_all(dir.path()).0 == stored);
    let error = Spool::open(dir.path(), small(64)).map(drop).unwrap_err();
    assert!(matches!(error, SpoolError::NumbersUsedUp { .. }), "{error}");
    assert!(read_all(dir.path()).0 == stored);
}

#[test]
fn a_name_is_not_given_again_after_the_segments_were_moved_away() {
    for is_killed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, mut writer) = open_one(dir.path(), small(64));
        let mut first = store(&mut writer, b"first").unwrap();
        while writer.stats().rolls < 3 {
            first = store(&mut writer, &octets(1, 9_000)).unwrap();
        }
        if is_killed {
            // Its sink never closes it: what is on the disk is what a killed one leaves.
            std::mem::forget((writer, spool));
            let copy = tempfile::tempdir().unwrap();
            for name in ["SPOOL", "numbers"] {
                fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
            }
            let (_spool, _, mut writer) = open_one(copy.path(), small(64));
            assert!(store(&mut writer, b"second").unwrap() > first);
            continue;
        }
        drop((writer, spool));
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "seg") {
                fs::remove_file(path).unwrap();
            }
        }
        let (_spool, _, mut writer) = open_one(dir.path(), small(64));
        let second = store(&mut writer, b"second").unwrap();
        assert_eq!(second.segment, first.segment + 1);
    }
}
