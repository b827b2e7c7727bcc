//! Segments whose checksums are right, and whose records lie.

use std::fs;
use std::path::Path;

use super::{Reader, Survey};
use crate::limits::SEGMENT_BYTES_MAX;
use crate::spool::envelope::Meta;
use crate::spool::error::Doubt;
use crate::spool::format::{
    MARKER, MARKER_TEXT, Place, RecordFlags, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES,
    SegmentHeader, crc32c, file_name,
};

const SEGMENT: SegmentHeader = SegmentHeader {
    number: 1,
    core: 0,
    bytes: 4 << 20,
    created_ns: 1,
    nonce: 0x1234_5678_9abc_def0,
};

/// A log in the making.
struct Forged {
    header: SegmentHeader,
    octets: Vec<u8>,
    seq: u64,
    /// How many recipients each message has.
    recipients: usize,
}

impl Forged {
    fn new(header: SegmentHeader) -> Self {
        Self { header, octets: header.encode().to_vec(), seq: 0, recipients: 1 }
    }

    /// Adds a record, and gives its place. `back` is the piece before it.
    fn add(
        &mut self,
        kind: RecordKind,
        body: &[u8],
        total_bytes: u64,
        back: Option<Place>,
    ) -> Place {
        let mut envelope = Vec::new();
        if kind != RecordKind::Fragment {
            let meta = Meta { received_ns: 1, sealed_ns: self.seq + 1, ..Meta::default() };
            let to = (&b"a@x"[..], &b""[..]);
            meta.encode(vec![to; self.recipients], &mut envelope).unwrap();
        }
        let payload = [body, &envelope].concat();
        let offset = self.octets.len() as u32;
        self.seq += 1;
        let header = RecordHeader {
            kind,
            core: self.header.core,
            segment: self.header.number,
            draft: 7,
            seq: self.seq,
            total_bytes,
            body_bytes: body.len() as u32,
            envelope_bytes: envelope.len() as u32,
            flags: RecordFlags::empty(),
            back_segment: back.map_or(0, |back| back.segment),
            back_offset: back.map_or(0, |back| back.offset),
            payload_crc: crc32c(&payload),
        };
        self.octets.extend(header.encode(self.header.nonce));
        self.octets.extend(payload);
        self.octets.resize(self.octets.len().next_multiple_of(8), 0);
        Place { core: self.header.core, segment: self.header.number, offset }
    }

    fn write(&self, dir: &Path) {
        fs::write(dir.join(MARKER), MARKER_TEXT).unwrap();
        fs::write(dir.join(file_name(self.header.core, self.header.number)), &self.octets).unwrap();
    }
}

/// What each of the ways to read a spool finds: forwards, backwards and on threads.
fn surveys(dir: &Path) -> [Survey; 3] {
    let reader = Reader::open(dir).unwrap();
    let [mut forwards, mut backwards] = [reader.oldest_first(), reader.newest_first()];
    for listing in [&mut forwards, &mut backwards] {
        for message in listing.by_ref() {
            let message = message.unwrap();
            assert_eq!(reader.body(&message).unwrap().len() as u64, message.bytes);
        }
    }
    [forwards.survey(), backwards.survey(), reader.survey(2, &|_| {}).unwrap()]
}

#[test]
fn a_piece_belongs_to_one_message_however_many_claim_it() {
    const PIECES: u64 = 5_000;
    const SEALS: u64 = 1_500;
    let dir = tempfile::tempdir().unwrap();
    let mut log = Forged::new(SEGMENT);
    let mut back = None;
    for total in 1..=PIECES {
        back = Some(log.add(RecordKind::Fragment, b"x", total, back));
    }
    for _ in 0..SEALS {
        log.add(RecordKind::Seal, b"", PIECES, back);
    }
    log.write(dir.path());
    // And of those that claim it from another segment.
    let mut other = Forged::new(SegmentHeader { number: 2, ..SEGMENT });
    for _ in 0..SEALS {
        other.add(RecordKind::Seal, b"", PIECES, back);
    }
    other.write(dir.path());
    let [forwards, backwards, audited] = surveys(dir.path());
    for survey in [&forwards, &audited] {
        assert_eq!((survey.messages, survey.bytes), (1, PIECES));
        assert_eq!(survey.damage.len() as u64 + survey.untold, 2 * SEALS - 1);
        assert!(survey.damage.iter().all(|damage| damage.what == Doubt::Chain));
    }
    // Backwards the walk meets the claims of each segment before the pieces of the other.
    assert!(backwards.messages <= 2 && !backwards.is_sound(), "{backwards:?}");
}

