//! The secrets of connections in a file, by which Wireshark can read them (`SSLKEYLOGFILE`, RFC 9850).

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::KeyLog;

use super::certificate::hex;

/// A file that gets a line for each secret. All cores write to it: it is for looking at single connections.
#[derive(Debug)]
pub struct SecretsFile {
    file: Mutex<File>,
    /// Told of the first secret that could not be written.
    tell_lost: fn(&io::Error),
    has_lost: AtomicBool,
}

impl SecretsFile {
    /// Appends to `file`. A write to it must not wait: connections would. `tell_lost` is called once, when a
    /// secret could not be written.
    pub fn new(file: File, tell_lost: fn(&io::Error)) -> Self {
        Self { file: Mutex::new(file), tell_lost, has_lost: AtomicBool::new(false) }
    }
}

impl KeyLog for SecretsFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let Ok(mut file) = self.file.lock() else { return };
        // A disk or a pipe that is full must not end the connection.
        let written = file.write_all(line.as_bytes());
        drop(file);
        if let Err(error) = written
            && !self.has_lost.swap(true, Ordering::Relaxed)
        {
            (self.tell_lost)(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn a_secret_is_a_line_and_what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        for secret in [&[0xab, 0x01][..], &[0xff]] {
            let file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
            let tell_lost = |error: &io::Error| panic!("{error}");
            SecretsFile::new(file, tell_lost).log("CLIENT_RANDOM", &[0x0f], secret);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "CLIENT_RANDOM 0f ab01\nCLIENT_RANDOM 0f ff\n");
    }

    #[test]
    fn secrets_that_are_lost_are_told_once() {
        static TOLD: AtomicU32 = AtomicU32::new(0);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let secrets = SecretsFile::new(full, |error| {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            TOLD.fetch_add(1, Ordering::Relaxed);
        });
        (0..3).for_each(|_| secrets.log("CLIENT_RANDOM", &[0x0f], &[1]));
        assert_eq!(TOLD.load(Ordering::Relaxed), 1);
    }
}
