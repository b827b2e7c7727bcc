//! Mail that exists already: a message in a file, a directory of such files, an mbox, a Maildir, or
//! a spool.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::host;
use crate::limits::{CORPUS_MESSAGES_MAX, FLIGHT_REPLIES_MAX};
use crate::smtp::body;
use crate::spool::{Reader, SpoolError};
use crate::stamp::{body_crc, header_end, relax};

/// What lies in the directory of a run, a sweep or a search.
const RUN_FILES: [&str; 3] = ["run.json", "sweep.json", "find-max.json"];

/// Messages to send again, in an order that does not change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mails {
    pub path: PathBuf,
    pub kind: MailSource,
    /// Sent as they are, and not dot-stuffed.
    pub raw: bool,
    /// Never empty, and shared by every copy of a plan.
    pub mails: Arc<[Mail]>,
}

/// What kind of place the messages come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MailSource {
    /// One message.
    File,
    Mbox,
    /// One message in each file.
    Directory,
    Maildir,
    Spool,
}

/// One message in the form in which it is sent. Whatever is rendered from it shares its octets, so that
/// they are in memory once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mail {
    /// Line ends are CRLF; those of a spool are as they were received. The last line has its end, and
    /// where DATA is to carry it, it is dot-stuffed.
    pub octets: Arc<[u8]>,
    /// Octets before dot-stuffing, and how many of them are the body.
    pub size: u64,
    pub body_size: u64,
    /// Of the body.
    pub body_crc: u32,
    /// Of its header fields, relaxed, as the stamp sums them up, and how many octets these are.
    pub header_crc: u32,
    pub header_bytes: u64,
    /// The envelope with which it was received, where that is known and wanted.
    pub envelope: Option<Recorded>,
}

impl Mail {
    /// A message as it was found, which may lack the line end that DATA needs. It is to be sent as it is
    /// (`raw`), or dot-stuffed.
    pub fn new(mut found: Vec<u8>, raw: bool, envelope: Option<Recorded>) -> Self {
        if !found.is_empty() && !found.ends_with(b"\r\n") {
            found.extend_from_slice(b"\r\n");
        }
        let (header, body) = found.split_at(header_end(&found));
        let mut relaxed = Vec::with_capacity(header.len());
        relax(header, &mut relaxed, |_, _| {});
        let (header_crc, header_bytes) = (body_crc(&relaxed), relaxed.len() as u64);
        let (size, body_size, body_crc) = (found.len() as u64, body.len() as u64, body_crc(body));
        if !raw {
            let mut stuffed = Vec::with_capacity(found.len() + found.len() / 64);
            body::stuff(&found, &mut stuffed);
            found = stuffed;
        }
        let octets = found.into();
        Self { octets, size, body_size, body_crc, header_crc, header_bytes, envelope }
    }
}

/// Whether a message begins as RFC 5322 (2.2) has it: with a header field, or with the empty line that ends a
/// header without fields. White space before the colon is of its obsolete syntax (4.5).
fn begins_with_header(message: &[u8]) -> bool {
    let line = &message[..memchr::memchr(b'\r', message).unwrap_or(message.len())];
    let Some(colon) = memchr::memchr(b':', line) else { return line.is_empty() };
    let name = line[..colon].trim_ascii_end();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// Paths without angle brackets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    pub from: Vec<u8>,
    pub recipients: Vec<Vec<u8>>,
    /// Names the message in an error.
    pub place: String,
}

/// Why messages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("cannot read {}: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("{} holds no message", .0.display())]
    Nothing(PathBuf),
    #[error("{} is the directory of a run and holds no mail; --corpus takes messages, an mbox, a Maildir or a spool", .0.display())]
    RunDirectory(PathBuf),
    #[error(
        "{} is no message: it does not begin with a header field, such as Subject:; leave it out, put an empty \
         line above its text, or send it as it is with --no-headers", .0.display()
    )]
    NoHeader(PathBuf),
    #[error(
        "{} holds more than {limit} octets of mail, which are kept in memory; give less of it, or \
         raise --corpus-memory", .path.display()
    )]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{} holds more than {CORPUS_MESSAGES_MAX} messages; give less of it", .0.display())]
    TooMany(PathBuf),
    #[error("{} is no spool, and only a spool knows the envelopes of its messages; leave out --recorded-envelopes", .0.display())]
    NoEnvelopes(PathBuf),
    #[error("{0} has more than {FLIGHT_REPLIES_MAX} recipients; leave out --recorded-envelopes")]
    Recipients(String),
}

