//! A comparison for a terminal.

use std::fmt::Write as _;

use super::{
    Comparison, ComparisonRow, FigureKind, NOISE_NOTES, Noise, Trend, UNKNOWN, identity, plot,
};
use crate::report::colour::Colour;
use crate::report::human;
use crate::run::Loaded;

/// The whole comparison; `names` say which run is which.
pub fn render(
    comparison: &Comparison,
    names: [&str; 2],
    runs: [&Loaded; 2],
    colour: Colour,
) -> String {
    let mut out = String::new();
    for (sign, (name, loaded)) in ["A", "B"].iter().zip(names.iter().zip(runs)) {
        let _ = writeln!(out, "{sign}  {}  {}", colour.bold(name), identity(loaded));
    }
    out.push('\n');
    for note in &comparison.notes {
        let _ = writeln!(out, "  {note}\n");
    }
    table(&mut out, comparison, colour);
    out.push('\n');
    for note in NOISE_NOTES {
        let _ = writeln!(out, "  {note}");
    }
    out.push('\n');
    if let [Some(a), Some(b)] = runs.map(|run| run.headline.as_ref())
        && !a.is_empty()
        && !b.is_empty()
        && runs[0].is_like(runs[1])
    {
        for line in plot::lines(a, b) {
            let _ = writeln!(out, "  {}", line.trim_end());
        }
        out.push('\n');
    }
    for difference in &comparison.differences {
        let (before, after) = (&difference.before, &difference.after);
        let _ = writeln!(out, "  differs: {:<16} {before}  →  {after}", difference.field);
    }
    if comparison.differences.is_empty() && comparison.foreign == [false; 2] {
        out.push_str("  same plan, machine and version\n");
    }
    for judged in &comparison.thresholds {
        let outcome = if judged.fails() { "failed" } else { "passed" };
        let _ = writeln!(out, "  fail if  {judged}, {outcome}");
    }
    out
}

fn table(out: &mut String, comparison: &Comparison, colour: Colour) {
    let head = format!("  {:<28}{:>12}{:>12}{:>12}", "", "A", "B", "change");
    let _ = writeln!(out, "{}", colour.dim(&head));
    let none = comparison.foreign.map(|foreign| if foreign { UNKNOWN } else { "-" });
    for row in &comparison.rows {
        let cell = |value: Option<f64>, none: &str| {
            value.map_or_else(|| none.to_owned(), |v| value_text(row.kind, v))
        };
        let line = format!(
            "  {:<28}{:>12}{:>12}{:>12} {}",
            row.name,
            cell(row.before, none[0]),
            cell(row.after, none[1]),
            change_text(row),
            noise_sign(row.noise),
        );
        let line = match row.trend() {
            Trend::Better => colour.good(line.trim_end()),
            Trend::Worse => colour.bad(line.trim_end()),
            Trend::Level => line.trim_end().to_owned(),
        };
        let _ = writeln!(out, "{line}");
    }
}

pub(super) fn value_text(kind: FigureKind, value: f64) -> String {
    match kind {
        FigureKind::Rate => human::rate(value),
        FigureKind::Time => human::latency(value.round() as u64),
        FigureKind::Share => human::percent(value),
    }
}

/// `+12.3 %`; shares change by points, since a part of nothing is no measure.
pub(super) fn change_text(row: &ComparisonRow) -> String {
    match (row.kind, row.before, row.after) {
        (FigureKind::Share, Some(before), Some(after)) => {
            format!("{:+.2} pp", (after - before) * 100.0)
        }
        _ => row.change().map_or_else(|| "-".to_owned(), |c| format!("{:+.1} %", c * 100.0)),
    }
}

pub(super) fn noise_sign(noise: Noise) -> &'static str {
    match noise {
        Noise::Within => "≈",
        Noise::Beyond => "",
        Noise::Unknown => "?",
    }
}
