//! The directory of a spool: lists its segments, and reads single records of them.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::chain::Fragment;
use super::message::CopyError;
use super::walk::{Opened, RecordsEnd, Walk, WalkStep};
use crate::spool::error::{Doubt, SpoolError};
use crate::spool::file::{self, Access};
use crate::spool::format::{
    EARLIER_MARKER_TEXT, MARKER, MARKER_TEXT, Place, QUARANTINE, RECORD_HEADER_BYTES, RecordHeader,
    RecordKind, file_name, is_almost_a_segment, parse_file_name,
};

/// Octets that are read of a marker file: more than any version writes.
pub(in crate::spool) const MARKER_BYTES_MAX: u64 = 256;

/// Names of files that look like segments and are none: so many are told.
const STRANGERS_TOLD_MAX: usize = 1_000;

/// The segments of a spool as they were when it was opened.
pub(super) struct SegmentDirectory {
    dir: PathBuf,
    /// In the order of core and number.
    segments: Vec<(u16, u32)>,
    strangers: Vec<String>,
}

/// The segment files of a directory.
#[derive(Default)]
pub(in crate::spool) struct SegmentList {
    /// Core and number, in that order.
    pub(in crate::spool) segments: Vec<(u16, u32)>,
    /// Names of files that look like segments and are none, because a segment is written in another way.
    pub(in crate::spool) strangers: Vec<String>,
}

/// From where on a power cut may have taken pieces of a segment: where a walk met the first spoilt payload
/// above the mark, or ended there.
#[derive(Clone, Copy)]
pub(super) struct WalkStop {
    pub(super) at: u64,
    /// Where a torn end begins: what follows is not believed. `None` where the end looks clean: a lost record
    /// can look as if nothing had been written there.
    pub(super) torn_end: Option<u64>,
}

impl SegmentDirectory {
    pub(super) fn list(dir: &Path) -> Result<Self, SpoolError> {
        let SegmentList { segments, strangers } = list_segments(dir)?;
        Ok(Self { dir: dir.to_owned(), segments, strangers })
    }

    /// See [`Reader::begin_at`](super::Reader::begin_at).
    pub(super) fn begin_at(&mut self, places: &[Place]) {
        self.segments.retain(|(core, number)| {
            places.iter().all(|place| place.core != *core || place.segment <= *number)
        });
    }

    /// Opens the segment of `place`; the doubt [`Doubt::Recycled`] when it is gone.
    pub(super) fn walk(&self, place: Place) -> Result<Walk, SpoolError> {
        let damaged = |what| SpoolError::Damaged { place, what };
        match Walk::open(&self.path(place.core, place.segment), place.core, place.segment)? {
            Opened::Walk(walk) => Ok(*walk),
            Opened::End(RecordsEnd::Damaged(what) | RecordsEnd::Torn(what)) => Err(damaged(what)),
            Opened::End(_) => Err(damaged(Doubt::Recycled)),
        }
    }

    /// Copies the first `bytes` octets of the body of the record at `part`, a piece of `message`.
    pub(super) fn copy_part(
        &self,
        walk: &mut Walk,
        message: Place,
        part: Place,
        bytes: u64,
        out: &mut dyn Write,
    ) -> Result<(), CopyError> {
        let at = u64::from(part.offset) + RECORD_HEADER_BYTES as u64;
        let copied = walk.copy(at, bytes, |chunk| out.write_all(chunk).map_err(CopyError::Out))?;
        if copied != bytes || !walk.same_life()? {
            return Err(SpoolError::Damaged { place: message, what: Doubt::Recycled }.into());
        }
        Ok(())
    }

