//! Runs of the same plan one after the other, each at its own rate.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::blast::error::BlastError;
use crate::blast::failure::Failure;
use crate::blast::plan::{Load, Plan};
use crate::blast::random::seed_of_step;
use crate::blast::runner::{Seen, run};
use crate::blast::schedule::{Profile, ProfileError, Schedule, Spacing};
use crate::blast::stop_request::StopRequest;
use crate::measure::{Phase, Snapshot};
use crate::run::curve::{RateStep, step_dir};
use crate::run::{Conditions, Stopped, Verdict};

/// What the steps of a sweep or a search have in common.
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    /// What each step runs, but for its load and its seed, which follows from that of the plan. Where it has a
    /// directory, each step puts its artefacts into one of its own below it: `step-01-500` is the first, at 500
    /// messages a second.
    pub plan: &'a Plan,
    /// How the messages of a step are spread over its time.
    pub spacing: Spacing,
    /// Once it is made, the step under way ends as a run does, and no other follows.
    pub stop: StopRequest,
}

/// What happens while steps run.
#[derive(Debug)]
pub enum StepEvent<'a> {
    /// A step goes on; a few times a second, with the time since it began.
    Running { rate: f64, elapsed: Duration, seen: Seen<'a>, totals: Snapshot },
    /// The artefacts of a step are in this directory.
    Written(&'a Path),
    /// A step has ended, and is not void.
    Done(&'a RateStep),
}

/// Hears of every [`StepEvent`]. `Break` ends the task: a step under way is cut short, and no other follows.
pub type Observer<'a> = dyn FnMut(StepEvent<'_>) -> ControlFlow<()> + 'a;

/// Why a sweep or a search has no result.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(transparent)]
    Rate(#[from] ProfileError),
    #[error(transparent)]
    Blast(#[from] BlastError),
    /// A target that never worked, or cannot do what is asked, will not work at another rate.
    #[error("{0}")]
    Failed(Failure),
}

/// What ended a sweep or a search before its last step, other than its caller.
#[derive(Clone, Debug)]
pub struct EarlyEnd {
    /// Messages a second that were due in the step that ended it.
    pub rate: f64,
    pub cause: EndCause,
}

/// Why a sweep or a search ended early.
#[derive(Clone, Debug)]
pub enum EndCause {
    /// One of the rules of [`ErrorPolicy`](crate::blast::policy::ErrorPolicy).
    Policy(Stopped),
    /// Somebody asked for the end, such as a signal, in the middle of a step.
    Asked(Stopped),
    /// A target that had worked went away.
    Gone(Failure),
    /// The step could not take place, or its artefacts could not be written as a whole. All figures that are
    /// told stand.
    Failed(Arc<BlastError>),
}

impl EarlyEnd {
    fn failed(rate: f64, error: BlastError) -> Self {
        Self { rate, cause: EndCause::Failed(Arc::new(error)) }
    }

    /// The verdict that follows from the cause.
    pub fn verdict(&self) -> Verdict {
        match self.cause {
            EndCause::Policy(_) | EndCause::Asked(_) => Verdict::Stopped,
            EndCause::Gone(_) => Verdict::Unreachable,
            // Nothing is wrong with what was measured.
            EndCause::Failed(_) => Verdict::Ok,
        }
    }
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(stopped) | Self::Asked(stopped) => stopped.fmt(f),
            Self::Gone(failure) => failure.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Steps that have run.
pub(super) struct StepRunner<'a, 'o> {
    steps: &'a Steps<'a>,
    see: &'a mut Observer<'o>,
    pub(super) done: Vec<RateStep>,
    /// Whether the last of `done` was cut short: it says nothing about its rate.
    pub(super) cut_short: bool,
    pub(super) early: Option<EarlyEnd>,
    /// The observer wants no more.
    enough: bool,
}

impl<'a, 'o> StepRunner<'a, 'o> {
    pub(super) fn new(steps: &'a Steps<'a>, see: &'a mut Observer<'o>) -> Self {
        Self { steps, see, done: Vec::new(), cut_short: false, early: None, enough: false }
    }

    /// Whether the caller has ended it.
    pub(super) fn stopped(&self) -> bool {
        self.enough || self.steps.stop.is_made()
    }

    /// One run at `rate`, held against `slo` where there is one; `None` where no step follows any more, or the
    /// step was cut short.
    pub(super) fn step(
        &mut self,
        rate: f64,
        slo: Option<&Conditions>,
    ) -> Result<Option<&RateStep>, SearchError> {
        assert!(!self.cut_short, "no step follows one that was cut short");
        if self.stopped() {
            if let Some((by, _)) = self.steps.stop.made()
                && self.early.is_none()
            {
                let text = "the step had not begun".to_owned();
                let (by, at_s, phase) = (by.to_owned(), 0.0, Phase::Message);
                let (target, code, error) = (None, None, None);
                let stopped = Stopped { by, at_s, target, phase, code, error, text };
                self.early = Some(EarlyEnd { rate, cause: EndCause::Asked(stopped) });
            }
            return Ok(None);
        }
        let plan = self.plan(rate)?;
        let stop = &self.steps.stop;
        let see = &mut *self.see;
        let outcome = run(&plan, stop.clone(), &mut |elapsed, seen, totals| {
            if see(StepEvent::Running { rate, elapsed, seen, totals }).is_break() {
                stop.make_silently();
            }
        });
        let outcome = match outcome {
            // What the steps before it measured is worth its curve.
            Err(error) if !self.done.is_empty() => {
                self.early = Some(EarlyEnd::failed(rate, error));
                return Ok(None);
            }
            outcome => outcome?,
        };
        // Told of a step that failed, too: the observer may want to remove what it wrote.
        let written = plan.out.as_deref().filter(|_| outcome.unwritten.is_none());
        self.enough = written.is_some_and(|dir| (self.see)(StepEvent::Written(dir)).is_break());
        let cause = match outcome.failure {
            Some(failure) if self.done.is_empty() || failure.is_unfit() => {
                return Err(SearchError::Failed(failure));
            }
            Some(failure) => Some(EndCause::Gone(failure)),
            None => outcome.run.stopped.clone().map(|stopped| match stop.made() {
                Some((by, _)) if by == stopped.by => EndCause::Asked(stopped),
                _ => EndCause::Policy(stopped),
            }),
        };
        let whole = !stop.is_made();
        let mut step = RateStep { asked: rate, run: outcome.run, kept: None };
        let decided = slo.filter(|_| whole && !step.limited());
        step.kept = decided.map(|slo| step.kept_up() && slo.met(&step.run));
        // What was measured is shown, whatever became of its files.
        self.enough |= (self.see)(StepEvent::Done(&step)).is_break();
        self.early = cause.map(|cause| EarlyEnd { rate, cause });
        if let Some(error) = outcome.unwritten {
            self.enough = true;
            self.early = Some(EarlyEnd::failed(rate, error.into()));
        }
        self.cut_short = !whole;
        self.done.push(step);
        Ok(self.done.last().filter(|_| whole))
    }

    fn plan(&self, rate: f64) -> Result<Plan, ProfileError> {
        let Steps { plan, spacing, .. } = self.steps;
        let schedule = Schedule { profile: Profile::constant(rate)?, spacing: *spacing };
        let number = self.done.len() + 1;
        let out = plan.out.as_ref().map(|dir| dir.join(step_dir(number, rate)));
        let mut step = Plan { load: Load::Messages(schedule), out, ..Plan::clone(plan) };
        step.content.seed = seed_of_step(plan.content.seed, number);
        Ok(step)
    }
}
