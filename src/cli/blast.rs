//! `ringpost-blast`: the command line of the load generator.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, ValueEnum};

use super::auth;
use super::exit::{self, Exit, Failure};
use super::signals::{self, Asked};
use super::value::{self, IoArg};
use crate::blast::plan::{Bodies, Plan, PlanError, Stop};
use crate::blast::target::{Target, TargetError};
use crate::blast::{self, BlastError, Seen};
use crate::engine::{self, CoresError, Refusal};
use crate::measure::Verdict;
use crate::report::progress::Progress;
use crate::report::text::{self, Colour};
use crate::report::{LoadError, Loaded, html};
use crate::smtp::auth::Login;
use crate::smtp::client::Pipelining;
use crate::smtp::params::On;

/// Exit status for a command line that cannot be followed; clap uses the same.
const USAGE: u8 = 2;

const CONNECTIONS_DEFAULT: usize = 64;
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

const AFTER_HELP: &str = "\
Examples:
  ringpost-blast smtp://127.0.0.1:1025
      10 s on 64 connections with messages of 1 KiB, one command at a time
  ringpost-blast -c 8 -n 100000 --pipelining full 127.0.0.1:1025
      100,000 messages, each envelope behind the dot of the message before it
  ringpost-blast --chunking --depth 32 -z 30s --out run1 smtp+unix:/run/sink.sock
      BDAT, 32 messages in one flight; result, histograms and a page in run1/
  ringpost-blast --size 1KiB..256KiB --recipients 10 lmtp://[::1]:24

Exit status:
  0  the run took place, whatever the server answered
  2  the command line cannot be followed
  3  the target is out of reach, or cannot do what was asked";

/// Load an SMTP or LMTP server and say how fast, how slow and how honest it is
///
/// Sessions run in a closed loop: each sends its next message when the last one is answered. The
/// report goes to stdout, progress to stderr. Without -n and -z the run takes 10 s.
#[derive(Debug, Parser)]
#[command(name = "ringpost-blast", version, after_help = AFTER_HELP, styles = STYLES)]
struct Args {
    /// smtp://HOST:PORT, lmtp://HOST:PORT, smtp+unix:/PATH, lmtp+unix:/PATH or HOST:PORT
    #[arg(value_name = "TARGET")]
    target: String,

