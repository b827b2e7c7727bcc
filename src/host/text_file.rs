//! Files of text: those that people name, and those that lie where a program expects them.
//!
//! No file is read without a bound, and what is no regular file is opened only where the user has named it:
//! a FIFO in a directory from a stranger would be waited for in vain.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What Windows editors and spreadsheets put in front of UTF-8, where it has no meaning (Unicode 16, 2.6).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The octets of a text file that the user named, at most `most`, without a byte order mark in front. It may
/// be a pipe, as a shell makes it of `<(…)`.
///
/// # Errors
/// Those of open(2) and read(2); [`FileTooLarge`](io::ErrorKind::FileTooLarge) for a longer file.
pub fn read_text(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded(File::open(path)?, most)
}

/// As [`read_text`], for a file that lies in a directory, where nobody has looked at it: a regular file.
///
/// # Errors
/// As [`read_text`] and [`open_regular`].
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded(open_regular(path)?, most)
}

/// Opens a regular file to be read, and waits for nothing.
///
/// # Errors
/// Those of open(2); [`InvalidInput`](io::ErrorKind::InvalidInput) for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let guards = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(guards).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

fn bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let too_large =
        || io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} octets"));
    if file.metadata()?.len() > most {
        return Err(too_large());
    }
    let mut octets = Vec::new();
    file.take(most + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > most {
        return Err(too_large());
    }
    if octets.starts_with(BYTE_ORDER_MARK) {
        octets.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_byte_order_mark_is_taken_off_in_front_alone_and_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (written, read) in [
            ("\u{feff}ann@x\n", "ann@x\n"),
            ("\u{feff}\u{feff}x", "\u{feff}x"),
            ("x\u{feff}", "x\u{feff}"),
            ("\u{feff}", ""),
            ("", ""),
        ] {
            fs::write(file.path(), written).unwrap();
            assert_eq!(read_text(file.path(), 100).unwrap(), read.as_bytes(), "{written:?}");
        }
        fs::write(file.path(), b"\xef\xbb").unwrap();
        assert_eq!(read_text(file.path(), 100).unwrap(), b"\xef\xbb");
    }

    #[test]
    fn no_file_is_read_beyond_its_bound_and_none_that_is_no_file_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        for read in [read_text, read_regular] {
            assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
            // It has no length, and no end.
            let endless = read(Path::new("/dev/zero"), 1_000).unwrap_err().kind();
            assert!(matches!(endless, io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput));
        }
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        for path in [fifo.as_path(), dir.path()] {
            assert_eq!(read_regular(path, 9).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
