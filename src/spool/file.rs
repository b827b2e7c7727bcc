//! The one door to the files inside a spool.
//!
//! A spool may come from anywhere: unpacked from an archive, or written to by somebody else. So nothing
//! inside it is opened but regular files: no symbolic link is followed, and no FIFO or device is waited
//! for. No file that is made or renamed takes the place of another one.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Access {
    Read,
    Write,
    ReadWrite,
    Append,
}

/// Why a name inside a spool was not opened: what it leads to is no regular file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it is {0}, not a regular file")]
pub(super) struct NotRegular(&'static str);

impl NotRegular {
    /// `None` for a regular file.
    pub(super) fn of(kind: FileType) -> Option<Self> {
        let name = match kind {
            _ if kind.is_file() => return None,
            _ if kind.is_symlink() => "a symbolic link",
            _ if kind.is_dir() => "a directory",
            _ if kind.is_fifo() => "a FIFO",
            _ if kind.is_socket() => "a socket",
            _ => "a device",
        };
        Some(Self(name))
    }
}

/// Opens a file of a spool that is there. Never waits, and never follows a link.
///
/// # Errors
/// That of open(2). Where the name leads to something else than a regular file, the error holds a
/// [`NotRegular`]; see [`is_not_regular`].
pub(super) fn open(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    match access {
        Access::Read => options.read(true),
        Access::Write => options.write(true),
        Access::ReadWrite => options.read(true).write(true),
        Access::Append => options.append(true),
    };
    let guards = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = options.custom_flags(guards.bits() as i32).open(path);
    // What open(2) says of links, directories and sockets differs with what it was asked for.
    let file = opened.map_err(|error| match fs::symlink_metadata(path) {
        Ok(there) => NotRegular::of(there.file_type()).map_or(error, io::Error::other),
        Err(_) => error,
    })?;
    match NotRegular::of(file.metadata()?.file_type()) {
        None => Ok(file),
        Some(why) => Err(io::Error::other(why)),
    }
}

/// Makes a file that only its owner may read, and opens it to be read and written.
///
/// # Errors
/// That of open(2): [`AlreadyExists`](io::ErrorKind::AlreadyExists) whatever has the name, a link to
/// nowhere too.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Whether an error of [`open`] says that there is something, and that it is no regular file.
pub(super) fn is_not_regular(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<NotRegular>)
}

/// What has this name, without a look at where a link leads.
pub(super) fn metadata(path: &Path) -> io::Result<Metadata> {
    fs::symlink_metadata(path)
}

/// Whether anything has this name, a link to nowhere too.
pub(super) fn is_there(path: &Path) -> bool {
    metadata(path).is_ok()
}

/// Gives a file another name, which nothing may have.
///
/// # Errors
/// That of renameat2(2): [`AlreadyExists`](io::ErrorKind::AlreadyExists) where the name is taken; then
/// nothing has changed.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system, or a kernel before 3.15, does not know the flag. A crash between the two steps
        // leaves both names, of which the opener of a spool takes one away.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => renamed.map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn nothing_but_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), b"octets").unwrap();
        fs::create_dir(at("directory")).unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        rustix::fs::mknodat(CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for access in [Access::Read, Access::Write, Access::ReadWrite, Access::Append] {
            open(&at("file"), access).unwrap();
            for (name, what) in [
                ("directory", "a directory"),
                ("link", "a symbolic link"),
                ("dangling", "a symbolic link"),
                ("loop", "a symbolic link"),
                ("fifo", "a FIFO"),
                ("socket", "a socket"),
            ] {
                let error = open(&at(name), access).unwrap_err();
                assert!(is_not_regular(&error), "{name}, {access:?}: {error}");
                assert!(error.to_string().contains(what), "{name}, {access:?}: {error}");
            }
            let error = open(&at("nothing"), access).unwrap_err();
            assert!(error.kind() == io::ErrorKind::NotFound && !is_not_regular(&error));
        }
        let error = open(Path::new("/dev/null"), Access::Read).unwrap_err();
        assert!(error.to_string().contains("a device"), "{error}");
        assert_eq!(fs::read(at("file")).unwrap(), b"octets");
    }

    #[test]
    fn no_name_is_taken_from_what_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("new"), b"new").unwrap();
        fs::write(at("old"), b"old").unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        for name in ["old", "dangling"] {
            let taken = io::ErrorKind::AlreadyExists;
            assert_eq!(rename(&at("new"), &at(name)).unwrap_err().kind(), taken, "{name}");
            assert_eq!(create(&at(name)).unwrap_err().kind(), taken, "{name}");
        }
        assert!(fs::read(at("new")).unwrap() == b"new" && fs::read(at("old")).unwrap() == b"old");
        rename(&at("new"), &at("free")).unwrap();
        assert!(fs::read(at("free")).unwrap() == b"new" && !is_there(&at("new")));
        assert!(!is_there(&at("nowhere")));
    }
}
