//! Maildir: one file for each message, written in `tmp` and renamed into `new`, without flags. Eml: the same
//! without the three folders.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::ExportError;
use super::files::{fresh_dir, write_and_rename};
use crate::spool::Message;

/// A Maildir that is being made.
pub(super) struct Maildir {
    dir: PathBuf,
    /// Last part of each file's name: this host, with `/` and `:` written as the convention wants.
    host: String,
}

impl Maildir {
    pub(super) fn create(dir: &Path, hostname: &str) -> Result<Self, ExportError> {
        fresh_dir(dir)?;
        for folder in ["tmp", "new", "cur"] {
            fresh_dir(&dir.join(folder))?;
        }
        let host = hostname.replace('/', "\\057").replace(':', "\\072");
        Ok(Self { dir: dir.to_owned(), host })
    }

    /// The name begins with the time of arrival, so that names sort by time. The id of the message in the
    /// middle makes it unique.
    pub(super) fn add(
        &mut self,
        message: &Message,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ExportError> {
        let received_ns = message.envelope.received_ns;
        let (seconds, micros) = (received_ns / 1_000_000_000, received_ns / 1_000 % 1_000_000);
        let name = format!("{seconds}.M{micros:06}R{}.{}", message.place, self.host);
        let (tmp, new) = (self.dir.join("tmp").join(&name), self.dir.join("new").join(&name));
        write_and_rename(&tmp, &new, received_ns, write)
    }
}

/// A directory of files named `ID.eml`.
pub(super) struct EmlDir {
    dir: PathBuf,
}

impl EmlDir {
    pub(super) fn create(dir: &Path) -> Result<Self, ExportError> {
        fresh_dir(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    pub(super) fn add(
        &mut self,
        message: &Message,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ExportError> {
        let name = self.dir.join(format!("{}.eml", message.place));
        let temporary = self.dir.join(format!(".{}.part", message.place));
        write_and_rename(&temporary, &name, message.envelope.received_ns, write)
    }
}
