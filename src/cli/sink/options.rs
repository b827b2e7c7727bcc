//! The options of `ringpost-sink` and their help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::auth;
use super::commands::CommandOptions;
use super::faults::FaultOptions;
use super::listen::ListenUrl;
use super::peers::Peers;
use super::relay::RelayOptions;
use super::tls::TlsOptions;
use super::voice::VoiceOptions;
use crate::cli::man::{Page, help_end};
use crate::cli::value::{self, IoArg};
use crate::limits;
use crate::sink::KeepRule;
use crate::smtp::auth::Mechanism;
use crate::smtp::server::{BareNewline, Syntax};
use crate::spool::{Durability, WhenFull};

/// An SMTP and LMTP server that accepts every message, and stores it or only counts it
///
/// It listens on the loopback address unless --listen names another one. With --etrn and --atrn, clients
/// can have it pass stored mail on; it never does so by itself.
#[derive(Debug, Parser)]
#[command(name = "ringpost-sink", version, after_help = help_end(Page::Sink, EXAMPLES))]
pub(super) struct SinkOptions {
    /// An address to listen on: smtp://HOST:PORT, lmtp://HOST:PORT, smtp+unix:/PATH, lmtp+unix:/PATH,
    /// HOST:PORT, or PORT, which is on 127.0.0.1 and ::1; smtps:// and lmtps:// have TLS from the first
    /// octet on. HOST is an IP address or localhost. Port 0 takes a free port; stderr shows the address.
    /// May be given more than once
    #[arg(long, value_name = "URL", default_value = "localhost:1025", env = "RINGPOST_LISTEN")]
    pub(super) listen: Vec<ListenUrl>,

    /// Who may connect to the Unix sockets: the mode of their files in octal digits, such as 660 or 666
    /// [default: what the umask leaves]
    #[arg(long, value_name = "MODE", value_parser = value::file_mode)]
    pub(super) socket_mode: Option<u32>,

    /// Directory of the spool; created if it does not exist
    #[arg(long, value_name = "DIR", default_value = "ringpost-spool", help_heading = "Spool")]
    pub(super) spool: PathBuf,

