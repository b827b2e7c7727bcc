//! Rules in their order, and what they come to at an event of a session.

use super::draw::fraction;
use super::fault::{FaultAction, FaultEvent, FaultRule};

/// All rules, and the seed that decides those with a probability.
#[derive(Clone, Debug)]
pub struct FaultRules {
    rules: Vec<FaultRule>,
    seed: u64,
}

/// What happens at an event.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FaultStrike {
    /// Milliseconds before anything else.
    pub delay_ms: u64,
    /// What happens in place of what should; `None`: nothing but the delay.
    pub action: Option<FaultAction>,
    /// The rules that it comes from, by their numbers.
    pub rules: Vec<usize>,
}

impl FaultRules {
    /// Rules in the order in which they are asked.
    pub fn new(rules: Vec<FaultRule>, seed: u64) -> Self {
        Self { rules, seed }
    }

    pub fn rules(&self) -> &[FaultRule] {
        &self.rules
    }

    /// What happens at `event` of the session with this number, counted from the first that was accepted. The first
    /// rule that fires ends the event; those before it that only delay add up.
    pub fn strike(&self, event: FaultEvent, session: u64) -> FaultStrike {
        let mut strike = FaultStrike::default();
        for (number, rule) in self.rules.iter().enumerate() {
            let fires = rule.event == event
                && fraction(self.seed, number as u64, session) < rule.probability;
            if !fires {
                continue;
            }
            strike.rules.push(number);
            match rule.action {
                FaultAction::Delay(ms) => strike.delay_ms = strike.delay_ms.saturating_add(ms),
                action => strike.action = Some(action),
            }
            if !rule.action.goes_on() {
                break;
            }
        }
        strike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(event: FaultEvent, action: FaultAction, probability: f64) -> FaultRule {
        FaultRule { event, action, probability }
    }

    #[test]
    fn delays_add_up_and_the_first_other_rule_ends_the_event() {
        let delay = FaultAction::Delay;
        let rules = [
            rule(FaultEvent::Handshake, delay(1), 1.0),
            rule(FaultEvent::StartTls, FaultAction::Silence, 1.0),
            rule(FaultEvent::Handshake, delay(2), 1.0),
            rule(FaultEvent::Handshake, FaultAction::Silence, 0.0),
            rule(FaultEvent::Handshake, FaultAction::Cut, 1.0),
            rule(FaultEvent::Handshake, delay(4), 1.0),
        ];
        let rules = FaultRules::new(rules.to_vec(), 0);
        let strike = rules.strike(FaultEvent::Handshake, 5);
        assert_eq!(strike.delay_ms, 3);
        assert_eq!((strike.action, strike.rules), (Some(FaultAction::Cut), vec![0, 2, 4]));
        assert_eq!(rules.strike(FaultEvent::Close, 5), FaultStrike::default());
    }

    #[test]
    fn a_share_of_the_sessions_is_struck_and_the_same_ones_again() {
        let struck = |seed, place| {
            let mut rules = vec![rule(FaultEvent::Ehlo, FaultAction::Cut, 0.0); place];
            rules.push(rule(FaultEvent::StartTls, FaultAction::RefuseStartTls, 0.1));
            let rules = FaultRules::new(rules, seed);
            let hit = |session: &u64| rules.strike(FaultEvent::StartTls, *session).action.is_some();
            (0..10_000).filter(hit).collect::<Vec<u64>>()
        };
        let first = struck(7, 0);
        assert_eq!(first, struck(7, 0));
        for other in [struck(8, 0), struck(7, 1)] {
            assert_ne!(first, other);
            // Four standard deviations of 1,000 of 10,000 are 120.
            assert!((880..=1_120).contains(&other.len()), "{}", other.len());
        }
    }
}
