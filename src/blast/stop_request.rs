//! Asks a run, or a row of runs, to end early.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Once it is made, nothing more begins, and what is under way is finished and counted. Clones are the same
/// request.
#[derive(Clone, Debug, Default)]
pub struct StopRequest {
    flag: Arc<AtomicBool>,
    /// Who made it, and when.
    made: Arc<OnceLock<(&'static str, Instant)>>,
}

impl StopRequest {
    /// Makes the request in the name of `by`, such as `SIGINT`, which a run that it ends will tell.
    pub fn make(&self, by: &'static str) {
        self.made.get_or_init(|| (by, Instant::now()));
        self.flag.store(true, Relaxed);
    }

    /// Makes the request in nobody's name.
    pub(super) fn make_silently(&self) {
        self.flag.store(true, Relaxed);
    }

    pub fn is_made(&self) -> bool {
        self.flag.load(Relaxed)
    }

    /// Who made it, and when, if anybody is to be told.
    pub(super) fn made(&self) -> Option<(&'static str, Instant)> {
        self.made.get().copied()
    }

    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

/// A flag that ends a run in nobody's name.
impl From<Arc<AtomicBool>> for StopRequest {
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self { flag, made: Arc::default() }
    }
}
