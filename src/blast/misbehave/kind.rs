//! The ways to misbehave, by name, and what the RFCs let a server answer to each.

use std::fmt;
use std::str::FromStr;

/// One way to misbehave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MisbehaviourKind {
    /// The body of a message, an octet at a time.
    Slow,
    /// Goes away at a stage of the dialogue.
    Leave(DialogueStage, Farewell),
    /// Sends commands and takes no reply.
    NeverRead,
    LongLine,
    LongTextLine,
    /// A SIZE beyond the limit.
    Oversize,
    /// A message beyond the limit that says nothing about its size.
    OversizeBody,
    ManyRecipients,
    RcptFirst,
    DataFirst,
    MailTwice,
    /// Speaks before the greeting.
    EarlyTalk,
    /// A whole envelope in one write, after an EHLO that is not answered yet.
    Pipeline,
    /// Octets that are no text, NUL among them.
    Garbage,
    /// A command that ends with LF instead of CRLF.
    BareLf,
    /// A message with octets that look like an end of data, and a transaction after them.
    Smuggle,
    /// Sends nothing more after the greeting.
    Idle,
}

/// How far a session goes before it leaves.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum DialogueStage {
    Connect,
    Banner,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    /// Half of the message is sent.
    Body,
    /// The whole message is sent, and the reply to it is not read.
    Dot,
    /// Half of a BDAT chunk is sent.
    Bdat,
}

/// How a client leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Farewell {
    Fin,
    Reset,
}

const STAGES: [(DialogueStage, &str); 9] = [
    (DialogueStage::Connect, "connect"),
    (DialogueStage::Banner, "banner"),
    (DialogueStage::Ehlo, "ehlo"),
    (DialogueStage::Mail, "mail"),
    (DialogueStage::Rcpt, "rcpt"),
    (DialogueStage::Data, "data"),
    (DialogueStage::Body, "body"),
    (DialogueStage::Dot, "dot"),
    (DialogueStage::Bdat, "bdat"),
];

const OTHERS: [(MisbehaviourKind, &str); 16] = [
    (MisbehaviourKind::Slow, "slow"),
    (MisbehaviourKind::NeverRead, "never-read"),
    (MisbehaviourKind::LongLine, "long-line"),
    (MisbehaviourKind::LongTextLine, "long-text-line"),
    (MisbehaviourKind::Oversize, "oversize"),
    (MisbehaviourKind::OversizeBody, "oversize-body"),
    (MisbehaviourKind::ManyRecipients, "many-recipients"),
    (MisbehaviourKind::RcptFirst, "rcpt-first"),
    (MisbehaviourKind::DataFirst, "data-first"),
    (MisbehaviourKind::MailTwice, "mail-twice"),
    (MisbehaviourKind::EarlyTalk, "early-talk"),
    (MisbehaviourKind::Pipeline, "pipeline"),
    (MisbehaviourKind::Garbage, "garbage"),
    (MisbehaviourKind::BareLf, "bare-lf"),
    (MisbehaviourKind::Smuggle, "smuggle"),
    (MisbehaviourKind::Idle, "idle"),
];

/// What a server may answer. 421 and the end of the connection are always allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Allowed {
    /// Any reply, and no reply.
    Anything,
    /// Any reply.
    Reply,
    /// A reply from 400 on.
    Refusal,
    /// Anything but a 2xx.
    NoSuccess,
}

impl MisbehaviourKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        let leave =
            |farewell| STAGES.into_iter().map(move |(stage, _)| Self::Leave(stage, farewell));
        let others = OTHERS.into_iter().map(|(kind, _)| kind);
        others.chain(leave(Farewell::Fin)).chain(leave(Farewell::Reset))
    }

    pub(super) fn allowed(self) -> Allowed {
        match self {
            Self::Leave(DialogueStage::Data | DialogueStage::Body | DialogueStage::Bdat, _) => {
                Allowed::NoSuccess
            }
            Self::NeverRead | Self::Idle | Self::Leave(..) => Allowed::Anything,
            Self::Oversize
            | Self::RcptFirst
            | Self::DataFirst
            | Self::MailTwice
            | Self::OversizeBody
            | Self::Garbage => Allowed::Refusal,
            _ => Allowed::Reply,
        }
    }

    /// What the server may answer besides 421 and the end of the connection, and which RFC says so.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Slow => "any reply; minutes are allowed for a piece (RFC 5321 §4.5.3.2.5)",
            Self::Leave(DialogueStage::Data | DialogueStage::Body | DialogueStage::Bdat, _) => {
                "no 2xx: what is not complete is cancelled (RFC 5321 §4.1.1.10)"
            }
            Self::Leave(..) => "anything; the client is gone and reads no reply",
            Self::NeverRead => "anything, also silence; RFC 5321 has no rule",
            Self::LongLine => "any reply, such as 500 (RFC 5321 §4.5.3.1.4)",
            Self::LongTextLine => "any reply, such as 500 (RFC 5321 §4.5.3.1.6)",
            Self::Oversize => "4xx or 5xx, such as 552 (RFC 1870 §6.1)",
            Self::OversizeBody => "4xx or 5xx, such as 552 (RFC 1870 §6.3)",
            Self::ManyRecipients => {
                "the first hundred are taken, then any reply (RFC 5321 §4.5.3.1.8)"
            }
            Self::RcptFirst | Self::DataFirst | Self::MailTwice => {
                "503 or another refusal (RFC 5321 §4.1.4)"
            }
            Self::EarlyTalk => "any reply, such as 554 (RFC 5321 §3.1)",
            Self::Pipeline => "any reply (RFC 2920 §3.1 binds the client)",
            Self::Garbage => "4xx or 5xx, such as 500 (RFC 5321 §4.2.4)",
            Self::BareLf => "one reply: a LF alone ends no line (RFC 5321 §2.3.8)",
            Self::Smuggle => "one reply: only CRLF.CRLF ends a message (RFC 5321 §4.1.1.4)",
            Self::Idle => "anything; 421 after five minutes (RFC 5321 §4.5.3.2.7)",
        }
    }
}

