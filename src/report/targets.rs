//! The targets of a run side by side.

use std::fmt::Write as _;

use super::chart::escape;
use super::colour::Colour;
use super::human;
use crate::run::{Run, TargetResult};

const HEAD: [&str; 8] =
    ["weight", "connections", "accepted", "failed", "msg/s", "p50", "p99", "max"];
const WIDTHS: [usize; 8] = [8, 13, 12, 10, 10, 10, 10, 10];

fn cells(result: &TargetResult) -> [String; 8] {
    let latency = &result.headline_ns;
    let time = |ns| if latency.count == 0 { "-".to_owned() } else { human::latency(ns) };
    [
        result.weight.to_string(),
        human::count(result.connections_opened),
        human::count(result.messages_ok),
        human::count(result.messages_failed),
        human::rate(result.rate_msg_s),
        time(latency.p50),
        time(latency.p99),
        time(latency.max),
    ]
}

fn wide(cells: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    cells
        .into_iter()
        .zip(WIDTHS)
        .map(|(cell, width)| format!("{:>width$}", cell.as_ref()))
        .collect()
}

pub(super) fn text(out: &mut String, run: &Run, colour: Colour) {
    if run.targets.is_empty() {
        return;
    }
    let name = |result: &TargetResult| result.target.chars().count();
    let width = run.targets.iter().map(name).max().unwrap_or(0).max(6);
    let head = format!("  {:<width$}{}", "target", wide(HEAD));
    let _ = writeln!(out, "{}", colour.dim(&head));
    for result in &run.targets {
        let line = format!("  {:<width$}{}", result.target, wide(cells(result)));
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