    /// Count messages and store nothing; cannot be combined with the other options of the spool
    #[arg(long, conflicts_with_all = ["spool", "spool_limit", "when_full", "keep", "segment_size", "durability", "open_limit"],
          help_heading = "Spool")]
    pub(super) discard: bool,

    /// Disk space that the spool may use; each core gets an equal share, at least three segments
    #[arg(long, value_name = "SIZE", default_value = "4GiB", help_heading = "Spool", value_parser = value::size)]
    pub(super) spool_limit: u64,

    /// At the limit: reuse the oldest segment and delete its mail, or refuse mail with 452
    #[arg(long, value_name = "WHAT", default_value = "recycle", help_heading = "Spool")]
    pub(super) when_full: WhenFullArg,

    /// Room in the spool for messages that are not complete, of all cores together; a message that would need
    /// more gets 452 [default: a quarter of --spool-limit]
    #[arg(long, value_name = "SIZE", help_heading = "Spool", value_parser = value::size)]
    pub(super) open_limit: Option<u64>,

    /// How much of a message to store, by the domain of its recipients (* is every other domain): all,
    /// headers (the header block), or none (it is only counted). If the recipients have different
    /// rules, the rule that stores most counts. May be given more than once
    #[arg(long, value_name = "DOMAIN=all|headers|none", help_heading = "Spool")]
    pub(super) keep: Vec<KeepRule>,

    /// Size of one segment file. The default is halved while fewer than four fit for each core
    /// [default: 32MiB, or less]
    #[arg(long, value_name = "SIZE", help_heading = "Spool", value_parser = value::size)]
    pub(super) segment_size: Option<u64>,

    /// What a 250 promises. process: the message survives the death of the sink. sync: it survives a
    /// power cut too, because an fdatasync comes before the 250
    #[arg(long, value_name = "WHAT", default_value = "process", help_heading = "Spool")]
    pub(super) durability: DurabilityArg,

    /// Cores to use: how many, or a list such as 0,2-3 [default: all that this process may use]
    #[arg(long, value_name = "N|LIST", help_heading = "Machine")]
    pub(super) cores: Option<String>,

    /// Kernel interface. auto uses io_uring; if that is not allowed, it uses epoll and prints why
    #[arg(
        long,
        value_name = "ENGINE",
        default_value = "auto",
        env = "RINGPOST_IO",
        help_heading = "Machine"
    )]
    pub(super) io: IoArg,

    /// Name in the greeting and in the reply to EHLO [default: this host's name]
    #[arg(long, value_name = "NAME", help_heading = "Protocol", value_parser = value::host)]
    pub(super) hostname: Option<String>,

    /// Largest message; announced with SIZE [default: 64MiB, or less in a small spool]
    #[arg(long, value_name = "SIZE", help_heading = "Protocol", value_parser = message_size)]
    pub(super) max_size: Option<u64>,

    /// Recipients of one message; the next one gets 452
    #[arg(long, value_name = "N", default_value_t = limits::RECIPIENTS_DEFAULT, help_heading = "Protocol",
          value_parser = value::at_least_one)]
    pub(super) max_recipients: usize,

    /// Memory for the senders and recipients of messages that are being sent, over all connections; beyond it
    /// MAIL and RCPT get 452
    #[arg(long, value_name = "SIZE", default_value = "256MiB", help_heading = "Protocol", value_parser = value::size)]
    pub(super) envelope_memory: u64,

    /// Number of open sessions; one more gets 421 [default: what the descriptor limit allows]
    #[arg(long, value_name = "N", help_heading = "Protocol", value_parser = value::at_least_one)]
    pub(super) max_connections: Option<usize>,

    /// How to read commands. lenient: take what real mail servers take, and name each deviation with
    /// the message (`ringpost spool ls --json`) and in the report. strict: refuse what RFC 5321 does
    /// not allow
    #[arg(long, value_name = "HOW", default_value = "lenient", help_heading = "Protocol")]
    pub(super) syntax: SyntaxArg,

    /// What happens to a message with a CR or LF that is not part of a CRLF. reject: it gets 550 at its
    /// end. keep: the octets are stored as they are, with a flag [default: keep; with --syntax strict:
    /// reject]
    #[arg(long, value_name = "WHAT", help_heading = "Protocol")]
    bare_newline: Option<BareNewlineArg>,

    #[command(flatten)]
    pub(super) tls: TlsOptions,

    #[command(flatten)]
    pub(super) peers: Peers,

    /// Who may log in: none (AUTH is not offered), any (every name with every password), or the users
    /// of a FILE with one user:password on each line
    #[arg(long, value_name = "none|any|FILE", default_value = "none", help_heading = "Protocol")]
    pub(super) auth: String,

    /// Mechanisms to offer, from SCRAM-SHA-256 (with a FILE), CRAM-MD5, PLAIN, LOGIN, OAUTHBEARER and
    /// XOAUTH2 [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = auth::mechanism, help_heading = "Protocol")]
    pub(super) auth_mechanisms: Vec<Mechanism>,

    /// Refuse MAIL with 530 before AUTH has succeeded
    #[arg(long, help_heading = "Protocol")]
    pub(super) auth_required: bool,

    #[command(flatten)]
    pub(super) commands: CommandOptions,

    #[command(flatten)]
    pub(super) relay: RelayOptions,

    #[command(flatten)]
    pub(super) faults: FaultOptions,

    #[command(flatten)]
    pub(super) voice: VoiceOptions,

    /// End with exit code 0 after N messages and their replies; N may be written as 500, 20k or 1M
    #[arg(long, value_name = "N", help_heading = "End", value_parser = value::count)]
    pub(super) max_messages: Option<u64>,

    /// End with exit code 0 after N sessions have ended
    #[arg(long, value_name = "N", help_heading = "End", value_parser = value::count)]
    pub(super) max_sessions: Option<u64>,

    /// Time that open messages have after SIGTERM, SIGINT or SIGQUIT; a second signal ends the sink at once
    #[arg(long, value_name = "DURATION", default_value = "10s", help_heading = "End", value_parser = value::span)]
    pub(super) drain_timeout: Duration,

    /// Print one JSON object on stdout at the end instead of the text report
    #[arg(long, help_heading = "End")]
    pub(super) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringpost-sink                                    port 1025, ./ringpost-spool
  ringpost-sink --discard --cores 1                store nothing, use one core
  ringpost-sink --listen lmtp+unix:/tmp/lmtp       LMTP on a Unix socket
  ringpost-sink --auth any --auth-required         no mail before a login
  ringpost-sink --tls-self-signed                  STARTTLS with a certificate made now
  ringpost-sink --etrn example.org=127.0.0.1:2525  send its mail on after ETRN
  ringpost-sink --max-messages 1000 --json         end after 1000 messages
  ringpost spool ls ringpost-spool                 list what arrived

