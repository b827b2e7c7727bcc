//! How fast message content is searched and judged. Each task has a rival, and each content a shape
//! that is typical or the worst of its kind.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringpost::{
    scan::{self, Census},
    smtp::body::{Unstuffed, Unstuffer},
};

const CONTENT_BYTES: usize = 64 * 1024;

fn contents() -> [(&'static str, Vec<u8>); 5] {
    let filled = |pattern: &[u8]| pattern.iter().copied().cycle().take(CONTENT_BYTES).collect();
    let line = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod.\r\n";
    [
        ("typical", filled(line)),
        ("every_line_a_dot", filled(b"..\r\n")),
        ("only_cr", filled(b"\r")),
        ("only_lf", filled(b"\n")),
        ("bare_lf_dot", filled(b"\n.")),
    ]
}

/// The rival: visit each CR and LF by memchr2 and look at its neighbour.
fn bare_newline_by_memchr2(octets: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', b'\n', octets).any(|at| match octets[at] {
        b'\r' => octets.get(at + 1) != Some(&b'\n'),
        _ => at == 0 || octets[at - 1] != b'\r',
    })
}

fn unstuff(octets: &[u8]) -> usize {
    let mut unstuffer = Unstuffer::default();
    let mut input = octets;
    let mut taken = 0;
    while let Some(piece) = unstuffer.step(&mut input) {
        match piece {
            Unstuffed::Text(text) => taken += text.len(),
            Unstuffed::End => break,
        }
    }
    taken
}

fn scans(c: &mut Criterion) {
    for (name, content) in contents() {
        let mut group = c.benchmark_group(format!("scan/{name}"));
        group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
        group.bench_function("find_lf_dot", |b| {
            b.iter(|| scan::find_lf_dot(black_box(&content)));
        });
        group.bench_function("unstuff", |b| b.iter(|| unstuff(black_box(&content))));
        group.bench_function("census", |b| {
            b.iter(|| {
                let mut census = Census::default();
                census.feed(black_box(&content));
                census.finish()
            });
        });
        group.bench_function("bare_newline_by_memchr2", |b| {
            b.iter(|| bare_newline_by_memchr2(black_box(&content)));
        });
        group.finish();
    }
}

fn short_scans(c: &mut Criterion) {
    let (_, content) = &contents()[0];
    let message = &content[..1024];
    let mut group = c.benchmark_group("scan/one_kib");
    group.throughput(Throughput::Bytes(1024));
    group.bench_function("find_lf_dot", |b| b.iter(|| scan::find_lf_dot(black_box(message))));
    group.bench_function("census", |b| {
        b.iter(|| {
            let mut census = Census::default();
            census.feed(black_box(message));
            census.finish()
        });
    });
    group.bench_function("bare_newline_by_memchr2", |b| {
        b.iter(|| bare_newline_by_memchr2(black_box(message)));
    });
    group.finish();
}

criterion_group!(benches, scans, short_scans);
criterion_main!(benches);
