//! Work on threads of its own, beside a core: it may hang, and must not keep the core from ending.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinHandle;

thread_local! {
    /// Work of this core that has not ended.
    static WORKING: Arc<AtomicUsize> = Arc::default();
}

struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Runs `work` on a thread where it may block. When the core ends, work that has not ended is left alone.
///
/// # Panics
///
/// When no core runs on this thread.
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let working = WORKING.with(Arc::clone);
    working.fetch_add(1, Ordering::Relaxed);
    let at_work = AtWork(working);
    tokio::task::spawn_blocking(move || {
        let _at_work = at_work;
        work()
    })
}

/// How much work of this core has not ended.
pub(super) fn working() -> usize {
    WORKING.with(|working| working.load(Ordering::Acquire))
}
