//! How a program ends: with one line on stderr, and with an exit code that scripts can rely on.

use std::fmt::{self, Display};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::usage;
use crate::notice::{self, notice};
use crate::printable::{self, printable};
use crate::spool::{Doubt, SpoolError};

/// How long the report of a program that ends in time waits for a reader of stdout that stands still.
const STDOUT_PATIENCE: Duration = Duration::from_secs(2);

/// Writes a report to stdout, with the colours that it has and nothing else that steers a terminal. A reader that stops early, as in `… | head -1`, is no error: what the
/// program found still decides its exit code.
///
/// # Errors
/// When the file or pipe of stdout cannot be written.
pub(super) fn tell(report: impl AsRef<str>) -> io::Result<()> {
    write(&printable::styled(report.as_ref()))
}

/// As [`tell`], for JSON and its line end.
pub(super) fn tell_json(json: impl AsRef<str>) -> io::Result<()> {
    write(&printable::json(json.as_ref()))
}

/// As [`tell`], for a program that ends in time: a reader that stands still is left.
///
/// # Errors
/// As [`tell`], and when nobody reads stdout.
pub(super) fn tell_in_time(report: impl AsRef<str>) -> io::Result<()> {
    write_in_time(&printable::styled(report.as_ref()))
}

/// As [`tell_in_time`], for JSON and its line end.
pub(super) fn tell_json_in_time(json: impl AsRef<str>) -> io::Result<()> {
    write_in_time(&printable::json(json.as_ref()))
}

/// Gives the terminal that stdout is `steering` in front of a report; no terminal gets nothing.
pub(super) fn steer(steering: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if steering.is_empty() || !out.is_terminal() {
        return Ok(());
    }
    out.write_all(steering)
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    without_reader(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn write_in_time(text: &str) -> io::Result<()> {
    without_reader(notice::put_in_time(&io::stdout(), text.as_bytes(), STDOUT_PATIENCE))
}

/// A reader that has gone is no error.
fn without_reader(told: io::Result<()>) -> io::Result<()> {
    match told {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        told => told,
    }
}

/// The exit codes of `sysexits.h`. The generator has codes of its own as well (see `run::Verdict`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    /// The command line is wrong.
    Usage = 64,
    /// A file is damaged, or has another version.
    Data = 65,
    /// There is no file or message to read.
    NoInput = 66,
    /// An engine, an address or a server is not available.
    Unavailable = 69,
    /// This program has a bug.
    Software = 70,
    /// The system refused a thread, a limit or a signal.
    Os = 71,
    /// A file or directory cannot be created.
    CantCreate = 73,
    /// A disk failed.
    Io = 74,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a program ends before its work is done: a line for stderr and an exit code.
#[derive(Debug)]
pub struct ExitError {
    code: u8,
    message: String,
}

impl Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ExitError {
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self::with_code(exit as u8, message)
    }

    pub fn with_code(code: u8, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// The same with `lead` in front of its line.
    pub fn led_by(self, lead: impl Display) -> Self {
        Self { message: format!("{lead}{}", self.message), ..self }
    }

    /// The exit code that the program ends with.
    pub fn code(&self) -> u8 {
        self.code
    }
}

/// Parses the command line and runs `main`. An error becomes one line on stderr and an exit code;
/// `usage_code` is the code for a command line that cannot be parsed.
pub fn run<O: Parser>(
    name: &str,
    usage_code: u8,
    main: impl FnOnce(O) -> Result<ExitCode, ExitError>,
) -> ExitCode {
    notice::hear_panics();
    let command = O::command();
    let args = usage::with_negatives(&command, std::env::args_os());
    let outcome = match O::try_parse_from(&args) {
        Ok(options) => main(options),
        Err(error) if !error.use_stderr() => {
            // The text of --help or --version; a pipe that is closed is no error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let line = usage::one_line(&error, &command, &args);
            Err(ExitError::with_code(usage_code, line))
        }
    };
    outcome.unwrap_or_else(|failure| {
        notice!("{name}: {}", printable(&failure.message));
        ExitCode::from(failure.code)
    })
}

/// The exit code for a file that cannot be read.
pub fn read(error: &io::Error) -> Exit {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::PermissionDenied
        // A pipe to which nobody writes.
        | ErrorKind::TimedOut => Exit::NoInput,
        ErrorKind::FileTooLarge | ErrorKind::InvalidInput | ErrorKind::InvalidData => Exit::Data,
        _ => Exit::Io,
    }
}

/// The exit code for an error of the spool.
pub fn spool(error: &SpoolError) -> Exit {
    match error {
        SpoolError::LimitTooSmall { .. }
        | SpoolError::SegmentSize { .. }
        | SpoolError::OpenLimitTooSmall { .. }
        | SpoolError::MessageTooLarge { .. }
        | SpoolError::BadPlace(_) => Exit::Usage,
        SpoolError::NotASpool { .. }
        | SpoolError::NoMessage { .. }
        | SpoolError::Damaged { what: Doubt::Recycled, .. } => Exit::NoInput,
        SpoolError::Version { .. } | SpoolError::Damaged { .. } => Exit::Data,
        SpoolError::Foreign { .. } | SpoolError::Locked { .. } => Exit::CantCreate,
        SpoolError::Io { cause, .. } => match cause.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Exit::NoInput,
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::AlreadyExists => Exit::CantCreate,
            _ => Exit::Io,
        },
        _ => Exit::Io,
    }
}