    /// Connections open at once
    #[arg(short, long, value_name = "N", default_value_t = CONNECTIONS_DEFAULT, help_heading = "Load")]
    connections: usize,
    /// End after N messages
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", help_heading = "Load",
          value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Begin no message later than this [default: 10s]
    #[arg(short = 'z', long, value_name = "DURATION", value_parser = value::duration, help_heading = "Load")]
    duration: Option<Duration>,
    /// Time at the start that is not counted; -n counts its messages too
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "0s", help_heading = "Load")]
    warmup: Duration,
    /// Messages after which a connection is closed and a new one opened [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Load")]
    per_connection: Option<u64>,

    /// Octets of a message, header included: SIZE or MIN..MAX
    #[arg(long, value_name = "SIZE", value_parser = value::size_range, default_value = "1KiB", help_heading = "Messages")]
    size: (u64, u64),
    /// Send this message, header and body; line ends become CRLF
    #[arg(long, value_name = "FILE", conflicts_with = "size", help_heading = "Messages")]
    body: Option<PathBuf>,
    /// Recipients of each message; with more than one, --to gets a number behind its local part
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Messages")]
    recipients: usize,
    /// Envelope sender; empty or <> for the null reverse-path
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "blast@client.example",
        help_heading = "Messages"
    )]
    from: String,
    /// Envelope recipient
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "sink@server.example",
        help_heading = "Messages"
    )]
    to: String,
    /// Seed of the message texts and of which message is sent when
    #[arg(long, value_name = "N", default_value_t = 42, help_heading = "Messages")]
    seed: u64,

    /// Parameter for MAIL or for each RCPT, such as MAIL:RET=HDRS or RCPT:NOTIFY=NEVER; may be given
    /// more than once. It is sent as it is, whether the server offers it or not
    #[arg(long, value_name = "CMD:KEY[=VALUE]", value_parser = param, help_heading = "Protocol")]
    param: Vec<Param>,
    /// Name in EHLO, HELO or LHLO
    #[arg(long, value_name = "NAME", default_value = "client.example", help_heading = "Protocol")]
    helo: String,
    /// What goes out before a reply is awaited [default: none; full with --chunking]
    #[arg(long, value_enum, value_name = "MODE", help_heading = "Protocol")]
    pipelining: Option<PipeliningArg>,
    /// Send messages with BDAT (RFC 3030) instead of DATA
    #[arg(long, help_heading = "Protocol")]
    chunking: bool,
    /// Messages in one flight, with --chunking
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Protocol")]
    depth: usize,

    /// Log in at the start of each connection. MECH is SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN or
    /// XOAUTH2 (PASS is the token then) [default: the first of these that is offered, XOAUTH2 aside]
    #[arg(long, value_name = "USER:PASS[:MECH]", value_parser = auth::login, help_heading = "Protocol")]
    auth: Option<Arc<Login>>,

    /// Load this host although its address is public; may be given more than once
    #[arg(long, value_name = "HOST", help_heading = "Machine")]
    allow_target: Vec<String>,
    /// Cores to use: how many, counted from the last CPU down as servers begin at the first, or a
    /// list such as 0,2-3 [default: half of the CPUs]
    #[arg(long, value_name = "N|LIST", help_heading = "Machine")]
    cores: Option<String>,
    /// Kernel interface; auto falls back to epoll where io_uring is forbidden
    #[arg(
        long,
        value_enum,
        value_name = "ENGINE",
        default_value = "auto",
        help_heading = "Machine"
    )]
    io: IoArg,

    /// Put run.json, run.hlog, run.hgrm, run.csv and report.html there
    #[arg(long, value_name = "DIR", help_heading = "Report")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object instead of text
    #[arg(long, help_heading = "Report")]
    json: bool,
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PipeliningArg {
    /// One command, one reply
    None,
    /// MAIL, RCPT and DATA in one write
    Commands,
    /// Also the next MAIL, RCPT and DATA behind the final dot
    Full,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Cores(#[from] CoresError),
    #[error("{0}; or use --io epoll")]
    Engine(#[from] Refusal),
    #[error("cannot read the message {}: {error}", .path.display())]
    Body { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Blast(#[from] BlastError),
    #[error("cannot write the report: {0}")]
    Report(io::Error),
    #[error("cannot read the run back: {0}")]
    Load(#[from] LoadError),
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Target(TargetError::Resolve { .. }) => Verdict::Unreachable.exit_code(),
            Self::Report(_) | Self::Load(_) | Self::Signals(_) => Exit::Io as u8,
            _ => USAGE,
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    exit::run("ringpost-blast", USAGE, |args: Args| match execute(args) {
        Ok(verdict) => Ok(verdict.exit_code().into()),
        // Whoever reads the report has seen enough.
        Err(Error::Report(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(Failure::with_code(error.exit_code(), error)),
    })
}

fn execute(args: Args) -> Result<Verdict, Error> {
    let json = args.json;
    let plan = plan(args)?;
    let stop = Arc::new(AtomicBool::new(false));
    watch_signals(Arc::clone(&stop))?;
    let mut progress = Progress::on_stderr();
    let outcome = blast::run(&plan, stop, &mut |elapsed, seen, totals| match seen {
        Seen::Interval(interval) => progress.interval(elapsed, interval, totals),
        Seen::Beat => progress.refresh(elapsed, totals),
    })?;
    progress.finish();
    let verdict = outcome.run.verdict;
    let loaded = match &plan.out {
        Some(dir) => with_page(dir)?,
        None => Loaded::of(outcome.run, &outcome.totals),
    };
    if json || outcome.failure.is_none() {
        print(&loaded, json).map_err(Error::Report)?;
    }
    if let Some(failure) = outcome.failure {
        eprintln!("ringpost-blast: {failure}");
    }
    Ok(verdict)
}

/// The run as its artefacts tell it, among which a page is put.
fn with_page(dir: &Path) -> Result<Loaded, Error> {
    let loaded = Loaded::open(dir)?;
    std::fs::write(dir.join("report.html"), html::render(&loaded)).map_err(Error::Report)?;
    Ok(loaded)
}

fn print(loaded: &Loaded, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &loaded.run)?;
        writeln!(out)?;
    } else {
        let plain =
            !out.is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let colour = if plain { Colour::Plain } else { Colour::Ansi };
        out.write_all(text::render(loaded, colour).as_bytes())?;
    }
    out.flush()
}

fn plan(args: Args) -> Result<Plan, Error> {
    let target = Target::parse(&args.target, &args.allow_target)?;
    let (engine, fallback) = engine::choose(args.io.into())?;
    if let Some(refusal) = fallback {
        eprintln!("ringpost-blast: using epoll: {refusal}");
    }
    let pipelining = match args.pipelining {
        Some(PipeliningArg::None) => Pipelining::None,
        Some(PipeliningArg::Commands) => Pipelining::Commands,
        Some(PipeliningArg::Full) => Pipelining::Full,
        None if args.chunking => Pipelining::Full,
        None => Pipelining::None,
    };
    let bodies = match args.body {
        None => Bodies::Sizes(args.size.0, args.size.1),
        Some(path) => match std::fs::read(&path) {
            Ok(octets) => Bodies::Given(octets),
            Err(error) => return Err(Error::Body { path, error }),
        },
    };
    let stop = match args.messages {
        Some(messages) => Stop::Messages(messages),
        None => Stop::Duration(args.duration.unwrap_or(DURATION_DEFAULT)),
    };
    let plan = Plan {
        target,
        connections: args.connections,
        stop,
        warmup: args.warmup,
        bodies,
        recipients: args.recipients,
        per_connection: args.per_connection,
        pipelining,
        chunking: args.chunking,
        depth: args.depth,
        from: if args.from == "<>" { String::new() } else { args.from },
        to: args.to,
        mail_params: params(&args.param, On::Mail),
        rcpt_params: params(&args.param, On::Rcpt),
        helo: args.helo,
        login: args.auth,
        seed: args.seed,
        cpus: cpus(args.cores.as_deref())?,
        engine,
        out: args.out,
        command: auth::without_secret(std::env::args()),
    };
    plan.check()?;
    Ok(plan)
}

/// A parameter that the user gives, without the command it goes with.
#[derive(Clone, Debug)]
struct Param {
    on: On,
    word: String,
}

fn param(text: &str) -> Result<Param, String> {
    let (command, word) = text.split_once(':').unwrap_or_default();
    let on = match command.to_ascii_uppercase().as_str() {
        "MAIL" => On::Mail,
        "RCPT" => On::Rcpt,
        _ => return Err("write MAIL:KEY, MAIL:KEY=VALUE, RCPT:KEY or RCPT:KEY=VALUE".to_owned()),
    };
    Ok(Param { on, word: word.to_owned() })
}

fn params(all: &[Param], on: On) -> Vec<String> {
    all.iter().filter(|param| param.on == on).map(|param| param.word.clone()).collect()
}

/// Counted from the last CPU down, so that a server pinned to the first ones is left alone.
fn cpus(cores: Option<&str>) -> Result<Vec<usize>, CoresError> {
    let allowed = engine::allowed().map_err(CoresError::Mask)?;
    let half = (allowed.len() / 2).max(1).to_string();
    let text = cores.unwrap_or(&half);
    let chosen = engine::cpus(text)?;
    match text.trim().parse::<usize>() {
        Ok(count) => Ok(allowed.into_iter().rev().take(count).collect()),
        Err(_) => Ok(chosen),
    }
}

/// The first signal ends the run politely, the second at once.
fn watch_signals(stop: Arc<AtomicBool>) -> Result<(), Error> {
    signals::watch(move |asked| match asked {
        Asked::Once => stop.store(true, Relaxed),
        Asked::Twice { exit } => std::process::exit(exit.into()),
    })
    .map_err(Error::Signals)
}
