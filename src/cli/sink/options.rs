//! `ringpost-sink`: options, checked and handed down as a plan.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::sync::watch;

use super::auth;
use super::commands::CommandOptions;
use super::listen::ListenUrl;
use super::peers::Peers;
use super::relay::RelayOptions;
use crate::cli::exit::{self, Exit, ExitError};
use crate::cli::man::{Page, help_end};
use crate::cli::signals::{self, StopSignal};
use crate::cli::value::{self, IoArg};
use crate::engine::{self, EngineKind};
use crate::host;
use crate::limits;
use crate::notice::notice;
use crate::report::human;
use crate::sink::{self, Failed, KeepRule, Plan, Port, Sink, Stop, Store};
use crate::smtp::auth::Mechanism;
use crate::smtp::server::{BareNewline, Policy};
use crate::spool::{self, Durability, WhenFull};

/// An SMTP and LMTP sink: takes every message into a memory-mapped spool, or counts and discards it.
///
/// It relays nothing, resolves no name and listens on loopback unless told otherwise.
#[derive(Debug, Parser)]
#[command(name = "ringpost-sink", version, after_help = help_end(Page::Sink, EXAMPLES))]
struct Options {
    /// Where to listen, once or more: smtp://HOST:PORT, lmtp://HOST:PORT, smtp+unix:/PATH,
    /// lmtp+unix:/PATH or HOST:PORT. Port 0 takes a free one; the address is printed on stderr
    #[arg(
        long,
        value_name = "URL",
        default_value = "smtp://127.0.0.1:1025",
        env = "RINGPOST_LISTEN"
    )]
    listen: Vec<ListenUrl>,

    /// Directory of the spool; made when it does not exist
    #[arg(long, value_name = "DIR", default_value = "ringpost-spool", help_heading = "Spool")]
    spool: PathBuf,

    /// Count messages and forget them; no other option of the spool goes with it
    #[arg(long, conflicts_with_all = ["spool", "spool_limit", "when_full", "keep", "segment_size", "durability"],
          help_heading = "Spool")]
    discard: bool,

    /// Disk that the spool may use, over all cores
    #[arg(long, value_name = "SIZE", default_value = "4GiB", help_heading = "Spool", value_parser = value::size)]
    spool_limit: u64,

    /// At the limit: reuse the oldest segment, or refuse mail with 452
    #[arg(long, value_name = "WHAT", default_value = "recycle", help_heading = "Spool")]
    when_full: Full,

    /// How much to keep of mail to a domain (* for all others): all, headers (the header block), or
    /// none (counted, with "queued as discarded"). Of several recipients the most generous counts
    #[arg(long, value_name = "DOMAIN=all|headers|none", help_heading = "Spool")]
    keep: Vec<KeepRule>,

    /// Size of one segment file
    #[arg(long, value_name = "SIZE", default_value = "32MiB", help_heading = "Spool", value_parser = value::size)]
    segment_size: u64,

    /// What a 250 promises. process: the message survives the death of the sink. sync: and that of
    /// the machine (group fdatasync before each 250)
    #[arg(long, value_name = "WHAT", default_value = "process", help_heading = "Spool")]
    durability: Promise,

    /// Cores to use: how many, or a list such as 0,2-3 [default: all that this process may use]
    #[arg(long, value_name = "N|LIST", help_heading = "Machine")]
    cores: Option<String>,

    /// Engine. auto takes io_uring, or epoll with a line that says why
    #[arg(
        long,
        value_name = "ENGINE",
        default_value = "auto",
        env = "RINGPOST_IO",
        help_heading = "Machine"
    )]
    io: IoArg,

    /// Name in the greeting and the answer to EHLO [default: this host's name]
    #[arg(long, value_name = "NAME", help_heading = "Protocol", value_parser = value::host)]
    hostname: Option<String>,

    /// Largest message; announced with SIZE
    #[arg(long, value_name = "SIZE", default_value = "64MiB", help_heading = "Protocol", value_parser = message_size)]
    max_size: u64,

    /// Recipients of one message; the next one gets 452
    #[arg(long, value_name = "N", default_value_t = limits::RECIPIENTS_DEFAULT, help_heading = "Protocol",
          value_parser = value::at_least_one)]
    max_recipients: usize,

    /// Sessions open at once; more get 421 [default: what the descriptor limit allows]
    #[arg(long, value_name = "N", help_heading = "Protocol", value_parser = value::at_least_one)]
    max_connections: Option<usize>,

    /// Messages with a CR or LF that is not part of a CRLF: refuse with 550 at their end, or keep
    /// the octets as they are and flag the record
    #[arg(long, value_name = "WHAT", default_value = "reject", help_heading = "Protocol")]
    bare_newline: Bare,

    #[command(flatten)]
    peers: Peers,

    /// Who may log in: none (AUTH is not offered), any (everybody, with any password), or a FILE of
    /// lines user:password
    #[arg(long, value_name = "none|any|FILE", default_value = "none", help_heading = "Protocol")]
    auth: String,

    /// Mechanisms to offer, of SCRAM-SHA-256 (with a FILE), CRAM-MD5, PLAIN, LOGIN and XOAUTH2
    /// [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = auth::mechanism, help_heading = "Protocol")]
    auth_mechanisms: Vec<Mechanism>,

    /// Refuse MAIL with 530 before AUTH has succeeded
    #[arg(long, help_heading = "Protocol")]
    auth_required: bool,

    #[command(flatten)]
    commands: CommandOptions,

    #[command(flatten)]
    relay: RelayOptions,

    /// Stop, with exit code 0, after N messages, such as 500, 20k or 1M, the last of them answered
    #[arg(long, value_name = "N", help_heading = "End", value_parser = value::count)]
    max_messages: Option<u64>,

    /// Stop, with exit code 0, after N sessions have ended
    #[arg(long, value_name = "N", help_heading = "End", value_parser = value::count)]
    max_sessions: Option<u64>,

    /// Time that open messages get after SIGTERM or SIGINT; a second signal ends at once
    #[arg(long, value_name = "DURATION", default_value = "10s", help_heading = "End", value_parser = value::span)]
    drain_timeout: Duration,

    /// Print one JSON object on stdout at the end instead of the text report
    #[arg(long, help_heading = "End")]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringpost-sink                                   take mail on 127.0.0.1:1025 into ./ringpost-spool
  ringpost-sink --discard --cores 1               a blackhole on one core
  ringpost-sink --listen lmtp+unix:/tmp/lmtp      LMTP on a Unix socket
  ringpost-sink --auth any --auth-required        no mail before a login, whatever its password
  ringpost-sink --etrn example.org=127.0.0.1:2525 hand its mail on when ETRN asks for it
  ringpost-sink --max-messages 1000 --json        stop after 1000 messages, report in JSON
  ringpost spool ls ringpost-spool                what arrived";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Full {
    Recycle,
    Refuse,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Promise {
    Process,
    Sync,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Bare {
    Reject,
    Keep,
}

/// The whole program.
pub fn main() -> ExitCode {
    exit::run("ringpost-sink", Exit::Usage as u8, |options: Options| serve(&options))
}

fn serve(options: &Options) -> Result<ExitCode, ExitError> {
    let (engine, refusal) = engine::choose(options.io.into())
        .map_err(|refusal| ExitError::new(Exit::Unavailable, refusal))?;
    if let Some(refusal) = refusal {
        notice!("ringpost-sink: {refusal}");
    }
    let plan = plan(options, engine)?;
    let banner = banner(&plan, options);
    let urls: Vec<String> = plan.ports.iter().map(|port| port.url.clone()).collect();
    let (stop, _) = watch::channel(Stop::No);
    let (sink, recovery) = Sink::open(plan).map_err(failure)?;
    if let Some(recovery) = &recovery {
        notice!("ringpost-sink: {recovery}");
    }
    watch_signals(stop.clone())?;
    let mut summary = sink
        .run(stop, || {
            notice!("ringpost-sink: {banner}");
            for url in urls {
                notice!("listening {url}");
            }
        })
        .map_err(failure)?;
    summary.recovery = recovery;
    let report = if options.json {
        serde_json::to_string(&summary).expect("a summary holds numbers and names") + "\n"
    } else {
        summary.to_string()
    };
    exit::tell(report)
        .map_err(|error| ExitError::new(Exit::Io, format!("cannot write the report: {error}")))?;
    // The disk failed: what was answered with 250 is as safe as it was said to be, and the run is not.
    let sound = summary.failed_segments() == Failed::default();
    Ok(if sound { ExitCode::SUCCESS } else { Exit::Io.into() })
}

fn plan(options: &Options, engine: EngineKind) -> Result<Plan, ExitError> {
    let cpus = match &options.cores {
        Some(text) => host::cpus(text).map_err(|why| ExitError::new(Exit::Usage, why))?,
        None => host::allowed().map_err(|why| ExitError::new(Exit::Os, why))?,
    };
    let mut commands = options.commands.check(&options.listen)?;
    options.relay.switch_on(&mut commands);
    let (auth, warning) =
        auth::policy(&options.auth, &options.auth_mechanisms, options.auth_required)
            .map_err(|why| ExitError::new(Exit::Usage, why))?;
    if let Some(warning) = warning {
        notice!("ringpost-sink: {warning}");
    }
    let addresses: Vec<_> = options.listen.iter().map(|url| url.address.clone()).collect();
    let listeners = engine::bind(&addresses, cpus.len())
        .map_err(|error| ExitError::new(Exit::Unavailable, error))?;
    let hostname = options.hostname.clone().unwrap_or_else(value::hostname);
    let ports: Vec<_> = options
        .listen
        .iter()
        .zip(&listeners[0])
        .map(|(url, bound)| Port {
            url: url.with_address(bound.address()),
            policy: Policy {
                hostname: hostname.clone().into(),
                protocol: url.protocol,
                message_bytes_max: options.max_size,
                recipients_max: options.max_recipients,
                bare_newline: match options.bare_newline {
                    Bare::Reject => BareNewline::Reject,
                    Bare::Keep => BareNewline::Keep,
                },
                extensions: options.commands.extensions(),
                commands: commands.clone(),
                auth: auth.clone(),
            },
        })
        .collect();
    if options.auth_required && ports.iter().any(|port| port.policy.mechanisms().is_empty()) {
        let why = "--auth-required lets no mail in without AUTH, which --no-ext AUTH and --esmtp off \
                   take away";
        return Err(ExitError::new(Exit::Usage, why));
    }
    let policies = || ports.iter().map(|port| &port.policy);
    let relay =
        options.relay.check(&hostname, options.peers.rules().timeout, options.discard, policies)?;
    Ok(Plan {
        engine,
        store: store(options, cpus.len())?,
        keep: options.keep.iter().cloned().collect(),
        cpus,
        listeners,
        ports,
        rules: options.peers.rules(),
        relay,
        drain: options.drain_timeout,
        connections_max: sink::sessions_allowed(options.max_connections),
        messages_max: options.max_messages,
        sessions_max: options.max_sessions,
    })
}

fn store(options: &Options, cores: usize) -> Result<Store, ExitError> {
    if options.discard {
        return Ok(Store::Discard);
    }
    let spool = spool::Options {
        segment_bytes: options.segment_size,
        limit_bytes: options.spool_limit,
        when_full: match options.when_full {
            Full::Recycle => WhenFull::Recycle,
            Full::Refuse => WhenFull::Refuse,
        },
        durability: match options.durability {
            Promise::Process => Durability::Process,
            Promise::Sync => Durability::Sync,
        },
        cores,
    };
    spool.check().map_err(|error| ExitError::new(Exit::Usage, error))?;
    // The format can work with less, but not hold every envelope that the limits let in.
    if spool.segment_bytes < limits::SEGMENT_BYTES_MIN {
        let why = format_args!(
            "--segment-size {} is too small for the largest envelope; give it at least {}MiB",
            spool.segment_bytes,
            limits::SEGMENT_BYTES_MIN >> 20
        );
        return Err(ExitError::new(Exit::Usage, why));
    }
    Ok(Store::Spool { dir: options.spool.clone(), options: spool })
}

fn banner(plan: &Plan, options: &Options) -> String {
    let store = match &plan.store {
        Store::Discard => "messages are discarded".to_owned(),
        Store::Spool { dir, options: spool } => format!(
            "spool {} (at most {}, then {}), durability {}: {}",
            dir.display(),
            human::bytes(options.spool_limit as f64),
            match spool.when_full {
                WhenFull::Recycle => "the oldest segment is reused",
                WhenFull::Refuse => "mail is refused",
            },
            sink::durability_name(Some(spool.durability)),
            match spool.durability {
                Durability::Process => "a 250 survives this process, not a power cut",
                Durability::Sync => "a 250 survives a power cut",
            },
        ),
    };
    format!("engine {}, {} cores, {store}", plan.engine.name(), plan.cpus.len())
}

/// Turns the first signal into a drain and the second into an end at once.
fn watch_signals(stop: watch::Sender<Stop>) -> Result<(), ExitError> {
    signals::watch(move |asked| {
        let next = if matches!(asked, StopSignal::First { .. }) { Stop::Drain } else { Stop::Now };
        stop.send_if_modified(|now| now.grow(next));
    })
    .map_err(|error| ExitError::new(Exit::Os, format_args!("cannot watch for signals: {error}")))
}

/// SIZE 0 would announce that there is no limit (RFC 1870 §3).
fn message_size(text: &str) -> Result<u64, String> {
    match value::size(text).map_err(|error| error.to_string())? {
        0 => Err("a sink that takes no octet takes no mail; give 1 or more".to_owned()),
        octets => Ok(octets),
    }
}

fn failure(error: sink::SinkError) -> ExitError {
    let exit = match &error {
        sink::SinkError::Spool(error) => match exit::spool(error) {
            // What a reader does not find, a sink could not make.
            Exit::NoInput => Exit::CantCreate,
            exit => exit,
        },
        sink::SinkError::Core { .. } => Exit::Os,
        sink::SinkError::Panicked { .. } => Exit::Software,
    };
    ExitError::new(exit, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes and times are written in the help as words, so that they cannot be taken from the constants.
    #[test]
    fn defaults_are_those_of_the_library() {
        let options = Options::parse_from(["ringpost-sink"]);
        let spool = spool::Options::default();
        assert_eq!(options.spool_limit, spool.limit_bytes);
        assert_eq!(options.segment_size, spool.segment_bytes);
        assert_eq!(options.max_size, limits::MESSAGE_BYTES_DEFAULT);
        assert_eq!(options.max_recipients, limits::RECIPIENTS_DEFAULT);
        assert_eq!(options.drain_timeout.as_secs(), limits::DRAIN_S_DEFAULT);
    }
}