    /// The record at `place` and its envelope; `None` if there is none. If its segment is gone, this is the
    /// doubt [`Doubt::Recycled`].
    pub(super) fn record(
        &self,
        place: Place,
    ) -> Result<Option<(RecordHeader, Vec<u8>)>, SpoolError> {
        let damaged = |what| SpoolError::Damaged { place, what };
        let mut walk = self.walk(place)?;
        if place.offset < RECORD_HEADER_BYTES as u32 || !place.offset.is_multiple_of(8) {
            return Ok(None);
        }
        walk.seek(place.offset);
        match walk.step()? {
            WalkStep::Record(_, header) => Ok(Some((header, walk.envelope().to_vec()))),
            WalkStep::End(RecordsEnd::Recycled) => Err(damaged(Doubt::Recycled)),
            // An offset inside a record looks like a damaged header.
            WalkStep::End(RecordsEnd::Damaged(what) | RecordsEnd::Torn(what))
                if what != Doubt::RecordHeader =>
            {
                Err(damaged(what))
            }
            WalkStep::Spoilt(spoilt) => Err(damaged(spoilt.what)),
            WalkStep::End(_) => Ok(None),
        }
    }

    /// Sequence number of the first record in the segments of a core after number `number`.
    pub(super) fn first_seq_after(
        &self,
        (core, number): (u16, u32),
    ) -> Result<Option<u64>, SpoolError> {
        let next = self.segments.partition_point(|segment| *segment <= (core, number));
        let Some(&(_, next)) = self.segments.get(next).filter(|next| next.0 == core) else {
            return Ok(None);
        };
        let Ok(Opened::Walk(mut walk)) = Walk::open(&self.path(core, next), core, next) else {
            return Ok(None);
        };
        Ok(match walk.step()? {
            WalkStep::Record(_, header) => Some(header.seq),
            WalkStep::Spoilt(spoilt) => Some(spoilt.header.seq),
            WalkStep::End(_) => None,
        })
    }

    /// The fragment at `place`, to which a later record links, or why it cannot be read.
    pub(super) fn fragment(&self, place: Place) -> Result<Result<Fragment, Doubt>, SpoolError> {
        match self.record(place) {
            Ok(Some((header, _))) if header.kind == RecordKind::Fragment => {
                Ok(Ok(Fragment::from(&header)))
            }
            Err(SpoolError::Damaged { what: Doubt::Recycled, .. }) if self.was_there(place) => {
                Ok(Err(Doubt::Recycled))
            }
            Ok(_) | Err(SpoolError::Damaged { .. }) => Ok(Err(Doubt::Chain)),
            Err(error) => Err(error),
        }
    }

    /// From where on a power cut may have taken pieces of a segment; `None` if it took none.
    pub(super) fn stop(&self, segment: (u16, u32)) -> Result<Option<WalkStop>, SpoolError> {
        stop_of(&self.path(segment.0, segment.1), segment)
    }

    /// The same of a segment that an opener has put into quarantine; `None` if it is not there.
    pub(super) fn stop_in_quarantine(
        &self,
        segment: (u16, u32),
    ) -> Result<Option<WalkStop>, SpoolError> {
        let dir = self.dir.join(QUARANTINE);
        if !file::metadata(&dir).is_ok_and(|found| found.is_dir()) {
            return Ok(None);
        }
        stop_of(&dir.join(file_name(segment.0, segment.1)), segment)
    }

    /// Whether a segment that is missing now was there before: it was listed when we began, or is older than
    /// all that were listed. Otherwise somebody has removed it from the middle.
    fn was_there(&self, place: Place) -> bool {
        let lowest = self.segments.partition_point(|(core, _)| *core < place.core);
        let lowest = self.segments.get(lowest).filter(|(core, _)| *core == place.core);
        lowest.is_some_and(|(_, lowest)| place.segment < *lowest) || self.lists(place)
    }

    /// Whether the segment of `place` was there when the directory was listed.
    pub(super) fn lists(&self, place: Place) -> bool {
        self.segments.binary_search(&(place.core, place.segment)).is_ok()
    }

