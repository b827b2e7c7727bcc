//! What a disk has promised to keep, and what it leaves of a spool when its power is cut.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use crate::spool::format::{MARKER, SEGMENT_HEADER_BYTES, parse_file_name};
use crate::spool::write::barrier::Barrier;

const SECTOR: usize = 512;

#[derive(Default)]
pub(super) struct SyncedDisk {
    /// Octets of each segment that a sync has covered. A segment is made with its header synced.
    durable: HashMap<u32, usize>,
    /// Segments of which a sync has failed: what was not durable by then may be lost, whatever a later sync
    /// says.
    failed: HashSet<u32>,
}

impl SyncedDisk {
    pub(super) fn synced(&mut self, barrier: &Barrier) {
        if !self.failed.contains(&barrier.segment()) {
            let durable = self.durable.entry(barrier.segment()).or_default();
            *durable = barrier.end.max(*durable);
        }
    }

    pub(super) fn fails(&mut self, segment: u32) {
        self.failed.insert(segment);
    }

    pub(super) fn durable(&self, segment: u32) -> usize {
        self.durable.get(&segment).copied().unwrap_or(SEGMENT_HEADER_BYTES)
    }

    /// Makes in `to` the spool that a power cut leaves of the one in `from`: of what no sync covered, any
    /// sector may be lost.
    pub(super) fn cut_power(&self, from: &Path, to: &Path, random: &mut fastrand::Rng) {
        fs::copy(from.join(MARKER), to.join(MARKER)).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            let Some((_, number)) = name.to_str().and_then(parse_file_name) else { continue };
            let mut octets = fs::read(from.join(&name)).unwrap();
            let mut at = self.durable(number);
            while at < octets.len() {
                let end = (at + 1).next_multiple_of(SECTOR).min(octets.len());
                if random.bool() {
                    octets[at..end].fill(0);
                }
                at = end;
            }
            fs::write(to.join(&name), octets).unwrap();
        }
    }
}
