//! Opens a spool for writing: locks the directory, recovers what is there, and makes the writers.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::marker::{Lock, lock};
use super::prepare::Preparer;
use super::recover::{Recovered, Recovery, recover};
use super::writer::Writer;
use crate::spool::error::SpoolError;
use crate::spool::options::Options;

/// An open spool. To close it in order, drop its writers first; see [`Spool::open`].
pub struct Spool {
    lock: Arc<Lock>,
    helper: Option<JoinHandle<()>>,
    /// Closed when the helper has ended.
    ended: Receiver<()>,
}

impl Spool {
    /// Makes the directory if there is none, locks and scans it, and returns one writer for each core.
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
        let (ends, ended) = mpsc::channel::<()>();
        let helper = thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || {
                preparer.run(&inbox);
                drop((helper_lock, ends));
            })
            .map_err(|cause| SpoolError::io("start the helper thread", dir, cause))?;
        let writers =
            firsts.into_iter().zip(supplies).enumerate().map(|(core, (first, supplies))| {
                let core = core as u16;
                let seq = last_seq.iter().find(|(of, _)| *of == core).map_or(0, |(_, seq)| *seq);
                Writer::new(core, first, seq, supplies, options.durability, lock.clone())
            });
        let writers = writers.collect();
        Ok((Self { lock, helper: Some(helper), ended }, recovery, writers))
    }

    /// Closes the spool as a drop does, but waits no longer than `limit`. `false`: the disk was slower, or a
    /// writer is alive. What is left is done if the process lives on, and else when the spool is opened again.
    pub fn close_within(mut self, limit: Duration) -> bool {
        let timeout = Err(mpsc::RecvTimeoutError::Timeout);
        let in_time = self.is_last() && self.ended.recv_timeout(limit) != timeout;
        if !in_time {
            self.helper = None;
        }
        in_time
    }

    /// Whether no writer is alive.
    fn is_last(&self) -> bool {
        let mine_and_the_helpers = 2;
        Arc::strong_count(&self.lock) <= mine_and_the_helpers
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // The helper ends with the last writer. If a writer is alive, waiting here could take for ever.
        if self.is_last()
            && let Some(helper) = self.helper.take()
        {
            // A panic of the helper was printed, and nothing here depends on its result.
            let _ = helper.join();
        }
    }
}
