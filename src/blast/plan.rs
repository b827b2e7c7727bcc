//! The plan of a run, and its checks. Nothing below sees the command line.

mod check;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::check::PlanError;
use super::connect_options::ConnectOptions;
use super::content::Content;
use super::misbehave::Misbehave;
use super::policy::{ErrorPolicy, Reconnect};
use super::schedule::{Schedule, Think};
use super::security::TlsPlan;
use super::targets::Targets;
use crate::dial::Target;
use crate::engine::EngineKind;
use crate::limits::REPLY_S_MAX;
use crate::measure::Cuts;
use crate::run::{Conditions, LAG_LIMIT_PERCENT_DEFAULT};
use crate::smtp::auth::Login;
use crate::smtp::client::{Hello, Pipelining, Settings, Upgrade};

/// Time without a single working session after which a core gives its target up.
const UNREACHED_S: u64 = 10;

/// Connections open at once, by default.
pub const CONNECTIONS_DEFAULT: usize = 64;
/// Length of a run for which neither a number of messages nor a length is given.
pub const DURATION_DEFAULT: Duration = Duration::from_secs(10);
/// Time after the end for what was due and is not done.
pub const DRAIN_DEFAULT: Duration = Duration::from_secs(10);
/// Name in EHLO, HELO or LHLO.
pub const HELO_DEFAULT: &str = "client.example";

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopAfter {
    /// After so many messages, whatever became of them.
    Messages(u64),
    /// No message begins later than this after the warm-up; those under way are finished.
    Duration(Duration),
}

/// What makes sessions send.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Each session sends its next message when the last one is answered: a server that slows down
    /// slows its load down with it.
    Closed,
    /// Messages are due by the schedule, whatever the server does, and any free session takes the
    /// next.
    Messages(Schedule),
    /// Sessions are due by the schedule; each sends its messages one after the other. This is how mail
    /// arrives in practice: servers connect independently, and each then sends its messages in turn
    /// (partly open).
    Sessions(Schedule),
}

/// All that a run needs to know. [`Plan::check`] says whether it can be run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub targets: Targets,
    /// Open at once, over all cores.
    pub connections: usize,
    pub load: Load,
    pub stop: StopAfter,
    /// Before and after what is measured, under the same load; kept out of the figures.
    pub warmup: Duration,
    pub cooldown: Duration,
    /// For what is due or under way when the run ends. What is unfinished then is counted as such.
    pub drain: Duration,
    /// For the server to take what is sent, and to reply. Then the connection is given up.
    pub reply_timeout: Duration,
    /// Between the messages of a session.
    pub think: Option<Think>,
    pub content: Content,
    /// Messages after which a connection is closed and a new one opened: drawn evenly between the
    /// two, both included.
    pub per_connection: Option<(u64, u64)>,
    pub pipelining: Pipelining,
    pub chunking: bool,
    /// Transactions in one flight.
    pub depth: usize,
    pub hello: Hello,
    pub helo: String,
    /// `None`: all sessions are in plain text.
    pub tls: Option<TlsPlan>,
    /// AUTH at the start of each connection.
    pub login: Option<Arc<Login>>,
    /// CPUs; one generator core runs on each.
    pub cpus: Vec<usize>,
    pub engine: EngineKind,
    pub connect: ConnectOptions,
    /// What follows when the server refuses or a connection breaks.
    pub policy: ErrorPolicy,
    /// Clients that break the rules, beside the connections.
    pub misbehave: Misbehave,
    /// Sessions whose dialogue is shown on stderr.
    pub transcripts: u64,
    pub out: Option<PathBuf>,
    /// What fails the run.
    pub fail_if: Conditions,
    /// Per cent of the response time that the generator's own lag may be.
    pub lag_limit_percent: f64,
    /// The command line, for the report.
    pub command: Vec<String>,
    /// What the user calls the run, and a note on it, for the report.
    pub name: String,
    pub note: String,
}

impl Plan {
    /// A closed loop of [`CONNECTIONS_DEFAULT`] connections for [`DURATION_DEFAULT`], one command at a time, on
    /// one core for each of `cpus`, with nothing written to disk: what the command line runs where it is given
    /// a target and nothing else.
    pub fn new(targets: Targets, content: Content, cpus: Vec<usize>, engine: EngineKind) -> Self {
        Self {
            targets,
            connections: CONNECTIONS_DEFAULT,
            load: Load::Closed,
            stop: StopAfter::Duration(DURATION_DEFAULT),
            warmup: Duration::ZERO,
            cooldown: Duration::ZERO,
            drain: DRAIN_DEFAULT,
            reply_timeout: Duration::from_secs(REPLY_S_MAX),
            think: None,
            content,
            per_connection: None,
            pipelining: Pipelining::None,
            chunking: false,
            depth: 1,
            hello: Hello::Extended,
            helo: HELO_DEFAULT.to_owned(),
            tls: None,
            login: None,
            cpus,
            engine,
            connect: ConnectOptions::default(),
            policy: ErrorPolicy::default(),
            misbehave: Misbehave::default(),
            transcripts: 0,
            out: None,
            fail_if: Conditions::default(),
            lag_limit_percent: LAG_LIMIT_PERCENT_DEFAULT,
            command: Vec::new(),
            name: String::new(),
            note: String::new(),
        }
    }

    /// Length of the measured time; `None` where messages end the run.
    pub fn measured(&self) -> Option<Duration> {
        match self.stop {
            StopAfter::Messages(_) => None,
            StopAfter::Duration(duration) => Some(duration),
        }
    }

    /// When the load ends, since the start; `None` where messages end it.
    pub fn last_start(&self) -> Option<Duration> {
        self.measured().map(|measured| self.warmup + measured + self.cooldown)
    }

