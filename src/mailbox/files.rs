//! Files that are either complete or absent, and that never replace others.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::{NamedTempFile, TempPath};

use super::error::ExportError;
use crate::limits::EXPORT_WRITE_BYTES;

/// Makes a directory, and those above it; it must not exist yet.
pub(super) fn fresh_dir(dir: &Path) -> Result<(), ExportError> {
    if let Some(parent) = dir.parent() {
        make_dirs(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(exists(dir)),
        Err(cause) => Err(ExportError::io("create", dir, cause)),
    }
}

pub(super) fn make_dirs(dir: &Path) -> Result<(), ExportError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|cause| ExportError::io("create", dir, cause))
}

fn exists(path: &Path) -> ExportError {
    ExportError::Exists { path: path.to_owned() }
}

/// Writes a message to the file `temporary`, and renames it to `name` when it is complete. No other program
/// uses these names, since this export made the directory. The file's time is that of the message.
pub(super) fn write_and_rename(
    temporary: &Path,
    name: &Path,
    received_ns: u64,
    message: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<(), ExportError> {
    let mut write = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        let mut file = BufWriter::with_capacity(EXPORT_WRITE_BYTES, file);
        message(&mut file)?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.set_modified(UNIX_EPOCH + Duration::from_nanos(received_ns))?;
        fs::rename(temporary, name)
    };
    write().map_err(|cause| {
        // The first error is the one to report.
        let _ = fs::remove_file(temporary);
        ExportError::io("write", name, cause)
    })
}

/// A file that is being written, beside its later place. It is removed if it is dropped before
/// [`NewFile::finish`].
pub(super) struct NewFile {
    file: BufWriter<NamedTempFile>,
    target: PathBuf,
}

impl NewFile {
    /// `target` must not exist.
    pub(super) fn create(target: &Path) -> Result<Self, ExportError> {
        let file = temporary(target)?;
        let file = BufWriter::with_capacity(EXPORT_WRITE_BYTES, file);
        Ok(Self { file, target: target.to_owned() })
    }

    pub(super) fn write(
        &mut self,
        message: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ExportError> {
        let written = message(&mut self.file);
        written.map_err(|cause| ExportError::io("write", &self.target, cause))
    }

    /// Gives the complete file its name, unless another file has got that name meanwhile.
    pub(super) fn finish(self) -> Result<(), ExportError> {
        let Self { file, target } = self;
        let file = file
            .into_inner()
            .map_err(|error| ExportError::io("write", &target, error.into_error()))?;
        let placed = file.persist_noclobber(&target).map(|_| ());
        placed.map_err(|error| not_placed(&target, error.error))
    }
}

/// A file that grows now and then, and is closed in between, since there may be many of them.
pub(super) struct GrowingFile {
    path: TempPath,
    target: PathBuf,
}

impl GrowingFile {
    /// `target` must not exist.
    pub(super) fn create(target: &Path) -> Result<Self, ExportError> {
        Ok(Self { path: temporary(target)?.into_temp_path(), target: target.to_owned() })
    }

    pub(super) fn append(
        &self,
        message: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ExportError> {
        let mut write = || -> io::Result<()> {
            let file = OpenOptions::new().append(true).open(&self.path)?;
            let mut file = BufWriter::with_capacity(EXPORT_WRITE_BYTES, file);
            message(&mut file)?;
            file.flush()
        };
        write().map_err(|cause| ExportError::io("write", &self.target, cause))
    }

    /// Gives the complete file its name, unless another file has got that name meanwhile.
    pub(super) fn finish(self) -> Result<(), ExportError> {
        let Self { path, target } = self;
        path.persist_noclobber(&target).map_err(|error| not_placed(&target, error.error))
    }
}

/// An empty file next to where `target` will be, which must not exist.
fn temporary(target: &Path) -> Result<NamedTempFile, ExportError> {
    if fs::symlink_metadata(target).is_ok() {
        return Err(exists(target));
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".ringpost-export-").tempfile_in(parent);
    file.map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => {
            ExportError::NoDirectory { path: target.to_owned(), dir: parent.to_owned() }
        }
        // The name of the temporary file says nothing to the user.
        kind => ExportError::io("create", target, kind.into()),
    })
}

fn not_placed(target: &Path, cause: io::Error) -> ExportError {
    match cause.kind() {
        ErrorKind::AlreadyExists => exists(target),
        _ => ExportError::io("write", target, cause),
    }
}
