//! What readers say of a spool after an opener has put a torn segment into quarantine.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use ringpost::spool::Draft;

use super::tape::file;
use super::{octets, open_one, read_all, seal, small, store};

/// A message begins in a segment that a power cut takes, in part or as a whole, and ends in the next one.
#[test]
fn a_message_whose_start_a_power_cut_took_is_torn_before_and_after_the_spool_is_opened() {
    for spoilt in ["the header", "the piece"] {
        let dir = tempfile::tempdir().unwrap();
        let running = tempfile::tempdir().unwrap();
        let (spool, _, mut writer) = open_one(running.path(), small(8));
        store(&mut writer, b"before").unwrap();
        let mut draft = Draft::default();
        writer.append(&mut draft, &octets(7, 90_000)).unwrap();
        let end = seal(&mut writer, &mut draft).unwrap();
        assert_eq!(end.segment, 2);
        // The disk as it is while the sink runs.
        for entry in fs::read_dir(running.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        drop((writer, spool));
        let first = OpenOptions::new().write(true).open(file(dir.path(), 1)).unwrap();
        let (at, bytes) = if spoilt == "the header" { (0, 64) } else { (1_000, 8_000) };
        first.write_all_at(&vec![0; bytes], at).unwrap();
        let (_, before) = read_all(dir.path());
        assert!(before.is_sound() && !before.torn.is_empty(), "{spoilt}: {before}");
        for _ in 0..2 {
            let (spool, recovery, writer) = open_one(dir.path(), small(8));
            assert!(recovery.survey.is_sound(), "{spoilt}: {recovery}");
            drop((writer, spool));
            let (read, after) = read_all(dir.path());
            assert!(after.is_sound(), "{spoilt}: {after}");
            assert!(read.iter().all(|(place, _)| *place != end));
        }
    }
}