    /// Octets of all segment files.
    pub(super) fn file_bytes(&self) -> u64 {
        let bytes = |&(core, number): &(u16, u32)| file::metadata(&self.path(core, number));
        self.segments
            .iter()
            .filter_map(|segment| bytes(segment).ok())
            .map(|found| found.len())
            .sum()
    }

    /// The segments of each core.
    pub(super) fn cores(&self) -> impl Iterator<Item = &[(u16, u32)]> {
        self.segments.chunk_by(|a, b| a.0 == b.0)
    }

    pub(super) fn segments(&self) -> &[(u16, u32)] {
        &self.segments
    }

    pub(super) fn strangers(&self) -> &[String] {
        &self.strangers
    }

    pub(super) fn path(&self, core: u16, number: u32) -> PathBuf {
        self.dir.join(file_name(core, number))
    }
}

fn stop_of(path: &Path, (core, number): (u16, u32)) -> Result<Option<WalkStop>, SpoolError> {
    let torn_end = |end, at| matches!(end, RecordsEnd::Torn(_)).then_some(at);
    let mut walk = match Walk::open(path, core, number)? {
        Opened::Walk(walk) => walk,
        // It is damage, of which it is told itself. Whether somebody has renamed it or a power cut came
        // while it was reused, what is missed in it is no second damage.
        Opened::End(RecordsEnd::Damaged(Doubt::SegmentName)) => {
            return Ok(Some(WalkStop { at: 0, torn_end: Some(0) }));
        }
        Opened::End(end @ (RecordsEnd::Torn(_) | RecordsEnd::Clean)) => {
            return Ok(Some(WalkStop { at: 0, torn_end: torn_end(end, 0) }));
        }
        Opened::End(_) => return Ok(None),
    };
    let mut spoilt_at = None;
    loop {
        match walk.step()? {
            WalkStep::Record(..) => {}
            WalkStep::Spoilt(spoilt) => {
                spoilt_at = spoilt_at.or(spoilt.torn.then_some(spoilt.offset.into()));
            }
            WalkStep::End(end) => {
                let Some(end) = walk.confirm(end)? else { continue };
                let ends_above = walk.is_above_mark().then_some(walk.at());
                let at = spoilt_at.or(ends_above);
                return Ok(at.map(|at| WalkStop { at, torn_end: torn_end(end, walk.at()) }));
            }
        }
    }
}

/// Lists the segment files of a spool.
pub(in crate::spool) fn list_segments(dir: &Path) -> Result<SegmentList, SpoolError> {
    let failed = |cause| SpoolError::io("list the spool", dir, cause);
    let mut list = SegmentList::default();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        list.segments.extend(parse_file_name(name));
        if is_almost_a_segment(name) && list.strangers.len() < STRANGERS_TOLD_MAX {
            list.strangers.push(name.to_owned());
        }
    }
    list.segments.sort_unstable();
    list.strangers.sort_unstable();
    Ok(list)
}

/// Checks that `dir` is a spool that this program can read.
pub(in crate::spool) fn check_marker(dir: &Path) -> Result<(), SpoolError> {
    match read_marker(&dir.join(MARKER)) {
        Ok(text) => check_marker_text(dir, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir.is_dir() => {
            Err(SpoolError::NotASpool { dir: dir.to_owned() })
        }
        Err(cause) => Err(SpoolError::io("open the spool", dir, cause)),
    }
}

/// The start of the marker file, which is all that a sound one has.
fn read_marker(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = file::open(path, Access::Read)?;
    file.take(MARKER_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Refuses the text of a version that this program cannot read.
pub(in crate::spool) fn check_marker_text(dir: &Path, text: &[u8]) -> Result<(), SpoolError> {
    if text == MARKER_TEXT.as_bytes() || text == EARLIER_MARKER_TEXT.as_bytes() {
        return Ok(());
    }
    let first = text.split(|&b| b == b'\n').next().unwrap_or_default();
    let shown = first[..first.len().min(64)].escape_ascii().to_string();
    Err(SpoolError::Version { dir: dir.to_owned(), found: shown })
}
