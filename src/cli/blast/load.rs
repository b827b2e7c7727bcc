//! How much is sent when.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::blast::misbehave::Misbehave;
use crate::blast::plan::{CONNECTIONS_DEFAULT, DURATION_DEFAULT, Load, Plan, StopAfter};
use crate::blast::schedule::{Leg, Profile, ProfileError, Schedule, Spacing, Think};
use crate::cli::value;
use crate::limits::REPLY_S_MAX;

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(super) struct LoadArgs {
    /// Number of connections that may be open at the same time, such as 64 or 10k
    #[arg(short, long, value_name = "N", default_value_t = CONNECTIONS_DEFAULT, value_parser = value::at_least_one)]
    connections: usize,
    /// End after N messages, such as 500, 20k or 1.5M
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", value_parser = value::count)]
    messages: Option<u64>,
    /// Start no message after this time, which counts from the end of --warmup [default: the length of the
    /// rate, else 10s]
    #[arg(short = 'z', long, value_name = "DURATION", value_parser = value::span)]
    duration: Option<Duration>,
    /// Messages per second by the clock, whatever the server does (open loop): N, a ramp such as
    /// 1k..20k/60s, steps such as 1k,2k,5k:30s, or a list of both
    #[arg(short = 'q', long, value_name = "RATE", value_parser = rate)]
    rate: Option<Profile>,
    /// Sessions per second by the clock; each sends --per-connection messages one after the other
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with = "rate")]
    session_rate: Option<Profile>,
    /// How messages that are due are spread over time
    #[arg(long, value_enum, value_name = "SPREAD", default_value = "constant")]
    arrivals: ArrivalsArg,
    /// Pause between two messages of a session: DURATION, MIN..MAX or exp:MEAN
    #[arg(long, value_name = "DURATION", value_parser = think)]
    think: Option<Think>,
    /// Close a connection after this many messages and open a new one: N or MIN..MAX [default: no
    /// limit; 1 with --session-rate]
    #[arg(long, value_name = "N", value_parser = value::count_range)]
    per_connection: Option<(u64, u64)>,
    /// Add clients that break the rules: NAME, NAME:COUNT or NAME:SHARE% of the
    /// connections, with commas between them, as in slow:5%,drop-after-data:1%,smuggle
    ///
    /// Each comes again until the run ends. They do not log in, and no other figure includes them; the
    /// report shows what the server answered to each kind. The names are slow,
    /// never-read, long-line, long-text-line, oversize, oversize-body, many-recipients, rcpt-first,
    /// data-first, mail-twice, early-talk, pipeline, garbage, bare-lf, smuggle, idle, and drop-after-
    /// and reset-after- connect, banner, ehlo, mail, rcpt, data, body, dot, bdat; drop, reset and all
    /// name several at once
    #[arg(long, value_name = "LIST")]
    misbehave: Option<Misbehave>,
    /// Time at the start that is loaded but not counted; -n counts its messages
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "0s")]
    warmup: Duration,
    /// Time at the end that is loaded but not counted
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "0s")]
    cooldown: Duration,
    /// Time after the end for messages that were due and are not finished
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "10s")]
    drain: Duration,
    /// Time that the server gets for each reply, and for each send; then the connection is given up
    #[arg(long, value_name = "DURATION", value_parser = value::span, default_value = "60s")]
    reply_timeout: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ArrivalsArg {
    /// As evenly as possible
    Constant,
    /// Independent of one another, as the messages of many senders are
    Poisson,
}

impl ArrivalsArg {
    pub(super) fn spacing(self) -> Spacing {
        match self {
            Self::Constant => Spacing::Constant,
            Self::Poisson => Spacing::Poisson,
        }
    }
}

impl LoadArgs {
    /// What the steps of a sweep share; each has a rate of its own.
    pub(super) fn steps(
        connections: usize,
        settle: Duration,
        measure: Duration,
        drain: Duration,
    ) -> Self {
        Self {
            connections,
            messages: None,
            duration: Some(measure),
            rate: None,
            session_rate: None,
            arrivals: ArrivalsArg::Constant,
            think: None,
            per_connection: None,
            misbehave: None,
            warmup: settle,
            cooldown: Duration::ZERO,
            drain,
            reply_timeout: Duration::from_secs(REPLY_S_MAX),
        }
    }

    pub(super) fn put_into(self, plan: &mut Plan) {
        plan.load = self.load();
        plan.stop = self.stop();
        plan.connections = self.connections;
        plan.warmup = self.warmup;
        plan.cooldown = self.cooldown;
        plan.drain = self.drain;
        plan.reply_timeout = self.reply_timeout;
        plan.think = self.think;
        plan.per_connection = self.per_connection;
        plan.misbehave = self.misbehave.unwrap_or_default();
    }

    fn stop(&self) -> StopAfter {
        match self.messages {
            Some(messages) => StopAfter::Messages(messages),
            None => {
                StopAfter::Duration(self.duration.or(self.length()).unwrap_or(DURATION_DEFAULT))
            }
        }
    }

