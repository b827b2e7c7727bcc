//! What a run is to do, checked: nothing below sees the command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::content::{Content, ContentError, check_text};
use super::misbehave::Misbehave;
use super::policy::{ErrorPolicy, Reconnect};
use super::reach::Reach;
use super::schedule::{Schedule, Think};
use super::targets::{Targets, Weighted};
use crate::dial::Target;
use crate::engine::EngineKind;
use crate::limits::{CONNECTIONS_MAX, DEPTH_MAX, UNREACHED_S};
use crate::measure::Cuts;
use crate::run::Conditions;
use crate::run::threshold::Condition;
use crate::smtp::auth::Login;
use crate::smtp::client::{Hello, Pipelining, Settings};
use crate::smtp::server::Protocol;

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
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
    /// Sessions are due by the schedule; each sends its messages one after the other. So mail comes
    /// from the world: servers call independently, and then each speaks in turn (partly open).
    Sessions(Schedule),
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub targets: Targets,
    /// Open at once, over all cores.
    pub connections: usize,
    pub load: Load,
    pub stop: Stop,
    /// Before and after what is measured, under the same load; kept out of the figures.
    pub warmup: Duration,
    pub cooldown: Duration,
    /// For what is due or under way when the run ends. What is unfinished then is counted as such.
    pub drain: Duration,
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
    /// AUTH at the start of each connection.
    pub login: Option<Arc<Login>>,
    /// One core runs on each.
    pub cpus: Vec<usize>,
    pub engine: EngineKind,
    pub reach: Reach,
    /// Where the server refuses or connections break.
    pub policy: ErrorPolicy,
    /// Clients that break the rules, beside the connections.
    pub misbehave: Misbehave,
    /// Sessions whose dialogue is shown on stderr.
    pub trace: u64,
    pub out: Option<PathBuf>,
    /// What fails the run.
    pub fail_if: Conditions,
    /// The command line, for the report.
    pub command: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("--{what} {value} is out of range; give {least} to {most}")]
    Range { what: &'static str, value: u64, least: u64, most: u64 },
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("--{what} is not ASCII; write the A-label, xn--...")]
    NotAscii { what: &'static str },
    #[error("--depth needs --chunking: DATA cannot be sent before its 354 (RFC 2920)")]
    DepthWithoutChunking,
    #[error("--depth needs pipelining; leave out --pipelining none")]
    DepthWithoutPipelining,
    #[error(
        "--think is a pause within a session, and with --rate no message waits for another one of \
         its session; use --session-rate, or leave out --rate"
    )]
    ThinkWithRate,
    #[error(
        "--fail-if '{0}' asks for a time that a closed loop does not have; give --rate or \
         --session-rate, or ask for service."
    )]
    ConditionWithoutSchedule(Condition),
    #[error("--hello {hello} brings no extension of SMTP; leave it out, or leave out {what}")]
    HelloWithoutExtensions { hello: &'static str, what: &'static str },
    #[error("--hello {0} is none of LMTP, whose LHLO must come first; leave it out")]
    HelloOfLmtp(&'static str),
    #[error("no --source is of the family of {0}; give one that is, or leave it out")]
    SourceFamily(String),
    #[error(
        "{0}, which --source names, is no address of this machine; 'ip address' lists those that are, \
         and 'ip address add' adds one"
    )]
    SourceElsewhere(IpAddr),
    #[error("--cooldown needs an end by time: -z, or a rate with a length, and no -n")]
    CooldownWithoutEnd,
}

