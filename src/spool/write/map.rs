//! The mapping of one segment.
//!
//! # The invariant
//!
//! A store into a mapped file is a memory access only while the file holds that page; otherwise it is
//! SIGBUS. So, for as long as a [`Map`] lives:
//!
//! - the file was allocated to its full length before it was mapped (`segment.rs`: fallocate, never
//!   ftruncate alone), so a store cannot meet a full disk;
//! - nobody shrinks it: this program trims a segment only after its map is gone, and the directory is
//!   ours alone (mode 0700, locked);
//! - if somebody does shrink it, or its disk fails, the process survives the fault (`sigbus.rs`), and
//!   [`Map::is_torn`] says so, even if the file was made longer again;
//! - one thread owns it. Others, in this process and outside, look at the file with `read`, never at
//!   this memory.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::io::Errno;

use super::sigbus::Guarded;

/// Step in which the helper thread populates a fresh map, so that it never holds the map's lock long.
const POPULATE_STEP_BYTES: usize = 4 * 1024 * 1024;

/// In which way pages are made present.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Touch {
    /// Present and clean: the first store to it takes a short fault.
    Read,
    /// Writable, and with that dirty.
    Write,
}

/// A shared, writable map of a whole segment file.
pub(super) struct Map {
    guarded: Guarded,
    /// INVARIANT: equals the length of the map and is at most the length of the file.
    len: usize,
}

impl Map {
    /// Maps the first `len` octets of `file`, which the caller has allocated (see the contract).
    pub(super) fn new(file: &File, len: usize) -> io::Result<Self> {
        assert!(len > 0 && len.is_multiple_of(size_of::<u64>()), "{len} octets are no segment");
        let raw = MmapOptions::new().len(len).map_raw(file)?;
        // Gigabytes of other people's mail have no place in a core dump. A refusal does no harm.
        let _ = raw.advise(Advice::DontDump);
        Ok(Self { guarded: Guarded::new(raw)?, len })
    }

    fn raw(&self) -> &MmapRaw {
        self.guarded.raw()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Makes every page present, in steps, so that the owner's stores do not fault, or fault only for pages
    /// that are in memory. Kernels before 5.14 cannot do this; then the owner faults as it goes.
    ///
    /// What is an error here would be SIGBUS at a store: EFAULT means that the file system, in spite of the
    /// allocation, has no room for a page.
    pub(super) fn populate(&self, touch: Touch) -> io::Result<()> {
        let advice = match touch {
            Touch::Read => Advice::PopulateRead,
            Touch::Write => Advice::PopulateWrite,
        };
        let mut at = 0;
        while at < self.len {
            let step = POPULATE_STEP_BYTES.min(self.len - at);
            match self.raw().advise_range(advice, at, step) {
                Ok(()) => at += step,
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Copies `bytes` to `at`. Panics when they do not fit.
    pub(super) fn write_at(&mut self, at: usize, bytes: &[u8]) {
        self.check(at, bytes.len());
        // SAFETY: `check` keeps the target inside the map; `bytes` is a live Rust slice and cannot
        // overlap memory that only this type hands out, which it never does.
        unsafe {
            let target = self.raw().as_mut_ptr().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
    }

    /// Sets `len` octets at `at` to zero. Panics when they do not fit.
    pub(super) fn zero_at(&mut self, at: usize, len: usize) {
        self.check(at, len);
        // SAFETY: `check` keeps the target inside the map.
        unsafe { std::ptr::write_bytes(self.raw().as_mut_ptr().add(at), 0, len) };
    }

    /// Stores a word, little endian, with release ordering: a reader that sees the word sees everything that
    /// was stored before it. `at` must be a multiple of 4.
    pub(super) fn store_release(&mut self, at: usize, word: u32) {
        self.check(at, 4);
        assert!(at.is_multiple_of(4), "a commit word is aligned");
        // SAFETY: in bounds by `check`; a map starts on a page, so `at` decides the alignment; no other
        // thread of this process touches this memory.
        let cell = unsafe { AtomicU32::from_ptr(self.raw().as_mut_ptr().add(at).cast::<u32>()) };
        cell.store(word.to_le(), Ordering::Release);
    }

    /// Whether octets of the file were lost under the map: what was stored to them is nowhere. `canary` is
    /// the last word of the file as it was made. Cheap.
    pub(super) fn is_torn(&self, canary: u64) -> bool {
        // Wherever the file was cut, its last page is missing, or partly zero, long before the log reaches the
        // cut.
        self.last_word() != canary || self.guarded.is_hit()
    }

    fn last_word(&self) -> u64 {
        let at = self.len - size_of::<u64>();
        // SAFETY: inside of the map, which starts on a page and has whole words (see `new`).
        u64::from_le(unsafe { self.raw().as_mut_ptr().add(at).cast::<u64>().read_volatile() })
    }

    fn check(&self, at: usize, len: usize) {
        let fits = at.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(fits, "{len} octets at {at} do not fit a map of {}", self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn map(len: usize) -> (File, Map) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len as u64).unwrap();
        let map = Map::new(&file, len).unwrap();
        (file, map)
    }

    #[test]
    fn what_is_stored_is_what_a_reader_of_the_file_gets() {
        let (file, mut map) = map(8192);
        map.populate(Touch::Write).unwrap();
        map.write_at(4090, b"over the page");
        map.store_release(8, 0x0403_0201);
        map.zero_at(4094, 1);
        let mut seen = [0; 13];
        file.read_exact_at(&mut seen, 4090).unwrap();
        assert_eq!(&seen, b"over\0the page");
        file.read_exact_at(&mut seen[..4], 8).unwrap();
        assert_eq!(seen[..4], [1, 2, 3, 4]);
    }

    #[test]
    fn a_cut_shows_wherever_it_was_and_whatever_came_behind_it() {
        let page = rustix::param::page_size();
        let (len, canary) = (8 * page, 0x0101_0101_0101_0101_u64);
        for cut in [0, 1, 5 * page + 1, 7 * page + 1, len - 9, len - 1, len] {
            for made_longer_again in [false, true] {
                let (file, mut map) = map(len);
                map.populate(Touch::Write).unwrap();
                map.write_at(0, b"before");
                map.write_at(len - 8, &canary.to_le_bytes());
                assert!(!map.is_torn(canary));
                file.set_len(cut as u64).unwrap();
                if made_longer_again {
                    file.set_len(len as u64).unwrap();
                }
                assert_eq!(map.is_torn(canary), cut < len, "cut to {cut}");
                map.write_at(6 * page - 3, b"over the cut");
                map.store_release(4 * page, 1);
                assert_eq!(map.is_torn(canary), cut < len, "cut to {cut}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn a_store_beyond_the_end_is_refused() {
        map(4096).1.write_at(4090, b"too long");
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn an_offset_that_overflows_is_refused() {
        map(4096).1.zero_at(usize::MAX, 2);
    }
}
