//! Opening: what is refused, in which words, and that a refusal touches nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ringpost::spool::{Options, Reader, Spool, SpoolError};

use super::{SEGMENT, open_one, read_all, small, store};

fn refusal(dir: &Path, options: Options) -> SpoolError {
    Spool::open(dir, options).map(|_| ()).unwrap_err()
}

#[test]
fn a_new_spool_is_ours_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/spool");
    let (spool, recovery, writer) = open_one(&path, small(4));
    assert_eq!(recovery.to_string(), "the spool is empty");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("SPOOL")), 0o600);
    assert_eq!(mode(&path.join("c000-00000001.seg")), 0o600);
    assert_eq!(fs::read(path.join("SPOOL")).unwrap(), b"ringpost-spool 2\n");
    drop(writer);
    drop(spool);
    let mut left: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["SPOOL", "numbers"], "segments without a message go");
}

#[test]
fn a_second_sink_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(4));
    store(&mut writer, b"kept").unwrap();
    let error = refusal(dir.path(), small(4));
    assert!(matches!(error, SpoolError::Locked { .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("is in use by another sink; stop that sink, or name another directory")
    );
    drop(writer);
    drop(spool);
    let (_spool, recovery, _writer) = open_one(dir.path(), small(4));
    assert_eq!(recovery.survey.messages, 1);
    assert!(recovery.to_string().starts_with("the spool holds 1 message, 4 bytes, in 1 segment"));
}

#[test]
fn a_foreign_directory_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let error = refusal(dir.path(), small(4));
    assert!(matches!(error, SpoolError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("is not a ringpost spool and is not empty"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let error = Reader::open(dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, SpoolError::NotASpool { .. }), "{error}");
}

#[test]
fn another_version_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("SPOOL"), "ringpost-spool 3\nmore\n").unwrap();
    for error in [refusal(dir.path(), small(4)), Reader::open(dir.path()).map(|_| ()).unwrap_err()]
    {
        assert!(matches!(error, SpoolError::Version { .. }), "{error}");
        assert!(error.to_string().contains("says \"ringpost-spool 3\", this program reads"));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(fs::read(dir.path().join("SPOOL")).unwrap(), b"ringpost-spool 3\nmore\n");
}

#[test]
fn a_place_that_cannot_be_written_is_named_with_its_cause() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = refusal(&file.path().join("spool"), small(4));
    assert!(error.to_string().contains("cannot create the spool directory: Not a directory"));
    // Not even root may create here.
    let error = refusal(Path::new("/proc/ringpost-spool"), small(4));
    assert!(error.to_string().starts_with("/proc/ringpost-spool: cannot create"), "{error}");
}

#[test]
fn sizes_that_cannot_work_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let mib = 1024 * 1024;
    for (limit_bytes, segment_bytes, cores, text) in [
        (
            16 * mib,
            4 * mib,
            2,
            "--spool-limit 16MiB is too small: 2 cores need three segments of at least 4MiB each, 24MiB \
             in all; raise it or lower --cores",
        ),
        (
            95 * mib + 1,
            32 * mib,
            1,
            "--spool-limit 99614721 is too small: 1 core needs three segments of 32MiB each, 96MiB in \
             all; raise it, lower --segment-size, or lower --cores",
        ),
    ] {
        let options = Options { limit_bytes, segment_bytes, cores, ..small(3) };
        assert_eq!(refusal(&path, options).to_string(), text);
    }
    let error = refusal(&path, Options { segment_bytes: 100_000, ..small(4) });
    assert_eq!(
        error.to_string(),
        "--segment-size 100000 is not possible: 65536 to 1073741824 bytes, a multiple of 65536"
    );
    assert!(!path.exists());
}

#[test]
fn numbers_go_on_behind_the_largest_seen_and_other_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(8));
    let first = store(&mut writer, b"one").unwrap();
    drop(writer);
    drop(spool);
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(8));
    let second = store(&mut writer, b"two").unwrap();
    assert!(second.segment > first.segment);
    drop(writer);
    drop(spool);
    assert_eq!(fs::read(dir.path().join("notes.txt")).unwrap(), b"mine");
    assert_eq!(read_all(dir.path()).0.len(), 2);
}

#[test]
fn each_core_writes_its_own_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { cores: 3, ..small(32) };
    let (spool, _, writers) = Spool::open(dir.path(), options).unwrap();
    std::thread::scope(|scope| {
        for mut writer in writers {
            scope.spawn(move || {
                for number in 0..200u32 {
                    let body = format!("core {} message {number}", writer.core());
                    let place = store(&mut writer, body.as_bytes()).unwrap();
                    assert_eq!(place.core, writer.core());
                }
            });
        }
    });
    drop(spool);
    let (read, survey) = read_all(dir.path());
    assert!(survey.is_sound(), "{survey}");
    assert_eq!(survey.cores.len(), 3);
    for (at, (place, body)) in read.iter().enumerate() {
        let expected = format!("core {} message {}", at / 200, at % 200);
        assert_eq!((body.as_slice(), usize::from(place.core)), (expected.as_bytes(), at / 200));
    }
}

#[test]
fn a_spool_of_more_cores_is_read_by_a_sink_of_fewer() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writers) =
        Spool::open(dir.path(), Options { cores: 2, ..small(8) }).unwrap();
    for writer in &mut writers {
        store(writer, b"from two cores").unwrap();
    }
    drop(writers);
    drop(spool);
    let (_spool, recovery, mut writer) = open_one(dir.path(), small(3));
    assert_eq!(recovery.survey.messages, 2);
    // The limit holds: the old segments make room, oldest first.
    for _ in 0..40 {
        store(&mut writer, &[b'x'; 9_000]).unwrap();
    }
    let on_disk: u64 = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().map_or(0, |found| found.len()))
        .sum();
    assert!(on_disk <= 3 * SEGMENT + 96, "{on_disk}");
}
