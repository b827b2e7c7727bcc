//! The secrets of connections in a file, by which Wireshark can read them (`SSLKEYLOGFILE`, RFC 9850).

use std::fs::File;
use std::io::Write as _;
use std::sync::Mutex;

use rustls::KeyLog;

use super::certificate::hex;

/// A file that gets a line for each secret. All cores write to it: it is for looking at single connections.
#[derive(Debug)]
pub struct SecretsFile(Mutex<File>);

impl SecretsFile {
    /// Appends to `file`. A write to it must not wait: connections would.
    pub fn new(file: File) -> Self {
        Self(Mutex::new(file))
    }
}

impl KeyLog for SecretsFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let Ok(mut file) = self.0.lock() else { return };
        // A disk or a pipe that is full must not end the connection.
        let _ = file.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_secret_is_a_line_and_what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        for secret in [&[0xab, 0x01][..], &[0xff]] {
            let file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
            SecretsFile::new(file).log("CLIENT_RANDOM", &[0x0f], secret);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "CLIENT_RANDOM 0f ab01\nCLIENT_RANDOM 0f ff\n");
    }
}
