//! Files of text: those that people name, and those that lie where a program expects them.
//!
//! No file is read without a bound, and what is no regular file is opened only where the user has named it:
//! a FIFO in a directory from a stranger would be waited for in vain.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What Windows editors and spreadsheets put in front of UTF-8, where it has no meaning (Unicode 16, 2.6).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Octets that are taken of a device, which may have no end.
const DEVICE_BYTES_MAX: u64 = 1024 * 1024;

/// How long a pipe may stay without a writer, or its writer without a word.
const SILENCE: Duration = Duration::from_secs(10);

const PIECE_BYTES: usize = 64 * 1024;

/// The octets of a text file that the user named, at most `most`, without a byte order mark in front. It may
/// be a pipe, as a shell makes it of `<(…)`, or a device, of which a bounded part is read.
///
/// # Errors
/// Those of open(2) and read(2); [`FileTooLarge`](io::ErrorKind::FileTooLarge) for a longer file;
/// [`TimedOut`](io::ErrorKind::TimedOut) for one to which nobody writes for ten seconds.
pub fn read_text(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded(open_waiting_for_nothing(path)?, most)
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
    let file = open_waiting_for_nothing(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Opens a file to write to that the user named, as `how` says, and waits for nothing: neither for somebody who
/// reads a pipe, nor later for a pipe that is full.
///
/// # Errors
/// Those of open(2); [`NotConnected`](io::ErrorKind::NotConnected) for a pipe that nobody reads.
pub fn open_to_write(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let guards = libc::O_NONBLOCK | libc::O_NOCTTY;
    how.custom_flags(guards).open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => {
            io::Error::new(io::ErrorKind::NotConnected, "it is a pipe, and nobody reads it")
        }
        _ => error,
    })
}

fn open_waiting_for_nothing(path: &Path) -> io::Result<File> {
    let guards = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(guards).open(path)
}

fn bounded(mut file: File, most: u64) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    let is_device = metadata.file_type().is_char_device();
    let most = if is_device { most.min(DEVICE_BYTES_MAX) } else { most };
    let too_large =
        || io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} octets"));
    if metadata.len() > most {
        return Err(too_large());
    }
    let mut octets = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            // A pipe that nobody has opened to write to gives nothing either.
            Ok(0) if octets.is_empty() && metadata.file_type().is_fifo() => {
                if await_writer(&file)? {
                    break;
                }
            }
            Ok(0) => break,
            Ok(count) if octets.len() as u64 + count as u64 > most => return Err(too_large()),
            Ok(count) => octets.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                await_writer(&file)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if octets.starts_with(BYTE_ORDER_MARK) {
        octets.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(octets)
}

/// Waits until a pipe or a terminal can be read. `true`: its writer has come and gone, and left nothing.
fn await_writer(file: &File) -> io::Result<bool> {
    let silence = Timespec { tv_sec: SILENCE.as_secs() as i64, tv_nsec: 0 };
    let mut wanted = [PollFd::new(file, PollFlags::IN)];
    if poll(&mut wanted, Some(&silence))? == 0 {
        let why = format!("nobody writes to it for {} s", SILENCE.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    let found = wanted[0].revents();
    Ok(found.contains(PollFlags::HUP) && !found.contains(PollFlags::IN))
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
        assert_eq!(read_text(&fifo, 9).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_pipe_is_written_to_while_somebody_reads_it_and_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        let open = || open_to_write(&path, OpenOptions::new().write(true).create(true));
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::NotConnected);
        let reader = open_waiting_for_nothing(&path).unwrap();
        let mut writer = open().unwrap();
        io::Write::write_all(&mut writer, b"octets").unwrap();
        drop(writer);
        let mut read = String::new();
        (&reader).read_to_string(&mut read).unwrap();
        assert_eq!(read, "octets");
        let mut writer = open().unwrap();
        let full = io::Write::write_all(&mut writer, &vec![0; 4 << 20]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let file = dir.path().join("file");
        open_to_write(&file, OpenOptions::new().write(true).create(true)).unwrap();
        assert!(open_to_write(dir.path(), OpenOptions::new().write(true)).is_err());
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_beyond_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        for (written, most, read) in [
            (vec![b'x'; 300_000], 300_000, Some(300_000)),
            (vec![b'x'; 300_000], 299_999, None),
            (Vec::new(), 9, Some(0)),
        ] {
            let to = path.clone();
            // Its reader may be gone before all is written.
            let writer = std::thread::spawn(move || drop(fs::write(to, written)));
            let octets = read_text(&path, most);
            writer.join().unwrap();
            assert_eq!(octets.ok().map(|octets| octets.len()), read);
        }
    }
}
