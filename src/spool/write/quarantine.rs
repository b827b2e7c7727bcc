//! The directory for doubtful segments. People look into it; the sink never reads, counts, recycles or
//! deletes what is there. The directory is a spool of its own, so that `ringpost spool` can read it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use super::marker;
use crate::limits::{SEGMENT_STEP_BYTES, WRITE_STEP_BYTES};
use crate::spool::file::{self, Access};
use crate::spool::format::{QUARANTINE, parse_file_name};

/// Moves a segment of which nothing is known to be sound.
pub(super) fn take(spool: &Path, name: &str) -> io::Result<()> {
    let target = place(spool, name)?;
    file::rename(&spool.join(name), &target)?;
    sync_both(spool)
}

/// Copies a segment of which only the first `sound` octets are sound, so that the rest may be cut off. The
/// copy leaves out zeros at the end.
pub(super) fn copy(spool: &Path, name: &str, sound: u64) -> io::Result<()> {
    let from = file::open(&spool.join(name), Access::Read)?;
    let target = place(spool, name)?;
    let made = file::create(&target)?;
    let copied = copy_octets(&from, &made, sound).and_then(|()| made.sync_all());
    if copied.is_err() {
        // Half a copy is of no use, and the segment itself stays as it is.
        let _ = fs::remove_file(&target);
    }
    copied?;
    sync_both(spool)
}

/// The numbers of the segments there. They are not given to new segments.
pub(super) fn numbers(spool: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(spool.join(QUARANTINE)) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| parse_file_name(name.split_inclusive(".seg").next()?))
        .map(|(_, n)| n)
        .collect()
}

fn copy_octets(from: &File, to: &File, sound: u64) -> io::Result<()> {
    let mut buffer = vec![0; WRITE_STEP_BYTES];
    let (mut at, mut end) = (0, sound);
    loop {
        let count = from.read_at(&mut buffer, at)?;
        if count == 0 {
            // A record may end in zeros, but not in so many.
            return to.set_len(end.next_multiple_of(SEGMENT_STEP_BYTES).min(at));
        }
        let used = buffer[..count].iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        to.write_all_at(&buffer[..used], at)?;
        if used > 0 {
            end = end.max(at + used as u64);
        }
        at += count as u64;
    }
}

/// The path for a segment: its own name, with a number appended if the name is taken.
fn place(spool: &Path, name: &str) -> io::Result<PathBuf> {
    let dir = spool.join(QUARANTINE);
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    // What is put there must stay in the spool.
    if !file::metadata(&dir)?.is_dir() {
        let why = format!("{} is there already, and is no directory", dir.display());
        return Err(io::Error::other(why));
    }
    marker::mark(&dir)?;
    let names = std::iter::once(name.to_owned()).chain((1u32..).map(|n| format!("{name}.{n}")));
    let mut free = names.map(|name| dir.join(name)).filter(|path| !file::is_there(path));
    Ok(free.next().expect("one of four thousand million names is free"))
}

fn sync_both(spool: &Path) -> io::Result<()> {
    File::open(spool.join(QUARANTINE))?.sync_all()?;
    File::open(spool)?.sync_all()
}
