//! Signals that ask a program to finish: the first one politely, the second one at once.
//!
//! Whatever a program prints, nobody has to read it: what it does at a signal may hang in a write. So that is
//! done on a thread of its own, and the thread that hears signals ends the process some time after the second.

use std::fs;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::engine::signal::{end_now, on_signals};

/// Time after the second signal at which a program ends that has not ended by itself, in milliseconds: more
/// than all that it does to end in order then.
const OVERDUE_MS: u64 = 2_000;

/// Ctrl-C, `kill`, and Ctrl-\\.
pub(super) const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT];

/// These, and the end of the terminal, for a program that has nothing to read again.
pub(super) const ENDING_OR_HANGUP: [i32; 4] =
    [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGHUP];

/// Which signal this is, and the exit code of a program that it ends: 128 plus its number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StopSignal {
    First { exit: u8 },
    Second { exit: u8 },
}

/// The name of the signal that ends a program with `exit`.
pub(super) fn name(exit: u8) -> &'static str {
    match i32::from(exit) - 128 {
        libc::SIGINT => "SIGINT",
        libc::SIGTERM => "SIGTERM",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGHUP => "SIGHUP",
        _ => "a signal",
    }
}

/// Calls `on_signal` for the first signal of `numbers` and for the second. A program that is still there
/// [`OVERDUE_MS`] after the second ends then with `overdue`, or with the code of that signal.
///
/// # Errors
/// When the system refuses the handler or a thread.
pub(super) fn watch(
    numbers: &[i32],
    overdue: Option<u8>,
    mut on_signal: impl FnMut(StopSignal) + Send + 'static,
) -> io::Result<()> {
    let (told, signals) = mpsc::channel();
    thread::Builder::new()
        .name("ending".to_owned())
        .spawn(move || signals.into_iter().for_each(&mut on_signal))?;
    let mut is_first = true;
    on_signals(&heeded(numbers), move |number| {
        // Signal numbers end at 64.
        let exit = 128 + number as u8;
        if std::mem::take(&mut is_first) {
            // That thread only ends with the process.
            let _ = told.send(StopSignal::First { exit });
            return;
        }
        let _ = told.send(StopSignal::Second { exit });
        thread::sleep(Duration::from_millis(OVERDUE_MS));
        end_now(overdue.unwrap_or(exit));
    })
}

/// Those of `numbers` that mean something. `nohup` has SIGHUP ignored, and so it stays.
pub(super) fn heeded(numbers: &[i32]) -> Vec<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    let is_ignored = |number: i32| number == libc::SIGHUP && ignored >> (number - 1) & 1 != 0;
    numbers.iter().copied().filter(|&number| !is_ignored(number)).collect()
}

/// The signals that a process ignores, the first one in the lowest bit (proc(5)).
fn ignored(status: &str) -> u64 {
    let digits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_kernel() {
        assert_eq!(ignored("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored(""), 0);
        // Rust itself ignores SIGPIPE.
        let own = ignored(&fs::read_to_string("/proc/self/status").unwrap());
        assert!(own >> (libc::SIGPIPE - 1) & 1 == 1, "{own:x}");
        assert_eq!(heeded(&[libc::SIGPIPE]), [libc::SIGPIPE], "only a hangup is left alone");
    }
}