impl fmt::Display for MisbehaviourKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Leave(stage, farewell) = self {
            let lead = if *farewell == Farewell::Fin { "drop" } else { "reset" };
            let name = STAGES.iter().find(|(known, _)| known == stage).map_or("", |(_, name)| name);
            return write!(f, "{lead}-after-{name}");
        }
        f.write_str(OTHERS.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name))
    }
}

/// How many connections misbehave in one way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ConnectionCount {
    Connections(usize),
    /// In per cent of the connections that keep to the rules.
    Percent(f64),
}

/// Which connections misbehave, beside those that do not: `slow:5%,drop-after-data,smuggle:4`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Misbehave {
    items: Vec<(MisbehaviourKind, ConnectionCount)>,
    /// As the user gave it.
    text: String,
}

/// Why a list of misbehaviours is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MisbehaveError {
    #[error(
        "'{0}' is no misbehaviour; there are {names}, and drop, reset and all for several at once",
        names = names()
    )]
    Unknown(String),
    #[error(
        "'{0}' is no number of connections; write NAME, NAME:COUNT or NAME:SHARE%, as in slow:5%"
    )]
    Count(String),
    #[error("{0} is named twice")]
    Twice(String),
}

fn names() -> String {
    MisbehaviourKind::all().map(|kind| kind.to_string()).collect::<Vec<_>>().join(" ")
}

impl Misbehave {
    /// Whether no connection misbehaves.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many connections misbehave in which way beside `good` connections. A share is rounded up.
    pub fn clients(&self, good: usize) -> impl Iterator<Item = (MisbehaviourKind, usize)> {
        self.items.iter().map(move |&(kind, many)| match many {
            ConnectionCount::Connections(count) => (kind, count),
            ConnectionCount::Percent(percent) => {
                (kind, (good as f64 * percent / 100.0).ceil() as usize)
            }
        })
    }

    /// How many connections misbehave beside `good` connections.
    pub fn connections(&self, good: usize) -> usize {
        self.clients(good).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Misbehave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Misbehave {
    type Err = MisbehaveError;

    fn from_str(text: &str) -> Result<Self, MisbehaveError> {
        let mut items: Vec<(MisbehaviourKind, ConnectionCount)> = Vec::new();
        for item in text.split(',') {
            let (name, many) = item.split_once(':').unwrap_or((item, "1"));
            let many = count_of(many).ok_or_else(|| MisbehaveError::Count(item.to_owned()))?;
            for kind in kinds(name) {
                if items.iter().any(|(other, _)| *other == kind) {
                    return Err(MisbehaveError::Twice(kind.to_string()));
                }
                items.push((kind, many));
            }
            if kinds(name).next().is_none() {
                return Err(MisbehaveError::Unknown(name.to_owned()));
            }
        }
        Ok(Self { items, text: text.to_owned() })
    }
}

/// The kinds that a name stands for.
fn kinds(name: &str) -> impl Iterator<Item = MisbehaviourKind> {
    MisbehaviourKind::all().filter(move |kind| match name {
        "all" => true,
        "drop" => matches!(kind, MisbehaviourKind::Leave(_, Farewell::Fin)),
        "reset" => matches!(kind, MisbehaviourKind::Leave(_, Farewell::Reset)),
        name => kind.to_string() == name,
    })
}

fn count_of(text: &str) -> Option<ConnectionCount> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.parse().ok().filter(|p: &f64| *p > 0.0 && p.is_finite())?;
        return Some(ConnectionCount::Percent(percent));
    }
    text.parse().ok().filter(|count| *count > 0).map(ConnectionCount::Connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(text: &str, good: usize) -> Vec<(String, usize)> {
        let parsed: Misbehave = text.parse().unwrap();
        parsed.clients(good).map(|(kind, count)| (kind.to_string(), count)).collect()
    }

    #[test]
    fn lists_name_kinds_and_connections() {
        let named = |name: &str, count| (name.to_owned(), count);
        assert_eq!(
            clients("slow:5%,drop-after-data:1%,smuggle:4,idle", 64),
            [named("slow", 4), named("drop-after-data", 1), named("smuggle", 4), named("idle", 1)]
        );
        assert_eq!(clients("drop", 1).len(), 9);
        assert_eq!(clients("all:2", 1).len(), MisbehaviourKind::all().count());
        for (text, says) in [
            ("", "'' is no misbehaviour"),
            ("quick", "drop-after-data"),
            ("slow:0", "is no number of connections"),
            ("slow:-1%", "is no number of connections"),
            ("slow:", "is no number of connections"),
            ("drop,drop-after-data", "drop-after-data is named twice"),
        ] {
            let error = text.parse::<Misbehave>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let mut names: Vec<String> = MisbehaviourKind::all().map(|kind| kind.to_string()).collect();
        assert!(names.iter().all(|name| !name.is_empty()));
        for name in &names {
            assert_eq!(kinds(name).count(), 1, "{name}");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 34);
    }
}
