//! How the caller of a server hears what the client says.

use super::hearing::ClientWant;
use super::machine::Server;

impl Server {
    /// Keeps what the client says from now on, for [`take_heard`](Server::take_heard).
    pub fn listen_in(&mut self) {
        self.hearing = Some(Box::default());
    }

    /// The command lines since the last call of this: secrets are masked, and the octets may be any
    /// other. Empty unless the server [listens in](Server::listen_in).
    pub fn take_heard(&mut self) -> Vec<String> {
        self.hearing.as_mut().map(|hearing| std::mem::take(&mut hearing.lines)).unwrap_or_default()
    }

    /// Puts a note of the caller among the lines that were heard.
    #[cold]
    pub fn note_heard(&mut self, note: std::fmt::Arguments<'_>) {
        if let Some(hearing) = &mut self.hearing {
            hearing.lines.push(note.to_string());
        }
    }

    #[cold]
    pub(super) fn hear(&mut self, line: &[u8], in_auth: bool) {
        if let Some(hearing) = &mut self.hearing {
            hearing.line(line, in_auth);
        }
    }

    /// What the client asked for since the last call of this, and is not there.
    pub fn take_want(&mut self) -> Option<ClientWant> {
        self.want.take()
    }
}
