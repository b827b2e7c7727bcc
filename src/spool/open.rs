//! Opens a spool for writing: the directory and its lock, the recovery, the writers.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::fs::FlockOperation;

use super::error::SpoolError;
use super::format::SEGMENT_HEADER_BYTES;
use super::prepare::{Old, Preparer};
use super::reader::{Reader, SegmentEnd};
use super::segment::file_name;
use super::survey::Survey;
use super::walk::End;
use super::writer::Writer;
use crate::limits::{
    SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_FLOOR, SEGMENT_BYTES_MAX, SEGMENT_STEP_BYTES,
    SEGMENTS_PER_CORE_MIN, SPOOL_BYTES_DEFAULT,
};

/// Name and content of the file that makes a directory a spool.
const MARKER: &str = "SPOOL";
const MARKER_TEXT: &str = "ringpost-spool 1\n";

/// What happens when the limit is reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenFull {
    /// The oldest segment makes room for the newest: a ring.
    #[default]
    Recycle,
    /// Messages are refused (452) until there is room.
    Refuse,
}

/// What a 250 promises.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// The message survives the death of the process. A power cut or a crash of the system may take
    /// what the system had not written back yet, the newest first.
    #[default]
    Process,
    /// The message survives a power cut, once the caller has synced what [`Writer::dirty`] gives.
    Sync,
}

/// What a spool needs to know to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// Length of a segment file, a multiple of 64 KiB.
    pub segment_bytes: u64,
    /// Octets of all segment files together, those of earlier runs too.
    pub limit_bytes: u64,
    pub when_full: WhenFull,
    pub durability: Durability,
    /// Writers wanted.
    pub cores: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            limit_bytes: SPOOL_BYTES_DEFAULT,
            when_full: WhenFull::default(),
            durability: Durability::default(),
            cores: 1,
        }
    }
}

impl Options {
    /// Refuses what cannot work, before anything is touched.
    pub fn check(&self) -> Result<(), SpoolError> {
        let &Self { segment_bytes, limit_bytes, cores, .. } = self;
        let (min, max, step) = (SEGMENT_BYTES_FLOOR, SEGMENT_BYTES_MAX, SEGMENT_STEP_BYTES);
        if !(min..=max).contains(&segment_bytes) || !segment_bytes.is_multiple_of(step) {
            return Err(SpoolError::SegmentSize { segment_bytes, min, max, step });
        }
        assert!((1..=usize::from(u16::MAX)).contains(&cores), "{cores} cores");
        let have = limit_bytes / segment_bytes;
        let need = SEGMENTS_PER_CORE_MIN * cores as u64;
        if have < need {
            return Err(SpoolError::LimitTooSmall {
                limit_bytes,
                segment_bytes,
                cores,
                have,
                need,
            });
        }
        Ok(())
    }
}

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

/// The exclusive lock on the marker file; goes with the last who holds it.
pub(super) struct Lock {
    _marker: File,
}

/// An open spool. It must outlive its writers to be closed in order; see [`Spool::open`].
pub struct Spool {
    lock: Arc<Lock>,
    helper: Option<JoinHandle<()>>,
}

impl Spool {
    /// Locks and scans the directory, makes it if there is none, and hands out one writer a core.
    ///
    /// Old segments are never appended to. Drop the writers before the spool: then the drop of the
    /// spool waits until every segment is cut to its length and the lock is free.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery, Vec<Writer>), SpoolError> {
        options.check()?;
        let lock = Arc::new(lock(dir)?);
        let Recovered { recovery, old, next_number, next_seq } = recover(dir)?;
        let (mut preparer, inbox, supplies) =
            Preparer::new(dir.to_owned(), options, next_number, old);
        let mut firsts = Vec::with_capacity(options.cores);
        for core in 0..options.cores {
            match preparer.prepare(core) {
                Ok(first) => firsts.push(first),
                Err(error) => {
                    for unused in firsts {
                        unused.finish(0);
                    }
                    return Err(error);
                }
            }
        }
        let helper_lock = lock.clone();
        let helper = thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || {
                preparer.run(&inbox);
                drop(helper_lock);
            })
            .map_err(|cause| SpoolError::io("start the helper thread", dir, cause))?;
        let writers =
            firsts.into_iter().zip(supplies).enumerate().map(|(core, (first, supplies))| {
                let core = core as u16;
                let seq = next_seq.iter().find(|(of, _)| *of == core).map_or(0, |(_, seq)| *seq);
                Writer::new(core, first, seq, supplies, options.durability, lock.clone())
            });
        let writers = writers.collect();
        Ok((Self { lock, helper: Some(helper) }, recovery, writers))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // The helper ends with the last writer. If one lives on, waiting here could be for ever.
        let mine_and_the_helpers = 2;
        if Arc::strong_count(&self.lock) <= mine_and_the_helpers
            && let Some(helper) = self.helper.take()
        {
            // A panic of the helper has been printed; nothing of ours depends on its result.
            let _ = helper.join();
        }
    }
}

