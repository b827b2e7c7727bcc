//! One pass over message content that notes what is odd about it: bare CR, bare LF, NUL, 8-bit.

/// What a census found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// A CR that no LF follows.
    pub bare_cr: bool,
    /// An LF that no CR precedes.
    pub bare_lf: bool,
    pub nul: bool,
    /// An octet of 0x80 or more.
    pub eight_bit: bool,
}

impl Marks {
    /// Whether a CR or an LF stands alone.
    pub fn bare_newline(self) -> bool {
        self.bare_cr || self.bare_lf
    }
}

/// Octets folded at a time. The accumulators stay octets inside a block, which is what lets the
/// compiler use whole vectors.
const BLOCK_BYTES: usize = 64;

/// A census of content that arrives in pieces.
#[derive(Debug)]
pub struct Census {
    /// The octet before the next piece. The content starts as if behind an LF.
    previous: u8,
    tally: Tally,
}

impl Default for Census {
    fn default() -> Self {
        Self { previous: b'\n', tally: Tally::default() }
    }
}

/// Non-zero fields are findings.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    bare_cr: u8,
    bare_lf: u8,
    nul: u8,
    /// OR of all octets.
    bits: u8,
}

impl Tally {
    /// Takes `octet`, which follows `previous`. Each adjacent pair is seen once, so that a bare CR is
    /// found at its follower and a bare LF at itself.
    #[inline(always)]
    fn take(&mut self, previous: u8, octet: u8) {
        let cr = u8::from(previous == b'\r');
        let lf = u8::from(octet == b'\n');
        self.bare_cr |= cr & !lf;
        self.bare_lf |= lf & !cr;
        self.nul |= u8::from(octet == 0);
        self.bits |= octet;
    }
}

impl Census {
    #[inline]
    pub fn feed(&mut self, piece: &[u8]) {
        let Some((&first, rest)) = piece.split_first() else {
            return;
        };
        let mut tally = self.tally;
        tally.take(self.previous, first);
        let (before, before_tail) = piece[..rest.len()].as_chunks::<BLOCK_BYTES>();
        let (octets, octets_tail) = rest.as_chunks::<BLOCK_BYTES>();
        for (before, octets) in before.iter().zip(octets) {
            for (&before, &octet) in before.iter().zip(octets) {
                tally.take(before, octet);
            }
        }
        for (&before, &octet) in before_tail.iter().zip(octets_tail) {
            tally.take(before, octet);
        }
        self.tally = tally;
        self.previous = piece[piece.len() - 1];
    }

    /// What has been found so far. A CR at the very end is not judged yet.
    #[inline]
    pub fn marks(&self) -> Marks {
        Marks {
            bare_cr: self.tally.bare_cr != 0,
            bare_lf: self.tally.bare_lf != 0,
            nul: self.tally.nul != 0,
            eight_bit: self.tally.bits >= 0x80,
        }
    }

    /// What has been found when no more octets come: a CR at the very end is bare.
    #[inline]
    pub fn finish(&self) -> Marks {
        let marks = self.marks();
        Marks { bare_cr: marks.bare_cr || self.previous == b'\r', ..marks }
    }
}
