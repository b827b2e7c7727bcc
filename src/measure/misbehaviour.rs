//! How sessions that broke the rules on purpose were answered; no other figure counts them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One way to misbehave, and how the server answered it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Misbehaviour {
    /// As `--misbehave` names it: `drop-after-data`, `smuggle`.
    pub name: String,
    /// Connections that misbehaved in this way, each with one session after another.
    pub connections: u64,
    /// Sessions that reached their misbehaviour; the counts up to `left` add up to this one.
    pub sessions: u64,
    /// Answers to the misbehaviour, by reply code.
    pub replies: BTreeMap<u16, u64>,
    /// The server closed the connection in good order.
    pub closed: u64,
    /// The server reset the connection.
    pub reset: u64,
    /// The server sent octets that are not a reply.
    pub garbled: u64,
    /// The server did not answer in time.
    pub silent: u64,
    /// The client went away without asking for an answer.
    pub left: u64,
    /// Sessions that did not reach their misbehaviour: no connection, or refused earlier.
    pub prevented: u64,
    /// Sessions that could not misbehave, because the server does not offer the extension it needs.
    pub not_offered: u64,
    /// Sessions that were under way when the run ended.
    pub unfinished: u64,
    /// Sessions whose answer the rule does not allow.
    pub wrong: u64,
    /// Which answers are allowed, and why.
    pub rule: String,
    /// What was sent where the answer was wrong; only of ways whose sessions differ from each other.
    pub examples: Vec<String>,
}

impl Misbehaviour {
    /// Adds the same way of another run.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.sessions += other.sessions;
        for (&code, count) in &other.replies {
            *self.replies.entry(code).or_default() += count;
        }
        self.closed += other.closed;
        self.reset += other.reset;
        self.garbled += other.garbled;
        self.silent += other.silent;
        self.left += other.left;
        self.prevented += other.prevented;
        self.not_offered += other.not_offered;
        self.unfinished += other.unfinished;
        self.wrong += other.wrong;
        other.examples.iter().for_each(|example| self.show(example));
    }

    /// Keeps an example: a few at most, sorted, so that the order of runs does not matter.
    pub fn show(&mut self, example: &str) {
        if let Err(at) = self.examples.binary_search_by(|kept| kept.as_str().cmp(example)) {
            self.examples.insert(at, example.to_owned());
            self.examples.truncate(crate::limits::MISBEHAVIOUR_EXAMPLES_MAX);
        }
    }
}

/// Adds up the ways of several runs, by name.
pub fn sum<'a>(all: impl Iterator<Item = &'a Misbehaviour>) -> Vec<Misbehaviour> {
    let mut sums: BTreeMap<&str, Misbehaviour> = BTreeMap::new();
    for one in all {
        match sums.get_mut(one.name.as_str()) {
            Some(sum) => sum.add(one),
            None => drop(sums.insert(&one.name, one.clone())),
        }
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_by_name_and_do_not_depend_on_the_order() {
        let one = |name: &str, code, example: &str| Misbehaviour {
            name: name.to_owned(),
            sessions: 2,
            replies: BTreeMap::from([(code, 2)]),
            examples: vec![example.to_owned()],
            ..Misbehaviour::default()
        };
        let all = [one("smuggle", 250, "b"), one("idle", 421, "c"), one("smuggle", 550, "a")];
        let forth = sum(all.iter());
        assert_eq!(forth, sum(all.iter().rev()));
        assert_eq!(forth[1].replies, BTreeMap::from([(250, 2), (550, 2)]));
        assert_eq!(
            (forth[1].sessions, &*forth[1].examples),
            (4, &["a", "b"].map(str::to_owned)[..])
        );
    }
}
