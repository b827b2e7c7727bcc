//! Deliveries in the order of their keys, in bounded memory. What is too much for that lies in a file without a
//! name, in `TMPDIR`: stretches that were sorted in memory, and then all of them merged.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use crate::spool::format::{DELIVERY_BYTES, Delivery, DeliveryKey};

/// Deliveries that are sorted in memory: 20 MiB, and half as much again while it is done.
const IN_MEMORY_MAX: usize = 1 << 19;

/// Octets that the stretches of a merge are read with, all together.
const MERGE_BYTES: usize = 8 * 1024 * 1024;

/// Deliveries of a file that are read at once. The first of so many is kept in memory.
const BLOCK_RECORDS: u64 = 512;

/// Takes deliveries in any order.
pub(super) struct Sorter {
    in_memory_max: usize,
    stretch: Vec<Delivery>,
    spill: Option<Spill>,
}

/// Deliveries in the order of their keys, each key once.
#[derive(Debug)]
pub(super) enum Sorted {
    Memory(Vec<Delivery>),
    File(SortedFile),
}

impl Default for Sorted {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl Default for Sorter {
    fn default() -> Self {
        Self::of_at_most(IN_MEMORY_MAX)
    }
}

impl Sorter {
    fn of_at_most(in_memory_max: usize) -> Self {
        Self { in_memory_max, stretch: Vec::new(), spill: None }
    }

    /// # Errors
    /// That of a file in `TMPDIR`.
    pub(super) fn push(&mut self, delivery: Delivery) -> io::Result<()> {
        if self.stretch.len() >= self.in_memory_max {
            self.spill()?;
        }
        self.stretch.push(delivery);
        Ok(())
    }

    /// # Errors
    /// That of a file in `TMPDIR`.
    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        if self.spill.is_some() {
            self.spill()?;
        }
        self.sort();
        match self.spill {
            None => Ok(Sorted::Memory(self.stretch)),
            Some(spill) => {
                drop(self.stretch);
                spill.merge().map(Sorted::File)
            }
        }
    }

    fn sort(&mut self) {
        // The sort is stable, so the first of two records stays: what was delivered once was delivered.
        self.stretch.sort_by_key(Delivery::key);
        self.stretch.dedup_by_key(|delivery| delivery.key());
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill { file: tempfile::tempfile()?, ends: Vec::new() }),
        };
        spill.add(&self.stretch)?;
        self.stretch.clear();
        Ok(())
    }
}

/// Sorted stretches of deliveries, one after the other.
struct Spill {
    file: File,
    /// Where each stretch ends, octets.
    ends: Vec<u64>,
}

impl Spill {
    fn add(&mut self, stretch: &[Delivery]) -> io::Result<()> {
        let mut out = BufWriter::new(&self.file);
        stretch.iter().try_for_each(|delivery| out.write_all(&delivery.encode()))?;
        out.flush()?;
        let start = self.ends.last().copied().unwrap_or(0);
        self.ends.push(start + (stretch.len() * DELIVERY_BYTES) as u64);
        Ok(())
    }

    /// Of two deliveries with the same key, that of the earlier stretch stays.
    fn merge(self) -> io::Result<SortedFile> {
        let Self { file, ends } = self;
        let room = (MERGE_BYTES / DELIVERY_BYTES / ends.len()).max(1) * DELIVERY_BYTES;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let mut stretches: Vec<_> =
            starts.zip(&ends).map(|(at, &end)| Stretch::new(at, end, room)).collect();
        let mut heads = BinaryHeap::with_capacity(stretches.len());
        for (of, stretch) in stretches.iter_mut().enumerate() {
            heads.extend(stretch.advance(&file)?.map(|key| Reverse((key, of))));
        }
        let mut merged = SortedFile { file: tempfile::tempfile()?, firsts: Vec::new(), records: 0 };
        let mut out = BufWriter::new(&merged.file);
        let mut last = None;
        while let Some(Reverse((key, of))) = heads.pop() {
            if last.replace(key) != Some(key) {
                if merged.records.is_multiple_of(BLOCK_RECORDS) {
                    merged.firsts.push(key);
                }
                out.write_all(stretches[of].head())?;
                merged.records += 1;
            }
            heads.extend(stretches[of].advance(&file)?.map(|key| Reverse((key, of))));
        }
        out.flush()?;
        drop(out);
        Ok(merged)
    }
}

/// A sorted stretch that is being merged.
struct Stretch {
    /// Where the octets come from that are read next, and where they end.
    at: u64,
    end: u64,
    /// Octets that are read at once: whole records.
    room: usize,
    read: Vec<u8>,
    /// The first record in `read` that the head is not past, octets.
    head_at: usize,
}

impl Stretch {
    fn new(at: u64, end: u64, room: usize) -> Self {
        Self { at, end, room, read: Vec::new(), head_at: 0 }
    }

    /// Goes to the next record, the first one at the start. `None`: there is none.
    fn advance(&mut self, file: &File) -> io::Result<Option<DeliveryKey>> {
        self.head_at += DELIVERY_BYTES;
        if self.head_at >= self.read.len() {
            let bytes = (self.end - self.at).min(self.room as u64);
            self.read.resize(bytes as usize, 0);
            file.read_exact_at(&mut self.read, self.at)?;
            (self.at, self.head_at) = (self.at + bytes, 0);
            if bytes == 0 {
                return Ok(None);
            }
        }
        decode(self.head()).map(|head| Some(head.key()))
    }

