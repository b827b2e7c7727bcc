//! Shows text through the user's pager.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use crate::cli::exit;

/// The pager when `PAGER` is not set. With `-R` it shows colours.
const PAGER_DEFAULT: &str = "less -R";
/// The options of less when `LESS` is not set: end at once if the text fits on the screen, show
/// colours, and leave the text on the screen.
const LESS_DEFAULT: &str = "FRX";
/// The exit code of a shell that does not find the program.
const NOT_FOUND: i32 = 127;

/// Shows `text`: through `$PAGER` if stdout is a terminal, else unchanged on stdout.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn show(text: &str) -> io::Result<()> {
    let pager = env::var("PAGER").unwrap_or_else(|_| PAGER_DEFAULT.to_owned());
    let wanted = io::stdout().is_terminal() && !matches!(pager.trim(), "" | "cat");
    if wanted && through(&pager, text) {
        return Ok(());
    }
    exit::tell(text)
}

/// Whether the pager has shown the text.
fn through(pager: &str, text: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", pager]).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        command.env("LESS", LESS_DEFAULT);
    }
    let Ok(mut child) = command.spawn() else { return false };
    if let Some(mut stdin) = child.stdin.take() {
        // If the user leaves the pager early, it does not read the rest. That is no error.
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait().is_ok_and(|status| status.code() != Some(NOT_FOUND))
}
