//! Writes messages of a spool to files that other programs read.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::dump::Dumps;
use super::error::ExportError;
use super::files::NewFile;
use super::maildir::{EmlDir, Maildir};
use super::received::Tracer;
use super::select::Selection;
use super::{jsonl, mbox};
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
        let mut body = Vec::new();
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
                Err(CopyError::Out(error)) => unreachable!("a vector takes all octets: {error}"),
            }
            writer.add(&message, &body)?;
            done.messages += 1;
            done.bytes += message.bytes;
        }
        writer.finish()?;
        Ok(done)
    }
}

/// What is being written, and buffers for the octets of one message.
struct ExportWriter {
    out: Out,
    tracer: Tracer,
    newline: Newline,
    delivered: Vec<u8>,
    quoted: Vec<u8>,
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
        let (delivered, quoted) = (Vec::new(), Vec::new());
        Ok(Self { out, tracer, newline: export.newline, delivered, quoted })
    }

    fn add(&mut self, message: &Message, body: &[u8]) -> Result<(), ExportError> {
        self.quoted.clear();
        match &mut self.out {
            Out::Jsonl(file) => {
                jsonl::write(message, body, &mut self.quoted);
                return file.write(&self.quoted);
            }
            Out::Dumps(files) => return files.add(message, body, &self.tracer),
            Out::Maildir(_) | Out::Eml(_) | Out::Mbox(_) => {}
        }
        self.delivered.clear();
        self.tracer.write(message, &mut self.delivered);
        self.delivered.extend_from_slice(body);
        let newline: &[u8] = match self.newline {
            Newline::Crlf => b"\r\n",
            Newline::Lf => {
                strip_cr(&mut self.delivered);
                b"\n"
            }
        };
        match &mut self.out {
            Out::Maildir(dir) => dir.add(message, &self.delivered),
            Out::Eml(dir) => dir.add(message, &self.delivered),
            Out::Mbox(file) => {
                mbox::write(message, &self.delivered, newline, &mut self.quoted);
                file.write(&self.quoted)
            }
            Out::Jsonl(_) | Out::Dumps(_) => Ok(()),
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

    fn write(&mut self, octets: &[u8]) -> Result<(), ExportError> {
        match self {
            Self::File(file) => file.write(octets),
            Self::Stdout(out) => out.write_all(octets).map_err(to_stdout),
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

/// Turns each CRLF into LF, in place.
fn strip_cr(octets: &mut Vec<u8>) {
    let mut kept = 0;
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\r', &octets[from..]) {
        let at = from + found;
        let next = at + 1;
        let keep_cr = octets.get(next) != Some(&b'\n');
        octets.copy_within(from..at + usize::from(keep_cr), kept);
        kept += at + usize::from(keep_cr) - from;
        from = next;
    }
    octets.copy_within(from.., kept);
    let rest = octets.len() - from;
    octets.truncate(kept + rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_crlf_becomes_lf_and_nothing_else_changes(
            octets in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x')], 0..200)
        ) {
            let mut stripped = octets.clone();
            strip_cr(&mut stripped);
            let text = String::from_utf8(octets).unwrap();
            prop_assert_eq!(stripped, text.replace("\r\n", "\n").into_bytes());
        }
    }
}
