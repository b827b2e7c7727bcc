//! How the caller of a server hears what the client says.

use super::hearing::ClientWant;
use super::machine::Server;
use super::state::ServerPhase;
use crate::smtp::deviation::Deviations;

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

    /// At the end of a session, before [`Server::close_for`]: looks whether the client waits for an answer because
    /// it ends its lines with LF alone, and no command or message has come to its end.
    #[cold]
    pub fn note_unfinished(&mut self) {
        let bare_lf = match &self.phase {
            ServerPhase::Command => self.lines.unfinished().contains(&b'\n'),
            ServerPhase::Data(data) => data.has_bare_lf(),
            _ => false,
        };
        if !bare_lf {
            return;
        }
        self.want = Some(ClientWant::LineEnd);
        self.session_deviations |= Deviations::BARE_LF;
        if let Some(hearing) = &mut self.hearing {
            // Line by line: one of them may hold a secret.
            let unfinished = self.lines.unfinished();
            for line in unfinished.split_inclusive(|&octet| octet == b'\n') {
                hearing.line(line.strip_suffix(b"\n").unwrap_or(line), false);
            }
            hearing.lines.push("(lines that end with LF alone, and no CRLF)".to_owned());
        }
    }

    /// What the client asked for since the last call of this, and is not there.
    pub fn take_want(&mut self) -> Option<ClientWant> {
        self.want.take()
    }
}
