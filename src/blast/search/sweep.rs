//! Latency under load: one step for each rate, from the slowest up.

use super::steps::{EarlyEnd, Observer, SearchError, StepRunner, Steps};
use crate::run::Verdict;
use crate::run::curve::{RateStep, knee};

/// Rates after which a sweep that doubles ends at the latest.
const DOUBLINGS_MAX: u32 = 20;
/// Steps in a row at which the rate is not kept, after which a sweep that doubles has seen enough.
const BEHIND_MAX: usize = 2;

/// Messages a second of the steps.
#[derive(Clone, Debug, PartialEq)]
pub enum Rates {
    /// These, from the lowest up, each once: the knee is looked for on the way up.
    Given(Vec<f64>),
    /// From `start` on twice as many each time and `most` at most, until two in a row are not kept.
    Doubling { start: f64, most: f64 },
}

impl Rates {
    fn rising(&self) -> Vec<f64> {
        match self {
            Self::Given(rates) => {
                let mut rates = rates.clone();
                rates.sort_by(f64::total_cmp);
                rates.dedup();
                rates
            }
            Self::Doubling { start, most } => {
                let doubled = (0..DOUBLINGS_MAX).map(|n| start * f64::from(1 << n));
                doubled.take_while(|rate| rate <= most).collect()
            }
        }
    }
}

/// What a sweep measured.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Whole steps, in the order in which they were run.
    pub steps: Vec<RateStep>,
    /// The last step, if it was cut short: it says nothing about its rate.
    pub cut_short: Option<RateStep>,
    /// What ended the sweep before its last rate, other than its caller.
    pub early: Option<EarlyEnd>,
}

impl Sweep {
    /// The last step before the curve bends; `None` if it bends before the first step.
    pub fn knee(&self) -> Option<&RateStep> {
        knee(&self.steps)
    }

    /// The verdict of the whole sweep: that of what ended it early; that of the generator, where it was the
    /// limit before the target was; and `target-limited` where no rate was kept.
    pub fn verdict(&self) -> Verdict {
        if let Some(early) = &self.early {
            return early.verdict();
        }
        match self.steps.iter().find(|step| !step.kept_up()) {
            Some(step) if step.limited() => Verdict::GeneratorLimited,
            Some(_) if !self.steps.iter().any(RateStep::kept_up) => Verdict::TargetLimited,
            _ => Verdict::Ok,
        }
    }

    /// Exit status of the sweep. That the highest rates were not kept is what it looks for; that none was
    /// kept is not.
    pub fn exit_code(&self) -> u8 {
        match self.verdict() {
            Verdict::TargetLimited => 1,
            verdict => verdict.exit_code(),
        }
    }
}

impl Steps<'_> {
    /// Runs the plan at each of `rates`.
    ///
    /// # Errors
    /// A step that cannot be run, a directory that cannot be written, a target that never works or cannot do
    /// what is asked. What ends a later step is part of the result.
    pub fn sweep(&self, rates: &Rates, see: &mut Observer<'_>) -> Result<Sweep, SearchError> {
        let mut runner = StepRunner::new(self, see);
        let doubles = matches!(rates, Rates::Doubling { .. });
        let mut behind = 0;
        for rate in rates.rising() {
            let Some(step) = runner.step(rate, None)? else { break };
            behind = if step.kept_up() { 0 } else { behind + 1 };
            if doubles && behind >= BEHIND_MAX {
                break;
            }
        }
        let StepRunner { done: mut steps, cut_short, early, .. } = runner;
        let cut_short = if cut_short { steps.pop() } else { None };
        Ok(Sweep { steps, cut_short, early })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_and_come_once() {
        assert_eq!(Rates::Given(vec![4e3, 1e3, 4e3]).rising(), [1e3, 4e3]);
        assert_eq!(
            Rates::Doubling { start: 500.0, most: 4_500.0 }.rising(),
            [500.0, 1e3, 2e3, 4e3]
        );
        assert_eq!(Rates::Doubling { start: 500.0, most: 100.0 }.rising(), [0.0; 0]);
        assert_eq!(
            Rates::Doubling { start: 1.0, most: 1e9 }.rising().len(),
            DOUBLINGS_MAX as usize
        );
    }
}