/// The messages read so far, and how many of them there may be.
struct Gathering<'a> {
    path: &'a Path,
    mails: Vec<Mail>,
    octets: u64,
    octets_max: u64,
    mails_max: usize,
    form: MailForm,
}

/// How messages are read.
#[derive(Clone, Copy, Debug)]
pub struct MailForm {
    /// Messages of a spool keep their envelopes.
    pub envelopes: bool,
    /// Messages are kept as they are, and not dot-stuffed.
    pub raw: bool,
    /// Header fields are put in front of a message, so that a file must begin as one.
    pub headed: bool,
}

/// Reads all messages of `path` and finds out what kind of source it is; `octets_max` bounds the memory.
pub fn load(path: &Path, octets_max: u64, form: MailForm) -> Result<Mails, MailError> {
    let mails_max = CORPUS_MESSAGES_MAX;
    let MailForm { envelopes, raw, .. } = form;
    let mut all = Gathering { path, mails: Vec::new(), octets: 0, octets_max, mails_max, form };
    let kind = kind(path)?;
    if envelopes && kind != MailSource::Spool {
        return Err(MailError::NoEnvelopes(path.to_owned()));
    }
    match kind {
        MailSource::File => all.file(path)?,
        MailSource::Mbox => {
            let failed = |error| MailError::Read { path: path.to_owned(), error };
            let file = BufReader::new(host::open_regular(path).map_err(failed)?);
            let read = |error: io::Error| match error.kind() {
                io::ErrorKind::FileTooLarge => {
                    MailError::TooLarge { path: path.to_owned(), limit: octets_max }
                }
                _ => failed(error),
            };
            mbox(file, octets_max)
                .try_for_each(|octets| all.push(with_crlf(&octets.map_err(read)?)))?;
        }
        MailSource::Directory if RUN_FILES.iter().any(|name| path.join(name).is_file()) => {
            return Err(MailError::RunDirectory(path.to_owned()));
        }
        MailSource::Directory => all.directory(path)?,
        MailSource::Maildir => {
            all.directory(&path.join("cur"))?;
            all.directory(&path.join("new"))?;
        }
        MailSource::Spool => all.spool(envelopes)?,
    }
    if all.mails.is_empty() {
        return Err(MailError::Nothing(path.to_owned()));
    }
    Ok(Mails { path: path.to_owned(), kind, raw, mails: all.mails.into() })
}

fn kind(path: &Path) -> Result<MailSource, MailError> {
    if !path.is_dir() {
        let mut start = [0; 5];
        let failed = |error| MailError::Read { path: path.to_owned(), error };
        let mut file = host::open_regular(path).map_err(failed)?;
        return match file.read_exact(&mut start) {
            Ok(()) if start == *b"From " => Ok(MailSource::Mbox),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(failed(error)),
            _ => Ok(MailSource::File),
        };
    }
    match Reader::open(path) {
        Err(SpoolError::NotASpool { .. }) => {}
        _ => return Ok(MailSource::Spool),
    }
    let maildir = path.join("cur").is_dir() && path.join("new").is_dir();
    Ok(if maildir { MailSource::Maildir } else { MailSource::Directory })
}

