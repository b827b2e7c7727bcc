//! The program `ringpost-sink`: from its options to its report.

use std::io;
use std::process::{self, ExitCode};
use std::sync::{Arc, OnceLock};

use serde_json::json;
use tokio::sync::watch;

use super::live::LiveLine;
use super::options::SinkOptions;
use super::plan;
use super::reload::{self, Reloadable};
use super::tls::SinkTls;
use crate::cli::exit::{self, Exit, ExitError};
use crate::cli::signals::{self, StopSignal};
use crate::engine;
use crate::engine::signal::on_signals;
use crate::notice::{self, notice};
use crate::sink::{self, FailedSegments, LiveBoard, Sink, Stop};

/// The whole program.
pub fn main() -> ExitCode {
    exit::run("ringpost-sink", Exit::Usage as u8, |options: SinkOptions| serve(Arc::new(options)))
}

fn serve(options: Arc<SinkOptions>) -> Result<ExitCode, ExitError> {
    if options.voice.is_json() {
        notice::speak_json();
    }
    let (engine, refusal) = engine::choose(options.io.into())
        .map_err(|refusal| ExitError::new(Exit::Unavailable, refusal))?;
    if let Some(refusal) = refusal {
        notice!("ringpost-sink: {refusal}");
    }
    let (stop, _) = watch::channel(Stop::No);
    let board = Arc::default();
    // Before the listeners are there: who can connect may also send a signal.
    watch_signals(stop.clone(), Arc::clone(&board))?;
    show_on_signal(Arc::clone(&board))?;
    let running = Arc::default();
    read_again_on_signal(Arc::clone(&options), Arc::clone(&running))?;
    let (plan, tls) = plan::plan(&options, engine)?;
    let banner = plan::banner(&plan, &options);
    let urls: Vec<String> = plan.ports.iter().map(|port| port.url.clone()).collect();
    let (sink, recovery) = Sink::open(plan).map_err(failure)?;
    if let Some(recovery) = &recovery {
        notice!("ringpost-sink: {recovery}");
    }
    let shown = sink.board();
    board.set(shown.clone()).expect("one sink has one board");
    let running = running.get_or_init(|| Reloadable { ports: sink.ports(), tls });
    let mut live = Ok(None);
    let mut summary = sink
        .run(stop, || {
            announce(&banner, &urls, running.tls.as_ref());
            live = LiveLine::start(options.voice.live, options.voice.is_json(), shown);
        })
        .map_err(failure)?;
    // The report comes after the last line.
    match live {
        Ok(live) => drop(live),
        Err(error) => notice!("ringpost-sink: cannot start the thread of the live line: {error}"),
    }
    summary.recovery = recovery;
    let told = if options.json {
        let json = serde_json::to_string(&summary).expect("a summary holds numbers and names");
        exit::tell_json_in_time(json + "\n")
    } else {
        exit::tell_in_time(summary.to_string())
    };
    told.map_err(|error| ExitError::new(Exit::Io, format!("cannot write the report: {error}")))?;
    // The disk failed: what was answered with 250 is as safe as it was said to be, and the run is not.
    let sound = summary.failed_segments() == FailedSegments::default();
    Ok(if sound { ExitCode::SUCCESS } else { Exit::Io.into() })
}

/// Says that the sink is ready, and where it listens.
fn announce(banner: &str, urls: &[String], tls: Option<&SinkTls>) {
    if let Some(tls) = tls {
        tls.tell();
    }
    if notice::is_json() {
        notice::say_event(json!({ "event": "start", "text": banner }));
        for url in urls {
            notice::say_event(json!({ "event": "listening", "url": url }));
        }
        return;
    }
    notice!("ringpost-sink: {banner}");
    for url in urls {
        notice!("listening {url}");
    }
}

/// The live board, once the spool is open.
type EarlyBoard = Arc<OnceLock<LiveBoard>>;

/// Turns the first signal into a drain and the second into an end at once. A sink that still opens its
/// spool has answered nobody, so it ends at the first one: a crash at that moment loses nothing either.
fn watch_signals(stop: watch::Sender<Stop>, board: EarlyBoard) -> Result<(), ExitError> {
    // A sink that does not end in time has not printed its report.
    signals::watch(&signals::ENDING, Some(Exit::Io as u8), move |asked| {
        if board.get().is_none() {
            notice!("ringpost-sink: ended by a signal before it was ready");
            process::exit(0);
        }
        let next = if matches!(asked, StopSignal::First { .. }) { Stop::Drain } else { Stop::Now };
        stop.send_if_modified(|now| now.grow(next));
    })
    .map_err(cannot_watch)
}

/// Prints the board on stderr each time that SIGUSR1 comes, and lets the sink go on.
fn show_on_signal(board: EarlyBoard) -> Result<(), ExitError> {
    on_signals(&[libc::SIGUSR1], move |_| match board.get() {
        Some(board) => {
            let shown = serde_json::to_value(board.snapshot());
            notice::say_event(shown.expect("a board holds numbers and names"));
        }
        None => notice!("ringpost-sink: nothing is counted yet; the spool is being opened"),
    })
    .map_err(cannot_watch)
}

/// Reads the files of users, mailboxes and certificates again each time that SIGHUP comes. The sink goes on whatever they
/// hold; where one is wrong, all stays as it was.
fn read_again_on_signal(
    options: Arc<SinkOptions>,
    running: Arc<OnceLock<Reloadable>>,
) -> Result<(), ExitError> {
    on_signals(&signals::heeded(&[libc::SIGHUP]), move |_| {
        let Some(running) = running.get() else {
            notice!("ringpost-sink: SIGHUP: nothing was read again, because the spool is being opened; send it again");
            return;
        };
        match reload::read_again(&options, running) {
            Ok(done) => notice!("ringpost-sink: SIGHUP: {done}"),
            Err(why) => notice!("ringpost-sink: SIGHUP: {why}; what was read before stays"),
        }
    })
    .map_err(cannot_watch)
}

fn cannot_watch(error: io::Error) -> ExitError {
    ExitError::new(Exit::Os, format_args!("cannot watch for signals: {error}"))
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
