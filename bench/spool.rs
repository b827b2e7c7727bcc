//! How fast one core stores messages, against the copy alone and against the two obvious ways.
//!
//! `ring` appends and seals in a ring whose segments are recycled: copy, CRC-32C, envelope, header, commit
//! word, with the helper thread at work. `fresh` does the same in a spool that still makes new files. `memcpy`
//! copies to memory that is present, as much of it as the ring has. `write` appends to a file that is
//! overwritten, with one write(2) for each message. `first_touch` copies into a map of a sparse file.
//!
//! After criterion's figures comes a table of medians in GB/s.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use memmap2::{MmapMut, MmapOptions};
use ringpost::spool::{Draft, Meta, Options, SessionMeta, Spool, Writer};
use tempfile::TempDir;

const SIZES: [usize; 4] = [1024, 16 * 1024, 64 * 1024, 1024 * 1024];
const RING_BYTES: usize = 512 * 1024 * 1024;
const SEGMENT_BYTES: usize = 64 * 1024 * 1024;
/// Octets after which `fresh` begins a new spool, so that it fits a small disk.
const FRESH_BYTES: usize = 1024 * 1024 * 1024;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args();
    let mut group = criterion.benchmark_group("store");
    let mut rows = Vec::new();
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let body = vec![b'x'; size];
        let ways = [memcpy, ring, fresh, write, first_touch];
        rows.push((size, ways.map(|way| way(&mut group, &body))));
    }
    group.finish();
    criterion.final_summary();
    show(&rows);
}

/// Gigabytes per second of each way, where it was run.
fn show(rows: &[(usize, [Option<f64>; 5])]) {
    println!("GB/s      memcpy    ring   fresh   write   first touch   ring/memcpy");
    for (size, figures) in rows {
        let [memcpy, ring, fresh, write, first_touch] =
            figures.map(|figure| figure.map_or("-".to_owned(), |figure| format!("{figure:.2}")));
        let ratio = figures[0].zip(figures[1]).map_or(0.0, |(memcpy, ring)| ring / memcpy);
        let size = format!("{} KiB", size / 1024);
        println!("{size:>8}{memcpy:>8}{ring:>8}{fresh:>8}{write:>8}{first_touch:>14}{ratio:>14.2}");
    }
}

/// Measures `step`, which stores one body and returns the time that it spent on other things. Returns the
/// median bandwidth.
fn measure(
    group: &mut Group<'_>,
    name: &str,
    bytes: usize,
    mut step: impl FnMut() -> Duration,
) -> Option<f64> {
    let mut rates = Vec::new();
    group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            let unmeasured: Duration = (0..times).map(|_| step()).sum();
            let took = start.elapsed() - unmeasured;
            rates.push(times as f64 * bytes as f64 / took.as_nanos() as f64);
            took
        });
    });
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied()
}

/// A spool of one core and its directory.
struct Store {
    writer: Writer,
    draft: Draft,
    /// What its messages have in common.
    session: Vec<u8>,
    _spool: Spool,
    _dir: TempDir,
}

impl Store {
    fn new(limit_bytes: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the spool");
        let options = Options {
            segment_bytes: SEGMENT_BYTES as u64,
            limit_bytes: limit_bytes as u64,
            ..Options::default()
        };
        let (spool, _, mut writers) = Spool::open(dir.path(), options).expect("a new spool");
        let writer = writers.remove(0);
        let mut session = Vec::new();
        let meta = SessionMeta {
            peer: b"127.0.0.1:40000",
            listener: b"smtp://127.0.0.1:1025",
            helo: b"client.example.org",
            protocol: b"ESMTP",
            ..SessionMeta::default()
        };
        meta.encode(&mut session).expect("a short envelope");
        Self { writer, draft: Draft::default(), session, _spool: spool, _dir: dir }
    }

    fn store(&mut self, body: &[u8]) {
        let meta = Meta {
            received_ns: 1_700_000_000_000_000_000,
            sealed_ns: 1_700_000_000_000_100_000,
            session: &self.session,
            reverse_path: b"sender@example.org",
            reverse_params: b"SIZE=1024",
            ..Meta::default()
        };
        let to: [(&[u8], &[u8]); 1] = [(b"recipient@example.org", b"")];
        self.writer.append(&mut self.draft, black_box(body)).expect("room in a ring");
        self.writer.seal(&mut self.draft, black_box(&meta), to).expect("room in a ring");
    }
}

fn ring(group: &mut Group<'_>, body: &[u8]) -> Option<f64> {
    let mut store = Store::new(RING_BYTES);
    for _ in 0..RING_BYTES / body.len() {
        store.store(body);
    }
    let median = measure(group, "ring", body.len(), || {
        store.store(body);
        Duration::ZERO
    });
    println!("{:?}", store.writer.stats());
    median
}

fn fresh(group: &mut Group<'_>, body: &[u8]) -> Option<f64> {
    let open = || Store::new(FRESH_BYTES + 4 * SEGMENT_BYTES);
    let (mut store, mut stored) = (open(), 0);
    measure(group, "fresh", body.len(), || {
        let mut unmeasured = Duration::ZERO;
        if stored >= FRESH_BYTES {
            let start = Instant::now();
            (store, stored) = (open(), 0);
            unmeasured = start.elapsed();
        }
        stored += body.len();
        store.store(body);
        unmeasured
    })
}

fn memcpy(group: &mut Group<'_>, body: &[u8]) -> Option<f64> {
    let mut ring = vec![1u8; RING_BYTES];
    let mut at = 0;
    measure(group, "memcpy", body.len(), || {
        at = if at + 2 * body.len() > ring.len() { 0 } else { at + body.len() };
        ring[at..at + body.len()].copy_from_slice(black_box(body));
        Duration::ZERO
    })
}

fn write(group: &mut Group<'_>, body: &[u8]) -> Option<f64> {
    let file = tempfile::tempfile().expect("a file");
    let mut at = 0;
    measure(group, "write", body.len(), || {
        at = if at + 2 * body.len() > RING_BYTES { 0 } else { at + body.len() };
        file.write_all_at(black_box(body), at as u64).expect("room on the disk");
        Duration::ZERO
    })
}

fn first_touch(group: &mut Group<'_>, body: &[u8]) -> Option<f64> {
    let (mut _file, mut map) = sparse();
    let mut at = 0;
    measure(group, "first_touch", body.len(), || {
        if at + body.len() > map.len() {
            (_file, map) = sparse();
            at = 0;
        }
        map[at..at + body.len()].copy_from_slice(black_box(body));
        at += body.len();
        Duration::ZERO
    })
}

fn sparse() -> (File, MmapMut) {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(SEGMENT_BYTES as u64).expect("a sparse file");
    // SAFETY: the file has no name, so nobody can shrink it; a full disk would end the bench, no more.
    let map = unsafe { MmapOptions::new().map_mut(&file) }.expect("a map");
    (file, map)
}
