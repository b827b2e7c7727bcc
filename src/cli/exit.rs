//! How a program ends: one line on stderr, and an exit code that scripts can rely on.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use clap::Parser;

use crate::notice::notice;
use crate::spool::{Doubt, SpoolError};

/// Writes a report to stdout. Whoever reads it may have seen enough, as in `… | head -1`: that is no failure,
/// and what the program found decides its status as before.
///
/// # Errors
/// That of the file or pipe behind stdout.
pub(super) fn tell(report: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(report.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        told => told,
    }
}

/// Exit codes of `sysexits.h`; the generator has its own (see `cli::blast`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    /// The command line makes no sense.
    Usage = 64,
    /// What was read is damaged, or of another version.
    Data = 65,
    /// What was to be read is not there.
    NoInput = 66,
    /// An engine, an address or a server is not available.
    Unavailable = 69,
    /// A defect of this program.
    Software = 70,
    /// The system refused a thread, a limit, a signal.
    Os = 71,
    /// A file or directory cannot be made.
    CantCreate = 73,
    /// A disk failed.
    Io = 74,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a program ends without having done its work.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self::with_code(exit as u8, message)
    }

    pub fn with_code(code: u8, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

/// Parses the command line, runs `main` and turns what went wrong into one line and an exit code.
///
/// `usage` is the code for a command line that cannot be parsed.
pub fn run<O: Parser>(
    name: &str,
    usage: u8,
    main: impl FnOnce(O) -> Result<ExitCode, Failure>,
) -> ExitCode {
    let outcome = match O::try_parse() {
        Ok(options) => main(options),
        Err(error) if !error.use_stderr() => {
            // Help or version, to a pipe that may be closed.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(Failure::with_code(usage, one_line(&error))),
    };
    outcome.unwrap_or_else(|failure| {
        notice!("{name}: {}", failure.message);
        ExitCode::from(failure.code)
    })
}

/// clap's message without its usage block: what is wrong, clap's tip, and where to look.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; see --help".into();
    }
    let way_out = match error.kind() {
        clap::error::ErrorKind::ArgumentConflict => "; leave out the one or the other",
        _ => "",
    };
    let text = error.to_string();
    let said: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .map(|line| line.trim().trim_start_matches("error: ").trim_start_matches("tip: "))
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    format!("{}{way_out}; see --help", said.join("; ").replace(":; ", ": "))
}

/// The exit code for what went wrong with a spool.
pub fn spool(error: &SpoolError) -> Exit {
    match error {
        SpoolError::LimitTooSmall { .. }
        | SpoolError::SegmentSize { .. }
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
