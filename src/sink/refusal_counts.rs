//! How often a core refused what, by phase, code and enhanced code.
//!
//! A table of fixed size. Only the thread of the core writes; any thread may read at any time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::counters::Count;
use crate::smtp::reply::EnhancedCode;
use crate::smtp::server::{Refusal, RefusalPhase};

/// Kinds that a core tells apart. More kinds than the sink has replies; refusals beyond them are
/// counted together.
const KINDS_MAX: usize = 64;

/// The cells of one core.
///
/// INVARIANT: the used rows come first, each key stands once, and a key never changes.
#[derive(Debug)]
pub(super) struct RefusalCells {
    /// 0: the row is free.
    keys: [AtomicU64; KINDS_MAX],
    counts: [Count; KINDS_MAX],
    /// Refusals for which no row was left.
    beyond: Count,
}

impl Default for RefusalCells {
    fn default() -> Self {
        Self {
            keys: [const { AtomicU64::new(0) }; KINDS_MAX],
            counts: std::array::from_fn(|_| Count::default()),
            beyond: Count::default(),
        }
    }
}

impl RefusalCells {
    /// For the one writer.
    pub(super) fn add(&self, refusal: Refusal, times: u64) {
        let key = pack(refusal);
        assert!(key != 0, "the key 0 marks a free row");
        for (row, count) in self.keys.iter().zip(&self.counts) {
            match row.load(Relaxed) {
                0 => row.store(key, Relaxed),
                other if other == key => {}
                _ => continue,
            }
            return count.add(times);
        }
        self.beyond.add(times);
    }
}

/// Refusals of one kind. The JSON names are part of the command line's contract.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RefusalCount {
    /// What was refused: `connect`, `hello`, `auth`, `mail`, `rcpt`, `data`, `end_of_data`, `other`, or
    /// `session`, which the sink ended.
    pub phase: &'static str,
    pub code: u16,
    /// `None` where the reply has no enhanced code.
    pub enhanced: Option<String>,
    pub count: u64,
    #[serde(skip)]
    what: Refusal,
}

impl RefusalCount {
    pub fn what(&self) -> Refusal {
        self.what
    }
}

/// The refusals of all cores.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct RefusalTable {
    /// The most frequent ones first.
    pub refusals: Vec<RefusalCount>,
    /// Refusals of kinds for which a core had no room in its table.
    pub refusals_beyond: u64,
}

impl RefusalTable {
    pub(super) fn read<'c>(cores: impl Iterator<Item = &'c RefusalCells>) -> Self {
        let (mut sums, mut beyond) = (Vec::<(u64, u64)>::new(), 0);
        for cells in cores {
            beyond += cells.beyond.get();
            for (key, count) in cells.keys.iter().zip(&cells.counts) {
                let (key, count) = (key.load(Relaxed), count.get());
                // A row is new whose count is 0: its refusal shows at the next look.
                if key == 0 || count == 0 {
                    continue;
                }
                match sums.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, sum)) => *sum += count,
                    None => sums.push((key, count)),
                }
            }
        }
        sums.sort_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
        let refusals = sums.into_iter().map(|(key, count)| {
            let what = unpack(key);
            let enhanced = what.enhanced.map(|code| code.to_string());
            RefusalCount { phase: what.phase.name(), code: what.code, enhanced, count, what }
        });
        Self { refusals: refusals.collect(), refusals_beyond: beyond }
    }

    /// All refusals.
    pub fn total(&self) -> u64 {
        self.refusals.iter().map(|refusal| refusal.count).sum::<u64>() + self.refusals_beyond
    }
}

/// From the top: 1, phase, code, whether there is an enhanced code, class, subject, detail. Keys sort as
/// phases and codes do.
fn pack(refusal: Refusal) -> u64 {
    let enhanced = refusal.enhanced.map_or(0, |code| {
        1 << 40
            | u64::from(code.class) << 32
            | u64::from(code.subject) << 16
            | u64::from(code.detail)
    });
    let phase = refusal.phase as u64;
    1 << 63 | phase << 56 | u64::from(refusal.code) << 41 | enhanced
}

fn unpack(key: u64) -> Refusal {
    let phase = RefusalPhase::ALL[(key >> 56 & 0x7f) as usize];
    let code = (key >> 41 & 0x7fff) as u16;
    let enhanced = (key >> 40 & 1 == 1)
        .then(|| EnhancedCode::new((key >> 32 & 0xff) as u8, (key >> 16) as u16, key as u16));
    Refusal { phase, code, enhanced }
}

const _: () = {
    let mut index = 0;
    while index < RefusalPhase::ALL.len() {
        assert!(RefusalPhase::ALL[index] as usize == index);
        index += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_packed_and_read_back() {
        for phase in RefusalPhase::ALL {
            for code in [400, 421, 550, 599] {
                for enhanced in [None, Some(EnhancedCode::new((code / 100) as u8, 7, 999))] {
                    let refusal = Refusal { phase, code, enhanced };
                    assert_eq!(unpack(pack(refusal)), refusal);
                }
            }
        }
    }

    #[test]
    fn cores_add_up_and_the_table_does_not_grow() {
        let cores = [RefusalCells::default(), RefusalCells::default()];
        let of = |code| Refusal { phase: RefusalPhase::Rcpt, code, enhanced: None };
        for cells in &cores {
            cells.add(of(550), 41);
            for code in 400..400 + 2 * KINDS_MAX as u16 {
                cells.add(of(code), 1);
            }
        }
        let table = RefusalTable::read(cores.iter());
        assert_eq!((table.refusals[0].code, table.refusals[0].count), (550, 82));
        assert_eq!(table.refusals.len(), KINDS_MAX);
        assert_eq!(table.total(), 82 + 4 * KINDS_MAX as u64);
    }
}
