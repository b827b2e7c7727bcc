//! How many connections the sink serves at once, over all cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `--max-connections`, one count for all cores. Each connection touches it when it begins and when it ends.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimit {
    /// INVARIANT: the number of [`ConnectionPlace`]s that live, and at most `max`.
    open: Arc<AtomicUsize>,
    max: usize,
}

/// The place of a connection. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPlace(Arc<AtomicUsize>);

impl ConnectionLimit {
    pub(super) fn new(max: usize) -> Self {
        assert!(max > 0, "a sink that serves nobody");
        Self { open: Arc::default(), max }
    }

    /// `None`: all places are taken.
    pub(super) fn take(&self) -> Option<ConnectionPlace> {
        let more = |open| (open < self.max).then_some(open + 1);
        let taken = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| ConnectionPlace(self.open.clone()))
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a place was given back twice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cores_share_one_count() {
        let (one, other) = {
            let limit = ConnectionLimit::new(3);
            (limit.clone(), limit)
        };
        let places: Vec<_> =
            (0..3).map(|_| one.take().expect("all three may be on one core")).collect();
        assert!(one.take().is_none() && other.take().is_none());
        drop(places);
        assert!(other.take().is_some());
    }
}
