//! What an opener makes of the segments that are there: counts what is whole, gives unused room back,
//! and goes on behind it. Nothing is ever appended to an old segment.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::path::Path;

use super::error::SpoolError;
use super::format::SEGMENT_HEADER_BYTES;
use super::messages::SegmentEnd;
use super::prepare::Old;
use super::reader::Reader;
use super::segment::file_name;
use super::survey::Survey;
use super::walk::End;

/// What was found and done when the spool was opened.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Recovery {
    #[serde(flatten)]
    pub survey: Survey,
    /// Octets of files given back: unused tails, and segments without a record.
    pub trimmed_bytes: u64,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.survey.segments == 0 && self.survey.is_sound() {
            return write!(f, "the spool is empty");
        }
        write!(f, "the spool holds {}", self.survey)
    }
}

pub(super) struct Recovered {
    pub(super) recovery: Recovery,
    pub(super) old: VecDeque<Old>,
    /// Above every number in the directory.
    pub(super) next_number: u32,
    /// Latest sequence number of each core.
    pub(super) last_seq: Vec<(u16, u64)>,
}

/// Reads all there is, gives unused room back, and tells where to go on.
pub(super) fn recover(dir: &Path) -> Result<Recovered, SpoolError> {
    let reader = Reader::open_locked(dir)?;
    let (survey, mut ends) = reader.messages().into_ends()?;
    let mut recovery = Recovery { survey, trimmed_bytes: 0 };
    let next_number = ends.iter().map(|end| end.number).max().map_or(1, |most| most + 1);
    let mut last_seq: Vec<(u16, u64)> = Vec::new();
    for end in &ends {
        match last_seq.iter_mut().find(|(core, _)| *core == end.core) {
            Some((_, seq)) => *seq = end.last_seq.max(*seq),
            None => last_seq.push((end.core, end.last_seq)),
        }
    }
    ends.sort_by_key(|end| (end.created_ns, end.number));
    let mut old = VecDeque::new();
    for end in &ends {
        let path = dir.join(file_name(end.core, end.number));
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let kept = trim(&path, end, metadata.len());
        recovery.trimmed_bytes += metadata.len() - kept;
        if kept > 0 {
            old.push_back(Old { path, bytes: kept });
        }
    }
    Ok(Recovered { recovery, old, next_number, last_seq })
}

/// Cuts a segment behind its last record; returns the octets left. What is in doubt stays as it is,
/// for people to look at.
fn trim(path: &Path, end: &SegmentEnd, bytes: u64) -> u64 {
    let headless = end.used < SEGMENT_HEADER_BYTES as u64;
    if headless || matches!(end.end, End::Damaged(_) | End::Recycled) {
        return bytes;
    }
    if end.used == SEGMENT_HEADER_BYTES as u64 {
        return fs::remove_file(path).map_or(bytes, |()| 0);
    }
    let cut = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(end.used));
    cut.map_or(bytes, |()| end.used.min(bytes))
}
