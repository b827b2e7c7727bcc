//! The figures of a run that a condition can be about.

use std::fmt;
use std::str::FromStr;

use super::bound::Unit;
use crate::human;
use crate::limits::samples_min;
use crate::measure::{ErrorKind, Misbehaviour, Phase};
use crate::run::delivery::DeliveryCounts;
use crate::run::{Latency, Run};

/// The figure that a condition is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Metric {
    Time(Time, Statistic),
    /// Messages that the server accepted.
    Accepted,
    /// Messages that were due and not accepted.
    Failed,
    /// Messages that it refused.
    Refused,
    /// Messages that got no answer or were never begun.
    Unanswered,
    /// All that went wrong: refused messages, and failures without a reply.
    Errors,
    /// Messages refused with 400 to 499.
    Errors4xx,
    /// Messages refused in any other way.
    Errors5xx,
    /// Failures without a reply, of one kind.
    ErrorsOf(ErrorKind),
    /// Accepted messages that were refused for some of their recipients.
    Partly,
    /// Recipients of all messages that were begun, and what became of them.
    RecipientsAsked,
    RecipientsAccepted,
    RecipientsRefused,
    Recipients4xx,
    Recipients5xx,
    /// Connections whose greeting the server did not finish.
    NeverGreeted,
    /// Replies of one code or class, in one phase or in all.
    Replies(Option<Phase>, Codes),
    /// Answers to misbehaving clients that no rule allows.
    Misbehaviour,
    /// What became of the deliveries behind the server.
    Delivery(DeliveryCount),
    /// Accepted messages a second.
    Rate,
    /// The generator's CPU time over the time its cores had.
    CpuBusy,
}

/// Which latency.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Time {
    /// Response time in an open loop, else service time.
    Headline,
    Response,
    Service,
    SendLag,
    OwnLag,
    /// From when a message was due to its delivery, and from the reply that accepted it.
    Delivery,
    Transit,
    Phase(Phase),
}

/// Which count of deliveries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeliveryCount {
    Delivered,
    Lost,
    Doubled,
    Altered,
    Reordered,
    Bounced,
    NotAccepted,
    Unknown,
    Rewritten,
}

impl DeliveryCount {
    const ALL: [(&'static str, Self); 9] = [
        ("delivered", Self::Delivered),
        ("lost", Self::Lost),
        ("doubled", Self::Doubled),
        ("altered", Self::Altered),
        ("reordered", Self::Reordered),
        ("bounced", Self::Bounced),
        ("delivered_not_accepted", Self::NotAccepted),
        ("unknown", Self::Unknown),
        ("rewritten", Self::Rewritten),
    ];

    const fn of(self, counts: &DeliveryCounts) -> u64 {
        match self {
            Self::Delivered => counts.delivered,
            Self::Lost => counts.lost,
            Self::Doubled => counts.doubled,
            Self::Altered => counts.altered,
            Self::Reordered => counts.reordered,
            Self::Bounced => counts.bounced,
            Self::NotAccepted => counts.delivered_not_accepted,
            Self::Unknown => counts.unknown,
            Self::Rewritten => counts.rewritten,
        }
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, count)| *count == self).map_or("", |(name, _)| name)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Statistic {
    P50,
    P75,
    P90,
    P95,
    P99,
    P999,
    P9999,
    Min,
    Mean,
    Max,
}

/// `451`, or `4xx` for all from 400 to 499.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Codes {
    One(u16),
    Class(u16),
}

