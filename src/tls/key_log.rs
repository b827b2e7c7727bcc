//! The secrets of connections in a file, by which Wireshark can read them (`SSLKEYLOGFILE`, RFC 9850).

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use rustls::KeyLog;

use super::certificate::hex;

/// A file that gets a line for each secret. All cores write to it: it is for looking at single connections.
#[derive(Debug)]
pub struct SecretsFile(Mutex<File>);

impl SecretsFile {
    /// Opens the file to append to it; a new one is for its owner alone.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self(Mutex::new(file)))
    }
}

impl KeyLog for SecretsFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let Ok(mut file) = self.0.lock() else { return };
        // A disk that is full must not end the connection.
        let _ = file.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_a_line_and_what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        for secret in [&[0xab, 0x01][..], &[0xff]] {
            SecretsFile::open(&path).unwrap().log("CLIENT_RANDOM", &[0x0f], secret);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "CLIENT_RANDOM 0f ab01\nCLIENT_RANDOM 0f ff\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(SecretsFile::open(dir.path()).is_err());
    }
}