/// Finds out whether `dir` is a spool that this program reads.
pub(super) fn check_marker(dir: &Path) -> Result<(), SpoolError> {
    let path = dir.join(MARKER);
    match fs::read(&path) {
        Ok(text) => check_marker_text(dir, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir.is_dir() => {
            Err(SpoolError::NotASpool { dir: dir.to_owned() })
        }
        Err(cause) => Err(SpoolError::io("open the spool", dir, cause)),
    }
}

fn check_marker_text(dir: &Path, text: &[u8]) -> Result<(), SpoolError> {
    if text == MARKER_TEXT.as_bytes() {
        return Ok(());
    }
    let first = text.split(|&b| b == b'\n').next().unwrap_or_default();
    let shown = first[..first.len().min(64)].escape_ascii().to_string();
    Err(SpoolError::Version { dir: dir.to_owned(), found: shown })
}

/// Makes the directory if need be, refuses a foreign one, and locks it.
fn lock(dir: &Path) -> Result<Lock, SpoolError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|cause| SpoolError::io("create the spool directory", dir, cause))?;
    let path = dir.join(MARKER);
    if !path.exists() && !is_empty(dir)? {
        return Err(SpoolError::Foreign { dir: dir.to_owned() });
    }
    let mut marker = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|cause| SpoolError::io("open", &path, cause))?;
    match rustix::fs::flock(&marker, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(SpoolError::Locked { dir: dir.to_owned() });
        }
        Err(errno) => return Err(SpoolError::io("lock", &path, errno)),
    }
    let mut text = Vec::new();
    let read = marker.read_to_end(&mut text);
    read.map_err(|cause| SpoolError::io("read", &path, cause))?;
    if text.is_empty() {
        // New, or its maker died before this line.
        let written = marker.write_all(MARKER_TEXT.as_bytes()).and_then(|()| marker.sync_all());
        written.map_err(|cause| SpoolError::io("write", &path, cause))?;
    } else {
        check_marker_text(dir, &text)?;
    }
    Ok(Lock { _marker: marker })
}

fn is_empty(dir: &Path) -> Result<bool, SpoolError> {
    let failed = |cause| SpoolError::io("list the directory", dir, cause);
    Ok(fs::read_dir(dir).map_err(failed)?.next().is_none())
}

struct Recovered {
    recovery: Recovery,
    old: VecDeque<Old>,
    /// Above every number in the directory.
    next_number: u32,
    /// Latest sequence number of each core.
    next_seq: Vec<(u16, u64)>,
}

/// Reads all there is, gives unused room back, and tells where to go on.
fn recover(dir: &Path) -> Result<Recovered, SpoolError> {
    let reader = Reader::open_locked(dir)?;
    let (survey, mut ends) = reader.messages().into_ends()?;
    let mut recovery = Recovery { survey, trimmed_bytes: 0 };
    let next_number = ends.iter().map(|end| end.number).max().map_or(1, |most| most + 1);
    let mut next_seq: Vec<(u16, u64)> = Vec::new();
    for end in &ends {
        match next_seq.iter_mut().find(|(core, _)| *core == end.core) {
            Some((_, seq)) => *seq = end.last_seq.max(*seq),
            None => next_seq.push((end.core, end.last_seq)),
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
    Ok(Recovered { recovery, old, next_number, next_seq })
}

/// Cuts a segment behind its last record; returns the octets left. What is in doubt stays as it is,
/// for people to look at.
fn trim(path: &PathBuf, end: &SegmentEnd, bytes: u64) -> u64 {
    if matches!(end.end, End::Damaged(_) | End::Recycled) {
        return bytes;
    }
    if end.used <= SEGMENT_HEADER_BYTES as u64 {
        return fs::remove_file(path).map_or(bytes, |()| 0);
    }
    let cut = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(end.used));
    cut.map_or(bytes, |()| end.used.min(bytes))
}
