//! The writer still writes, octet for octet, the segment that lies in `tests/data`, and the reader
//! still reads it. A difference here is a new format: raise the version, keep the old file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use super::budget::Reservation;
use super::job::{Job, Supplies};
use super::make::SegmentPlan;
use super::marker::lock;
use super::open_room::{OpenPool, OpenRoom};
use super::writer::{Draft, Writer};
use crate::spool::format::SegmentHeader;
use crate::spool::{Durability, Meta, Options, Reader, RecordFlags, SessionMeta, Spool};

fn golden(spool: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(spool)
}

fn session() -> Vec<u8> {
    let mut session = Vec::new();
    let meta = SessionMeta {
        peer: b"127.0.0.1:40000",
        listener: b"smtp://127.0.0.1:1025",
        helo: b"client.example",
        protocol: b"ESMTP",
        tls: b"",
        auth: b"",
    };
    meta.encode(&mut session).unwrap();
    session
}

fn meta(number: u64, session: &[u8]) -> Meta<'_> {
    Meta {
        received_ns: 1_700_000_000_000_000_000 + number,
        sealed_ns: 1_700_000_000_500_000_000 + number,
        flags: RecordFlags::BDAT,
        session,
        reverse_path: b"from@example.org",
        reverse_params: b"BODY=8BITMIME",
        sent_bytes: None,
        deviations: b"",
    }
}

/// A writer in its first segment, whose latest record had this sequence number, and what keeps it alive.
fn writer_after(dir: &Path, seq: u64) -> (Writer, mpsc::Receiver<Job>) {
    let lock = Arc::new(lock(dir).unwrap());
    let header = SegmentHeader {
        number: 1,
        core: 0,
        bytes: 65_536,
        created_ns: 1_699_999_999_000_000_000,
        nonce: 0x0123_4567_89AB_CDEF,
    };
    let (durability, room) = (Durability::Process, Reservation::unlimited());
    let segment = SegmentPlan { dir, header, durability, room }.create().unwrap();
    let (jobs, inbox) = mpsc::channel::<Job>();
    let (_, ready) = mpsc::channel();
    let options = Options::default();
    let open_room = OpenRoom::new(OpenPool::new(options.open_bytes), &options);
    let supplies = Supplies {
        ready,
        jobs,
        floor: Arc::default(),
        hold: Arc::default(),
        failed: Arc::default(),
        open_room,
    };
    (Writer::new(0, segment, seq, supplies, Durability::Process, lock), inbox)
}

/// One message whole, two interleaved, one discarded, one empty, one without its body, one without an end.
fn write(dir: &Path) {
    let session = session();
    let (mut writer, inbox) = writer_after(dir, 0);
    let one: [(&[u8], &[u8]); 1] = [(b"to@example.org", b"")];
    let two: [(&[u8], &[u8]); 2] = [(b"a@example.org", b"NOTIFY=NEVER"), (b"b@example.org", b"")];

    let (mut first, mut second, mut gone, mut lost) =
        (Draft::default(), Draft::default(), Draft::default(), Draft::default());
    writer.append(&mut first, b"Subject: whole\r\n\r\n.dots\r\n").unwrap();
    writer.seal(&mut first, &meta(1, &session), one).unwrap();
    writer.append(&mut first, b"Subject: first\r\n").unwrap();
    writer.append(&mut second, b"Subject: second\r\n").unwrap();
    writer.append(&mut gone, b"never mind").unwrap();
    writer.append(&mut first, b"\r\nbody\r\n").unwrap();
    writer.discard(&mut gone);
    writer.seal(&mut second, &meta(2, &session), two).unwrap();
    writer.seal(&mut first, &meta(3, &session), one).unwrap();
    writer.seal(&mut first, &meta(4, &session), []).unwrap();
    writer.append(&mut first, b"Subject: cut\r\n\r\n").unwrap();
    let flags = RecordFlags::BDAT | RecordFlags::HEADERS_ONLY;
    writer
        .seal(&mut first, &Meta { flags, sent_bytes: Some(4_000), ..meta(5, &session) }, one)
        .unwrap();
    writer.append(&mut lost, b"cut off").unwrap();
    drop(inbox);
}

