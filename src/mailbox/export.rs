//! Writes messages of a spool to files that other programs read.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::body::Body;
use super::dump::Dumps;
use super::error::ExportError;
use super::files::NewFile;
use super::jsonl;
use super::line_ends::{CrRule, LineEnds};
use super::maildir::{EmlDir, Maildir};
use super::mbox::Mbox;
use super::received::Tracer;
use super::select::Selection;
use crate::limits::EXPORT_WRITE_BYTES;
use crate::spool::{CopyError, Listing, Message};

/// What is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// A Maildir, all messages new.
    Maildir,
    /// One file, mboxrd quoting.
    Mbox,
    /// A directory with one file a message.
    Eml,
    /// One file with one JSON object a line.
    Jsonl,
    /// The dumps of smtp-sink. `shared`: as `-D`, otherwise as `-d`.
    SmtpSink { shared: bool },
}

/// How lines end in Maildir, mbox and eml.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Newline {
    /// Each CRLF becomes LF, as mail programs on Unix store mail. A lone LF stays.
    Lf,
    /// Lines end as they were sent.
    Crlf,
}

/// One export, to be run once.
#[derive(Clone, Debug)]
pub struct Export {
    pub format: Format,
    /// A path that must not exist; `-` is stdout, for mbox and JSON lines. For the dumps of smtp-sink, the
    /// pattern of their names.
    pub target: PathBuf,
    pub newline: Newline,
    /// Name of this host, for Received fields and Maildir names.
    pub hostname: String,
}

/// What an export did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Exported {
    pub messages: u64,
    /// Octets of the messages as they are stored in the spool.
    pub bytes: u64,
    /// Messages that the ring recycled while they were read.
    pub vanished: u64,
}

impl Export {
    /// Writes the messages that `selection` takes, at most `limit` of them. Calls `on_message` for each message
    /// of the listing, which may stop the export.
    ///
    /// # Errors
    /// Files that were complete before the error stay. The file that was being written is removed.
    pub fn run(
        &self,
        listing: &mut Listing<'_>,
        selection: &Selection,
        limit: usize,
        on_message: &mut dyn FnMut(&Listing<'_>) -> ControlFlow<()>,
    ) -> Result<Exported, ExportError> {
        let mut writer = ExportWriter::create(self)?;
        let mut done = Exported::default();
        let mut body = Body::default();
        while done.messages < limit as u64
            && let Some(message) = listing.next()
        {
            let message = message?;
            if on_message(listing).is_break() {
                return Err(ExportError::Stopped);
            }
            body.clear();
            let read = selection.takes(listing, &message).and_then(|taken| {
                if taken {
                    listing.copy_body(&message, u64::MAX, &mut body)?;
                }
                Ok(taken)
            });
            match read {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) if error.is_recycled() => {
                    done.vanished += 1;
                    continue;
                }
                Err(CopyError::Spool(error)) => return Err(error.into()),
                Err(CopyError::Out(cause)) => return Err(Body::failed(cause)),
            }
            writer.add(&message, &mut body)?;
            done.messages += 1;
            done.bytes += message.bytes;
        }
        writer.finish()?;
        Ok(done)
    }
}

/// What is being written.
struct ExportWriter {
    out: Out,
    tracer: Tracer,
    newline: Newline,
}

enum Out {
    Maildir(Maildir),
    Eml(EmlDir),
    Mbox(Stream),
    Jsonl(Stream),
    Dumps(Dumps),
}

impl ExportWriter {
    fn create(export: &Export) -> Result<Self, ExportError> {
        let target = export.target.as_path();
        let tracer = Tracer { hostname: export.hostname.clone(), zone: TimeZone::system() };
        let out = match export.format {
            Format::Maildir => Out::Maildir(Maildir::create(target, &export.hostname)?),
            Format::Eml => Out::Eml(EmlDir::create(target)?),
            Format::Mbox => Out::Mbox(Stream::create(target)?),
            Format::Jsonl => Out::Jsonl(Stream::create(target)?),
            Format::SmtpSink { shared } => Out::Dumps(Dumps::create(target, shared, &tracer)?),
        };
        Ok(Self { out, tracer, newline: export.newline })
    }

    fn add(&mut self, message: &Message, body: &mut Body) -> Result<(), ExportError> {
        let (newline, rule): (&[u8], _) = match self.newline {
            Newline::Crlf => (b"\r\n", CrRule::Keep),
            Newline::Lf => (b"\n", CrRule::BeforeLf),
        };
        let delivered = |body: &mut Body, out: &mut dyn Write| {
            let mut lines = LineEnds::new(rule, out);
            let mut trace = Vec::new();
            self.tracer.write(message, &mut trace);
            lines.write_all(&trace)?;
            body.copy(&mut lines)?;
            lines.finish().map(drop)
        };
        match &mut self.out {
            Out::Maildir(dir) => dir.add(message, &mut |out| delivered(body, out)),
            Out::Eml(dir) => dir.add(message, &mut |out| delivered(body, out)),
            Out::Mbox(file) => file.write(&mut |out| {
                let mut mbox = Mbox::new(message, newline, out)?;
                delivered(body, &mut mbox)?;
                mbox.finish()
            }),
            Out::Jsonl(file) => file.write(&mut |out| jsonl::write(message, body, out)),
            Out::Dumps(files) => files.add(message, body, &self.tracer),
        }
    }

    fn finish(self) -> Result<(), ExportError> {
        match self.out {
            Out::Maildir(_) | Out::Eml(_) => Ok(()),
            Out::Mbox(file) | Out::Jsonl(file) => file.finish(),
            Out::Dumps(files) => files.finish(),
        }
    }
}

/// One file for all messages, or stdout.
enum Stream {
    File(NewFile),
    Stdout(io::BufWriter<io::Stdout>),
}

impl Stream {
    fn create(target: &Path) -> Result<Self, ExportError> {
        if target == Path::new("-") {
            let stdout = io::BufWriter::with_capacity(EXPORT_WRITE_BYTES, io::stdout());
            return Ok(Self::Stdout(stdout));
        }
        Ok(Self::File(NewFile::create(target)?))
    }

    fn write(
        &mut self,
        message: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ExportError> {
        match self {
            Self::File(file) => file.write(message),
            Self::Stdout(out) => message(out).map_err(to_stdout),
        }
    }

    fn finish(self) -> Result<(), ExportError> {
        match self {
            Self::File(file) => file.finish(),
            Self::Stdout(mut out) => out.flush().map_err(to_stdout),
        }
    }
}

fn to_stdout(cause: io::Error) -> ExportError {
    ExportError::io("write", Path::new("stdout"), cause)
}
