//! Reads and checks a whole spool. Threads share the segments among them, and one puts together what they find.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};
use std::thread;

use super::assembler::Assembler;
use super::chain::Fragment;
use super::current::Met;
use super::directory::SegmentDirectory;
use super::survey::Survey;
use crate::spool::envelope;
use crate::spool::error::{Doubt, SpoolError};
use crate::spool::format::{Place, RecordHeader, RecordKind};

/// Pieces of messages in sheets that wait to be put together, of all threads. A segment with more than its part of
/// them is walked once more, by the thread that puts together.
const PIECES_WAITING_MAX: usize = 128 * 1024;

/// Segments that a thread may be ahead of what was put together.
const AHEAD: usize = 2;

/// What one segment holds.
enum Sheet {
    Pieces(Box<Pieces>),
    /// Too many pieces for the memory.
    Crowded,
}

/// A count of the messages that are whole in a segment, and the pieces of the others.
struct Pieces {
    survey: Survey,
    /// Octets up to which its records were met.
    end: u64,
    fragments: Vec<(Place, Fragment)>,
    torn_fragments: Vec<Place>,
    seals: Vec<Seal>,
}

/// The end of a message that has other pieces.
struct Seal {
    place: Place,
    header: RecordHeader,
    /// First and last time, where the envelope can be read.
    times: Result<(u64, u64), Doubt>,
}

/// See [`Reader::survey`](super::Reader::survey).
pub(super) fn survey(
    directory: &SegmentDirectory,
    threads: usize,
    on_segment: &(dyn Fn(u64) + Sync),
) -> Result<Survey, SpoolError> {
    let mut sums = Assembler::new(directory, 1);
    let mut present = None;
    sheets(directory, threads, on_segment, |(core, number), sheet| {
        if present.replace(core) != Some(core) {
            sums.begin_core();
        }
        match sheet {
            Sheet::Pieces(pieces) => add(&mut sums, number, *pieces),
            Sheet::Crowded => walk(&mut sums, core, number),
        }
    })?;
    sums.drop_fragments();
    sums.survey.strangers = directory.strangers().to_vec();
    Ok(sums.survey)
}

fn add(sums: &mut Assembler<'_>, number: u32, pieces: Pieces) -> Result<(), SpoolError> {
    sums.survey.add(&pieces.survey);
    for (place, fragment) in pieces.fragments {
        sums.add_fragment(place, fragment);
    }
    pieces.torn_fragments.into_iter().for_each(|place| sums.add_torn_fragment(place));
    sums.set_walked(number, pieces.end);
    for Seal { place, header, times } in pieces.seals {
        let whole = sums.parts(place, &header)?.and(times);
        sums.count(place, header.total_bytes, whole);
    }
    Ok(())
}

/// Walks a segment, and adds what it holds on the way.
fn walk(sums: &mut Assembler<'_>, core: u16, number: u32) -> Result<(), SpoolError> {
    let Ok(mut current) = sums.open(core, number)? else { return Ok(()) };
    let end = loop {
        let (place, met) = match current.step()? {
            Ok(met) => met,
            Err(end) => break end,
        };
        let Some(header) = sums.take_in(place, &met) else { continue };
        let times = envelope::check(current.walk.envelope()).ok_or(Doubt::Envelope);
        let whole = sums.parts(place, &header)?.and(times);
        sums.count(place, header.total_bytes, whole);
    };
    sums.set_walked(number, current.walk.at());
    sums.close(&mut current, end)
}

/// How many sheets have been put together. The threads stay within a bounded distance of it.
#[derive(Default)]
struct Turns {
    done: Mutex<usize>,
    grown: Condvar,
}

impl Turns {
    /// Waits until the sheet with this number is at most `ahead` before its turn.
    fn wait(&self, index: usize, ahead: usize) {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |done: &mut usize| index >= done.saturating_add(ahead);
        let waited = self.grown.wait_while(done, waits);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn advance(&self, to: usize) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = to;
        self.grown.notify_all();
    }
}

/// Lets nobody wait any more when it is dropped.
struct EndOfTurns<'t>(&'t Turns);

impl Drop for EndOfTurns<'_> {
    fn drop(&mut self) {
        self.0.advance(usize::MAX);
    }
}

/// Passes all sheets with their segments to `take`, in the order of the segments.
fn sheets(
    directory: &SegmentDirectory,
    threads: usize,
    on_segment: &(dyn Fn(u64) + Sync),
    mut take: impl FnMut((u16, u32), Sheet) -> Result<(), SpoolError>,
) -> Result<(), SpoolError> {
    let segments = directory.segments();
    let threads = threads.clamp(1, segments.len().max(1));
    let ahead = AHEAD * threads;
    let next = AtomicUsize::new(0);
    let turns = Turns::default();
    thread::scope(|scope| {
        let end = EndOfTurns(&turns);
        let (done, sheets) = mpsc::channel();
        for _ in 0..threads {
            let done = done.clone();
            let (next, turns) = (&next, &turns);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(core, number)) = segments.get(index) else { break };
                    turns.wait(index, ahead);
                    let sheet = sheet(directory, (core, number), threads, on_segment);
                    // Where there is nobody to take it, the others have failed.
                    if done.send((index, sheet)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        let mut waiting = BTreeMap::new();
        let mut turn = 0;
        for (index, sheet) in sheets {
            waiting.insert(index, sheet?);
            debug_assert!(waiting.len() <= ahead, "sheets wait beyond their bound");
            while let Some(sheet) = waiting.remove(&turn) {
                take(segments[turn], sheet)?;
                turn += 1;
            }
            turns.advance(turn);
        }
        drop(end);
        Ok(())
    })
}

fn sheet(
    directory: &SegmentDirectory,
    (core, number): (u16, u32),
    threads: usize,
    on_segment: &(dyn Fn(u64) + Sync),
) -> Result<Sheet, SpoolError> {
    let pieces_max = PIECES_WAITING_MAX / (AHEAD * threads);
    let mut log = Assembler::new(directory, threads);
    let (mut fragments, mut torn_fragments) = (Vec::new(), Vec::new());
    let (mut seals, mut end_at) = (Vec::new(), 0);
    if let Ok(mut current) = log.open(core, number)? {
        let end = loop {
            let (place, header) = match current.step()? {
                Ok((place, Met::Record(header))) => (place, header),
                Ok((place, Met::Spoilt(spoilt))) => {
                    log.note_spoilt(place, &spoilt);
                    torn_fragments.extend(spoilt.tears_a_chain().then_some(place));
                    continue;
                }
                Err(end) => break end,
            };
            if fragments.len() + torn_fragments.len() + seals.len() > pieces_max {
                on_segment(log.survey.file_bytes);
                return Ok(Sheet::Crowded);
            }
            if header.kind == RecordKind::Fragment {
                fragments.push((place, Fragment::from(&header)));
                continue;
            }
            let times = envelope::check(current.walk.envelope()).ok_or(Doubt::Envelope);
            if header.back().is_some() {
                seals.push(Seal { place, header, times });
            } else {
                let whole = log.parts(place, &header)?.and(times);
                log.count(place, header.total_bytes, whole);
            }
        };
        end_at = current.walk.at();
        log.close(&mut current, end)?;
    }
    on_segment(log.survey.file_bytes);
    let pieces = Pieces { survey: log.survey, end: end_at, fragments, torn_fragments, seals };
    Ok(Sheet::Pieces(Box::new(pieces)))
}
