//! Two sweeps or searches side by side: what was found, and the rates that both have.

use std::fmt::Write as _;

use super::chart::escape;
use super::columns::{Column, Layout, Width};
use super::compare::change_of;
use super::html;
use super::sweep::{latency, rising};
use crate::human;
use crate::run::curve::{Curve, RateStep};

const COLUMNS: [Column; 8] = [
    Column::right("due/s", 10, 0),
    Column::right("A accepted/s", 14, 2),
    Column::right("B accepted/s", 14, 2),
    Column::right("A p50", 11, 1),
    Column::right("B p50", 11, 1),
    Column::right("A p99", 11, 0),
    Column::right("B p99", 11, 0),
    Column::right("p99 change", 12, 0),
];

/// The comparison for a terminal; `names` say which is which.
pub fn text(curves: [&Curve; 2], names: [&str; 2], width: Width) -> String {
    let mut out = String::new();
    for line in heads(curves, names, str::to_owned) {
        let _ = writeln!(out, "{}", width.wrap(3, &line));
    }
    let rows = rows(curves);
    if !rows.is_empty() {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.to_vec()).collect();
        let layout = Layout::of_rows(&COLUMNS, &rows, 0, width);
        let _ = writeln!(out, "\n{}", layout.head());
        for row in &rows {
            let _ = writeln!(out, "{}", layout.row(row));
        }
    }
    out.push('\n');
    for sentence in sentences(curves) {
        let _ = writeln!(out, "{}", width.wrap(0, &sentence));
    }
    out
}

/// The comparison as one page.
pub fn page(curves: [&Curve; 2], names: [&str; 2]) -> String {
    let mut out = String::with_capacity(32 * 1024);
    html::begin(&mut out, &format!("{} and {} · ringpost", names[0], names[1]));
    out += "<header><div><h1>Two curves compared</h1><p class=\"soft\">";
    for line in heads(curves, names, html::moment) {
        let (sign, line) = line.split_at(1);
        let _ = write!(out, "<b>{sign}</b> {}<br>", escape(&line.trim().replace("  ", " · ")));
    }
    let _ = write!(
        out,
        "</p></div></header><p class=\"lead\">{}</p><div class=\"spaced\"></div>",
        escape(&sentences(curves).join(" "))
    );
    if let Some(figure) = latency(&[("A", curves[0]), ("B", curves[1])]) {
        html::section(&mut out, &figure);
    }
    out += "<section class=\"wide\"><h2>Rates that both have</h2><table><thead><tr>";
    for column in COLUMNS {
        let _ = write!(out, "<th scope=\"col\">{}</th>", column.title);
    }
    out += "</tr></thead><tbody>";
    for row in rows(curves) {
        out += "<tr>";
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escape(&cell));
        }
        out += "</tr>";
    }
    out += "</tbody></table></section>";
    if let [Some(a), Some(b)] = curves.map(|curve| curve.steps.first()) {
        html::commands(&mut out, [&a.run, &b.run]);
    }
    html::end(&mut out);
    out
}

/// What each is, and when it began, in words of `moment`.
fn heads(curves: [&Curve; 2], names: [&str; 2], moment: impl Fn(&str) -> String) -> [String; 2] {
    [("A", curves[0], names[0]), ("B", curves[1], names[1])].map(|(sign, curve, name)| {
        let started = curve.steps.first().map_or("", |step| &step.run.started);
        let level = curve.slo.as_ref().map_or_else(String::new, |level| format!(" for {level}"));
        format!("{sign}  {name}  {}{level} of {}  {}", curve.task, curve.target(), moment(started))
    })
}

/// The rates that both have, with the figures of both.
fn rows([a, b]: [&Curve; 2]) -> Vec<[String; 8]> {
    let others = rising(b);
    let twin = |step: &&RateStep| others.iter().find(|other| other.asked == step.asked).copied();
    rising(a).iter().filter_map(|step| Some(row(step, twin(step)?))).collect()
}