impl Plan {
    /// Checks what no type says. What can be refused before anything is opened is refused here.
    pub fn check(&self) -> Result<(), PlanError> {
        let mob = self.misbehave.connections(self.connections) as u64;
        if mob > CONNECTIONS_MAX as u64 {
            let (value, most) = (mob, CONNECTIONS_MAX as u64);
            return Err(PlanError::Range { what: "misbehave", value, least: 1, most });
        }
        let counts = [
            ("connections", self.connections as u64, CONNECTIONS_MAX as u64),
            ("per-connection", self.per_connection.map_or(1, |(least, _)| least), u64::MAX),
            ("depth", self.depth as u64, DEPTH_MAX as u64),
        ];
        for (what, value, most) in counts {
            if !(1..=most).contains(&value) {
                return Err(PlanError::Range { what, value, least: 1, most });
            }
        }
        self.content.check()?;
        check_text(self.helo.as_bytes(), "--helo", false)?;
        if !self.helo.is_ascii() {
            return Err(PlanError::NotAscii { what: "helo" });
        }
        if self.depth > 1 && !self.chunking {
            return Err(PlanError::DepthWithoutChunking);
        }
        if self.depth > 1 && self.pipelining == Pipelining::None {
            return Err(PlanError::DepthWithoutPipelining);
        }
        self.check_hello()?;
        if self.think.is_some() && matches!(self.load, Load::Messages(_)) {
            return Err(PlanError::ThinkWithRate);
        }
        if !self.cooldown.is_zero() && self.measured().is_none() {
            return Err(PlanError::CooldownWithoutEnd);
        }
        let mut conditions = self.fail_if.0.iter();
        if self.schedule().is_none()
            && let Some(condition) = conditions.find(|condition| condition.needs_schedule())
        {
            return Err(PlanError::ConditionWithoutSchedule(*condition));
        }
        Ok(())
    }

    fn check_hello(&self) -> Result<(), PlanError> {
        let hello = self.hello.name();
        if self.hello == Hello::Extended {
            return Ok(());
        }
        let is_lmtp = |of: &Weighted| of.target.protocol == Protocol::Lmtp;
        if self.targets.all().iter().any(is_lmtp) {
            return Err(PlanError::HelloOfLmtp(hello));
        }
        let asked = [
            (self.login.is_some(), "--auth"),
            (self.chunking, "--chunking"),
            (self.pipelining != Pipelining::None, "--pipelining"),
        ];
        match asked.into_iter().find(|(asked, _)| *asked) {
            Some((_, what)) => Err(PlanError::HelloWithoutExtensions { hello, what }),
            None => Ok(()),
        }
    }

    /// Length of the measured time; `None` where messages end the run.
    pub fn measured(&self) -> Option<Duration> {
        match self.stop {
            Stop::Messages(_) => None,
            Stop::Duration(duration) => Some(duration),
        }
    }

    /// When the load ends, since the start; `None` where messages end it.
    pub fn last_start(&self) -> Option<Duration> {
        self.measured().map(|measured| self.warmup + measured + self.cooldown)
    }

    /// Where what the generator spends begins and ends to count: the end of the run without a
    /// cool-down, as what is under way then is measured too, and else its begin.
    pub fn cuts<T: Copy>(&self) -> Cuts<T> {
        let cooled = self.measured().filter(|_| !self.cooldown.is_zero());
        Cuts::at(self.warmup, cooled.map(|measured| self.warmup + measured))
    }

    pub fn schedule(&self) -> Option<&Schedule> {
        match &self.load {
            Load::Closed => None,
            Load::Messages(schedule) | Load::Sessions(schedule) => Some(schedule),
        }
    }

    /// When the work that is measured is due to the last: the time to see how far the target is
    /// behind. `None` in a closed loop.
    pub fn arrivals_end(&self) -> Option<Duration> {
        let led = self.led(self.schedule()?);
        match self.stop {
            Stop::Duration(duration) => Some(self.warmup + duration),
            Stop::Messages(messages) => {
                let arrivals = match self.load {
                    Load::Sessions(_) => messages as f64 / self.messages_of_a_session(),
                    _ => messages as f64,
                };
                Duration::try_from_secs_f64(led.profile.time_of(arrivals)).ok()
            }
        }
    }

    /// On average, where sessions are due.
    fn messages_of_a_session(&self) -> f64 {
        self.per_connection.map_or(1.0, |(least, most)| least as f64 / 2.0 + most as f64 / 2.0)
    }

    /// The schedule as it runs, with its first rate in the warm-up.
    pub fn led(&self, schedule: &Schedule) -> Schedule {
        Schedule { profile: schedule.profile.after(self.warmup), spacing: schedule.spacing }
    }

