//! The targets of a run side by side.

use std::fmt::Write as _;

use super::chart::escape;
use super::colour::Colour;
use super::columns::{Column, Layout, Width};
use crate::human;
use crate::run::{Run, TargetResult};

const HEAD: [&str; 8] =
    ["weight", "connections", "accepted", "failed", "msg/s", "p50", "p99", "max"];
/// The columns of the text, in the order of [`HEAD`].
const COLUMNS: [Column; 9] = [
    Column::left("target", 6, 0),
    Column::right(HEAD[0], 8, 2),
    Column::right(HEAD[1], 13, 3),
    Column::right(HEAD[2], 12, 0),
    Column::right(HEAD[3], 10, 0),
    Column::right(HEAD[4], 10, 0),
    Column::right(HEAD[5], 10, 1),
    Column::right(HEAD[6], 10, 0),
    Column::right(HEAD[7], 10, 4),
];

fn cells(result: &TargetResult) -> [String; 8] {
    let latency = &result.headline_ns;
    [
        result.weight.to_string(),
        human::count(result.connections_opened),
        human::count(result.messages_ok),
        human::count(result.messages_failed),
        human::known(result.rate_msg_s, human::rate),
        human::time(latency.p50),
        human::time(latency.p99),
        human::time(latency.max),
    ]
}

pub(super) fn text(out: &mut String, run: &Run, colour: Colour, width: Width) {
    if run.targets.is_empty() {
        return;
    }
    let row = |result: &TargetResult| {
        std::iter::once(result.target.clone()).chain(cells(result)).collect::<Vec<_>>()
    };
    let rows: Vec<_> = run.targets.iter().map(row).collect();
    let layout = Layout::of_rows(&COLUMNS, &rows, 2, width);
    let _ = writeln!(out, "{}", colour.dim(&layout.head()));
    for (result, row) in run.targets.iter().zip(&rows) {
        let line = layout.row(row);
        let line = if result.connections_opened == 0 { colour.bad(&line) } else { line };
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
}

pub(super) fn page(out: &mut String, run: &Run) {
    if run.targets.is_empty() {
        return;
    }
    out.push_str(
        "<section class=\"wide\"><h2>Targets</h2><table><thead><tr><th scope=\"col\">target</th>",
    );
    for name in HEAD {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead><tbody>");
    for result in &run.targets {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(&result.target));
        for cell in cells(result) {
            let _ = write!(out, "<td>{cell}</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></section>");
}
