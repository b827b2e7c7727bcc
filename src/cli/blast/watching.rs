//! How the user follows a run.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::ValueEnum;

use crate::blast::Seen;
use crate::blast::plan::{Plan, StopAfter};
use crate::blast::targets::WeightedTarget;
use crate::measure::Snapshot;
use crate::notice::LossyStderr;
use crate::report::colour;
use crate::report::live::{Live, RunLength};
use crate::report::progress::ProgressLine;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum LiveArg {
    /// The live view if stderr is a terminal that is large enough, else one line each second
    #[default]
    Auto,
    /// The live view
    Tui,
    /// One line each second
    Lines,
    /// Nothing
    Off,
}

/// What is shown on stderr while a run goes on. Going, it leaves the terminal as it was.
pub(super) enum Watching {
    View(Box<Live>),
    Lines(ProgressLine<LossyStderr>),
    Nothing,
}

impl Watching {
    pub(super) fn start(arg: LiveArg, plan: &Plan) -> Self {
        let terminal = io::stderr().is_terminal();
        let lines = |in_place| ProgressLine::new(LossyStderr::default(), in_place);
        let able = terminal && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        match arg {
            LiveArg::Off => Self::Nothing,
            LiveArg::Auto if plan.transcripts > 0 => Self::Nothing,
            LiveArg::Lines => Self::Lines(lines(false)),
            LiveArg::Auto | LiveArg::Tui if able => {
                Self::view(plan).unwrap_or_else(|| Self::Lines(lines(true)))
            }
            LiveArg::Auto | LiveArg::Tui => Self::Lines(lines(terminal)),
        }
    }

    fn view(plan: &Plan) -> Option<Self> {
        let length = match plan.stop {
            StopAfter::Messages(messages) => RunLength::Messages(messages),
            StopAfter::Duration(duration) => {
                RunLength::Time(plan.warmup + duration + plan.cooldown)
            }
        };
        let coloured = !colour::is_unwanted();
        let url = |of: &WeightedTarget| of.target.url.clone();
        let all = plan.targets.all().iter().filter(|_| plan.targets.several());
        let live = Live::start(plan.targets.names(), all.map(url).collect(), length, coloured)?;
        Some(Self::View(Box::new(live)))
    }

    pub(super) fn see(&mut self, elapsed: Duration, seen: &Seen<'_>, totals: Snapshot) {
        match (self, seen) {
            (Self::View(live), Seen::Interval(interval)) => {
                live.interval(elapsed, interval, totals);
            }
            (Self::View(live), Seen::Beat) => live.refresh(elapsed, totals),
            (Self::Lines(lines), Seen::Interval(interval)) => {
                lines.interval(elapsed, interval, totals);
            }
            (Self::Lines(lines), Seen::Beat) => lines.refresh(elapsed, totals),
            (Self::Nothing, _) => {}
        }
    }

    pub(super) fn finish(self) {
        if let Self::Lines(mut lines) = self {
            lines.finish();
        }
    }
}