    /// Mean over the measured time, or where messages end the run over their time.
    pub fn mean_rate(&self) -> Option<f64> {
        let led = self.led(self.schedule()?).profile;
        let warmup_s = self.warmup.as_secs_f64();
        let end_s = self.arrivals_end()?.as_secs_f64();
        Some((led.count_at(end_s) - led.count_at(warmup_s)) / (end_s - warmup_s))
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

    /// How each session with this target speaks; `smtputf8` says whether an address is not ASCII.
    pub fn settings(&self, target: &Target, smtputf8: bool) -> Settings {
        Settings {
            protocol: target.protocol,
            pipelining: self.pipelining,
            chunking: self.chunking,
            depth: self.depth,
            smtputf8,
            hello: self.hello,
            name: self.helo.as_bytes().into(),
            login: self.login.clone(),
        }
    }

    /// Messages of core `index`; `None` where time ends the run.
    pub fn messages_of(&self, index: usize) -> Option<u64> {
        match self.stop {
            Stop::Messages(messages) => Some(share(messages, self.cores(), index)),
            Stop::Duration(_) => None,
        }
    }

    /// Connections of core `index`. One without a message would only add a greeting.
    pub fn connections_of(&self, index: usize) -> usize {
        let connections = share(self.connections as u64, self.cores(), index);
        connections.min(self.messages_of(index).unwrap_or(u64::MAX)) as usize
    }

    /// Arrivals of the schedule over the whole run, warm-up and cool-down too; under Poisson their
    /// mean. `None` in a closed loop, and where messages end the run.
    pub fn due(&self) -> Option<f64> {
        Some(self.led(self.schedule()?).profile.count_at(self.last_start()?.as_secs_f64()))
    }

    /// Cores that have anything to do.
    pub fn cores(&self) -> usize {
        let most = match self.stop {
            Stop::Messages(messages) => messages.clamp(1, self.connections as u64) as usize,
            Stop::Duration(_) => self.connections,
        };
        self.cpus.len().min(most)
    }
}

/// The share of core `index` when `total` is dealt to `cores` cores as evenly as it goes.
pub fn share(total: u64, cores: usize, index: usize) -> u64 {
    let cores = cores as u64;
    total / cores + u64::from((index as u64) < total % cores)
}

#[cfg(test)]
mod tests {
    use super::super::schedule::{Leg, Profile, Spacing};
    use super::*;
    use crate::blast::content::spread::Spread;
    use crate::blast::content::template::Template;
    use crate::blast::content::{Bodies, Choice};
    use crate::engine::Address;
    use crate::limits::PATH_BYTES_MAX;

    fn content() -> Content {
        Content::plain(Spread::one(1024), "a@b.example", "c@d.example")
    }

