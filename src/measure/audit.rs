//! Whether the figures of a whole run add up: a message that is in one of them is in all that it belongs to.

use super::interval::Totals;
use super::kind::Phase;

impl Totals {
    /// Holds counts, times and parts against each other.
    ///
    /// # Errors
    /// What does not add up.
    pub fn audit(&self) -> Result<(), String> {
        let tally = &self.tally;
        let counts = &tally.counts;
        if !counts.add_up() {
            return Err(format!("a message is in two counts: {counts:?}"));
        }
        let silent = counts.messages_unanswered - counts.messages_not_begun;
        let timed = counts.messages_ok + silent;
        let refused = counts.messages_refused_4xx + counts.messages_refused_5xx();
        let begun = counts.messages_begun();
        let waited = counts.messages_ok + counts.messages_unanswered;
        let same = |what: &str, one: u64, other: u64| match one == other {
            true => Ok(()),
            false => Err(format!("{what}: {one} and {other}: {counts:?}")),
        };
        same("service times, and messages accepted or silent", tally.service_ns.len(), timed)?;
        same("times of refusals, and refused messages", tally.refused_ns.len(), refused)?;
        same("times of messages, and messages begun", tally.phase(Phase::Message).len(), begun)?;
        if let Some(open) = &tally.open {
            same("response times, and messages not refused", open.response_ns.len(), waited)?;
            same("send lags, and messages accepted or silent", open.send_lag_ns.len(), timed)?;
            same("own lags, and messages accepted or silent", open.own_lag_ns.len(), timed)?;
        }
        if !tally.targets.is_empty() {
            let of_targets = |of: fn(&super::Portion) -> u64| tally.targets.iter().map(of).sum();
            let ok = of_targets(|part| part.messages_ok);
            let failed = of_targets(|part| part.messages_failed);
            same("accepted by the targets, and by all", ok, counts.messages_ok)?;
            same("failed at the targets, and all that were begun", ok + failed, begun)?;
        }
        let answered = counts.recipients + counts.recipients_refused();
        match silent {
            0 => same("recipients with an answer, and asked", answered, counts.recipients_asked)?,
            _ if answered > counts.recipients_asked => {
                return Err(format!("more recipients were answered than asked: {counts:?}"));
            }
            _ => {}
        }
        let (opened, closed) = (counts.connections_opened, counts.connections_closed);
        same("connections opened, and closed", opened, closed)
    }
}