Signals: SIGUSR1 prints the live board on stderr, as one JSON object. SIGHUP
reads the accounts, the directory and the certificates again. SIGTERM, SIGINT or SIGQUIT ends the
sink within --drain-timeout, a second one ends it at once.";

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum WhenFullArg {
    Recycle,
    Refuse,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DurabilityArg {
    Process,
    Sync,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SyntaxArg {
    Lenient,
    Strict,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BareNewlineArg {
    Reject,
    Keep,
}

impl From<WhenFullArg> for WhenFull {
    fn from(choice: WhenFullArg) -> Self {
        match choice {
            WhenFullArg::Recycle => Self::Recycle,
            WhenFullArg::Refuse => Self::Refuse,
        }
    }
}

impl From<DurabilityArg> for Durability {
    fn from(choice: DurabilityArg) -> Self {
        match choice {
            DurabilityArg::Process => Self::Process,
            DurabilityArg::Sync => Self::Sync,
        }
    }
}

impl SinkOptions {
    /// What becomes of bare newlines follows the syntax, unless it was said.
    pub(super) fn bare_newline(&self) -> BareNewline {
        match (self.bare_newline, self.syntax) {
            (Some(choice), _) => choice.into(),
            (None, SyntaxArg::Lenient) => BareNewline::Keep,
            (None, SyntaxArg::Strict) => BareNewline::Reject,
        }
    }
}

impl From<SyntaxArg> for Syntax {
    fn from(choice: SyntaxArg) -> Self {
        match choice {
            SyntaxArg::Lenient => Self::Lenient,
            SyntaxArg::Strict => Self::Strict,
        }
    }
}

impl From<BareNewlineArg> for BareNewline {
    fn from(choice: BareNewlineArg) -> Self {
        match choice {
            BareNewlineArg::Reject => Self::Reject,
            BareNewlineArg::Keep => Self::Keep,
        }
    }
}

/// SIZE 0 would announce that there is no limit (RFC 1870 §3).
fn message_size(text: &str) -> Result<u64, String> {
    match value::size(text).map_err(|error| error.to_string())? {
        0 => Err("a sink that takes no octet takes no mail; give 1 or more".to_owned()),
        octets => Ok(octets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Options;

    #[test]
    fn bare_newlines_follow_the_syntax_unless_they_are_named() {
        for (line, expected) in [
            ("", BareNewline::Keep),
            ("--syntax lenient", BareNewline::Keep),
            ("--syntax strict", BareNewline::Reject),
            ("--bare-newline reject", BareNewline::Reject),
            ("--syntax strict --bare-newline keep", BareNewline::Keep),
        ] {
            let words = std::iter::once("ringpost-sink").chain(line.split_whitespace());
            assert_eq!(SinkOptions::parse_from(words).bare_newline(), expected, "{line}");
        }
    }

    /// Sizes and times are written in the help as words, so that they cannot be taken from the constants.
    #[test]
    fn defaults_are_those_of_the_library() {
        let options = SinkOptions::parse_from(["ringpost-sink"]);
        let spool = Options::default();
        assert_eq!(options.spool_limit, spool.limit_bytes);
        assert_eq!(options.segment_size, None);
        assert_eq!(Options::segment_bytes_for(options.spool_limit, 1), spool.segment_bytes);
        assert_eq!(options.max_size, None);
        assert_eq!(options.max_recipients, limits::RECIPIENTS_DEFAULT);
        assert_eq!(options.drain_timeout.as_secs(), limits::DRAIN_S_DEFAULT);
    }
}
