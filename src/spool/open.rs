//! Opens a spool for writing: the directory and its lock, the recovery, the writers.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::error::SpoolError;
use super::marker::{Lock, lock};
use super::prepare::Preparer;
use super::recover::{Recovered, Recovery, recover};
use super::writer::Writer;
use crate::limits::{
    SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_FLOOR, SEGMENT_BYTES_MAX, SEGMENT_STEP_BYTES,
    SEGMENTS_PER_CORE_MIN, SPOOL_BYTES_DEFAULT,
};

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
        let Recovered { recovery, old, next_number, last_seq } = recover(dir)?;
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
                let seq = last_seq.iter().find(|(of, _)| *of == core).map_or(0, |(_, seq)| *seq);
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
