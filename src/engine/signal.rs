//! Waiting for signals, beside the cores.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use super::sys;

/// Calls `on_signal` with the number of each signal of `numbers` that comes, one call after the
/// other, until the process ends. What these signals did before, they do no more.
///
/// The watcher has a thread and a small runtime of its own, so that a busy core cannot hold a signal
/// up.
///
/// # Errors
///
/// When the system refuses the handler or the thread.
pub fn on_signals(
    numbers: &[i32],
    mut on_signal: impl FnMut(i32) + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut watched = Vec::with_capacity(numbers.len());
    {
        let _entered = runtime.enter();
        for &number in numbers {
            watched.push((number, signal(SignalKind::from_raw(number))?));
        }
    }
    let watch = async move {
        loop {
            let number = poll_fn(|context| {
                let come = watched.iter_mut().find_map(|(number, signal)| {
                    signal.poll_recv(context).is_ready().then_some(*number)
                });
                come.map_or(Poll::Pending, Poll::Ready)
            })
            .await;
            on_signal(number);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch))?;
    Ok(())
}

/// Ends the process at once. Nothing is flushed and no lock is waited for: another thread may hang in a write
/// to a pipe that nobody reads, and holds the lock of its stream.
pub fn end_now(code: u8) -> ! {
    sys::exit_now(code)
}
