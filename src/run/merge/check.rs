//! Which runs belong together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MergeError, measured};
use crate::measure::Mode;
use crate::run::plan::RunPlan;
use crate::run::result::Shard;

/// What may differ between two shards of one load.
const OF_ITS_OWN: [&str; 5] = ["command", "name", "note", "seed", "cores"];

pub(super) fn check(leaves: &[Shard], mixed: bool) -> Result<(), MergeError> {
    if let Some(leaf) = leaves.iter().find(|leaf| !leaf.run.counts.add_up()) {
        return Err(MergeError::Counts(leaf.name.clone()));
    }
    for (index, leaf) in leaves.iter().enumerate() {
        let same =
            |other: &&Shard| other.run.id == leaf.run.id && other.run.started == leaf.run.started;
        if let Some(twin) = leaves[index + 1..].iter().find(same) {
            return Err(MergeError::Twice(leaf.name.clone(), twin.name.clone()));
        }
    }
    let of = |mode| leaves.iter().find(|leaf| leaf.run.mode() == mode);
    if let (Some(open), Some(closed)) = (of(Mode::Open), of(Mode::Closed)) {
        let (open, closed) = (open.name.clone(), closed.name.clone());
        return Err(MergeError::Modes { open, closed });
    }
    if mixed { Ok(()) } else { plans(leaves).and_then(|()| times(leaves)) }
}

fn plans(leaves: &[Shard]) -> Result<(), MergeError> {
    let first = &leaves[0];
    for other in &leaves[1..] {
        let what: Vec<String> = differences(&first.run.plan, &other.run.plan)
            .into_iter()
            .filter(|difference| !OF_ITS_OWN.contains(&difference.field.as_str()))
            .map(|difference| difference.to_string())
            .collect();
        if !what.is_empty() {
            let (first, other) = (first.name.clone(), other.name.clone());
            return Err(MergeError::Plans { first, other, what: what.join(", ") });
        }
    }
    Ok(())
}

/// All must have a moment in common.
pub(super) fn times(leaves: &[Shard]) -> Result<(), MergeError> {
    let late = leaves.iter().max_by_key(|leaf| measured(&leaf.run).0);
    let early = leaves.iter().min_by_key(|leaf| measured(&leaf.run).1);
    match (early, late) {
        (Some(early), Some(late)) if measured(&early.run).1 < measured(&late.run).0 => {
            Err(MergeError::Apart { early: early.name.clone(), late: late.name.clone() })
        }
        _ => Ok(()),
    }
}

/// One field of two plans.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Difference {
    pub field: String,
    pub before: String,
    pub after: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} and {}", self.field, self.before, self.after)
    }
}

/// Where two plans differ, in the order of their fields' names.
pub fn differences(before: &RunPlan, after: &RunPlan) -> Vec<Difference> {
    let fields = |plan| match serde_json::to_value(plan) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(before), fields(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |plan: &serde_json::Map<String, Value>, name: &str| match plan.get(name) {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    names
        .into_iter()
        // `target` names several targets too.
        .filter(|name| *name != "targets")
        .map(|name| {
            let (before, after) = (of(&before, name), of(&after, name));
            Difference { field: name.clone(), before, after }
        })
        .filter(|difference| difference.before != difference.after)
        .collect()
}
