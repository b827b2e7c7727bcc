//! How fast one core stores messages, against the copy alone and against the two obvious ways.
//!
//! `spool` appends and seals: copy, CRC32C, envelope, header, commit word, and the helper thread beside
//! it. `memcpy` copies to memory that is there, as much of it as the ring has. `write` appends with one
//! write(2) each to a file that is written over. `first_touch` copies into a map of a sparse file.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use memmap2::{MmapMut, MmapOptions};
use ringpost::spool::{Draft, Meta, Options, Spool};

const SIZES: [usize; 4] = [1024, 16 * 1024, 64 * 1024, 1024 * 1024];
const RING_BYTES: usize = 512 * 1024 * 1024;
const SEGMENT_BYTES: usize = 64 * 1024 * 1024;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args();
    let mut group = criterion.benchmark_group("store");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let body = vec![b'x'; size];
        spool(&mut group, &body);
        memcpy(&mut group, &body);
        write(&mut group, &body);
        first_touch(&mut group, &body);
    }
    group.finish();
    criterion.final_summary();
}

fn spool(group: &mut BenchmarkGroup<'_, WallTime>, body: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory for the spool");
    let options = Options {
        segment_bytes: SEGMENT_BYTES as u64,
        limit_bytes: RING_BYTES as u64,
        ..Options::default()
    };
    let (_spool, _, mut writers) = Spool::open(dir.path(), options).expect("a new spool");
    let writer = &mut writers[0];
    let meta = Meta {
        received_ns: 1_700_000_000_000_000_000,
        sealed_ns: 1_700_000_000_000_100_000,
        peer: b"127.0.0.1:40000",
        listener: b"smtp://127.0.0.1:1025",
        helo: b"client.example.org",
        protocol: b"ESMTP",
        reverse_path: b"sender@example.org",
        reverse_params: b"SIZE=1024",
        ..Meta::default()
    };
    let to: [(&[u8], &[u8]); 1] = [(b"recipient@example.org", b"")];
    let mut draft = Draft::default();
    group.bench_function(BenchmarkId::new("spool", body.len()), |bencher| {
        bencher.iter(|| {
            writer.append(&mut draft, black_box(body)).expect("room in a ring");
            writer.seal(&mut draft, black_box(&meta), to).expect("room in a ring")
        });
    });
    println!("{:?}", writer.stats());
}

fn memcpy(group: &mut BenchmarkGroup<'_, WallTime>, body: &[u8]) {
    let mut ring = Vec::new();
    let mut at = 0;
    group.bench_function(BenchmarkId::new("memcpy", body.len()), |bencher| {
        ring.resize(RING_BYTES, 1u8);
        bencher.iter(|| {
            at = if at + 2 * body.len() > ring.len() { 0 } else { at + body.len() };
            ring[at..at + body.len()].copy_from_slice(black_box(body));
        });
    });
}

fn write(group: &mut BenchmarkGroup<'_, WallTime>, body: &[u8]) {
    let file = tempfile::tempfile().expect("a file");
    let mut at = 0;
    group.bench_function(BenchmarkId::new("write", body.len()), |bencher| {
        bencher.iter(|| {
            at = if at + 2 * body.len() > RING_BYTES { 0 } else { at + body.len() };
            file.write_all_at(black_box(body), at as u64).expect("room on the disk");
        });
    });
}

fn first_touch(group: &mut BenchmarkGroup<'_, WallTime>, body: &[u8]) {
    let (mut _file, mut map) = sparse();
    let mut at = 0;
    group.bench_function(BenchmarkId::new("first_touch", body.len()), |bencher| {
        bencher.iter(|| {
            if at + body.len() > map.len() {
                (_file, map) = sparse();
                at = 0;
            }
            map[at..at + body.len()].copy_from_slice(black_box(body));
            at += body.len();
        });
    });
}

fn sparse() -> (File, MmapMut) {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(SEGMENT_BYTES as u64).expect("a sparse file");
    // SAFETY: the file has no name, so nobody can shrink it; a full disk would end the bench, no more.
    let map = unsafe { MmapOptions::new().map_mut(&file) }.expect("a map");
    (file, map)
}
