//! `ringpost spool`: ls, cat, stat, verify.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::exit::{self, Exit, Failure};
use crate::spool::{CopyError, Envelope, Message, Place, Reader, SpoolError, Survey};
use crate::spool::{flag, text};

/// Where the sink stores unless it is told otherwise.
const DIR_DEFAULT: &str = "./ringpost-spool";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the messages, oldest first on each core.
    Ls(Ls),
    /// Write the octets of a message to stdout, exactly as they came, dots unstuffed.
    Cat(Cat),
    /// Count: messages, bytes, cores, sizes, time span.
    Stat(Sums),
    /// Read everything and check every checksum; exit 0 when sound, 65 when not.
    Verify(Sums),
}

#[derive(Debug, Args)]
pub struct Ls {
    /// The --spool directory of the sink.
    #[arg(default_value = DIR_DEFAULT)]
    dir: PathBuf,
    /// Stop after this many messages.
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    /// One JSON object a line, with the whole envelope.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Cat {
    /// The directory, if it is not ./ringpost-spool, and the id of the message, from `ls` or from the
    /// sink's reply.
    #[arg(num_args = 1..=2, required = true, value_names = ["DIR", "ID"])]
    dir_and_id: Vec<PathBuf>,
    /// Show the envelope as JSON instead.
    #[arg(long)]
    envelope: bool,
}

#[derive(Debug, Args)]
pub struct Sums {
    /// The --spool directory of the sink.
    #[arg(default_value = DIR_DEFAULT)]
    dir: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Does what was asked; gives the exit code.
    pub fn run(self) -> Result<Exit, Failure> {
        let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let outcome = match self {
            Self::Ls(ls) => ls.run(&mut out),
            Self::Cat(cat) => cat.run(&mut out),
            Self::Stat(sums) => sums.stat(&mut out),
            Self::Verify(sums) => sums.verify(&mut out),
        };
        match outcome.and_then(|code| out.flush().map(|()| code).map_err(CopyError::Out)) {
            Ok(code) => Ok(code),
            // `| head` has seen enough.
            Err(CopyError::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
            Err(CopyError::Out(error)) => Err(Failure::new(Exit::Io, format!("stdout: {error}"))),
            Err(CopyError::Spool(error)) => Err(Failure::new(exit::spool(&error), error)),
        }
    }
}

fn put(out: &mut impl Write, line: std::fmt::Arguments<'_>) -> Result<(), CopyError> {
    writeln!(out, "{line}").map_err(CopyError::Out)
}

impl Ls {
    fn run(&self, out: &mut impl Write) -> Result<Exit, CopyError> {
        let reader = Reader::open(&self.dir)?;
        let mut messages = reader.messages();
        if !self.json {
            put(out, format_args!("{}", row(["ID", "RECEIVED", "BYTES", "FROM", "TO", "FLAGS"])))?;
        }
        for message in messages.by_ref().take(self.limit.unwrap_or(usize::MAX)) {
            let message = message?;
            if self.json {
                put(out, format_args!("{}", as_json(&message)))?;
            } else {
                put(out, format_args!("{}", as_row(&message)))?;
            }
        }
        for damage in &messages.survey().damage {
            out.flush().map_err(CopyError::Out)?;
            eprintln!("ringpost: {damage}");
        }
        Ok(if messages.survey().is_sound() { Exit::Ok } else { Exit::Data })
    }
}

fn row([id, time, bytes, from, to, flags]: [&str; 6]) -> String {
    let line = format!("{id:<18} {time:<24} {bytes:>10}  {from:<30} {to:<36} {flags}");
    line.trim_end().to_owned()
}

fn as_row(message: &Message) -> String {
    let Envelope { received_ns, flags, reverse_path, recipients, .. } = &message.envelope;
    let first = recipients.first().map_or_else(String::new, |to| printable(&to.path));
    let to = match recipients.len() {
        0 | 1 => first,
        count => format!("{first} +{}", count - 1),
    };
    let names: Vec<_> = flag::names(*flags).collect();
    row([
        &message.place.to_string(),
        &time(*received_ns),
        &message.bytes.to_string(),
        &format!("<{}>", printable(reverse_path)),
        &to,
        &names.join(","),
    ])
}

/// Text for a terminal: what a client sent may hold control octets.
fn printable(bytes: &[u8]) -> String {
    text(bytes).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn as_json(message: &Message) -> serde_json::Value {
    message.envelope.to_json(message.place, message.bytes)
}

/// RFC 3339 in UTC, to the millisecond.
fn time(unix_ns: u64) -> String {
    Timestamp::from_nanosecond(unix_ns.into())
        .map_or_else(|_| "-".to_owned(), |at| format!("{at:.3}"))
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
            put(out, format_args!("{:#}", as_json(&message)))?;
        } else {
            reader.copy_body(&message, out)?;
        }
        Ok(Exit::Ok)
    }
}

impl Sums {
    fn stat(&self, out: &mut impl Write) -> Result<Exit, CopyError> {
        let survey = Reader::open(&self.dir)?.survey(1, &|_| {})?;
        if self.json {
            put(out, format_args!("{}", json!(survey)))?;
        } else {
            put_stat(out, &survey)?;
        }
        Ok(Exit::Ok)
    }

    fn verify(&self, out: &mut impl Write) -> Result<Exit, CopyError> {
        let survey = Reader::open(&self.dir)?.survey(1, &|_| {})?;
        let sound = survey.is_sound();
        if self.json {
            let mut object = json!(survey);
            object["sound"] = sound.into();
            put(out, format_args!("{object}"))?;
        } else {
            put(out, format_args!("verified {survey}"))?;
        }
        Ok(if sound { Exit::Ok } else { Exit::Data })
    }
}

fn put_stat(out: &mut impl Write, survey: &Survey) -> Result<(), CopyError> {
    put(out, format_args!("messages   {}", survey.messages))?;
    put(out, format_args!("bytes      {}", survey.bytes))?;
    if let (Some(least), Some(most)) = (survey.smallest_bytes, survey.largest_bytes) {
        let mean = survey.bytes / survey.messages.max(1);
        put(out, format_args!("sizes      {least} smallest, {mean} mean, {most} largest"))?;
    }
    if let (Some(first), Some(last)) = (survey.first_received_ns, survey.last_sealed_ns) {
        put(out, format_args!("received   {} to {}", time(first), time(last)))?;
    }
    put(out, format_args!("segments   {} of {} bytes", survey.segments, survey.file_bytes))?;
    put(out, format_args!("unfinished {} fragments", survey.orphaned_fragments))?;
    put(out, format_args!("open       {} records", survey.open_records))?;
    put(out, format_args!("recycled   {} messages in part", survey.recycled_messages))?;
    for core in &survey.cores {
        let (number, messages, bytes) = (core.core, core.messages, core.bytes);
        put(out, format_args!("core {number:<5} {messages} messages, {bytes} bytes"))?;
    }
    for damage in &survey.damage {
        put(out, format_args!("damage     {damage}"))?;
    }
    Ok(())
}
