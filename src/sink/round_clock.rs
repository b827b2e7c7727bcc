//! The time at which a round began. The clock is read as seldom as possible.
//!
//! A message needs the time at which its octets came, and the end of a message is always measured. Of the
//! other rounds, which hold a command or two, one in four is measured: otherwise the clock would be read
//! twice for each command, which costs more than some commands do.

use crate::host::unix_ns;

/// Rounds of commands of which one is measured.
const ROUNDS_PER_SAMPLE: u32 = 4;

/// The clock of one session's rounds.
#[derive(Debug)]
pub(super) struct RoundClock {
    /// Wall clock when the octets of this round were there, in Unix nanoseconds; `None`: not read.
    received_ns: Option<u64>,
    sampled: bool,
    /// State of a generator. A fixed pattern could fall in step with the rounds of a client.
    random: u32,
}

impl RoundClock {
    /// The connection was accepted just now: what is sent next is the greeting, and it is measured.
    pub(super) fn start() -> Self {
        let now = unix_ns();
        Self { received_ns: Some(now), sampled: true, random: now as u32 }
    }

    /// A round begins: octets have come. `content`: they are of a message, and may end it.
    pub(super) fn begin(&mut self, content: bool) {
        // The generator of Numerical Recipes; its upper bits are the good ones.
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.sampled = self.random < u32::MAX / ROUNDS_PER_SAMPLE;
        self.received_ns = (content || self.sampled).then(unix_ns);
    }

    /// When the octets of this round came. If the clock was not read then, it is read now.
    pub(super) fn received_ns(&mut self) -> u64 {
        *self.received_ns.get_or_insert_with(unix_ns)
    }

    /// What is sent next is not an answer to received octets: nothing is measured.
    pub(super) fn stop(&mut self) {
        self.received_ns = None;
    }

    /// How long this round has taken, if that is to be measured. `always`: a message ended in it.
    pub(super) fn elapsed_ns(&self, always: bool) -> Option<u64> {
        let received = self.received_ns.filter(|_| always || self.sampled)?;
        // The wall clock may be set back meanwhile.
        Some(unix_ns().saturating_sub(received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_of_a_regular_client_has_its_turn() {
        for rounds_per_message in 2..=8 {
            let mut clock = RoundClock::start();
            let mut measured = vec![0; rounds_per_message];
            for round in 0..8_000 {
                clock.begin(false);
                measured[round % rounds_per_message] +=
                    i32::from(clock.elapsed_ns(false).is_some());
            }
            let expected = 8_000 / rounds_per_message as i32 / 4;
            for times in measured {
                assert!((times - expected).abs() < expected / 3, "{times}, not {expected}");
            }
        }
    }

    #[test]
    fn the_end_of_a_message_is_always_measured() {
        let mut clock = RoundClock::start();
        for content in [false, true].repeat(50) {
            clock.begin(content);
            assert!(clock.received_ns() > 0);
            assert!(clock.elapsed_ns(true).is_some());
        }
    }
}
