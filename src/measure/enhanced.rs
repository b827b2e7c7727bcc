//! The table of enhanced status codes.

use super::kind::Phase;

/// Different (phase, code, enhanced code) triples that one core counts apart in one interval; the
/// rest is counted together.
const ENHANCED_CODES_MAX: usize = 64;

/// Counts by phase, reply code and enhanced code (RFC 3463). While recording, the table takes
/// `ENHANCED_CODES_MAX` different entries and counts the rest together, so that a server which
/// invents codes cannot make the generator allocate. Adding has no such bound, so that it is exact.
#[derive(Clone, Debug)]
pub(super) struct Enhanced {
    entries: Vec<(EnhancedKey, u64)>,
    rest: u64,
}

/// One row of the table of enhanced codes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct EnhancedKey {
    pub phase: Phase,
    pub code: u16,
    /// class, subject, detail
    pub enhanced: (u8, u16, u16),
}

impl Enhanced {
    pub(super) fn new() -> Self {
        Self { entries: Vec::with_capacity(ENHANCED_CODES_MAX), rest: 0 }
    }

    /// Adds to an entry, without the bound on their number.
    pub(super) fn add_entry(&mut self, key: EnhancedKey, more: u64) {
        match self.entries.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += more,
            None => self.entries.push((key, more)),
        }
    }

    pub(super) fn record(&mut self, key: EnhancedKey) {
        if let Some((_, count)) = self.entries.iter_mut().find(|(known, _)| *known == key) {
            *count += 1;
        } else if self.entries.len() < ENHANCED_CODES_MAX {
            self.entries.push((key, 1));
        } else {
            self.rest += 1;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for &(key, more) in &other.entries {
            self.add_entry(key, more);
        }
        self.rest += other.rest;
    }

    pub(super) fn add_rest(&mut self, count: u64) {
        self.rest += count;
    }

    pub(super) fn rest(&self) -> u64 {
        self.rest
    }

    /// Back to nothing, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.rest = 0;
    }

    pub(super) fn sorted(&self) -> Vec<(EnhancedKey, u64)> {
        let mut sorted = self.entries.clone();
        sorted.sort_unstable();
        sorted
    }
}

/// The order of entries does not count: it is the order in which they were first seen.
impl PartialEq for Enhanced {
    fn eq(&self, other: &Self) -> bool {
        self.rest == other.rest && self.sorted() == other.sorted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_invents_codes_fills_a_bounded_table() {
        let mut table = Enhanced::new();
        let capacity = table.entries.capacity();
        for detail in 0..1_000 {
            table.record(EnhancedKey { phase: Phase::Rcpt, code: 550, enhanced: (5, 1, detail) });
        }
        let rest = 1_000 - ENHANCED_CODES_MAX as u64;
        assert_eq!((table.sorted().len(), table.rest()), (ENHANCED_CODES_MAX, rest));
        assert_eq!(table.entries.capacity(), capacity);
    }
}