/// Of pieces that wait for their seal a reader keeps a bounded number in memory. The others are read again.
#[test]
fn a_message_in_more_pieces_than_fit_into_memory_is_read_from_the_disk() {
    const PIECES: u64 = 9_000;
    let dir = tempfile::tempdir().unwrap();
    let mut log = Forged::new(SEGMENT);
    let mut back = None;
    for total in 1..=PIECES {
        back = Some(log.add(RecordKind::Fragment, &[total as u8], total, back));
    }
    log.add(RecordKind::Fragment, b"no seal leads to this", 21, None);
    let seal = log.add(RecordKind::Seal, b"", PIECES, back);
    log.write(dir.path());
    // Many cores share the memory, and many threads.
    for core in 1..=100 {
        let mut other = Forged::new(SegmentHeader { core, ..SEGMENT });
        other.add(RecordKind::Single, b"good", 4, None);
        other.write(dir.path());
    }
    let reader = Reader::open(dir.path()).unwrap();
    let expected: Vec<_> = (1..=PIECES).map(|total| total as u8).collect();
    for mut listing in [reader.oldest_first(), reader.newest_first()] {
        let mut body = Vec::new();
        let mut found = 0;
        while let Some(message) = listing.next() {
            let message = message.unwrap();
            found += 1;
            if message.place == seal {
                listing.copy_body(&message, u64::MAX, &mut body).unwrap();
            }
        }
        assert_eq!((found, body == expected), (101, true));
        let survey = listing.survey();
        assert!(survey.is_sound(), "{survey:?}");
    }
    let survey = reader.survey(64, &|_| {}).unwrap();
    assert_eq!((survey.messages, survey.orphaned_fragments), (101, 1), "{survey:?}");
    assert!(survey.is_sound());
}

#[test]
fn large_envelopes_that_wait_for_their_turn_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    const CORES: u16 = 8;
    for core in 0..CORES {
        let mut log = Forged::new(SegmentHeader { core, bytes: 16 << 20, ..SEGMENT });
        for number in 0..3 {
            log.recipients = 200_000 + usize::from(core) + number;
            log.add(RecordKind::Single, b"good", 4, None);
        }
        log.write(dir.path());
    }
    let reader = Reader::open(dir.path()).unwrap();
    for listing in [reader.oldest_first(), reader.newest_first()] {
        let mut counts: Vec<_> =
            listing.map(|message| message.unwrap().envelope.recipients.len()).collect();
        counts.sort_unstable();
        let expected =
            (0..CORES).flat_map(|core| [0, 1, 2].map(|n| 200_000 + usize::from(core) + n));
        let mut expected: Vec<_> = expected.collect();
        expected.sort_unstable();
        assert_eq!(counts, expected);
    }
}

#[test]
fn the_last_sequence_number_has_none_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Forged::new(SEGMENT);
    log.seq = u64::MAX - 1;
    log.add(RecordKind::Single, b"good", 4, None);
    log.seq = 0;
    log.add(RecordKind::Single, b"bad", 3, None);
    log.write(dir.path());
    for survey in surveys(dir.path()) {
        assert_eq!((survey.messages, survey.torn.len()), (1, 1), "{survey:?}");
        assert_eq!(survey.torn[0].what, Doubt::Sequence);
    }
}

#[test]
fn lengths_and_links_are_held_against_what_is_there() {
    for (what, expected) in [
        ("short", Doubt::Length),
        ("long", Doubt::Chain),
        ("itself", Doubt::Chain),
        ("forwards", Doubt::Chain),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Forged::new(SEGMENT);
        log.add(RecordKind::Single, b"good", 4, None);
        let offset = log.octets.len() as u32;
        let here = Place { core: 0, segment: 1, offset };
        match what {
            "short" => log.add(RecordKind::Single, b"12345", 4, None),
            "long" => log.add(RecordKind::Single, b"12345", 6, None),
            "itself" => log.add(RecordKind::Seal, b"12345", 10, Some(here)),
            _ => {
                let length = log.add(RecordKind::Seal, b"12345", 6, Some(here)).offset;
                log.octets.truncate(length as usize);
                let next = (64 + 5 + 4 * 4 + 8 + 8 + 3_u32).next_multiple_of(8);
                log.seq -= 1;
                let after = Place { offset: offset + next, ..here };
                log.add(RecordKind::Seal, b"12345", 6, Some(after));
                log.add(RecordKind::Fragment, b"1", 1, None)
            }
        };
        log.write(dir.path());
        for survey in surveys(dir.path()) {
            assert_eq!(survey.messages, 1, "{what}: {survey:?}");
            assert_eq!(survey.damage.len(), 1, "{what}: {survey:?}");
            assert_eq!(survey.damage[0].what, expected, "{what}");
        }
    }
}

#[test]
fn a_file_without_end_is_told_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Forged::new(SegmentHeader { number: 9, ..SEGMENT });
    log.add(RecordKind::Single, b"good", 4, None);
    log.write(dir.path());
    let mut huge = Forged::new(SegmentHeader { number: 1, bytes: 1 << 40, ..SEGMENT });
    huge.add(RecordKind::Single, b"bad", 3, None);
    huge.write(dir.path());
    let [empty, cut] =
        [(0, 2), (0, 3)].map(|(core, number)| dir.path().join(file_name(core, number)));
    for path in [dir.path().join(file_name(0, 1)), empty, cut] {
        let file =
            fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
        file.set_len(1 << 40).unwrap();
    }
    const { assert!(SEGMENT_BYTES_MAX < 1 << 40 && SEGMENT_HEADER_BYTES == 64) };
    for survey in surveys(dir.path()) {
        assert_eq!((survey.messages, survey.damage.len()), (1, 3), "{survey:?}");
    }
}

#[test]
fn a_segment_that_cannot_be_opened_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    for number in [1, 3] {
        let mut log = Forged::new(SegmentHeader { number, ..SEGMENT });
        log.add(RecordKind::Single, b"good", 4, None);
        log.write(dir.path());
    }
    fs::create_dir(dir.path().join(file_name(0, 2))).unwrap();
    for survey in surveys(dir.path()) {
        assert_eq!((survey.messages, survey.damage.len()), (2, 1), "{survey:?}");
    }
}
