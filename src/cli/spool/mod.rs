//! `ringpost spool`: ls, cat, stat, verify, export.
#![doc = ""]
#![doc = include_str!("manual.md")]

mod export;
mod ls;
mod pick;
mod progress;
mod stat;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use self::pick::Pick;
use self::progress::ByteProgress;
use super::exit::{self, Exit, ExitError};
use crate::mailbox::{self, MessageJson};
use crate::notice::notice;
use crate::printable::{self, JsonOut};
use crate::spool::{CopyError, Deliveries, Place, Reader, SpoolError, Survey, text};

/// The default directory of a sink's spool.
const DIR_DEFAULT: &str = "./ringpost-spool";

#[derive(Debug, Subcommand)]
pub enum SpoolCommand {
    /// List messages, oldest first
    Ls(ls::Ls),
    /// Write the octets of a message to stdout, exactly as they were sent, without the dots of SMTP
    Cat(Cat),
    /// Count messages: sizes, rate over time, domains, flags
    Stat(stat::Stat),
    /// Read everything and check every checksum; the exit code is 0 if the spool is sound, 65 if not
    Verify(Verify),
    /// Write messages as Maildir, mbox, eml, JSON lines or dumps of smtp-sink
    Export(export::ExportArgs),
}

#[derive(Debug, Args)]
#[command(override_usage = "ringpost spool cat [OPTIONS] [DIR] <ID>")]
pub struct Cat {
    /// The directory, if it is not ./ringpost-spool, and the id of the message, from `ls` or from the
    /// sink's reply
    #[arg(num_args = 1..=2, required = true, value_names = ["DIR", "ID"])]
    dir_and_id: Vec<PathBuf>,
    /// Print only the header block and the empty line after it
    #[arg(long, conflicts_with = "envelope")]
    headers: bool,
    /// Print the envelope as JSON instead
    #[arg(long)]
    envelope: bool,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// The --spool directory of the sink
    #[arg(default_value = DIR_DEFAULT)]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Number of files to read at the same time [default: one for each CPU this process may use]
    #[arg(long, value_name = "N", value_parser = super::value::at_least_one)]
    threads: Option<usize>,
}

impl SpoolCommand {
    /// Runs the command; returns the exit code.
    pub fn run(self) -> Result<Exit, ExitError> {
        if let Some(pick) = self.pick() {
            pick.check()?;
        }
        if let Self::Export(export) = self {
            return export.run();
        }
        let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let outcome = match self {
            Self::Ls(ls) => ls.run(&mut out),
            Self::Cat(cat) => cat.run(&mut out),
            Self::Stat(stat) => stat.run(&mut out),
            Self::Verify(verify) => verify.run(&mut out),
            Self::Export(_) => unreachable!("it writes no text to stdout"),
        };
        match outcome.and_then(|code| out.flush().map(|()| code).map_err(CopyError::Out)) {
            Ok(code) => Ok(code),
            // The reader has seen enough, as in `| head`.
            Err(CopyError::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
            Err(CopyError::Out(error)) => Err(ExitError::new(Exit::Io, format!("stdout: {error}"))),
            Err(CopyError::Spool(error)) => Err(ExitError::new(exit::spool(&error), error)),
        }
    }

    fn pick(&self) -> Option<&Pick> {
        match self {
            Self::Ls(ls) => Some(&ls.pick),
            Self::Stat(stat) => Some(&stat.pick),
            Self::Export(export) => Some(&export.pick),
            Self::Cat(_) | Self::Verify(_) => None,
        }
    }
}

/// Writes one or more lines of text.
fn put(out: &mut impl Write, line: std::fmt::Arguments<'_>) -> Result<(), CopyError> {
    let line = line.to_string();
    writeln!(out, "{}", printable::lines(&line)).map_err(CopyError::Out)
}

/// Writes JSON on one line.
fn put_json(out: &mut impl Write, object: &impl Serialize) -> Result<(), CopyError> {
    let written = serde_json::to_writer(JsonOut::new(&mut *out), object);
    written.map_err(io::Error::from).and_then(|()| out.write_all(b"\n")).map_err(CopyError::Out)
}

/// Writes JSON on many lines, for people.
fn put_pretty_json(out: &mut impl Write, object: &impl Serialize) -> Result<(), CopyError> {
    let written = serde_json::to_writer_pretty(JsonOut::new(&mut *out), object);
    written.map_err(io::Error::from).and_then(|()| out.write_all(b"\n")).map_err(CopyError::Out)
}

/// What a client sent, as text for a terminal.
fn shown(bytes: &[u8]) -> String {
    printable::printable(&text(bytes)).into_owned()
}

/// RFC 3339 in UTC, to the millisecond.
fn time(unix_ns: u64) -> String {
    Timestamp::from_nanosecond(unix_ns.into())
        .map_or_else(|_| "-".to_owned(), |at| format!("{at:.3}"))
}

/// Reports on stderr what could not be read. The exit code says whether it is damage.
fn tell_of(survey: &Survey) -> Exit {
    for torn in &survey.torn {
        notice!("ringpost: torn end, as a power cut leaves it: {torn}");
    }
    for damage in &survey.damage {
        notice!("ringpost: damage: {damage}");
    }
    if survey.untold > 0 {
        notice!("ringpost: {} doubtful places more", survey.untold);
    }
    for stranger in &survey.strangers {
        notice!("ringpost: passed over {stranger}, which is not named as a segment is");
    }
    if survey.is_sound() { Exit::Ok } else { Exit::Data }
}

impl Cat {
    fn run(&self, out: &mut impl Write) -> Result<Exit, CopyError> {
        let (dir, id) = match self.dir_and_id.as_slice() {
            [dir, id] => (dir.as_path(), id),
            [id] => (Path::new(DIR_DEFAULT), id),
            _ => unreachable!("clap takes one or two"),
        };
        let place: Place = id.to_string_lossy().parse().map_err(SpoolError::BadPlace)?;
        let reader = Reader::open(dir)?;
        let message = reader.get(place)?;
        if self.envelope {
            let subject = mailbox::subject_in(&reader, &message)?;
            let known = Deliveries::read_of(dir, &message)?;
            let settled = known.of(&message)?;
            let object = MessageJson::new(&message, subject.as_deref(), &settled);
            put_pretty_json(out, &object)?;
        } else if self.headers {
            mailbox::copy_header_block(&reader, &message, out)?;
        } else {
            reader.copy_body(&message, out)?;
        }
        Ok(Exit::Ok)
    }
}

impl Verify {
    fn run(&self, out: &mut impl Write) -> Result<Exit, CopyError> {
        let reader = Reader::open(&self.dir)?;
        let threads = self.threads.unwrap_or_else(cpus);
        let progress = ByteProgress::over(reader.file_bytes());
        let started = std::time::Instant::now();
        let survey = reader.survey(threads, &|bytes| progress.add(bytes))?;
        progress.finish();
        let elapsed_s = started.elapsed().as_secs_f64();
        let sound = survey.is_sound();
        if self.json {
            let mut object = json!(survey);
            object["sound"] = sound.into();
            object["threads"] = threads.into();
            object["elapsed_s"] = elapsed_s.into();
            object["bytes_per_s"] = (survey.file_bytes as f64 / elapsed_s.max(1e-9)).into();
            put_json(out, &object)?;
        } else {
            put(out, format_args!("verified {survey}"))?;
        }
        Ok(if sound { Exit::Ok } else { Exit::Data })
    }
}

/// CPUs that this process may use.
fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
