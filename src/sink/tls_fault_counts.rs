//! Sessions that TLS has failed, counted by what went wrong.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::counters::Count;
use crate::human::count;
use crate::tls::TlsFault;

/// The cells of one core, in the order of [`TlsFault::ALL`].
#[derive(Debug, Default)]
pub(super) struct TlsFaultCells([Count; TlsFault::ALL.len()]);

impl TlsFaultCells {
    pub(super) fn add(&self, fault: TlsFault) {
        self.0[fault as usize].add(1);
    }
}

/// How many sessions each kind of fault has ended. In JSON an object of those that came.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TlsFaultCounts([u64; TlsFault::ALL.len()]);

impl TlsFaultCounts {
    pub(super) fn read<'c>(cores: impl Iterator<Item = &'c TlsFaultCells>) -> Self {
        let mut sum = Self::default();
        for cells in cores {
            for (count, cell) in sum.0.iter_mut().zip(&cells.0) {
                *count += cell.get();
            }
        }
        sum
    }

    /// The kinds that came, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (TlsFault, u64)> + '_ {
        TlsFault::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

/// ` (2 × unknown certificate authority, …)`, or nothing.
impl fmt::Display for TlsFaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (fault, times)) in self.iter().enumerate() {
            let lead = if place == 0 { " (" } else { ", " };
            write!(f, "{lead}{} × {}", count(times), fault.title())?;
        }
        if self.iter().next().is_some() { f.write_str(")") } else { Ok(()) }
    }
}

impl Serialize for TlsFaultCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (fault, count) in self.iter() {
            map.serialize_entry(fault.name(), &count)?;
        }
        map.end()
    }
}
