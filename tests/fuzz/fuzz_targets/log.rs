//! Interval logs and rows of a stranger's run: they are read or told, and never more than they may be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpost::run::{hlog, series};

fuzz_target!(|input: &[u8]| {
    let lines = input.iter().filter(|octet| **octet == b'\n').count() + 1;
    assert!(hlog::read(input).take(lines + 1).count() <= lines);
    let _ = hlog::begins(input);
    if let Ok(rows) = series::read(input) {
        assert!(rows.len() <= lines);
    }
});