    /// Where what the generator spends on messages begins and ends to count: the end of the run without a
    /// cool-down, as what is under way then is measured too, and else its begin.
    pub fn cuts<T: Copy>(&self) -> Cuts<T> {
        let cooled = self.measured().filter(|_| !self.cooldown.is_zero());
        Cuts::at(self.warmup, cooled.map(|measured| self.warmup + measured))
    }

    /// The measured time, for the share of its cores that the generator uses: what it spends while the last
    /// answers come is no part of that, or a busy drain would pass for a busy run.
    pub fn busy_cuts<T: Copy>(&self) -> Cuts<T> {
        let timed = self.measured().map(|measured| self.warmup + measured);
        Cuts::at(self.warmup, self.arrivals_end().or(timed))
    }

    /// The schedule of an open loop; `None` in a closed one.
    pub fn schedule(&self) -> Option<&Schedule> {
        match &self.load {
            Load::Closed => None,
            Load::Messages(schedule) | Load::Sessions(schedule) => Some(schedule),
        }
    }

    /// When the last work that is measured is due: the time to see how much of it the target has not
    /// done yet. `None` in a closed loop.
    pub fn arrivals_end(&self) -> Option<Duration> {
        let led = self.led(self.schedule()?);
        match self.stop {
            StopAfter::Duration(duration) => Some(self.warmup + duration),
            StopAfter::Messages(messages) => {
                let arrivals = match self.load {
                    Load::Sessions(_) => messages as f64 / self.messages_of_a_session(),
                    _ => messages as f64,
                };
                let at = Duration::try_from_secs_f64(led.profile.time_of(arrivals)).ok();
                // A rate that ends at nothing may never get to the last of them; its own end is the end then.
                at.or(led.profile.length())
            }
        }
    }

    /// The mean number of messages of a session, for a schedule of sessions.
    fn messages_of_a_session(&self) -> f64 {
        self.per_connection.map_or(1.0, |(least, most)| least as f64 / 2.0 + most as f64 / 2.0)
    }

    /// The schedule as it runs, with its first rate in the warm-up.
    pub fn led(&self, schedule: &Schedule) -> Schedule {
        Schedule { profile: schedule.profile.after(self.warmup), spacing: schedule.spacing }
    }

    /// The mean rate over the measured time; over the time of all messages if their number ends the run. Where
    /// that ends in the warm-up, the rate of the warm-up.
    pub fn mean_rate(&self) -> Option<f64> {
        let led = self.led(self.schedule()?).profile;
        let warmup_s = self.warmup.as_secs_f64();
        let end_s = self.arrivals_end()?.as_secs_f64();
        let from_s = if end_s > warmup_s { warmup_s } else { 0.0 };
        Some((led.count_at(end_s) - led.count_at(from_s)) / (end_s - from_s))
    }

    /// Time without a single working session after which a core gives up a target that has worked: long
    /// enough for a few of the longest pauses.
    pub fn idle_max(&self) -> Duration {
        let least = Duration::from_secs(UNREACHED_S);
        match self.policy.reconnect {
            Reconnect::Backoff(_, most) => least.max(3 * most),
            Reconnect::Always | Reconnect::Never => least,
        }
    }

    /// How each session with this target speaks in plain text; `smtputf8` says whether an address is not ASCII.
    pub fn settings(&self, target: &Target, smtputf8: bool) -> Settings {
        Settings {
            protocol: target.protocol,
            pipelining: self.pipelining,
            chunking: self.chunking,
            depth: self.depth,
            smtputf8,
            hello: self.hello,
            name: self.helo.as_bytes().into(),
            upgrade: Upgrade::Never,
            login: self.login.clone(),
        }
    }

    /// Messages of core `index`; `None` where time ends the run.
    pub fn messages_of(&self, index: usize) -> Option<u64> {
        match self.stop {
            StopAfter::Messages(messages) => Some(share(messages, self.cores(), index)),
            StopAfter::Duration(_) => None,
        }
    }

    /// Connections of core `index`. One without a message would only add a greeting.
    pub fn connections_of(&self, index: usize) -> usize {
        let connections = share(self.connections as u64, self.cores(), index);
        connections.min(self.messages_of(index).unwrap_or(u64::MAX)) as usize
    }

    /// Whether all connections are opened at the start, and not as work for them is due.
    pub fn opens_at_once(&self) -> bool {
        match self.load {
            Load::Closed => true,
            Load::Messages(_) => self.per_connection.is_none(),
            Load::Sessions(_) => false,
        }
    }

    /// Connections that are opened at the start, over all cores.
    pub fn at_once(&self) -> usize {
        match self.opens_at_once() {
            true => (0..self.cores()).map(|core| self.connections_of(core)).sum(),
            false => 0,
        }
    }

    /// Arrivals of the schedule over the whole run, warm-up and cool-down too; under Poisson their
    /// mean. `None` in a closed loop, and where a schedule without an end is cut by a number of messages.
    pub fn due(&self) -> Option<f64> {
        let led = self.led(self.schedule()?).profile;
        match self.last_start() {
            Some(end) => Some(led.count_at(end.as_secs_f64())),
            None => led.total(),
        }
    }

    /// Cores that have anything to do.
    pub fn cores(&self) -> usize {
        let most = match self.stop {
            StopAfter::Messages(messages) => messages.clamp(1, self.connections as u64) as usize,
            StopAfter::Duration(_) => self.connections,
        };
        self.cpus.len().min(most)
    }
}

/// The share of core `index` when `total` is divided among `cores` cores as evenly as possible.
pub fn share(total: u64, cores: usize, index: usize) -> u64 {
    debug_assert!(index < cores, "core {index} of {cores}");
    let cores = cores as u64;
    total / cores + u64::from((index as u64) < total % cores)
}

#[cfg(test)]
mod tests;
