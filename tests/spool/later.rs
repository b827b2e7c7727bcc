//! What later programs may add without a new version is passed over, and left as it is.

use std::fs;
use std::path::Path;

use ringpost::spool::{Deliveries, Draft, Meta, Reader, SessionMeta};

use super::{open_one, small, store};

/// Makes the checksums of the first record of a segment right again.
fn mend(segment: &mut [u8]) {
    let u32_at = |octets: &[u8], at: usize| {
        u32::from_le_bytes(octets[at..at + 4].try_into().unwrap()) as usize
    };
    let payload = u32_at(segment, 64 + 32) + u32_at(segment, 64 + 36);
    let crc = crc_fast::crc32_iscsi(&segment[128..128 + payload]);
    segment[64 + 52..64 + 56].copy_from_slice(&crc.to_le_bytes());
    let crc = crc_fast::crc32_iscsi(&segment[64..64 + 56]);
    segment[64 + 56..64 + 60].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn further_tags_flags_and_files_are_passed_over_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(8));
    let to: [(&[u8], &[u8]); 1] = [(b"b@y.test", b"")];
    let helo = b"a-value-of-tag-5";
    let mut session = Vec::new();
    SessionMeta { helo, ..SessionMeta::default() }.encode(&mut session).unwrap();
    let meta = Meta {
        received_ns: 1,
        sealed_ns: 2,
        session: &session,
        reverse_path: b"a@x.test",
        ..Meta::default()
    };
    let mut draft = Draft::default();
    writer.append(&mut draft, b"Subject: later\r\n\r\n").unwrap();
    let place = writer.seal(&mut draft, &meta, to).unwrap().place;
    drop((writer, spool));

    let segment = dir.path().join("c000-00000001.seg");
    let mut octets = fs::read(&segment).unwrap();
    let tag = octets.windows(16).position(|found| found == helo).unwrap() - 4;
    assert_eq!(octets[tag..tag + 2], [5, 0]);
    octets[tag] = 99;
    // A flag that no program sets.
    octets[64 + 43] |= 0x40;
    mend(&mut octets);
    fs::write(&segment, &octets).unwrap();
    let others = ["marks", "marks.new", "later"].map(|name| dir.path().join(name));
    others.iter().for_each(|other| fs::write(other, b"of a later program").unwrap());
    fs::create_dir(dir.path().join("index")).unwrap();

    for round in 0..2 {
        let reader = Reader::open(dir.path()).unwrap();
        let message = reader.get(place).unwrap();
        assert_eq!(message.envelope.reverse_path, b"a@x.test");
        assert_eq!(message.envelope.recipients.get(0).unwrap().path, b"b@y.test");
        assert!(message.envelope.helo.is_empty() && message.envelope.flags.names().count() == 0);
        assert_eq!(reader.body(&message).unwrap(), b"Subject: later\r\n\r\n");
        assert!(Deliveries::read(dir.path()).unwrap().of(&message).unwrap().is_empty());
        let survey = reader.survey(1, &|_| {}).unwrap();
        assert!(survey.is_sound() && survey.strangers.is_empty(), "{survey}");
        assert_eq!(survey.messages, 1 + round);
        let (spool, recovery, mut writer) = open_one(dir.path(), small(8));
        assert_eq!(recovery.survey.messages, 1 + round);
        store(&mut writer, b"more").unwrap();
        drop((writer, spool));
        // The message that is there was not written anew.
        assert!(fs::read(&segment).unwrap()[64..] == octets[64..]);
    }
    assert!(others.iter().all(|other| fs::read(other).unwrap() == b"of a later program"));
}

/// A sink goes on in a spool of the version before: what is there stays as it is, and new segments are of this one.
#[test]
fn a_sink_goes_on_in_a_spool_of_version_1() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["SPOOL", "c000-00000001.seg"] {
        let old = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/spool-1");
        fs::copy(format!("{old}/{name}"), dir.path().join(name)).unwrap();
    }
    let one = dir.path().join("c000-00000001.seg");
    let read = |path: &Path| fs::read(path).unwrap();
    let before = read(&one);
    assert_eq!(read(&dir.path().join("SPOOL")), b"ringpost-spool 1\n");
    let messages = || Reader::open(dir.path()).unwrap().messages().map(Result::unwrap).count();
    let old = messages();
    for stored in 1..4 {
        let (spool, recovery, mut writer) = open_one(dir.path(), small(16));
        assert!(recovery.survey.is_sound(), "{recovery}");
        store(&mut writer, b"new").unwrap();
        drop((writer, spool));
        assert_eq!(messages(), old + stored);
        assert_eq!(read(&dir.path().join("SPOOL")), b"ringpost-spool 2\n");
        let after = read(&one);
        assert!(before.starts_with(&after) && after[8] == 1, "the old segment was changed");
        assert_eq!(read(&dir.path().join(format!("c000-{:08}.seg", stored + 1)))[8], 2);
    }
}