#[test]
fn the_writer_still_writes_the_golden_segment() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let name = "c000-00000001.seg";
    let written = fs::read(dir.path().join(name)).unwrap();
    let kept = fs::read(golden("spool-2").join(name)).unwrap();
    assert!(written == kept, "the segment differs from tests/data/spool-2/{name}");
}

/// No sink comes near the end of the sequence numbers, but a segment may say that one did.
#[test]
fn a_spool_whose_sequence_numbers_are_used_up_takes_mail() {
    let dir = tempfile::tempdir().unwrap();
    let to: [(&[u8], &[u8]); 1] = [(b"to@example.org", b"")];
    let session = session();
    let store = |writer: &mut Writer| {
        let mut draft = Draft::default();
        writer.append(&mut draft, b"hi").unwrap();
        writer.seal(&mut draft, &meta(1, &session), to).unwrap();
    };
    for stored in [1, 4, 7] {
        if stored == 1 {
            let (mut writer, inbox) = writer_after(dir.path(), u64::MAX - 1);
            store(&mut writer);
            drop((writer, inbox));
        } else {
            let (spool, _, mut writers) = Spool::open(dir.path(), Options::default()).unwrap();
            (0..3).for_each(|_| store(&mut writers[0]));
            drop((writers, spool));
        }
        let survey = Reader::open(dir.path()).unwrap().survey(1, &|_| {}).unwrap();
        assert!(survey.is_sound() && survey.messages == stored, "{survey}");
    }
}

#[test]
fn the_reader_still_reads_the_golden_segments() {
    for spool in ["spool-1", "spool-2"] {
        check(&golden(spool));
    }
}

fn check(dir: &Path) {
    let reader = Reader::open(dir).unwrap();
    let mut messages = reader.messages();
    let mut read = Vec::new();
    for message in messages.by_ref() {
        let message = message.unwrap();
        let body = String::from_utf8(reader.body(&message).unwrap()).unwrap();
        assert_eq!(reader.get(message.place).unwrap(), message);
        read.push((message.place.to_string(), body, message.envelope));
    }
    let bodies: Vec<_> = read.iter().map(|(id, body, _)| (id.as_str(), body.as_str())).collect();
    assert_eq!(
        bodies,
        [
            ("0-1-64", "Subject: whole\r\n\r\n.dots\r\n"),
            ("0-1-624", "Subject: second\r\n"),
            ("0-1-872", "Subject: first\r\n\r\nbody\r\n"),
            ("0-1-1088", ""),
            ("0-1-1288", "Subject: cut\r\n\r\n"),
        ]
    );
    let second = &read[1].2;
    assert_eq!(second.received_ns, 1_700_000_000_000_000_002);
    assert_eq!(second.sealed_ns, 1_700_000_000_500_000_002);
    assert_eq!(second.helo, b"client.example");
    assert_eq!(second.recipients.get(0).unwrap().params, b"NOTIFY=NEVER");
    assert_eq!(second.recipients.get(1).unwrap().path, b"b@example.org");
    assert!(read[3].2.recipients.is_empty());
    assert_eq!((read[3].2.sent_bytes, read[4].2.sent_bytes), (None, Some(4_000)));
    let names: Vec<_> = read[4].2.flags.names().collect();
    assert_eq!(names, ["bdat", "headers-only"]);
    let survey = messages.survey();
    assert!(survey.is_sound(), "{survey}");
    assert_eq!(survey.orphaned_fragments, 1);
}

/// Writes the golden segment anew, for a new version of the format: RINGPOST_GOLDEN=DIR names an
/// empty directory.
#[test]
fn a_new_golden_segment_is_written_on_request() {
    if let Some(dir) = std::env::var_os("RINGPOST_GOLDEN") {
        write(Path::new(&dir));
    }
}
