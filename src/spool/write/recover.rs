//! What an opener does with the segments that are there: it counts what is whole, syncs it, gives unused
//! room back, and puts doubtful segments into quarantine. New segments get higher numbers; nothing is ever
//! appended to an old one.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::numbers;
use super::quarantine;
use super::segment;
use crate::spool::error::SpoolError;
use crate::spool::file::{self, Access};
use crate::spool::format::{
    Mark, NUMBER_MAX, QUARANTINE, SEGMENT_HEADER_BYTES, SegmentHeader, file_name, is_in_making,
};
use crate::spool::read::{Reader, RecordsEnd, SegmentEnd, Survey};

/// Sequence numbers go on after the latest, unless that is larger: no writer has made it, and it must not lead to
/// the end of the numbers.
const SEQ_KEPT_MAX: u64 = 1 << 62;

/// What was found and done when the spool was opened.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Recovery {
    /// The spool as it was found.
    #[serde(flatten)]
    pub survey: Survey,
    /// Octets of files that were given back: unused ends, and segments without a record.
    pub trimmed_bytes: u64,
    /// Names of the doubtful segments that were copied or moved into the directory `quarantine`.
    pub quarantined: Vec<String>,
    /// Doubtful segments that could not be put there, and why. They stay as they are, and are not recycled.
    pub left_in_doubt: Vec<String>,
    /// Names of segments with numbers that no sink gives. New segments get lower numbers.
    pub out_of_account: Vec<String>,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nothing =
            self.survey.segments == 0 && self.survey.is_sound() && self.survey.strangers.is_empty();
        if nothing
            && self.quarantined.is_empty()
            && self.left_in_doubt.is_empty()
            && self.out_of_account.is_empty()
        {
            return write!(f, "the spool is empty");
        }
        write!(f, "the spool holds {}", self.survey)?;
        if !self.quarantined.is_empty() {
            let (names, dir) = (self.quarantined.join(", "), QUARANTINE);
            write!(f, "; {names} kept in {dir}/ as found, which is never reused")?;
        }
        for left in &self.left_in_doubt {
            write!(f, "; {left}, left as it is")?;
        }
        for name in &self.out_of_account {
            write!(f, "; {name} has a number that no sink gives, and new segments get lower ones")?;
        }
        Ok(())
    }
}

/// A segment of an earlier run, which counts against the limit.
pub(super) struct Old {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Those of them that no message needs.
    pub(super) dead_bytes: u64,
}

pub(super) struct Recovered {
    pub(super) recovery: Recovery,
    pub(super) old: VecDeque<Old>,
    /// Above every number in the directory.
    pub(super) next_number: u32,
    /// Latest sequence number of each core.
    pub(super) last_seq: Vec<(u16, u64)>,
}

/// Reads and tidies all segments, and finds out where to go on.
pub(super) fn recover(dir: &Path) -> Result<Recovered, SpoolError> {
    let abandoned = clear_unfinished(dir)?;
    let reader = Reader::open_locked(dir)?;
    let (survey, mut ends) = reader.messages().into_ends()?;
    if survey.damage.is_empty() && survey.torn.is_empty() && survey.recycled_messages == 0 {
        // What no message needs goes. Where something is damaged, it may be of use to people. A message of
        // which the ring has the end only needs its later pieces, or readers would take it for torn.
        ends.iter_mut().for_each(|end| end.used = end.alive);
    }
    let mut recovery = Recovery { survey, trimmed_bytes: abandoned, ..Recovery::default() };
    let numbers = ends.iter().map(|end| end.number).chain(quarantine::numbers(dir));
    let given = numbers.filter(|number| *number <= NUMBER_MAX).max();
    let next_number =
        given.map_or(1, |most| most + 1).max(numbers::first_unused(dir)?.unwrap_or(1));
    for end in ends.iter().filter(|end| end.number > NUMBER_MAX) {
        recovery.out_of_account.push(file_name(end.core, end.number));
    }
    let mut last_seq: Vec<(u16, u64)> = Vec::new();
    for end in &ends {
        match last_seq.iter_mut().find(|(core, _)| *core == end.core) {
            Some((_, seq)) => *seq = end.last_seq.max(*seq),
            None => last_seq.push((end.core, end.last_seq)),
        }
    }
    // They are compared within a segment alone, and each writer begins a new one.
    last_seq.iter_mut().filter(|(_, seq)| *seq > SEQ_KEPT_MAX).for_each(|(_, seq)| *seq = 0);
    sort_by_age(&mut ends);
    let mut old = VecDeque::new();
    for end in &ends {
        let name = file_name(end.core, end.number);
        let path = dir.join(&name);
        let Ok(metadata) = file::metadata(&path) else { continue };
        if !metadata.is_file() {
            // The survey tells of it, and it is left alone.
            continue;
        }
        match tidy(dir, &name, end, &mut recovery.quarantined) {
            Ok(kept) => {
                recovery.trimmed_bytes += metadata.len().saturating_sub(kept);
                if kept > 0 {
                    old.push_back(Old { path, bytes: kept, dead_bytes: end.dead });
                }
            }
            Err(cause) => recovery.left_in_doubt.push(format!("{name}: {cause}")),
        }
    }
    Ok(Recovered { recovery, old, next_number, last_seq })
}

