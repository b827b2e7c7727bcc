//! SIGINT and SIGTERM: the first asks the program to finish, the second to end at once.

use std::io;

use crate::engine::signal::on_signals;

/// Which signal this is, and the exit code of a program that it ends: 128 plus its number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StopSignal {
    First { exit: u8 },
    Second { exit: u8 },
}

/// Calls `on_signal` for the first signal and for the second.
///
/// # Errors
/// When the system refuses the handler or the thread.
pub(super) fn watch(mut on_signal: impl FnMut(StopSignal) + Send + 'static) -> io::Result<()> {
    let mut count = 0_u32;
    on_signals(&[libc::SIGINT, libc::SIGTERM], move |number| {
        // Signal numbers end at 64.
        let exit = 128 + number as u8;
        match count {
            0 => on_signal(StopSignal::First { exit }),
            1 => on_signal(StopSignal::Second { exit }),
            _ => {}
        }
        count = count.saturating_add(1);
    })
}