impl Gathering<'_> {
    /// Fails if there is no room for so many more octets and messages.
    fn fits(&self, more: u64, mails: usize) -> Result<(), MailError> {
        if self.mails.len() + mails > self.mails_max {
            return Err(MailError::TooMany(self.path.to_owned()));
        }
        if self.octets.saturating_add(more) > self.octets_max {
            let (path, limit) = (self.path.to_owned(), self.octets_max);
            return Err(MailError::TooLarge { path, limit });
        }
        Ok(())
    }

    fn push(&mut self, octets: Vec<u8>) -> Result<(), MailError> {
        self.push_with(octets, None)
    }

    fn push_with(&mut self, octets: Vec<u8>, envelope: Option<Recorded>) -> Result<(), MailError> {
        self.fits(octets.len() as u64, 1)?;
        self.octets += octets.len() as u64;
        self.mails.push(Mail::new(octets, self.form.raw, envelope));
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), MailError> {
        self.fits(size(path)?, 1)?;
        let message = with_crlf(&read(path, self.octets_max - self.octets)?);
        if self.form.headed && !begins_with_header(&message) {
            return Err(MailError::NoHeader(path.to_owned()));
        }
        self.push(message)
    }

    /// Its files in the order of their names, without those whose names begin with a dot.
    fn directory(&mut self, dir: &Path) -> Result<(), MailError> {
        let failed = |error| MailError::Read { path: dir.to_owned(), error };
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.is_file() {
                files.push(path);
            }
        }
        self.fits(0, files.len())?;
        files.sort_unstable();
        files.iter().try_for_each(|path| self.file(path))
    }

    fn spool(&mut self, envelopes: bool) -> Result<(), MailError> {
        let reader = Reader::open(self.path)?;
        // A listing is cheap compared to the octets: too large a spool is refused before they are read.
        let mut listed = (0, 0);
        for message in reader.messages() {
            listed = (listed.0 + message?.bytes, listed.1 + 1);
            self.fits(listed.0, listed.1)?;
        }
        for message in reader.messages() {
            let message = message?;
            let octets = reader.body(&message)?;
            let envelope = envelopes.then(|| Recorded {
                from: message.envelope.reverse_path,
                recipients: message.envelope.recipients.iter().map(|r| r.path.to_vec()).collect(),
                place: format!("{} message {}", self.path.display(), message.place),
            });
            if let Some(Recorded { recipients, place, .. }) = &envelope
                && recipients.len() > FLIGHT_REPLIES_MAX
            {
                return Err(MailError::Recipients(place.clone()));
            }
            self.push_with(octets, envelope)?;
        }
        Ok(())
    }
}

fn size(path: &Path) -> Result<u64, MailError> {
    let failed = |error| MailError::Read { path: path.to_owned(), error };
    Ok(fs::metadata(path).map_err(failed)?.len())
}

/// The octets of a file; of one that has grown beyond `most`, one more.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, MailError> {
    let mut octets = Vec::new();
    let read = host::open_regular(path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut octets));
    read.map_err(|error| MailError::Read { path: path.to_owned(), error })?;
    Ok(octets)
}

/// The messages of an mbox (RFC 4155). Each begins after a line that starts with `From ` and that
/// follows an empty line. The program that wrote the file added the empty line, and one `>` to each
/// `>From `. Only one message is in memory at a time, and of that at most `most` octets and a line of as many.
fn mbox(mut file: impl BufRead, most: u64) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    let (mut message, mut line) = (None, Vec::new());
    // The start of the file counts as an empty line.
    let mut behind_empty = true;
    std::iter::from_fn(move || {
        loop {
            line.clear();
            let read = (&mut file).take(most.saturating_add(1)).read_until(b'\n', &mut line);
            match read {
                Ok(0) => {
                    message.iter_mut().for_each(cut_last_empty_line);
                    return message.take().map(Ok);
                }
                Err(error) => return Some(Err(error)),
                Ok(_) => {}
            }
            let held = message.as_ref().map_or(0, Vec::len) + line.len();
            if held as u64 > most {
                return Some(Err(io::ErrorKind::FileTooLarge.into()));
            }
            let begins = behind_empty && line.starts_with(b"From ");
            behind_empty = matches!(&line[..], b"\n" | b"\r\n");
            if begins {
                if let Some(mut whole) = message.replace(Vec::new()) {
                    cut_last_empty_line(&mut whole);
                    return Some(Ok(whole));
                }
            } else if let Some(message) = &mut message {
                message.extend_from_slice(unquoted(&line));
            }
        }
    })
}

fn cut_last_empty_line(text: &mut Vec<u8>) {
    let kept = match &text[..] {
        [start @ .., b'\r', b'\n'] if start.ends_with(b"\n") => start.len(),
        [start @ .., b'\n'] if start.ends_with(b"\n") => start.len(),
        whole => whole.len(),
    };
    text.truncate(kept);
}

fn unquoted(line: &[u8]) -> &[u8] {
    let quotes = line.iter().take_while(|&&b| b == b'>').count();
    &line[usize::from(quotes > 0 && line[quotes..].starts_with(b"From "))..]
}

/// Each LF without a CR gets one, and so does an end without a line end.
pub fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 32 + 2);
    let mut done = 0;
    for lf in memchr::memchr_iter(b'\n', octets) {
        out.extend_from_slice(&octets[done..lf]);
        if out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(b'\n');
        done = lf + 1;
    }
    out.extend_from_slice(&octets[done..]);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests;
