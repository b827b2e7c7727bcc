//! How many messages and sessions strayed from the grammar of SMTP, by kind.

use std::fmt;
use std::ops::AddAssign;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use super::counters::Count;
use crate::human::counted;
use crate::smtp::deviation::Deviations;

/// What a core, or all of them, counted. In JSON an object of the kinds that were seen, by name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DeviationCounts {
    /// In the order of [`Deviations::name`].
    kinds: [KindCount; Deviations::KINDS],
}

/// How often one kind was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KindCount {
    /// Messages answered with 250.
    pub messages: u64,
    /// Sessions, those without a message too.
    pub sessions: u64,
}

impl DeviationCounts {
    /// The kinds that were seen, by name.
    pub fn seen(&self) -> impl Iterator<Item = (&'static str, KindCount)> {
        let all = self.kinds.iter().enumerate();
        all.filter(|(_, count)| **count != KindCount::default())
            .map(|(kind, count)| (Deviations::name(kind), *count))
    }
}

impl AddAssign for DeviationCounts {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.kinds.iter_mut().zip(other.kinds) {
            sum.messages += more.messages;
            sum.sessions += more.sessions;
        }
    }
}

impl Serialize for DeviationCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, KindCount { messages, sessions }) in self.seen() {
            map.serialize_entry(name, &json!({ "messages": messages, "sessions": sessions }))?;
        }
        map.end()
    }
}

/// One line for each kind that was seen.
impl fmt::Display for DeviationCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, KindCount { messages, sessions })) in self.seen().enumerate() {
            let head = if place == 0 { "odd" } else { "" };
            let (messages, sessions) = (counted(messages, "message"), counted(sessions, "session"));
            writeln!(f, "{head:<8} {name}: {messages}, {sessions}")?;
        }
        Ok(())
    }
}

/// The cells of one core.
#[derive(Debug, Default)]
pub(super) struct DeviationCells {
    messages: [Count; Deviations::KINDS],
    sessions: [Count; Deviations::KINDS],
}

impl DeviationCells {
    pub(super) fn add_message(&self, seen: Deviations) {
        seen.kinds().for_each(|kind| self.messages[kind].add(1));
    }

    /// `seen` is what is new in a session.
    pub(super) fn add_session(&self, seen: Deviations) {
        seen.kinds().for_each(|kind| self.sessions[kind].add(1));
    }

    pub(super) fn read(&self) -> DeviationCounts {
        let count = |kind: usize| KindCount {
            messages: self.messages[kind].get(),
            sessions: self.sessions[kind].get(),
        };
        DeviationCounts { kinds: std::array::from_fn(count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_were_seen_are_told_by_name() {
        let cells = DeviationCells::default();
        assert_eq!(serde_json::to_string(&cells.read()).unwrap(), "{}");
        assert_eq!(cells.read().to_string(), "");
        cells.add_session(Deviations::HELLO_NOT_A_DOMAIN);
        cells.add_message(Deviations::HELLO_NOT_A_DOMAIN | Deviations::BARE_LF);
        let mut sum = cells.read();
        sum += cells.read();
        assert_eq!(
            serde_json::to_value(sum).unwrap(),
            json!({
                "hello-not-a-domain": { "messages": 2, "sessions": 2 },
                "bare-lf": { "messages": 2, "sessions": 0 },
            })
        );
        assert_eq!(
            cells.read().to_string(),
            "odd      hello-not-a-domain: 1 message, 1 session\n         bare-lf: 1 message, 0 sessions\n"
        );
    }
}
