//! Faults on demand: the rules of a sink, the number of each session, and how often each rule struck.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::rules::{FaultEvent, FaultRules, FaultStrike};

/// The rules of a sink, for all cores. It is there only where there are rules, so that nobody else pays.
#[derive(Clone, Debug)]
pub(super) struct FaultPlan(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rules: FaultRules,
    /// Sessions that were accepted: their numbers are the same on any number of cores.
    sessions: AtomicU64,
    /// How often each rule struck.
    hits: Box<[AtomicU64]>,
}

/// The faults of one session.
#[derive(Debug)]
pub(super) struct SessionFaults {
    plan: FaultPlan,
    number: u64,
}

/// How often a rule struck.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct FaultHits {
    /// In its short form.
    pub rule: String,
    pub hits: u64,
}

impl FaultPlan {
    pub(super) fn new(rules: FaultRules) -> Self {
        let hits = rules.rules().iter().map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Shared { rules, sessions: AtomicU64::new(0), hits }))
    }

    /// Gives the next session its number.
    pub(super) fn begin(&self) -> SessionFaults {
        SessionFaults { plan: self.clone(), number: self.0.sessions.fetch_add(1, Relaxed) }
    }

    pub(super) fn hits(&self) -> Vec<FaultHits> {
        let rules = self.0.rules.rules().iter().zip(&self.0.hits);
        let told = rules
            .map(|(rule, hits)| FaultHits { rule: rule.to_string(), hits: hits.load(Relaxed) });
        told.collect()
    }
}

impl SessionFaults {
    /// What happens at `event`. It counts as having happened.
    pub(super) fn strike(&self, event: FaultEvent) -> FaultStrike {
        let Shared { rules, hits, .. } = &*self.plan.0;
        let strike = rules.strike(event, self.number);
        for rule in &strike.rules {
            hits[*rule].fetch_add(1, Relaxed);
        }
        strike
    }
}