    /// The record to which it went.
    fn head(&self) -> &[u8] {
        &self.read[self.head_at..self.head_at + DELIVERY_BYTES]
    }
}

/// Sorted deliveries in a file without a name.
#[derive(Debug)]
pub(super) struct SortedFile {
    file: File,
    /// Key of the first record of each block.
    firsts: Vec<DeliveryKey>,
    records: u64,
}

impl SortedFile {
    /// The deliveries with keys from `start` on and below `end`.
    fn range(&self, start: DeliveryKey, end: DeliveryKey) -> io::Result<Vec<Delivery>> {
        let first = self.firsts.partition_point(|first| *first <= start).saturating_sub(1);
        let mut found = Vec::new();
        for block in first..self.firsts.len() {
            if self.firsts[block] >= end {
                break;
            }
            let wanted = |delivery: &Delivery| (start..end).contains(&delivery.key());
            found.extend(self.block(block as u64)?.into_iter().filter(wanted));
        }
        Ok(found)
    }

    fn block(&self, block: u64) -> io::Result<Vec<Delivery>> {
        let first = block * BLOCK_RECORDS;
        let records = (self.records - first).min(BLOCK_RECORDS) as usize;
        let mut octets = vec![0; records * DELIVERY_BYTES];
        self.file.read_exact_at(&mut octets, first * DELIVERY_BYTES as u64)?;
        octets.chunks_exact(DELIVERY_BYTES).map(decode).collect()
    }
}

impl Sorted {
    /// The deliveries with keys from `start` on and below `end`.
    ///
    /// # Errors
    /// That of the file in `TMPDIR`.
    pub(super) fn range(
        &self,
        start: DeliveryKey,
        end: DeliveryKey,
    ) -> io::Result<Cow<'_, [Delivery]>> {
        match self {
            Self::Memory(all) => {
                let from = all.partition_point(|delivery| delivery.key() < start);
                let rest = &all[from..];
                let count = rest.partition_point(|delivery| delivery.key() < end);
                Ok(Cow::Borrowed(&rest[..count]))
            }
            Self::File(file) => file.range(start, end).map(Cow::Owned),
        }
    }

    /// Hands each delivery to `take`, in order.
    ///
    /// # Errors
    /// That of `take`, or of the file in `TMPDIR`.
    pub(super) fn try_each(
        &self,
        mut take: impl FnMut(&Delivery) -> io::Result<()>,
    ) -> io::Result<()> {
        match self {
            Self::Memory(all) => all.iter().try_for_each(take),
            Self::File(file) => (0..file.firsts.len() as u64)
                .try_for_each(|block| file.block(block)?.iter().try_for_each(&mut take)),
        }
    }
}

/// A record that was written here.
fn decode(octets: &[u8]) -> io::Result<Delivery> {
    Delivery::decode(octets).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::format::{DeliveryFate, Place};

    fn delivery(number: u32, code: u16) -> Delivery {
        let place = Place { core: (number % 3) as u16, segment: number / 100, offset: 64 };
        let (sealed_ns, recipient) = (u64::from(number % 2), number % 100);
        let fate = DeliveryFate::Delivered;
        Delivery { place, sealed_ns, recipient, fate, code, at_ns: 1 }
    }

    fn all(sorted: &Sorted) -> Vec<Delivery> {
        let mut all = Vec::new();
        let listed = sorted.try_each(|delivery| {
            all.push(*delivery);
            Ok(())
        });
        listed.unwrap();
        all
    }

    #[test]
    fn what_is_too_much_for_memory_is_sorted_as_what_is_not() {
        let mut random = fastrand::Rng::with_seed(1);
        for count in [0, 1, 99, 100, 101, 5_000] {
            let sorters = [1_000_000, 100, 7].map(Sorter::of_at_most);
            // Each key is met some times, and the first record counts.
            let given: Vec<_> =
                (0..count).map(|n| delivery(random.u32(0..2_000), n as u16)).collect();
            let sorted = sorters.map(|mut sorter| {
                given.iter().try_for_each(|delivery| sorter.push(*delivery)).unwrap();
                assert!(sorter.stretch.len() <= sorter.in_memory_max);
                sorter.finish().unwrap()
            });
            let expected = all(&sorted[0]);
            assert!(matches!(sorted[0], Sorted::Memory(_)));
            assert_eq!(matches!(sorted[2], Sorted::File(_)), count > 7);
            assert!(expected.is_sorted_by(|one, next| one.key() < next.key()));
            for delivery in &expected {
                let first = given.iter().find(|given| given.key() == delivery.key());
                assert_eq!(first, Some(delivery));
            }
            for sorted in &sorted {
                assert!(all(sorted) == expected, "{count}");
                for _ in 0..100 {
                    let (start, end) = (
                        delivery(random.u32(0..2_000), 0).key(),
                        delivery(random.u32(0..2_000), 0).key(),
                    );
                    let within: Vec<_> = expected
                        .iter()
                        .filter(|d| (start..end).contains(&d.key()))
                        .copied()
                        .collect();
                    assert!(*sorted.range(start, end).unwrap() == within);
                }
            }
        }
    }
}
