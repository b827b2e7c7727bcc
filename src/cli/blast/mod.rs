//! `ringpost-blast`: the command line of the load generator.
#![doc = ""]
#![doc = include_str!("manual.md")]

mod artefacts;
mod auth;
mod content;
mod dry_run;
mod load;
mod machine;
mod policy;
mod protocol;
mod search;
mod selftest;
mod target;
mod tls;
mod watching;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use self::artefacts::ArtefactArgs;
use self::auth::LoginError;
use self::content::ContentArgs;
use self::load::LoadArgs;
use self::machine::MachineArgs;
use self::policy::PolicyArgs;
use self::protocol::ProtocolArgs;
use self::search::{FindMaxArgs, SweepArgs};
use self::selftest::SelftestArgs;
use self::tls::TlsArgsError;
use self::watching::Watching;
use super::exit::{self, Exit, ExitError};
use super::man::{Page, help_end};
use super::signals::{self, StopSignal};
use crate::blast::content::ContentError;
use crate::blast::corpus;
use crate::blast::plan::{Plan, PlanError};
use crate::blast::schedule::ProfileError;
use crate::blast::search::SearchError;
use crate::blast::selftest::TrialError;
use crate::blast::targets::{Targets, TargetsError};
use crate::blast::{self, BlastError, StopRequest};
use crate::dial::TargetError;
use crate::engine::{self, UringRefusal};
use crate::host::CoresError;
use crate::human;
use crate::limits::LAST_ANSWERS_NS;
use crate::notice::notice;
use crate::report::colour::Colour;
use crate::report::columns::Width;
use crate::report::html;
use crate::report::live;
use crate::report::text;
use crate::run::{ArtefactError, LoadError, Loaded, Verdict};
use crate::smtp::params::On;

/// Exit status for a command line that cannot be followed; clap uses the same.
const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  ringpost-blast smtp://127.0.0.1:1025
      10 s on 64 connections with messages of 1 KiB, one command at a time
  ringpost-blast -c 8 -n 100000 --pipelining full 127.0.0.1:1025
      100,000 messages, each envelope after the dot of the message before it
  ringpost-blast --chunking --depth 32 -z 30s --out run1 smtp+unix:/run/sink.sock
      32 BDAT messages at once; result, histograms and a page in run1/
  ringpost-blast --rate 1k..20k/60s -c 256 127.0.0.1:1025
      from 1,000 to 20,000 messages per second within a minute
  ringpost-blast --session-rate 50 --per-connection 1..5 --think exp:200ms TARGET
      50 sessions per second, each with a few messages and pauses between them
  ringpost-blast --dry-run --rate 1k..20k/60s --size lognormal:20KiB,1.2 TARGET
      show what this would send, and one message; connect to nothing
  ringpost-blast sweep --out curve 127.0.0.1:1025
      latency under load: a step for each rate, the knee marked
  ringpost-blast find-max --slo 'p99<20ms,errors<0.1%' 127.0.0.1:1025
      the highest rate that keeps this service level
  ringpost-blast 3=10.0.0.1:25 10.0.0.2:25
      two servers: three sessions to the first for each one to the second
  ringpost-blast selftest
      prove that response times are true
  ringpost-blast --size 1KiB..256KiB --recipients 10 lmtp://[::1]:24";

