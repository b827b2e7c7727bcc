//! The recorders of a run and their collector, made together.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::board::Board;
use super::collect::Collector;
use super::message::Mode;
use super::recorder::Recorder;
use super::spans::Spans;
use super::tally::Tally;

/// Makes the recorders of a run, one per core, and their collector. Messages are measured that
/// start after the warm-up and, if `length` is given, within that time.
pub fn team(
    cores: usize,
    mode: Mode,
    warmup: Duration,
    length: Option<Duration>,
) -> (Vec<Recorder>, Collector) {
    let end_ns = length.map_or(u64::MAX, |length| (warmup + length).as_nanos() as u64);
    let spans = Spans { warmup_ns: warmup.as_nanos() as u64, end_ns };
    let (board, cells) = Board::new(cores);
    let (filled_to, filled) = channel();
    let mut recorders = Vec::with_capacity(cores);
    let mut blanks = Vec::with_capacity(cores);
    for (core, cell) in cells.into_iter().enumerate() {
        let (blank, blank_from) = channel();
        // One spare each, so that the first handover allocates as little as the later ones.
        drop(blank.send(Box::new(Tally::new(mode))));
        blanks.push(blank);
        recorders.push(Recorder::new(core, mode, spans, cell, filled_to.clone(), blank_from));
    }
    (recorders, Collector::new(mode, spans, board, filled, blanks))
}