    fn load(&self) -> Load {
        let spacing = self.arrivals.spacing();
        let schedule = |profile: &Profile| Schedule { profile: profile.clone(), spacing };
        match (&self.rate, &self.session_rate) {
            (Some(rate), _) => Load::Messages(schedule(rate)),
            (None, Some(rate)) => Load::Sessions(schedule(rate)),
            (None, None) => Load::Closed,
        }
    }

    fn length(&self) -> Option<Duration> {
        self.rate.as_ref().or(self.session_rate.as_ref())?.length()
    }
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum RateError {
    #[error(
        "'{0}' is not a rate; write a number a second above zero such as 500 or 20k, a ramp such as 1k..20k/60s, \
         or steps such as 1k,2k,5k:30s"
    )]
    Syntax(String),
    #[error("'{0}' is a ramp without a length; write one after it, as in {0}/60s")]
    NoRampLength(String),
    #[error(
        "'{0}' has a step without a length; write one after it or after the last, as in 1k,2k:30s"
    )]
    NoLength(String),
    #[error("{0}")]
    Profile(#[from] ProfileError),
}

/// `N`, or stretches with commas: `N:LENGTH` and `FROM..TO/LENGTH`. Steps that name no length take
/// the next one that is named.
fn rate(text: &str) -> Result<Profile, RateError> {
    let syntax = || RateError::Syntax(text.to_owned());
    if let Some(rate) = value::number(text) {
        return Ok(Profile::constant(rate)?);
    }
    let mut legs = Vec::new();
    let mut length = None;
    for part in text.rsplit(',') {
        let (rates, named) = match part.rsplit_once(['/', ':']) {
            Some((rates, length)) => (rates, Some(value::span(length).map_err(|_| syntax())?)),
            None => (part, None),
        };
        let (from, to) = rates.split_once("..").unwrap_or((rates, rates));
        let (from, to) = value::number(from).zip(value::number(to)).ok_or_else(syntax)?;
        length = named.or(length);
        let length = length.ok_or_else(|| match part == text && from != to {
            true => RateError::NoRampLength(text.to_owned()),
            false => RateError::NoLength(text.to_owned()),
        })?;
        legs.push(Leg { from, to, length });
    }
    legs.reverse();
    Ok(Profile::of(legs)?)
}

/// One rate, above zero.
pub(super) fn rate_number(text: &str) -> Result<f64, String> {
    value::number(text).filter(|rate| *rate > 0.0).ok_or_else(|| {
        format!(
            "'{text}' is not a rate; write a number a second above zero, such as 500, 20k or 1.5M"
        )
    })
}

fn think(text: &str) -> Result<Think, value::ValueError> {
    if let Some(mean) = text.strip_prefix("exp:") {
        return Ok(Think::Exponential(value::span(mean)?));
    }
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (value::duration(least)?, value::span(most)?);
    match least <= most {
        true => Ok(Think::Even { least, most }),
        false => Err(value::ValueError::Duration(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        rate(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn rates_are_read_as_the_help_says() {
        let seconds = Duration::from_secs;
        assert_eq!(profile("20k"), Profile::constant(20_000.0).unwrap());
        assert_eq!(profile("0.5"), Profile::constant(0.5).unwrap());
        let ramp = Leg { from: 1e3, to: 2e4, length: seconds(60) };
        assert_eq!(profile("1k..20k/60s"), Profile::of(vec![ramp]).unwrap());
        let step = |rate| Leg::steady(rate, seconds(30));
        let steps = Profile::of(vec![step(1e3), step(2e3), step(5e3)]).unwrap();
        assert_eq!(profile("1k,2k,5k:30s"), steps);
        let mixed = vec![Leg::steady(1e3, seconds(5)), ramp, Leg::steady(2e4, seconds(90))];
        assert_eq!(profile("1k:5s,1k..20k/60s,20k:1m30s"), Profile::of(mixed).unwrap());
        for text in ["1000", "1k..20k/60s", "20:1.5s,0..7/2s"] {
            assert_eq!(profile(&profile(text).to_string()), profile(text));
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_way_out() {
        for (text, says) in [
            ("fast", "is not a rate"),
            ("-5", "is not a rate"),
            ("1k..2k", "as in 1k..2k/60s"),
            ("1k,2k", "without a length"),
            ("1k:0s", "is not a rate"),
            ("inf", "is not a rate"),
            ("0", "no load"),
            ("9999M", "must be from 0"),
            ("1k,,2k:3s", "is not a rate"),
            ("", "is not a rate"),
        ] {
            let error = rate(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn pauses_are_read_as_the_help_says() {
        let ms = Duration::from_millis;
        assert_eq!(think("20ms"), Ok(Think::Even { least: ms(20), most: ms(20) }));
        assert_eq!(think("0s..1s"), Ok(Think::Even { least: ms(0), most: ms(1_000) }));
        assert_eq!(think("exp:50ms"), Ok(Think::Exponential(ms(50))));
        for bad in ["", "soon", "2s..1s", "exp:0s", "exp:", "0s"] {
            assert!(think(bad).is_err(), "{bad}");
        }
    }
}