/// Oldest first. Times compare the segments of all cores. Where the clock was set back between two segments
/// of one core, their numbers contradict it, because these only grow; then the numbers alone count.
fn sort_by_age(ends: &mut [SegmentEnd]) {
    let made = |end: &SegmentEnd| end.header.map_or(0, |(header, _)| header.created_ns);
    ends.sort_by_key(|end| (end.core, end.number));
    let known: Vec<_> = ends.iter().filter(|end| end.header.is_some()).collect();
    let runs_on =
        known.windows(2).all(|pair| pair[0].core != pair[1].core || made(pair[0]) <= made(pair[1]));
    ends.sort_by_key(|end| (if runs_on { made(end) } else { 0 }, end.number, made(end)));
}

/// Removes segments that were being made when their sink died; returns their octets. What the file of a
/// recycled one still holds was given up by the ring.
fn clear_unfinished(dir: &Path) -> Result<u64, SpoolError> {
    let failed = |cause| SpoolError::io("list the spool", dir, cause);
    let mut bytes = 0;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(metadata) = file::metadata(&entry.path()) else { continue };
        let is_ours = entry.file_name().to_str().is_some_and(is_in_making) && metadata.is_file();
        if is_ours {
            let found = metadata.len();
            // A file that cannot be removed does no harm: its number is not used again soon.
            bytes += fs::remove_file(entry.path()).map_or(0, |()| found);
        }
    }
    Ok(bytes)
}

/// Cuts a segment to what is sound of it, and syncs and marks that; returns its octets.
fn tidy(
    dir: &Path,
    name: &str,
    end: &SegmentEnd,
    quarantined: &mut Vec<String>,
) -> io::Result<u64> {
    let path = dir.join(name);
    let Some((header, mark)) = end.header else {
        match end.end {
            RecordsEnd::Recycled => {}
            RecordsEnd::Clean => fs::remove_file(path)?,
            _ => {
                quarantine::take(dir, name)?;
                quarantined.push(name.to_owned());
            }
        }
        return Ok(0);
    };
    if matches!(end.end, RecordsEnd::Damaged(_) | RecordsEnd::Torn(_)) {
        quarantine::copy(dir, name, end.used)?;
        quarantined.push(name.to_owned());
    }
    if end.used == SEGMENT_HEADER_BYTES as u64 {
        fs::remove_file(path)?;
        return Ok(0);
    }
    let kept = end.torn_at.unwrap_or(end.used);
    settle(&path, &header, mark, end.used, kept)?;
    Ok(end.used)
}

/// Syncs a segment, marks it up to `sound`, and cuts it after its last record, where `used` is. What a power cut
/// took stays above the mark, so that it is not told as damage the next time.
fn settle(
    path: &Path,
    header: &SegmentHeader,
    mark: Mark,
    used: u64,
    sound: u64,
) -> io::Result<()> {
    debug_assert!(sound <= used, "{sound} octets are sound of {used}");
    let file = file::open(path, Access::Write)?;
    let marked = matches!(mark, Mark::Upto(end) if u64::from(end) == sound);
    if !marked {
        file.sync_data()?;
        if mark != Mark::Unknown {
            segment::mark(&file, header, sound as u32)?;
        }
    }
    if matches!(mark, Mark::Upto(end) if u64::from(end) > used) {
        // The lower mark must be on the disk before the cut is: an end below the mark is damage.
        file.sync_data()?;
    }
    if file.metadata()?.len() != used {
        file.set_len(used)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of the segments in order, of which core, number and time are given.
    fn sorted(segments: &[(u16, u32, u64)]) -> Vec<(u16, u32)> {
        let end = |&(core, number, created_ns): &(u16, u32, u64)| {
            let header = SegmentHeader { number, core, bytes: 65_536, created_ns, nonce: 1 };
            let end = RecordsEnd::Clean;
            let header = Some((header, Mark::Unknown));
            let (used, alive, dead, last_seq, torn_at) = (64, 64, 0, 0, None);
            SegmentEnd { core, number, header, used, alive, dead, last_seq, torn_at, end }
        };
        let mut ends: Vec<_> = segments.iter().map(end).collect();
        sort_by_age(&mut ends);
        ends.iter().map(|end| (end.core, end.number)).collect()
    }

    #[test]
    fn the_oldest_segment_comes_first_and_a_clock_that_was_set_back_changes_nothing() {
        // A core that is idle has few segments, and its second may be the newest of all.
        let busy_and_idle = [(1, 2, 35), (0, 1, 10), (0, 2, 20), (0, 3, 30), (1, 1, 11)];
        assert_eq!(sorted(&busy_and_idle), [(0, 1), (1, 1), (0, 2), (0, 3), (1, 2)]);
        // The next run began at number 4, an hour before.
        let set_back = [(0, 4, 5), (0, 1, 10), (0, 2, 20), (1, 4, 4), (1, 1, 11), (0, 5, 6)];
        assert_eq!(sorted(&set_back), [(0, 1), (1, 1), (0, 2), (1, 4), (0, 4), (0, 5)]);
    }
}
