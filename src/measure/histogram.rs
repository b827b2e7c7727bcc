//! Histograms that add up: all of one kind have the same bounds and digits, and so the same cells.

use hdrhistogram::Histogram;

use super::kind::Phase;
use crate::limits::{LATENCY_NS_MAX, SESSION_NS_MAX};

/// Digits of the headline histograms: any percentile is right to 0.1 %.
pub const HEADLINE_DIGITS: u8 = 3;
/// Digits of most other histograms: right to 1 %, at an eighth of the memory.
pub const PHASE_DIGITS: u8 = 2;

pub(super) fn histogram(digits: u8) -> Histogram<u64> {
    histogram_to(LATENCY_NS_MAX, digits)
}

pub(super) fn histogram_to(most_ns: u64, digits: u8) -> Histogram<u64> {
    // From 1 ns on, or the digits would begin to hold only far above the low end: with 1 us as the
    // lowest value a cell is 512 ns wide up to 1 ms, which is 5 % of a 10 us reply.
    Histogram::new_with_bounds(1, most_ns, digits).expect("bounds are constant and valid")
}

/// For times that may be as long as a run, or as a server keeps a message.
pub fn long_histogram(digits: u8) -> Histogram<u64> {
    histogram_to(SESSION_NS_MAX, digits)
}

/// The longest time that the histograms of a phase hold. How long a session lasts is no latency: it may be as
/// long as the run.
pub(super) const fn most_ns(phase: Phase) -> u64 {
    match phase {
        Phase::Session => SESSION_NS_MAX,
        _ => LATENCY_NS_MAX,
    }
}

/// A time that is a part of a headline, or the same by another name, is recorded in the same cells: in wider
/// ones it could show as longer than the whole.
pub(super) const fn digits(phase: Phase) -> u8 {
    match phase {
        Phase::Message => HEADLINE_DIGITS,
        _ => PHASE_DIGITS,
    }
}

/// Adds histograms that `histogram` made with the same digits, and so with the same cells.
pub(super) fn add(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    into.add(from).expect("equal bounds");
}
