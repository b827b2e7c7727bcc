//! Reads and checks a whole spool. Threads share the segments among them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::chain::Fragment;
use super::directory::SegmentDirectory;
use super::messages::Assembler;
use super::survey::Survey;
use crate::spool::envelope;
use crate::spool::error::{Doubt, SpoolError};
use crate::spool::format::{Place, RecordHeader, RecordKind};

/// What one segment holds: a count of the messages that are whole in it, and the pieces of the others.
struct Sheet {
    survey: Survey,
    number: u32,
    /// Octets up to which its records were met.
    end: u64,
    fragments: Vec<(Place, Fragment)>,
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
    let mut sums = Assembler::new(directory);
    let mut present = None;
    for sheet in sheets(directory, threads, on_segment)? {
        let (core, sheet) = sheet;
        if present.replace(core) != Some(core) {
            sums.drop_fragments();
        }
        sums.survey.add(&sheet.survey);
        for (place, fragment) in sheet.fragments {
            sums.add_fragment(place, fragment);
        }
        sums.set_walked(sheet.number, sheet.end);
        for Seal { place, header, times } in sheet.seals {
            let whole = sums.parts(place, &header)?.and(times);
            sums.count(place, header.total_bytes, whole);
        }
    }
    sums.drop_fragments();
    sums.survey.strangers = directory.strangers().to_vec();
    Ok(sums.survey)
}

/// All sheets with their cores, in the order of the segments.
fn sheets(
    directory: &SegmentDirectory,
    threads: usize,
    on_segment: &(dyn Fn(u64) + Sync),
) -> Result<Vec<(u16, Sheet)>, SpoolError> {
    let segments = directory.segments();
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let (done, sheets) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, segments.len().max(1)) {
            let done = done.clone();
            let (next, failed) = (&next, &failed);
            scope.spawn(move || {
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(core, number)) = segments.get(index) else { break };
                    let sheet = sheet(directory, core, number);
                    if let Ok(sheet) = &sheet {
                        on_segment(sheet.survey.file_bytes);
                    }
                    failed.fetch_or(sheet.is_err(), Ordering::Relaxed);
                    // The receiver lives until the scope has ended.
                    let _ = done.send((index, core, sheet));
                }
            });
        }
    });
    drop(done);
    let mut all: Vec<_> = sheets.into_iter().collect();
    all.sort_unstable_by_key(|(index, _, _)| *index);
    all.into_iter().map(|(_, core, sheet)| Ok((core, sheet?))).collect()
}

fn sheet(directory: &SegmentDirectory, core: u16, number: u32) -> Result<Sheet, SpoolError> {
    let mut log = Assembler::new(directory);
    let (mut fragments, mut seals, mut end_at) = (Vec::new(), Vec::new(), 0);
    if let Ok(mut current) = log.open(core, number)? {
        let end = loop {
            let (place, header) = match current.step()? {
                Ok(record) => record,
                Err(end) => break end,
            };
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
    Ok(Sheet { survey: log.survey, number, end: end_at, fragments, seals })
}
