//! Whether a run did what was asked: the one rule of a run, of the steps of a sweep and of a search.

use super::result::Run;
use super::verdict::is_backlog;
use crate::measure::Counters;

/// Per cent of what was due that must be accepted in time for a rate to count as kept.
pub const RATE_KEPT_PERCENT: u64 = 95;

impl Run {
    /// Whether the run did what was asked: of what was due, 95 % was accepted, and in time. What still
    /// waited to be begun when the measured time ended was not in time, unless it had waited for no
    /// longer than any short stall lets it.
    pub fn kept(&self) -> bool {
        let Counters { messages_ok, .. } = self.counts;
        let due = self.counts.messages();
        let late = match is_backlog(self.behind_ns, (self.elapsed_s * 1e9) as u64) {
            true => self.behind_messages,
            false => 0,
        };
        let in_time = messages_ok.min(due.saturating_sub(late));
        let share = |part: u64, percent: u64| u128::from(part) * u128::from(percent);
        in_time > 0 && share(in_time, 100) >= share(due, RATE_KEPT_PERCENT)
    }

    /// Exit status of the generator; where several hold, 3 goes before 4, and 4 before 1.
    pub fn exit_code(&self) -> u8 {
        match self.verdict.exit_code() {
            0 if !self.kept() => 1,
            code => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Verdict;

    /// A run of which so many of 100 messages were accepted.
    fn accepted(messages_ok: u64, behind: (u64, u64)) -> Run {
        let counts =
            Counters { messages_ok, messages_failed: 100 - messages_ok, ..Counters::default() };
        let (behind_messages, behind_ns) = behind;
        Run { counts, behind_messages, behind_ns, elapsed_s: 1.0, ..Run::default() }
    }

    #[test]
    fn a_rate_is_kept_by_what_was_due_and_in_time() {
        assert!(accepted(95, (0, 0)).kept() && !accepted(94, (0, 0)).kept());
        assert!(!accepted(0, (0, 0)).kept() && !Run::default().kept(), "nothing is never enough");
        assert!(!accepted(100, (6, 200_000_000)).kept(), "what waited at the end was late");
        assert!(accepted(100, (5, 200_000_000)).kept());
        assert!(accepted(100, (50, 50_000_000)).kept(), "a short stall is no backlog");
    }

    #[test]
    fn where_several_exit_codes_hold_the_first_of_the_table_is_taken() {
        for (verdict, ok, code) in [
            (Verdict::Ok, 100, 0),
            (Verdict::Failures, 95, 0),
            (Verdict::Failures, 94, 1),
            (Verdict::TargetLimited, 32, 1),
            (Verdict::ThresholdFailed, 100, 1),
            (Verdict::Stopped, 100, 1),
            (Verdict::Unreachable, 0, 3),
            (Verdict::GeneratorLimited, 0, 4),
        ] {
            let run = Run { verdict, ..accepted(ok, (0, 0)) };
            assert_eq!(run.exit_code(), code, "{verdict:?} {ok}");
        }
        let mut run = Run { verdict: Verdict::GeneratorLimited, ..accepted(100, (0, 0)) };
        run.fail_if(&"accepted>0".parse().unwrap());
        assert_eq!((run.verdict, run.exit_code()), (Verdict::GeneratorLimited, 4));
        assert!(run.verdict_reasons.iter().any(|reason| reason.starts_with("accepted>0")));
    }
}