    fn plan() -> Plan {
        Plan {
            targets: Targets::from(Target {
                protocol: Protocol::Smtp,
                url: "smtp+unix:/x".to_owned(),
                addresses: vec![Address::Unix("/x".into())],
            }),
            connections: 8,
            load: Load::Closed,
            stop: Stop::Messages(100),
            warmup: Duration::ZERO,
            cooldown: Duration::ZERO,
            drain: Duration::from_secs(10),
            think: None,
            content: content(),
            per_connection: None,
            pipelining: Pipelining::None,
            chunking: false,
            depth: 1,
            hello: Hello::Extended,
            helo: "e.example".to_owned(),
            login: None,
            cpus: vec![0, 1, 2],
            engine: EngineKind::Epoll,
            reach: Reach::default(),
            policy: ErrorPolicy::default(),
            misbehave: Misbehave::default(),
            trace: 0,
            out: None,
            fail_if: Conditions::default(),
            command: Vec::new(),
        }
    }

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        for (total, cores) in [(0, 1), (1, 3), (10, 3), (64, 7), (1_000_001, 16)] {
            let shares: Vec<u64> = (0..cores).map(|n| share(total, cores, n)).collect();
            assert_eq!(shares.iter().sum::<u64>(), total);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn a_sound_plan_passes_and_uses_no_idle_core() {
        plan().check().unwrap();
        assert_eq!(plan().cores(), 3);
        assert_eq!(Plan { connections: 2, ..plan() }.cores(), 2);
        assert_eq!(Plan { stop: Stop::Messages(1), ..plan() }.cores(), 1);
        let from = vec![Choice::literal("", "--from")];
        Plan { content: Content { from, ..content() }, ..plan() }.check().unwrap();
    }

    #[test]
    fn text_that_could_forge_commands_is_refused() {
        let error = |content| Plan { content, ..plan() }.check().unwrap_err().to_string();
        for bad in ["a@b\r\nRCPT TO:<x@y>", "a\nb", "a\0b"] {
            let to = vec![Choice::literal(bad, "--to")];
            let said = error(Content { to, ..content() });
            assert!(said.starts_with("--to holds a CR, LF or NUL"), "{said}");
        }
        for bad in ["X=1\r\nRSET", "X\n", "X\0", "X Y", ""] {
            let params = vec!["RET=FULL".to_owned(), bad.to_owned()];
            error(Content { mail_params: params.clone(), ..content() });
            error(Content { rcpt_params: params, ..content() });
        }
        for bad in ["Subject: a\r\nTo: b", "no colon", ": x", "a b: c", "\u{fc}: c"] {
            let headers = vec![Template::literal(bad.as_bytes())];
            assert!(error(Content { headers, ..content() }).contains("--header"), "{bad:?}");
        }
        assert!(Plan { helo: "b\u{fc}cher.example".to_owned(), ..plan() }.check().is_err());
        assert!(Plan { helo: String::new(), ..plan() }.check().is_err());
        assert!(Plan { helo: "x".repeat(PATH_BYTES_MAX + 1), ..plan() }.check().is_err());
    }

    #[test]
    fn a_pause_needs_a_session_and_a_cool_down_an_end() {
        let profile = Profile::constant(100.0).unwrap();
        let schedule = Schedule { profile, spacing: Spacing::Constant };
        let pause = Duration::from_millis(5);
        let think = Some(Think::Even { least: pause, most: pause });
        let open = Plan { think, load: Load::Messages(schedule.clone()), ..plan() };
        assert!(matches!(open.check(), Err(PlanError::ThinkWithRate)));
        Plan { load: Load::Sessions(schedule), ..open }.check().unwrap();
        Plan { think, ..plan() }.check().unwrap();
        let endless = Plan { cooldown: pause, ..plan() };
        assert!(matches!(endless.check(), Err(PlanError::CooldownWithoutEnd)));
        Plan { stop: Stop::Duration(pause), ..endless }.check().unwrap();
    }

    #[test]
    fn the_schedule_is_led_by_the_warm_up_and_its_mean_is_that_of_the_measured_time() {
        let second = Duration::from_secs(1);
        let ramp = Profile::of(vec![Leg { from: 100.0, to: 300.0, length: 4 * second }]).unwrap();
        let load = Load::Messages(Schedule { profile: ramp, spacing: Spacing::Constant });
        let (stop, warmup, cooldown) = (Stop::Duration(4 * second), 2 * second, second);
        let timed = Plan { load: load.clone(), stop, warmup, cooldown, ..plan() };
        assert_eq!(timed.mean_rate(), Some(200.0));
        assert_eq!(timed.arrivals_end(), Some(6 * second));
        assert_eq!(timed.last_start(), Some(7 * second));
        assert_eq!(timed.due(), Some(200.0 + 800.0 + 300.0));
        let counted = Plan { load, stop: Stop::Messages(1_100), ..plan() };
        assert_eq!((counted.arrivals_end(), counted.mean_rate()), (Some(5 * second), Some(220.0)));
        let Load::Messages(schedule) = counted.load.clone() else { unreachable!() };
        let (load, per_connection) = (Load::Sessions(schedule), Some((1, 3)));
        let sessions =
            Plan { load, stop: Stop::Messages(2_200), per_connection, ..counted.clone() };
        assert_eq!(
            (sessions.arrivals_end(), sessions.mean_rate()),
            (Some(5 * second), Some(220.0))
        );
        assert_eq!((plan().arrivals_end(), plan().mean_rate()), (None, None));
        assert_eq!((plan().due(), counted.due()), (None, None));
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let none = Plan { connections: 0, ..plan() }.check().unwrap_err();
        assert!(none.to_string().contains("--connections 0"), "{none}");
        let sizes = Bodies::Sizes(Spread::Even(10, 2000));
        let small = Plan { content: Content { bodies: sizes, ..content() }, ..plan() };
        let small = small.check().unwrap_err();
        assert!(small.to_string().contains("--size 10 is too small"), "{small}");
        let recipients = Spread::List(vec![(1, 1), (5_000, 1)]);
        let many = Plan { content: Content { recipients, ..content() }, ..plan() };
        let many = many.check().unwrap_err();
        assert!(many.to_string().contains("--recipients 5000"), "{many}");
        let deep = Plan { depth: 4, ..plan() }.check().unwrap_err();
        assert!(matches!(deep, PlanError::DepthWithoutChunking));
        let slow = Plan { depth: 4, chunking: true, ..plan() }.check().unwrap_err();
        assert!(matches!(slow, PlanError::DepthWithoutPipelining));
    }
}