/// A load generator for SMTP and LMTP servers
///
/// With --rate, messages are due by the clock, and a response time counts from the time when the message
/// was due. Without --rate, a session sends its next message when the last one is answered. The report
/// goes to stdout, progress goes to stderr. Without -n and -z the run takes 10 s.
#[derive(Debug, Parser)]
#[command(name = "ringpost-blast", version, after_help = help_end(Page::Blast, EXAMPLES), styles = STYLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    disable_help_subcommand = true,
    subcommand_value_name = "TASK",
    subcommand_help_heading = "Tasks"
)]
struct Cli {
    /// In place of a target.
    #[command(subcommand)]
    task: Option<BlastTask>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum BlastTask {
    #[command(after_help = help_end(Page::Blast, ""))]
    Sweep(SweepArgs),
    #[command(after_help = help_end(Page::Blast, ""))]
    FindMax(FindMaxArgs),
    #[command(after_help = help_end(Page::Blast, ""))]
    Selftest(SelftestArgs),
}

/// Everything that one run is made from.
#[derive(Debug, Args)]
struct RunArgs {
    /// smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT, lmtps://HOST:PORT, smtp+unix:/PATH, lmtp+unix:/PATH or
    /// HOST:PORT. Several
    /// targets share the sessions; WEIGHT=TARGET gives a target more of them, as in 3=10.0.0.1:25
    // Required, but not beside a task.
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    content: ContentArgs,
    #[command(flatten)]
    protocol: ProtocolArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    artefacts: ArtefactArgs,
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Targets(#[from] TargetsError),
    #[error("there is no task '{given}'; did you mean {task}? (a host of that name is {given}:25)")]
    TaskName { given: String, task: String },
    #[error(
        "the task comes first, and its options after it: ringpost-blast {task} … (a host of that name is {task}:25)"
    )]
    TaskFirst { task: &'static str },
    #[error("{port} is a port without a host; a target is HOST:PORT, such as localhost:{port}")]
    PortAlone { port: u16 },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Cores(#[from] CoresError),
    #[error("{0}; or use --io epoll")]
    Engine(#[from] UringRefusal),
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Blast(#[from] BlastError),
    #[error(transparent)]
    Trial(#[from] TrialError),
    #[error(transparent)]
    Rate(#[from] ProfileError),
    /// A task that runs many times ends with the first that cannot take place.
    #[error("{0}")]
    Failed(blast::Failure),
    /// What was measured is printed all the same.
    #[error("{0}; the artefacts are not whole")]
    Unwritten(ArtefactError),
    /// As much of a curve as there is was printed.
    #[error("the step at {} messages/s: {error}", human::rate(*rate))]
    Step { rate: f64, error: Arc<BlastError> },
    #[error("cannot write the report: {0}")]
    Report(io::Error),
    #[error("cannot read the run back: {0}")]
    Load(#[from] LoadError),
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Tls(#[from] TlsArgsError),
}

impl From<SearchError> for Error {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Rate(error) => Self::Rate(error),
            SearchError::Blast(error) => Self::Blast(error),
            SearchError::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl Error {
    /// What a file that an option names could not be read for.
    fn unread(&self) -> Option<&io::Error> {
        match self {
            Self::Content(error) | Self::Blast(BlastError::Content(error)) => error.unread(),
            Self::Login(LoginError::Read { error, .. }) => Some(error),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        if let Self::Tls(TlsArgsError::File(error)) = self {
            return error.code();
        }
        if let Some(error) = self.unread() {
            return exit::read(error) as u8;
        }
        match self {
            Self::Target(TargetError::Resolve { .. }) | Self::Failed(_) => {
                Verdict::Unreachable.exit_code()
            }
            Self::Report(_)
            | Self::Unwritten(_)
            | Self::Blast(BlastError::Artefact(ArtefactError::Io { .. }))
            | Self::Step { .. }
            | Self::Load(_)
            | Self::Signals(_) => Exit::Io as u8,
            _ => USAGE,
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    exit::run("ringpost-blast", USAGE, |cli: Cli| match cli.execute() {
        Ok(code) => Ok(code.into()),
        Err(error) => Err(ExitError::with_code(error.exit_code(), error)),
    })
}

impl Cli {
    /// Gives the exit status.
    fn execute(self) -> Result<u8, Error> {
        match self.task {
            Some(BlastTask::Sweep(args)) => args.run(),
            Some(BlastTask::FindMax(args)) => args.run(),
            Some(BlastTask::Selftest(args)) => args.run().map(Verdict::exit_code),
            None => execute(self.run),
        }
    }
}

/// The exit status of those who only want the report: that a run did not do what was asked, or that the
/// generator was the limit, is in the report.
fn status(code: u8, exit_zero: bool) -> u8 {
    let of_the_figures =
        [Verdict::ThresholdFailed, Verdict::GeneratorLimited].map(Verdict::exit_code);
    if exit_zero && of_the_figures.contains(&code) { 0 } else { code }
}

fn execute(args: RunArgs) -> Result<u8, Error> {
    let (json, live) = (args.artefacts.json, args.artefacts.live);
    let exit_zero = args.artefacts.exit_zero;
    let dry_run = args.artefacts.dry_run;
    let plan = plan(args)?;
    if dry_run {
        return dry_run::print(&plan, json).map(|()| 0);
    }
    let stop = StopRequest::default();
    watch_signals(stop.clone(), plan.drain)?;
    let mut watching = Watching::start(live, &plan);
    let outcome = blast::run(&plan, stop, &mut |elapsed, seen, totals| {
        watching.see(elapsed, &seen, totals);
    });
    // Before anything else is said: the terminal may be another screen until then.
    watching.finish();
    let outcome = outcome?;
    let code = status(outcome.run.exit_code(), exit_zero);
    let whole = match (&plan.out, outcome.unwritten) {
        (_, Some(error)) => Err(Error::Unwritten(error)),
        (Some(dir), None) => with_page(dir).map(Some),
        (None, None) => Ok(None),
    };
    let (loaded, unwritten) = match whole {
        Ok(loaded) => (loaded, None),
        Err(error) => (None, Some(error)),
    };
    let loaded = loaded.unwrap_or_else(|| Loaded::of(outcome.run, &outcome.totals));
    // What was measured before a target went away is worth its report.
    if json || outcome.failure.is_none() || loaded.run.counts.messages_ok > 0 {
        print(loaded, json).map_err(Error::Report)?;
    }
    if let Some(failure) = outcome.failure {
        notice!("ringpost-blast: {failure}");
    }
    unwritten.map_or(Ok(code), Err)
}

/// Reads the run back from its artefacts and adds a page to them.
fn with_page(dir: &Path) -> Result<Loaded, Error> {
    let loaded = Loaded::open(dir)?;
    let path = dir.join("report.html");
    let failed = |error| Error::Unwritten(ArtefactError::Io { path: path.clone(), error });
    std::fs::write(&path, html::render(&loaded)).map_err(failed)?;
    Ok(loaded)
}

fn print(loaded: Loaded, json: bool) -> io::Result<()> {
    exit::steer(&live::owed())?;
    if json {
        return exit::tell_json(serde_json::to_string(&loaded.run)? + "\n");
    }
    exit::tell(text::render(&loaded.shown(), Colour::of_stdout(), Width::of_stdout()))
}

fn plan(args: RunArgs) -> Result<Plan, Error> {
    let RunArgs { targets, load, content, protocol, policy, machine, artefacts } = args;
    let connect = machine.connect_options();
    let targets = targets.iter().map(|text| target::weighted(text, &machine, &connect));
    let targets = Targets::new(targets.collect::<Result<_, _>>()?)?;
    if let Some(ip) = connect.elsewhere() {
        return Err(PlanError::SourceElsewhere(ip).into());
    }
    let (engine, fallback) = engine::choose(machine.io.into())?;
    if let Some(refusal) = fallback {
        notice!("ringpost-blast: using epoll: {refusal}");
    }
    let (mail, rcpt) = (protocol.params(On::Mail), protocol.params(On::Rcpt));
    let content = content.content(protocol.chunking, mail, rcpt)?;
    let tls = protocol.tls.plan(&targets)?;
    let mut plan = Plan::new(targets, content, machine.cpus()?, engine);
    plan.tls = tls;
    load.put_into(&mut plan);
    let login = protocol.login()?;
    protocol.put_into(&mut plan);
    artefacts.put_into(&mut plan);
    plan.policy = policy.policy();
    plan.connect = connect;
    plan.login = login;
    plan.command =
        auth::without_secret(std::env::args_os().map(|word| word.to_string_lossy().into_owned()));
    plan.check()?;
    for cut in corpus::cuts(&plan.content) {
        notice!("ringpost-blast: {cut}");
    }
    Ok(plan)
}

/// The first signal ends the run politely, the second at once.
fn watch_signals(stop: StopRequest, drain: Duration) -> Result<(), Error> {
    signals::watch(&signals::ENDING_OR_HANGUP, None, move |asked| match asked {
        StopSignal::First { exit } => {
            stop.make(signals::name(exit));
            // The live view has it in its last line.
            if !live::is_shown() {
                let gap = if io::stderr().is_terminal() { "\n" } else { "" };
                notice!(
                    "{gap}ringpost-blast: ending; what is under way gets {} s (--drain), and QUIT {} s more; a \
                     second signal ends at once, without a report",
                    drain.as_secs_f64(),
                    LAST_ANSWERS_NS / 1_000_000_000
                );
            }
        }
        StopSignal::Second { exit } => {
            live::restore();
            std::process::exit(exit.into());
        }
    })
    .map_err(Error::Signals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_zero_hides_what_the_figures_say_and_nothing_else() {
        let hidden = [0, 1, 2, 3, 4, 74].map(|code| status(code, true));
        assert_eq!(hidden, [0, 0, 2, 3, 0, 74]);
        assert_eq!([0, 1, 3, 4].map(|code| status(code, false)), [0, 1, 3, 4]);
    }

    #[test]
    fn a_target_alone_is_run_as_the_library_runs_it() {
        let cli = Cli::parse_from(["ringpost-blast", "--io", "epoll", "smtp+unix:/x"]);
        let Plan { targets, content, cpus, engine, command, .. } = plan(cli.run).unwrap();
        let new = Plan { command, ..Plan::new(targets, content, cpus, engine) };
        let cli = Cli::parse_from(["ringpost-blast", "--io", "epoll", "smtp+unix:/x"]);
        assert_eq!(format!("{:?}", plan(cli.run).unwrap()), format!("{new:?}"));
    }
}
