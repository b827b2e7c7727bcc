//! A row of bits.

/// Bits that are all 0 at first.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn new(count: u64) -> Self {
        Self { words: vec![0; count.div_ceil(64) as usize] }
    }

    /// Sets a bit, and answers whether it was 0. One beyond the end stays 0.
    pub(super) fn set(&mut self, at: u64) -> bool {
        let Some(word) = self.words.get_mut((at / 64) as usize) else { return false };
        let mask = 1 << (at % 64);
        let was = *word & mask != 0;
        *word |= mask;
        !was
    }

    pub(super) fn get(&self, at: u64) -> bool {
        self.words.get((at / 64) as usize).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// How many of `count` bits from `at` on are 1.
    pub(super) fn ones(&self, at: u64, count: u64) -> u64 {
        (at..at + count).filter(|&bit| self.get(bit)).count() as u64
    }
}