impl Statistic {
    pub const ALL: [Self; 10] = [
        Self::P50,
        Self::P75,
        Self::P90,
        Self::P95,
        Self::P99,
        Self::P999,
        Self::P9999,
        Self::Min,
        Self::Mean,
        Self::Max,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P75 => "p75",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::P9999 => "p9999",
            Self::Min => "min",
            Self::Mean => "mean",
            Self::Max => "max",
        }
    }

    /// Also takes `p99.9` and `p99.99`, as reports write them.
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "p99.9" => Some(Self::P999),
            "p99.99" => Some(Self::P9999),
            _ => Self::ALL.into_iter().find(|statistic| statistic.name() == name),
        }
    }

    /// In nanoseconds; `None` where the samples do not carry it.
    pub fn of(self, latency: &Latency) -> Option<f64> {
        let ns = match self {
            Self::P50 => latency.p50,
            Self::P75 => latency.p75,
            Self::P90 => latency.p90,
            Self::P95 => latency.p95,
            Self::P99 => latency.p99,
            Self::P999 => latency.p999,
            Self::P9999 => latency.p9999,
            Self::Min => latency.min,
            Self::Max => latency.max,
            Self::Mean => return latency.mean,
        };
        ns.map(|ns| ns as f64)
    }

    /// Samples that it takes.
    fn samples_min(self) -> u64 {
        let quantile = match self {
            Self::P50 => 0.5,
            Self::P75 => 0.75,
            Self::P90 => 0.9,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
            Self::P9999 => 0.9999,
            Self::Min | Self::Mean | Self::Max => return 1,
        };
        samples_min(quantile)
    }
}

impl Time {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "response" => Some(Self::Response),
            "service" => Some(Self::Service),
            "send_lag" => Some(Self::SendLag),
            "own_lag" => Some(Self::OwnLag),
            "delivery" => Some(Self::Delivery),
            "transit" => Some(Self::Transit),
            _ => Phase::from_name(name).map(Self::Phase),
        }
    }

    /// Empty for the headline, which is written without a name.
    const fn name(self) -> &'static str {
        match self {
            Self::Headline => "",
            Self::Response => "response",
            Self::Service => "service",
            Self::SendLag => "send_lag",
            Self::OwnLag => "own_lag",
            Self::Delivery => "delivery",
            Self::Transit => "transit",
            Self::Phase(phase) => phase.name(),
        }
    }

    /// What the run measured, unless there is not a single sample.
    fn of(self, run: &Run) -> Option<&Latency> {
        let latency = match self {
            Self::Headline => Some(run.headline()),
            Self::Response => run.response_ns.as_ref(),
            Self::Service => Some(&run.service_ns),
            Self::SendLag => run.send_lag_ns.as_ref(),
            Self::OwnLag => run.own_lag_ns.as_ref(),
            Self::Delivery => run.delivery.as_ref().map(|of| &of.deliveries.delivery_ns),
            Self::Transit => run.delivery.as_ref().map(|of| &of.deliveries.transit_ns),
            Self::Phase(phase) => run.phases.get(&phase).map(|result| &result.latency_ns),
        };
        latency.filter(|latency| latency.count > 0)
    }

    /// The headline by its own name in this run.
    fn resolved(self, run: &Run) -> Self {
        match self {
            Self::Headline if run.response_ns.is_some() => Self::Response,
            Self::Headline => Self::Service,
            other => other,
        }
    }
}

/// The text is neither a reply code nor a class of reply codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoCodes;

impl FromStr for Codes {
    type Err = NoCodes;

    fn from_str(text: &str) -> Result<Self, NoCodes> {
        Self::from_text(text).ok_or(NoCodes)
    }
}

