//! A comparison for a terminal.

use std::fmt::Write as _;

use super::{
    Comparison, ComparisonRow, FigureKind, NOISE_NOTES, Noise, Trend, UNKNOWN, identity, plot,
};
use crate::human;
use crate::report::colour::Colour;
use crate::report::columns::{Column, Layout, Width};
use crate::run::Loaded;

/// The whole comparison; `names` say which run is which.
pub fn render(
    comparison: &Comparison,
    names: [&str; 2],
    runs: [&Loaded; 2],
    (colour, width): (Colour, Width),
) -> String {
    let mut out = String::new();
    for (sign, (name, loaded)) in ["A", "B"].iter().zip(names.iter().zip(runs)) {
        let line = format!("{sign}  {}  {}", colour.bold(name), identity(loaded));
        let _ = writeln!(out, "{}", width.wrap(3, &line));
    }
    out.push('\n');
    for note in &comparison.notes {
        let _ = writeln!(out, "{}\n", width.wrap(2, &format!("  {note}")));
    }
    table(&mut out, comparison, colour, width);
    out.push('\n');
    for note in NOISE_NOTES {
        let _ = writeln!(out, "{}", width.wrap(4, &format!("  {note}")));
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
        let line = format!("  differs: {:<16} {before}  →  {after}", difference.field);
        let _ = writeln!(out, "{}", width.wrap(28, &line));
    }
    if comparison.differences.is_empty() && comparison.logs == [false; 2] {
        out.push_str("  same plan, machine and version\n");
    }
    for judged in &comparison.thresholds {
        let outcome = if judged.fails() { "failed" } else { "passed" };
        let sure = comparison.surety(judged);
        let line = format!("  fail if  {judged}, {outcome}{sure}");
        let _ = writeln!(out, "{}", width.wrap(11, &line));
    }
    out
}

const COLUMNS: [Column; 5] = [
    Column::left("", 28, 0),
    Column::right("A", 12, 0),
    Column::right("B", 12, 0),
    Column::right("change", 12, 0),
    Column::right("", 2, 0),
];

fn table(out: &mut String, comparison: &Comparison, colour: Colour, width: Width) {
    let none = comparison.logs.map(|log| if log { UNKNOWN } else { "-" });
    let cells = |row: &ComparisonRow| {
        let cell = |value: Option<f64>, none: &str| {
            value.map_or_else(|| none.to_owned(), |v| value_text(row.kind, v))
        };
        vec![
            row.name.clone(),
            cell(row.before, none[0]),
            cell(row.after, none[1]),
            change_text(row),
            noise_sign(row.noise).to_owned(),
        ]
    };
    let rows: Vec<_> = comparison.rows.iter().map(cells).collect();
    let layout = Layout::of_rows(&COLUMNS, &rows, 2, width);
    let _ = writeln!(out, "{}", colour.dim(&layout.head()));
    for (row, cells) in comparison.rows.iter().zip(&rows) {
        let line = layout.row(cells);
        let line = match row.trend() {
            Trend::Better => colour.good(&line),
            Trend::Worse => colour.bad(&line),
            Trend::Level => line,
        };
        let _ = writeln!(out, "{line}");
    }
}

pub(super) fn value_text(kind: FigureKind, value: f64) -> String {
    match kind {
        FigureKind::Rate | FigureKind::Asked => human::rate(value),
        FigureKind::Time => human::latency(value.round() as u64),
        FigureKind::Share => human::percent(value),
    }
}

/// Shares change by points, since a part of nothing is no measure.
pub(super) fn change_text(row: &ComparisonRow) -> String {
    match (row.kind, row.before, row.after) {
        (FigureKind::Share, Some(before), Some(after)) => {
            format!("{:+.2} pp", (after - before) * 100.0)
        }
        (_, before, after) => change_of(before, after),
    }
}

/// A change relative to what was before: `+12.3 %`, from twice as much on `2.4×`, `10,948×`. What has no
/// ratio is told in words: `from 0`, `to 0`, `still 0`, `only in A`.
pub(in crate::report) fn change_of(before: Option<f64>, after: Option<f64>) -> String {
    let (before, after) = match (before, after) {
        (None, None) => return human::NONE.to_owned(),
        (Some(_), None) => return "only in A".to_owned(),
        (None, Some(_)) => return "only in B".to_owned(),
        (Some(before), Some(after)) => (before, after),
    };
    match after / before {
        _ if before == 0.0 && after == 0.0 => "still 0".to_owned(),
        _ if before == 0.0 => "from 0".to_owned(),
        _ if after == 0.0 => "to 0".to_owned(),
        times if times >= 9.95 => format!("{}×", human::count(times.round() as u64)),
        times if times >= 2.0 => format!("{times:.1}×"),
        times => format!("{:+.1} %", (times - 1.0) * 100.0),
    }
}

pub(super) fn noise_sign(noise: Noise) -> &'static str {
    match noise {
        Noise::Within => "≈",
        Noise::Beyond => "",
        Noise::Unknown => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_change_is_a_factor_and_one_without_a_ratio_is_told_in_words() {
        for (before, after, told) in [
            (Some(1_000.0), Some(1_123.0), "+12.3 %"),
            (Some(100.0), Some(3.0), "-97.0 %"),
            (Some(2.0), Some(4.0), "2.0×"),
            (Some(1.0), Some(33.159), "33×"),
            (Some(1.0), Some(10_948.06), "10,948×"),
            (Some(5.0), Some(5.0), "+0.0 %"),
            (Some(0.0), Some(0.0), "still 0"),
            (Some(0.0), Some(7.0), "from 0"),
            (Some(7.0), Some(0.0), "to 0"),
            (Some(7.0), None, "only in A"),
            (None, Some(0.0), "only in B"),
            (None, None, "-"),
        ] {
            assert_eq!(change_of(before, after), told, "{before:?} {after:?}");
        }
    }
}
