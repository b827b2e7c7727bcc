//! Segments that were changed at some places, with every checksum right again: the ways to read a spool agree
//! on what it holds, and a sink that opens it ends or starts.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crc_fast::{CrcAlgorithm, checksum};
use libfuzzer_sys::fuzz_target;
use ringpost::spool::{Draft, Meta, Options, Reader, Spool, WhenFull};

/// A sink is started on one input of so many: it takes as long as a hundred others.
const STARTS: u8 = 32;

struct Base {
    dir: tempfile::TempDir,
    segment: PathBuf,
    octets: Vec<u8>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (spool, _, mut writers) = Spool::open(dir.path(), options()).unwrap();
    let writer = &mut writers[0];
    let [mut one, mut two] = [Draft::default(), Draft::default()];
    let to = [(&b"b@y.test"[..], &b"NOTIFY=NEVER"[..]), (b"c@y.test", b"")];
    for piece in [&b"Subject: one\r\n"[..], b"\r\n", b"text\r\n"] {
        writer.append(&mut one, piece).unwrap();
        writer.append(&mut two, piece).unwrap();
    }
    for draft in [&mut one, &mut two] {
        let meta =
            Meta { received_ns: 1, sealed_ns: 2, reverse_path: b"a@x.test", ..Meta::default() };
        writer.seal(draft, &meta, to).unwrap();
        let mut whole = Draft::default();
        writer.append(&mut whole, b"Subject: whole\r\n\r\n").unwrap();
        writer.seal(&mut whole, &meta, to).unwrap();
    }
    drop((writers, spool));
    let segment = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let segment =
        segment.filter(|path| path.extension().is_some_and(|end| end == "seg")).min().unwrap();
    let octets = fs::read(&segment).unwrap();
    let mut mended = octets.clone();
    mend(&mut mended);
    assert!(mended == octets, "what is mended here is what the writer computes");
    assert_eq!(read(dir.path()), 4);
    Base { dir, segment, octets }
});

fn options() -> Options {
    let (segment_bytes, limit_bytes) = (64 * 1024, 8 * 64 * 1024);
    Options {
        segment_bytes,
        limit_bytes,
        when_full: WhenFull::Refuse,
        cores: 1,
        ..Options::default()
    }
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().unwrap())
}

fn u64_at(octets: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(octets[at..at + 8].try_into().unwrap())
}

fn put_crc(octets: &mut [u8], of: std::ops::Range<usize>, at: usize) {
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, &octets[of]) as u32;
    octets[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Makes every checksum and commit word right.
fn mend(octets: &mut [u8]) {
    put_crc(octets, 0..48, 60);
    let nonce = u64_at(octets, 40);
    let mut at = 64;
    while at + 64 <= octets.len() && &octets[at..at + 4] == b"RPR\x01" {
        let payload = u64::from(u32_at(octets, at + 32)) + u64::from(u32_at(octets, at + 36));
        let end = at as u64 + 64 + payload;
        if end > octets.len() as u64 {
            return;
        }
        let end = end as usize;
        put_crc(octets, at + 64..end, at + 52);
        put_crc(octets, at..at + 56, at + 56);
        let (number, seq) = (u32_at(octets, at + 8), u64_at(octets, at + 16));
        let mixed = (nonce ^ seq).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number);
        let word = (((mixed >> 32) ^ mixed) as u32) | 1;
        octets[at + 60..at + 64].copy_from_slice(&word.to_le_bytes());
        at = end.next_multiple_of(8);
    }
}

/// Reads a spool in all ways; how many messages there are.
fn read(dir: &Path) -> u64 {
    let reader = Reader::open(dir).unwrap();
    let mut forwards = reader.oldest_first();
    for message in forwards.by_ref() {
        let message = message.unwrap();
        assert_eq!(reader.body(&message).unwrap().len() as u64, message.bytes);
        assert_eq!(reader.get(message.place).unwrap(), message);
    }
    for message in reader.newest_first() {
        let _ = message.unwrap();
    }
    let [mut walked, mut audited] = [forwards.survey(), reader.survey(1, &|_| {}).unwrap()];
    // The one tells of a segment's end before its messages, the other after them.
    for survey in [&mut walked, &mut audited] {
        survey.damage.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
        survey.torn.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
    }
    assert_eq!(walked, audited);
    audited.messages
}

fuzz_target!(|input: &[u8]| {
    let [switch, patches @ ..] = input else { return };
    let mut octets = BASE.octets.clone();
    for patch in patches.chunks_exact(7) {
        let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % (octets.len() - 4);
        let width = usize::from(patch[2] % 4) + 1;
        octets[at..at + width].copy_from_slice(&patch[3..3 + width]);
    }
    if switch & 0x80 == 0 {
        mend(&mut octets);
    }
    fs::write(&BASE.segment, &octets).unwrap();
    read(BASE.dir.path());
    if switch % STARTS == 0 {
        let dir = tempfile::tempdir_in(BASE.dir.path().parent().unwrap()).unwrap();
        for path in [&BASE.segment, &BASE.dir.path().join("SPOOL")] {
            fs::copy(path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        if let Ok((spool, _, writers)) = Spool::open(dir.path(), options()) {
            // In this order, so that no thread makes segments any more.
            drop((writers, spool));
        }
        let _ = read(dir.path());
    }
});