impl Codes {
    fn from_text(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().ok()?;
            return (2..=5).contains(&class).then_some(Self::Class(class));
        }
        let code: u16 = text.parse().ok()?;
        (200..600).contains(&code).then_some(Self::One(code))
    }

    pub const fn has(self, code: u16) -> bool {
        match self {
            Self::One(one) => one == code,
            Self::Class(class) => code / 100 == class,
        }
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(code) => write!(f, "{code}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

impl Metric {
    const COUNTS: [(&'static str, Self); 17] = [
        ("rate", Self::Rate),
        ("accepted", Self::Accepted),
        ("failed", Self::Failed),
        ("refused", Self::Refused),
        ("unanswered", Self::Unanswered),
        ("errors", Self::Errors),
        ("errors.4xx", Self::Errors4xx),
        ("errors.5xx", Self::Errors5xx),
        ("partly", Self::Partly),
        ("recipients.asked", Self::RecipientsAsked),
        ("recipients.accepted", Self::RecipientsAccepted),
        ("recipients.refused", Self::RecipientsRefused),
        ("recipients.4xx", Self::Recipients4xx),
        ("recipients.5xx", Self::Recipients5xx),
        ("never_greeted", Self::NeverGreeted),
        ("misbehaviour", Self::Misbehaviour),
        ("cpu_busy", Self::CpuBusy),
    ];

    /// All names that may be written, for a message and the manual.
    pub fn names() -> String {
        let join =
            |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(" ");
        format!(
            "{statistics}, alone or after response. service. send_lag. own_lag. or a phase ({phases}); \
             {counts}; for report delivery {deliveries}, and delivery. and transit. before a percentile; errors.KIND ({kinds}); replies.CODE and PHASE.replies.CODE, where CODE is \
             like 451 or 4xx",
            statistics = join(&mut Statistic::ALL.into_iter().map(Statistic::name)),
            phases = join(&mut Phase::ALL.into_iter().map(Phase::name)),
            counts = join(&mut Self::COUNTS.into_iter().map(|(name, _)| name)),
            deliveries = join(&mut DeliveryCount::ALL.into_iter().map(|(name, _)| name)),
            kinds = join(&mut ErrorKind::ALL.into_iter().map(ErrorKind::name)),
        )
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        if let Some(statistic) = Statistic::from_name(name) {
            return Some(Self::Time(Time::Headline, statistic));
        }
        if let Some((_, figure)) = Self::COUNTS.into_iter().find(|(known, _)| *known == name) {
            return Some(figure);
        }
        if let Some((_, count)) = DeliveryCount::ALL.into_iter().find(|(known, _)| *known == name) {
            return Some(Self::Delivery(count));
        }
        let (head, tail) = name.split_once('.')?;
        match head {
            "errors" => ErrorKind::from_name(tail).map(Self::ErrorsOf),
            "replies" => Codes::from_text(tail).map(|codes| Self::Replies(None, codes)),
            _ => match tail.strip_prefix("replies.") {
                Some(code) => {
                    Some(Self::Replies(Some(Phase::from_name(head)?), Codes::from_text(code)?))
                }
                None => Some(Self::Time(Time::from_name(head)?, Statistic::from_name(tail)?)),
            },
        }
    }

    /// Which bounds it may be compared with, in words, where `unit` is none of them.
    pub(super) fn refuses(self, unit: Unit) -> Option<&'static str> {
        if unit == Unit::Change {
            return None;
        }
        let (fits, takes) = match self {
            Self::Time(..) => (unit.is_time(), "is a time: write ns, us, ms or s after the number"),
            Self::Rate => {
                (unit.is_number(), "is messages a second: write a number, such as 5000 or 5k")
            }
            Self::CpuBusy => (unit == Unit::Percent, "is a share: write a number and %"),
            _ => (
                !unit.is_time(),
                "is a count: write a number such as 12 or 5k, or a share such as 0.1%",
            ),
        };
        (!fits).then_some(takes)
    }

    /// The figure in nanoseconds, per second, as a count, or in per cent of what was due where `unit` is
    /// that. `None` where there was nothing to measure; a count of 0 was measured.
    pub(super) fn measure(self, run: &Run, unit: Unit) -> Option<f64> {
        let messages = run.counts.messages();
        let asked = run.counts.recipients_asked;
        let refused = run.counts.messages_refused_4xx + run.messages_refused_5xx;
        let (count, whole) = match self {
            Self::Time(time, statistic) => return statistic.of(time.of(run)?),
            Self::Rate => {
                return run.rate_msg_s.filter(|_| run.counts.messages_ok > 0);
            }
            Self::CpuBusy => return run.cpu_busy.map(|busy| busy * 100.0),
            Self::Accepted => (run.counts.messages_ok, messages),
            Self::Failed => (run.counts.messages_failed, messages),
            Self::Refused => (refused, messages),
            Self::Unanswered => (run.counts.messages_unanswered, messages),
            Self::Errors => (refused + run.errors.values().sum::<u64>(), messages),
            Self::Errors4xx => (run.counts.messages_refused_4xx, messages),
            Self::Errors5xx => (run.messages_refused_5xx, messages),
            Self::ErrorsOf(kind) => (run.errors.get(&kind).copied().unwrap_or(0), messages),
            Self::Partly => (run.counts.messages_partly_ok, messages),
            Self::RecipientsAsked => (asked, asked),
            Self::RecipientsAccepted => (run.counts.recipients, asked),
            Self::RecipientsRefused => (run.counts.recipients_refused(), asked),
            Self::Recipients4xx => (run.counts.recipients_refused_4xx, asked),
            Self::Recipients5xx => (run.counts.recipients_refused_5xx, asked),
            Self::NeverGreeted => {
                (run.counts.connections_never_greeted, run.counts.connections_opened)
            }
            Self::Replies(phase, codes) => replies(run, phase, codes),
            Self::Delivery(count) => {
                let counts = &run.delivery.as_ref()?.deliveries.counts;
                (count.of(counts), counts.accepted)
            }
            Self::Misbehaviour => {
                let met = &run.misbehaviour;
                let sum = |of: fn(&Misbehaviour) -> u64| met.iter().map(of).sum::<u64>();
                (sum(|met| met.wrong), sum(|met| met.sessions))
            }
        };
        match unit {
            Unit::Percent if whole == 0 => None,
            // One division, which rounds as the number of the bound was rounded: 7 of 100 are 7 %.
            Unit::Percent => Some(count as f64 * 100.0 / whole as f64),
            _ => Some(count as f64),
        }
    }

    /// The least and the greatest sample of a time, and how many there are.
    pub(super) fn bounds(self, run: &Run) -> Option<(u64, u64, u64)> {
        let Self::Time(time, _) = self else { return None };
        let time = time.of(run)?;
        Some((time.min?, time.max?, time.count))
    }

    /// Why the run has no such figure, in words.
    pub(super) fn why_unknown(self, run: &Run) -> String {
        match self {
            Self::Time(time, statistic) if time.of(run).is_some() => {
                let count = time.of(run).map_or(0, |time| time.count);
                let few = if count == 1 { "is" } else { "are" };
                let samples = human::counted(statistic.samples_min(), "sample");
                format!("it takes {samples}, and there {few} {count}")
            }
            _ => "there was nothing to measure".to_owned(),
        }
    }

    /// With the headline by its own name in this run.
    pub(super) fn resolved(self, run: &Run) -> Self {
        match self {
            Self::Time(time, statistic) => Self::Time(time.resolved(run), statistic),
            other => other,
        }
    }
}

/// How many replies had such a code, and how many there were.
fn replies(run: &Run, phase: Option<Phase>, codes: Codes) -> (u64, u64) {
    let table = match phase {
        None => Some(&run.replies),
        Some(phase) => run.phases.get(&phase).map(|result| &result.replies),
    };
    let counts = || table.into_iter().flatten();
    let having = counts().filter(|(code, _)| codes.has(**code)).map(|(_, count)| count).sum();
    (having, counts().map(|(_, count)| count).sum())
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(Time::Headline, statistic) => f.write_str(statistic.name()),
            Self::Time(time, statistic) => write!(f, "{}.{}", time.name(), statistic.name()),
            Self::ErrorsOf(kind) => write!(f, "errors.{}", kind.name()),
            Self::Replies(None, codes) => write!(f, "replies.{codes}"),
            Self::Replies(Some(phase), codes) => write!(f, "{}.replies.{codes}", phase.name()),
            Self::Delivery(count) => f.write_str(count.name()),
            plain => {
                let named = Self::COUNTS.into_iter().find(|(_, figure)| figure == plain);
                f.write_str(named.map_or("", |(name, _)| name))
            }
        }
    }
}
