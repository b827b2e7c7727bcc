//! The search for the highest rate at which a service level is kept.

use super::bisection::{Bisection, SearchOptions, Tried};
use super::steps::{EarlyEnd, Observer, SearchError, StepRunner, Steps};
use crate::run::curve::RateStep;
use crate::run::{Conditions, Verdict};

/// What a search found.
#[derive(Clone, Debug)]
pub struct FoundMax {
    /// In the order in which they were run. One that was cut short is the last, and its `kept` is `None`.
    pub steps: Vec<RateStep>,
    /// The highest rate that kept the level, and the lowest that missed it.
    pub low: Option<Tried>,
    pub high: Option<Tried>,
    /// Whether the two are as near as was asked, and more than half of the runs of the lower kept the level.
    pub settled: bool,
    /// The rate at which the generator was the limit. That ended the search: the target may do more.
    pub limited: Option<f64>,
    /// Whether the caller, or what `early` says, ended the search.
    pub broken_off: bool,
    pub early: Option<EarlyEnd>,
}

impl FoundMax {
    /// The verdict of the whole search.
    pub fn verdict(&self) -> Verdict {
        match (&self.early, self.limited, self.low, self.high) {
            (Some(early), ..) => early.verdict(),
            (None, Some(_), ..) => Verdict::GeneratorLimited,
            (None, None, None, Some(_)) => Verdict::ThresholdFailed,
            _ => Verdict::Ok,
        }
    }
}

impl Steps<'_> {
    /// Runs the plan at one rate after the other, as [`Bisection`] asks. A rate keeps the level where every
    /// condition of `slo` holds and the target kept up.
    ///
    /// # Errors
    /// As of [`Steps::sweep`].
    pub fn find_max(
        &self,
        slo: &Conditions,
        options: SearchOptions,
        see: &mut Observer<'_>,
    ) -> Result<FoundMax, SearchError> {
        let mut runner = StepRunner::new(self, see);
        let mut bisection = Bisection::new(options);
        let (mut excused, mut limited) = (0, None);
        while let Some(rate) = bisection.next() {
            let Some(step) = runner.step(rate, Some(slo))? else {
                bisection.end();
                break;
            };
            let kept = step.kept == Some(true);
            // What the generator limited says nothing about the target: it is neither kept nor missed.
            if !step.limited() {
                excused = 0;
                bisection.tell(kept);
            } else {
                excused += 1;
                if excused > options.repeats / 2 {
                    limited = Some(rate);
                    bisection.end();
                }
            }
        }
        let (low, high) = bisection.bracket();
        let (settled, broken_off) = (bisection.settled(), runner.stopped());
        let StepRunner { done: steps, early, .. } = runner;
        Ok(FoundMax { steps, low, high, settled, limited, broken_off, early })
    }
}
