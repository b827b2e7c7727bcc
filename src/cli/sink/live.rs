//! The live line of the sink: what it does at the moment, once a second.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::human;
use crate::notice::{self, notice};
use crate::sink::{BoardSnapshot, LiveBoard};

/// Pause between two lines.
const PERIOD: Duration = Duration::from_secs(1);

/// Columns of the line on a terminal: it must not wrap, because it is rewritten in place.
const COLUMNS_MAX: usize = 79;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum SinkLiveArg {
    /// A line that is rewritten each second if stderr is a terminal, else nothing
    #[default]
    Auto,
    /// One line each second
    Lines,
    /// Nothing
    Off,
}

/// The thread that shows the line; it ends when this is dropped.
pub(super) struct LiveLine {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LiveLine {
    /// `None` where nothing is to be shown.
    pub(super) fn start(
        arg: SinkLiveArg,
        json: bool,
        board: LiveBoard,
    ) -> io::Result<Option<Self>> {
        let able = !json
            && io::stderr().is_terminal()
            && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let in_place = match arg {
            SinkLiveArg::Off => return Ok(None),
            SinkLiveArg::Auto if !able => return Ok(None),
            SinkLiveArg::Auto => true,
            SinkLiveArg::Lines => false,
        };
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new()
            .name("live".to_owned())
            .spawn(move || show(&board, in_place, json, &stopped))?;
        Ok(Some(Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported already.
            let _ = thread.join();
        }
    }
}

/// Shows a line each second until the other end of `stopped` is gone.
fn show(board: &LiveBoard, in_place: bool, json: bool, stopped: &mpsc::Receiver<()>) {
    let mut before = board.snapshot();
    while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        let now = board.snapshot();
        let text = line(&before, &now);
        if json {
            notice::say_event(event(&before, &now));
        } else if in_place {
            let text: String = text.chars().take(COLUMNS_MAX).collect();
            notice::live_line(Some(&text));
        } else {
            notice!("{text}");
        }
        before = now;
    }
    if in_place {
        notice::live_line(None);
    }
    let _ = io::stderr().flush();
}

/// Messages per second from one look to the next.
fn rate(before: &BoardSnapshot, now: &BoardSnapshot) -> f64 {
    let seconds = (now.elapsed_s - before.elapsed_s).max(f64::MIN_POSITIVE);
    let messages = now.counters.messages.saturating_sub(before.counters.messages);
    messages as f64 / seconds
}

fn event(before: &BoardSnapshot, now: &BoardSnapshot) -> Value {
    json!({
        "event": "live",
        "elapsed_s": now.elapsed_s,
        "rate_msg_s": rate(before, now),
        "sessions_open": now.sessions_open,
        "messages": now.counters.messages,
        "refused": now.refusals.total(),
    })
}

fn line(before: &BoardSnapshot, now: &BoardSnapshot) -> String {
    format!(
        "{:>7.1} s  {} msg/s  {}  {} accepted  {} refused",
        now.elapsed_s,
        human::rate(rate(before, now)),
        human::counted(now.sessions_open, "session"),
        human::count(now.counters.messages),
        human::count(now.refusals.total()),
    )
}
