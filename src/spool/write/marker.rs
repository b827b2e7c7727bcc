//! The file that makes a directory a spool, and its lock.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::spool::error::SpoolError;
use crate::spool::file::{self, Access};
use crate::spool::format::{MARKER, MARKER_TEXT};
use crate::spool::read::{MARKER_BYTES_MAX, check_marker_text};

/// The exclusive lock on the marker file. Dropping it unlocks.
pub(super) struct Lock {
    marker: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child that this process has forked, and that has not called exec
        // yet, has the same file open, and flock(2) lasts until the last of them closes it. If this fails, the
        // close below still unlocks.
        let _ = rustix::fs::flock(&self.marker, FlockOperation::Unlock);
    }
}

/// Makes the directory if need be, refuses a foreign one, and locks it.
pub(super) fn lock(dir: &Path) -> Result<Lock, SpoolError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|cause| SpoolError::io("create the spool directory", dir, cause))?;
    let path = dir.join(MARKER);
    if !file::is_there(&path) && !is_empty(dir)? {
        return Err(SpoolError::Foreign { dir: dir.to_owned() });
    }
    let marker = open_or_create(&path).map_err(|cause| SpoolError::io("open", &path, cause))?;
    match rustix::fs::flock(&marker, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(SpoolError::Locked { dir: dir.to_owned() });
        }
        Err(errno) => return Err(SpoolError::io("lock", &path, errno)),
    }
    let mut text = Vec::new();
    let read = (&marker).take(MARKER_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|cause| SpoolError::io("read", &path, cause))?;
    // An empty file is new, or the sink that made it died before it wrote the text.
    if !text.is_empty() {
        check_marker_text(dir, &text)?;
    }
    if text != MARKER_TEXT.as_bytes() {
        // The texts of the versions differ in one octet, so a crash leaves one or the other.
        let written = marker.write_all_at(MARKER_TEXT.as_bytes(), 0);
        let synced = written.and_then(|()| marker.sync_all());
        synced.map_err(|cause| SpoolError::io("write", &path, cause))?;
    }
    Ok(Lock { marker })
}

/// Makes `dir` a spool, if it is not one yet.
pub(super) fn mark(dir: &Path) -> io::Result<()> {
    match file::create(&dir.join(MARKER)) {
        Ok(marker) => marker.write_all_at(MARKER_TEXT.as_bytes(), 0),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Two sinks may start at the same time, and one of them makes the file.
fn open_or_create(path: &Path) -> io::Result<File> {
    match file::create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            file::open(path, Access::ReadWrite)
        }
        made => made,
    }
}

fn is_empty(dir: &Path) -> Result<bool, SpoolError> {
    let failed = |cause| SpoolError::io("list the directory", dir, cause);
    Ok(fs::read_dir(dir).map_err(failed)?.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lock_is_free_even_when_a_child_still_has_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(SpoolError::Locked { .. })));
        let inherited = held.marker.try_clone().unwrap();
        drop(held);
        lock(dir.path()).unwrap();
        drop(inherited);
    }
}
