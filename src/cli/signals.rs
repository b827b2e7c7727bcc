//! SIGINT and SIGTERM: the first asks for a polite end, the second for an end at once.

use std::io;

use crate::engine::signal::on_signals;

/// How often the user has asked, and the exit code of a program that such a signal ended: 128 and its
/// number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Once { exit: u8 },
    Twice { exit: u8 },
}

/// Calls `on_signal` for the first signal and for the second.
///
/// # Errors
/// When the system refuses the handler or the thread.
pub(super) fn watch(mut on_signal: impl FnMut(Asked) + Send + 'static) -> io::Result<()> {
    let mut count = 0_u32;
    on_signals(&[libc::SIGINT, libc::SIGTERM], move |number| {
        // Signal numbers end at 64.
        let exit = 128 + number as u8;
        match count {
            0 => on_signal(Asked::Once { exit }),
            1 => on_signal(Asked::Twice { exit }),
            _ => {}
        }
        count = count.saturating_add(1);
    })
}
