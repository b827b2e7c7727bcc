//! What is sent to whom.

use std::io;
use std::path::PathBuf;

use clap::Args;

use crate::blast::plan::Bodies;
use crate::cli::value;

#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct ContentArgs {
    /// Octets of a message, header included: SIZE or MIN..MAX
    #[arg(long, value_name = "SIZE", value_parser = value::size_range, default_value = "1KiB")]
    size: (u64, u64),
    /// Send this message, header and body; line ends become CRLF
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    body: Option<PathBuf>,
    /// Recipients of each message; with more than one, --to gets a number behind its local part
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) recipients: usize,
    /// Envelope sender; empty or <> for the null reverse-path
    #[arg(long, value_name = "ADDR", default_value = "blast@client.example")]
    from: String,
    /// Envelope recipient
    #[arg(long, value_name = "ADDR", default_value = "sink@server.example")]
    pub(super) to: String,
    /// Seed of the message texts and of which message is sent when
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(super) seed: u64,
}

/// A file of the message's content that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the message {}: {error}", .path.display())]
pub(super) struct BodyError {
    path: PathBuf,
    error: io::Error,
}

impl ContentArgs {
    pub(super) fn bodies(&self) -> Result<Bodies, BodyError> {
        match &self.body {
            None => Ok(Bodies::Sizes(self.size.0, self.size.1)),
            Some(path) => match std::fs::read(path) {
                Ok(octets) => Ok(Bodies::Given(octets)),
                Err(error) => Err(BodyError { path: path.clone(), error }),
            },
        }
    }

    /// Empty for the null reverse-path.
    pub(super) fn from(&self) -> String {
        if self.from == "<>" { String::new() } else { self.from.clone() }
    }
}
