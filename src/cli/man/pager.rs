//! Text through the user's pager.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use crate::cli::exit;

/// What a terminal gets that names no `PAGER`; `-R` lets colours through.
const PAGER_DEFAULT: &str = "less -R";
/// How less behaves where the user has not said otherwise: end at once when all fits on the screen,
/// let colours through, leave the text there.
const LESS_DEFAULT: &str = "FRX";
/// What a shell answers when there is no such program.
const NOT_FOUND: i32 = 127;

/// Shows `text` on stdout: through `$PAGER` on a terminal, as it is elsewhere.
///
/// # Errors
/// That of stdout.
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
        // A pager that was left before the end reads no further.
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait().is_ok_and(|status| status.code() != Some(NOT_FOUND))
}
