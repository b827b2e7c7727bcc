//! A comparison as one JSON object.

use super::{Comparison, ComparisonRow, FigureKind};
use crate::run::Loaded;
use crate::run::compared::{Compared, ComparedCondition, ComparedFigure, ComparedRun, SCHEMA};

/// The object on one line; `names` say which run is which.
///
/// # Errors
/// A number that JSON cannot hold, which no figure is.
pub fn render(
    comparison: &Comparison,
    names: [&str; 2],
    runs: [&Loaded; 2],
) -> serde_json::Result<String> {
    let run = |index: usize| ComparedRun {
        name: names[index].to_owned(),
        started: runs[index].run.started.clone(),
        verdict: (!comparison.logs[index]).then_some(runs[index].run.verdict),
    };
    let Comparison { rows, differences, notes, thresholds, logs: _ } = comparison;
    let condition = |judged: &crate::run::Judged| ComparedCondition {
        judged: judged.clone(),
        fails: judged.fails(),
        noise: comparison.noise_of_condition(judged),
    };
    serde_json::to_string(&Compared {
        schema: SCHEMA,
        before: run(0),
        after: run(1),
        figures: rows.iter().map(figure).collect(),
        differences: differences.clone(),
        notes: notes.clone(),
        thresholds: thresholds.iter().map(condition).collect(),
    })
}

fn figure(row: &ComparisonRow) -> ComparedFigure {
    let unit = match row.kind {
        FigureKind::Rate | FigureKind::Asked => "1/s",
        FigureKind::Time => "ns",
        FigureKind::Share => "1",
    };
    ComparedFigure {
        name: row.name.clone(),
        unit: unit.to_owned(),
        before: row.before,
        after: row.after,
        change: row.change(),
        noise: row.noise,
    }
}
