//! Runs at random: each is a command line and a server, drawn from a seed.

use std::time::Duration;

use super::generator::{Disturbance, cores, has_cores, random, words};
use super::server::{Answer, Ask, Asked, good, say, sleep_until};

/// How the server treats its clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mood {
    Good,
    /// Takes so many microseconds for each message.
    Slow(u64),
    /// Answers this command (`.` for a message) with this code in one transaction of seven.
    Refuses(&'static str, u16),
    /// Closes without a word in place of the reply to one message of nine.
    Hangs,
    /// Says 421 and closes in place of the reply to one message of nine.
    Leaves,
    /// Never answers one message of fifteen, nor what follows on its connection.
    Mute,
    /// Greets one connection of three with 421.
    TurnsAway,
}

impl Mood {
    /// Whether no connection breaks, so that client and server see the same.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::Good | Self::Slow(_) | Self::Refuses(..))
    }

    pub(crate) fn answer(self, ask: Ask<'_>) -> Answer {
        let Ask { connection, transaction, what, .. } = ask;
        let is_message = matches!(what, Asked::Message { .. });
        // By arithmetic, so that it does not depend on which thread comes first.
        let mixed = (connection * 31 + transaction).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
        match self {
            Self::Slow(us) if is_message => {
                sleep_until(ask.at_ns + us * 1_000);
                good(ask)
            }
            Self::Refuses(verb, code) if ask.verb() == verb && mixed % 7 == 0 => {
                say(&format!("{code} {}.7.1 no", code / 100))
            }
            Self::Hangs if is_message && mixed % 9 == 0 => Answer::Hang,
            Self::Leaves if is_message && mixed % 9 == 0 => {
                Answer::Leave("421 4.3.2 enough".to_owned())
            }
            Self::Mute if is_message && mixed % 15 == 0 => Answer::Mute,
            Self::TurnsAway if matches!(what, Asked::Banner) && connection % 3 == 1 => {
                Answer::Leave("421 4.3.2 too many".to_owned())
            }
            _ => good(ask),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Load {
    Closed,
    Messages,
    Sessions,
}

/// One run: what it asks for, as numbers. Its command line follows from them.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) load: Load,
    /// Messages or sessions a second.
    pub(crate) rate: u64,
    pub(crate) poisson: bool,
    /// What ends it: a number of messages, or a time.
    pub(crate) messages: Option<u64>,
    pub(crate) length: Duration,
    pub(crate) warmup: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) per_connection: Option<(u64, u64)>,
    pub(crate) connections: u64,
    pub(crate) cores: usize,
    pub(crate) shape: &'static str,
    pub(crate) recipients: u64,
    pub(crate) policy: &'static str,
    pub(crate) io: &'static str,
    pub(crate) weights: Vec<u32>,
    pub(crate) mood: Mood,
    pub(crate) disturbance: Disturbance,
}

const SHAPES: [&str; 5] = [
    "--pipelining none",
    "--pipelining commands",
    "--pipelining full",
    "--chunking",
    "--chunking --depth 8",
];
const POLICIES: [&str; 8] = [
    "",
    "",
    "",
    "--max-errors 5",
    "--max-errors 5%",
    "--on-error stop",
    "--stop-on 452",
    "--reconnect backoff:1ms..20ms",
];
const MOODS: [Mood; 12] = [
    Mood::Good,
    Mood::Good,
    Mood::Slow(2_000),
    Mood::Slow(8_000),
    Mood::Refuses("MAIL", 452),
    Mood::Refuses("RCPT", 550),
    Mood::Refuses(".", 452),
    Mood::Refuses(".", 554),
    Mood::Hangs,
    Mood::Leaves,
    Mood::Mute,
    Mood::TurnsAway,
];

impl Case {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = random(seed);
        let ms = Duration::from_millis;
        let load = [Load::Closed, Load::Messages, Load::Sessions][random.usize(..3)];
        let messages = random.bool().then(|| random.u64(20..250));
        // A warm-up takes a part of the messages out of the figures, and so a part of the checks.
        let warmup = if random.u8(..3) == 0 { ms(random.u64(20..150)) } else { Duration::ZERO };
        let cools = messages.is_none() && random.u8(..3) == 0;
        let cooldown = if cools { ms(random.u64(20..150)) } else { Duration::ZERO };
        let per_connection = match (load, random.u8(..4)) {
            (Load::Sessions, 0) | (_, 1) => Some((1, 1)),
            (_, 2) => Some((3, 3)),
            (Load::Sessions, _) | (_, 3) => Some((1, 5)),
            _ => None,
        };
        let rate = match load {
            Load::Closed => 0,
            Load::Messages => random.u64(50..500),
            Load::Sessions => random.u64(20..150),
        };
        let two = has_cores(2) && random.bool();
        let targets = [1, 1, 2, 3][random.usize(..4)];
        // A connection that is never answered ends with the run, or else after minutes.
        let mood = match MOODS[random.usize(..MOODS.len())] {
            Mood::Mute if messages.is_some() => Mood::Good,
            mood => mood,
        };
        let weights = (0..targets).map(|_| random.u32(1..=3)).collect();
        let disturbance = match random.u8(..6) {
            0 => Disturbance::Stopped,
            1 => Disturbance::Slowed,
            _ => Disturbance::None,
        };
        Self {
            seed,
            load,
            rate,
            poisson: random.bool(),
            messages,
            length: ms(random.u64(100..400)),
            warmup,
            cooldown,
            per_connection,
            connections: random.u64(1..=8),
            cores: if two { 2 } else { 1 },
            shape: SHAPES[random.usize(..SHAPES.len())],
            recipients: random.u64(1..=3),
            policy: POLICIES[random.usize(..POLICIES.len())],
            io: if random.bool() { "epoll" } else { "auto" },
            weights,
            mood,
            disturbance,
        }
    }

    /// The command line, with its targets at `addresses`.
    pub(crate) fn arguments(&self, addresses: &[String]) -> Vec<String> {
        let mut text = format!(
            "-c {} --cores {} --io {} --seed {} --size 400..900 --recipients {} --drain {} {} {}",
            self.connections,
            cores(self.cores),
            self.io,
            self.seed,
            self.recipients,
            if self.mood == Mood::Mute { "0s" } else { "20s" },
            self.shape,
            self.policy,
        );
        let arrivals = if self.poisson { "poisson" } else { "constant" };
        match self.load {
            Load::Closed => {}
            Load::Messages => text += &format!(" --rate {} --arrivals {arrivals}", self.rate),
            Load::Sessions => {
                text += &format!(" --session-rate {} --arrivals {arrivals}", self.rate);
            }
        }
        match self.messages {
            Some(messages) => text += &format!(" -n {messages}"),
            None => text += &format!(" -z {}ms", self.length.as_millis()),
        }
        for (option, time) in [("warmup", self.warmup), ("cooldown", self.cooldown)] {
            if !time.is_zero() {
                text += &format!(" --{option} {}ms", time.as_millis());
            }
        }
        if let Some((least, most)) = self.per_connection {
            text += &format!(" --per-connection {least}..{most}");
        }
        for (weight, address) in self.weights.iter().zip(addresses) {
            text += &format!(" {weight}={address}");
        }
        words(&text)
    }

    /// Whether all that is sent is in the figures.
    pub(crate) fn measures_all(&self) -> bool {
        self.warmup.is_zero() && self.cooldown.is_zero()
    }
}
