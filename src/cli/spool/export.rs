//! `ringpost spool export`.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use clap::{Args, ValueEnum};

use super::pick::Pick;
use super::progress::ByteProgress;
use super::{DIR_DEFAULT, tell_of};
use crate::cli::exit::{self, Exit, ExitError};
use crate::cli::signals::{self, StopSignal};
use crate::human::{count, counted, octets};
use crate::limits::PROGRESS_SHOWN_BYTES;
use crate::mailbox::{Export, ExportError, Exported, Format, Newline};
use crate::notice::notice;
use crate::spool::{Deliveries, Reader};

/// Write messages as files of other programs, oldest first.
///
/// Maildir, mbox and eml get Return-Path and Received in front of each message, as final delivery adds
/// them (RFC 5321 section 4.4); the message itself is not changed. A file is complete or not there;
/// nothing that exists is overwritten. The sink may write on meanwhile.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The --spool directory of the sink
    #[arg(default_value = DIR_DEFAULT)]
    dir: PathBuf,

    /// maildir: a new Maildir, all messages are new. mbox: one file with mboxrd quoting. eml: one file for
    /// each message. jsonl: one JSON object on each line, with envelope, flags and the message as text, or
    /// in base64 if it is not UTF-8. smtp-sink: the files that smtp-sink -d of Postfix writes
    #[arg(long, value_name = "FORMAT")]
    format: FormatArg,

    /// What to write: a directory (maildir, eml), a file or - for stdout (mbox, jsonl), or a pattern of
    /// strftime (smtp-sink), such as dump/%Y%m%d/%H%M.
    #[arg(short = 'o', long, value_name = "PATH")]
    output: PathBuf,

    /// Line ends in maildir, mbox and eml. lf: each CRLF becomes LF, as mail programs on Unix store
    /// mail. crlf: as sent [default: lf for maildir and mbox, crlf for eml]
    #[arg(long, value_name = "lf|crlf")]
    newline: Option<NewlineArg>,

    /// With smtp-sink: messages whose pattern gives the same name share a file, as with smtp-sink -D
    #[arg(long)]
    shared: bool,

    /// Name of this host in Received fields and in names of files [default: this host's name]
    #[arg(long, value_name = "NAME", value_parser = crate::cli::value::host)]
    hostname: Option<String>,

    /// Stop after this many messages
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,

    #[command(flatten)]
    pub(super) pick: Pick,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum FormatArg {
    Maildir,
    Mbox,
    Eml,
    Jsonl,
    SmtpSink,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NewlineArg {
    Lf,
    Crlf,
}

impl ExportArgs {
    pub(super) fn run(&self) -> Result<Exit, ExitError> {
        let export = self.check()?;
        let ended_by = stop_flag(&export.target)?;
        let reader = Reader::open(&self.dir).map_err(spool_failed)?;
        let selection =
            self.pick.selection(|| Deliveries::read(&self.dir)).map_err(spool_failed)?;
        let mut listing = reader.oldest_first();
        let progress = ByteProgress::over(reader.file_bytes());
        let mut shown = 0;
        let done = export.run(
            &mut listing,
            &selection,
            self.limit.unwrap_or(usize::MAX),
            &mut |listing| {
                let walked = listing.bytes_walked();
                if walked >= shown + PROGRESS_SHOWN_BYTES / 64 {
                    shown = walked;
                    progress.set(walked);
                }
                match ended_by.load(Relaxed) {
                    0 => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            },
        );
        progress.finish();
        match done {
            Ok(done) => {
                notice!("ringpost: {}", summary(&done, &export.target));
                Ok(tell_of(&listing.survey()))
            }
            // The reader has seen enough, as in `| head`.
            Err(ExportError::Io { cause, .. }) if cause.kind() == ErrorKind::BrokenPipe => {
                Ok(Exit::Ok)
            }
            Err(error @ ExportError::Stopped) => {
                Err(ExitError::with_code(ended_by.load(Relaxed), error))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn check(&self) -> Result<Export, ExitError> {
        let refused = |why: &str| Err(ExitError::new(Exit::Usage, why));
        let one_file = matches!(self.format, FormatArg::Mbox | FormatArg::Jsonl);
        if self.output == Path::new("-") && !one_file {
            return refused("-o - is for mbox and jsonl; the other formats make several files");
        }
        if self.shared && self.format != FormatArg::SmtpSink {
            return refused("--shared is for --format smtp-sink");
        }
        let delivers = matches!(self.format, FormatArg::Maildir | FormatArg::Mbox | FormatArg::Eml);
        if self.newline.is_some() && !delivers {
            return refused(
                "--newline is for maildir, mbox and eml; jsonl keeps the octets as sent",
            );
        }
        let newline = match (self.newline, self.format) {
            (Some(NewlineArg::Crlf), _) | (None, FormatArg::Eml) => Newline::Crlf,
            _ => Newline::Lf,
        };
        Ok(Export {
            format: match self.format {
                FormatArg::Maildir => Format::Maildir,
                FormatArg::Mbox => Format::Mbox,
                FormatArg::Eml => Format::Eml,
                FormatArg::Jsonl => Format::Jsonl,
                FormatArg::SmtpSink => Format::SmtpSink { shared: self.shared },
            },
            target: self.output.clone(),
            newline,
            hostname: self.hostname.clone().unwrap_or_else(crate::cli::value::hostname),
        })
    }
}

fn summary(done: &Exported, target: &Path) -> String {
    let vanished = match done.vanished {
        0 => String::new(),
        more => format!("; {} more were recycled before they could be read", count(more)),
    };
    format!(
        "exported {}, {}, to {}{vanished}",
        counted(done.messages, "message"),
        octets(done.bytes),
        if target == Path::new("-") { Path::new("stdout") } else { target }.display()
    )
}

fn spool_failed(error: crate::spool::SpoolError) -> ExitError {
    ExitError::new(exit::spool(&error), error)
}

/// Holds the exit code after a signal has come, so that the export can remove files that are not complete.
/// There is nothing to remove if the output is stdout. Then a signal ends the program at once, even if the
/// reader of stdout has stopped reading.
fn stop_flag(target: &Path) -> Result<Arc<AtomicU8>, ExitError> {
    let flag = Arc::new(AtomicU8::new(0));
    if target != Path::new("-") {
        let told = Arc::clone(&flag);
        let on_signal = move |asked| match asked {
            StopSignal::First { exit } => told.store(exit, Relaxed),
            StopSignal::Second { exit } => std::process::exit(exit.into()),
        };
        signals::watch(&signals::ENDING_OR_HANGUP, None, on_signal)
            .map_err(|error| ExitError::new(Exit::Os, error))?;
    }
    Ok(flag)
}

fn failed(error: ExportError) -> ExitError {
    let exit = match &error {
        ExportError::Exists { .. } | ExportError::NoDirectory { .. } | ExportError::Stopped => {
            Exit::CantCreate
        }
        ExportError::Template { .. } | ExportError::TooManyFiles { .. } => Exit::Usage,
        ExportError::Spool(error) => exit::spool(error),
        ExportError::Io { cause, .. } => match cause.kind() {
            ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::ReadOnlyFilesystem => Exit::CantCreate,
            _ => Exit::Io,
        },
    };
    ExitError::new(exit, error)
}