fn row(a: &RateStep, b: &RateStep) -> [String; 8] {
    let rate = |step: &RateStep| human::known(step.run.rate_msg_s, human::rate);
    let (of_a, of_b) = (a.response(), b.response());
    let [before, after] = [of_a.p99, of_b.p99].map(|ns| ns.map(|ns| ns as f64));
    // Of a step that the generator limited, the figures are those of the generator.
    let change = match [a, b].map(RateStep::limited) {
        [false, false] => change_of(before, after),
        [true, false] => "A limited".to_owned(),
        [false, true] => "B limited".to_owned(),
        [true, true] => "both limited".to_owned(),
    };
    [
        human::rate(a.asked),
        rate(a),
        rate(b),
        human::time(of_a.p50),
        human::time(of_b.p50),
        human::time(of_a.p99),
        human::time(of_b.p99),
        change,
    ]
}

/// What each found, and how that changed.
fn sentences(curves: [&Curve; 2]) -> Vec<String> {
    let found = |curve: &Curve| match curve.mark {
        Some((rate, name)) => format!("{name} at {} messages/s", human::rate(rate)),
        None => "nothing found".to_owned(),
    };
    let mut said = vec![format!("A: {}. B: {}.", found(curves[0]), found(curves[1]))];
    if let [Some((before, _)), Some((after, _))] = curves.map(|curve| curve.mark) {
        said.push(format!("Change: {}.", change_of(Some(before), Some(after))));
    }
    let limited = |curve: &Curve| curve.steps.iter().any(RateStep::limited);
    if curves.into_iter().any(limited) {
        said.push(
            "Where a step is called limited, the generator was the limit: such steps say nothing about the target, \
             and are not compared."
                .to_owned(),
        );
    }
    if rows(curves).is_empty() {
        said.push(
            "No rate was run in both; give both the same --rates to compare their times."
                .to_owned(),
        );
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Latency, Run};

    fn curve(steps: &[(f64, u64)]) -> Curve {
        let step = |&(asked, p99): &(f64, u64)| {
            let (p50, p999) = (Some(p99 / 2), Some(p99));
            let response =
                Latency { p50, p99: Some(p99), p999, count: 9_999, ..Latency::default() };
            let mut run =
                Run { rate_msg_s: Some(asked), response_ns: Some(response), ..Run::default() };
            run.started = "2026-05-04T12:30:00.123456789Z".to_owned();
            run.plan.command = vec!["ringpost-blast".to_owned(), "it's".to_owned()];
            RateStep { asked, run, kept: None }
        };
        let steps = steps.iter().map(step).collect();
        Curve { task: "sweep", steps, said: Vec::new(), slo: None, mark: Some((1e3, "knee")) }
    }

    #[test]
    fn rates_that_both_have_are_compared_and_large_changes_are_factors() {
        let a = curve(&[(1e3, 1_000_000), (2e3, 2_000_000), (4e3, 1)]);
        let mut b = curve(&[(2e3, 66_000_000), (1e3, 1_100_000), (3e3, 1)]);
        b.mark = Some((2e3, "knee"));
        for columns in [80, 100, 200] {
            let told = text([&a, &b], ["before", "<after>"], Width::of_columns(columns));
            for part in ["33×", "+10.0 %", "Change: 2.0×", "before", "1,000"] {
                assert!(told.contains(part), "{part}: {told}");
            }
            assert!(
                !told.contains("4,000") && told.lines().all(|line| line.chars().count() <= columns)
            );
        }
        let page = page([&a, &b], ["before", "<after>"]);
        assert!(
            page.contains("&lt;after&gt;")
                && page.contains("class=\"chart full\"")
                && page.contains("33×")
        );
        assert!(page.contains("2026-05-04 12:30:00 UTC") && !page.contains("123456789"), "{page}");
        assert_eq!(page.matches(&escape(r"ringpost-blast 'it'\''s'")).count(), 2, "{page}");
        let mut slow = curve(&[(1e3, 9_000_000), (2e3, 2_000_000)]);
        slow.steps[0].run.verdict = crate::run::Verdict::GeneratorLimited;
        let told = text([&a, &slow], ["a", "b"], Width::FULL);
        assert!(told.contains("B limited") && !told.contains("9.0×"), "{told}");
        assert!(told.contains("say nothing about the target"), "{told}");
        let apart = text([&a, &curve(&[(7.0, 1)])], ["a", "b"], Width::FULL);
        assert!(apart.contains("No rate was run in both"), "{apart}");
    }
}
