//! SIGINT and SIGTERM: the first asks for a polite end, the second for an end at once.

use std::io;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// How often the user has asked, and the exit code of a program that such a signal ended: 128 and its
/// number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Once { exit: u8 },
    Twice { exit: u8 },
}

/// Calls `on_signal` for the first signal and for the second.
///
/// The watcher has a thread and a small runtime of its own, so that a busy core cannot hold a signal
/// up.
///
/// # Errors
/// When the system refuses the handler or the thread.
pub(super) fn watch(mut on_signal: impl FnMut(Asked) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let watch = async move {
        for first in [true, false] {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
            };
            let exit = 128 + number;
            on_signal(if first { Asked::Once { exit } } else { Asked::Twice { exit } });
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch))?;
    Ok(())
}
