//! The report as text, on one screen: what was asked for, how fast it was, what went wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::bins::bins;
use super::colour::Colour;
use super::columns::{Column, Layout, Width};
use super::shards::outliers;
use super::words::{
    CLOSED_LOOP_NOTE, fact_rows, metrics, outcome_title, percentile_rows, phase_title, plan,
    trouble_rows,
};
use super::{misbehaviour, targets};
use crate::human::{self, counted};
use crate::measure::Mode;
use crate::run::{Latency, Loaded, Run, Shard};

const BARS_MAX: usize = 12;
const BAR_WIDTH: usize = 24;
/// The shortest bars that still show a shape.
const BAR_WIDTH_MIN: usize = 8;

/// Where the values of facts begin.
const FACT_INDENT: usize = 17;

/// The whole report, ending in a newline.
pub fn render(loaded: &Loaded, colour: Colour, width: Width) -> String {
    let run = &loaded.run;
    let mut out = String::new();
    head(&mut out, run, colour, width);
    facts(&mut out, run, width);
    percentiles(&mut out, run, loaded.headline.as_ref(), (colour, width));
    phases(&mut out, run, colour, width);
    troubles(&mut out, run, width);
    targets::text(&mut out, run, colour, width);
    misbehaviour::text(&mut out, run, colour, width);
    shards(&mut out, run, colour, width);
    out
}

fn head(out: &mut String, run: &Run, colour: Colour, width: Width) {
    let target = colour.bold(&run.plan.target);
    // A merged run has no id of its own; its shards have.
    let id = if run.id.is_empty() { String::new() } else { format!("  run {}", run.id) };
    if !run.plan.name.is_empty() {
        let _ = writeln!(out, "{}", width.wrap(2, &colour.bold(&run.plan.name)));
    }
    let title = format!("ringpost {}  {target}  {}{id}", run.versions.ringpost, run.started);
    let _ = writeln!(out, "{}", width.wrap(2, &title));
    let plan = width.wrap(2, &plan(&run.plan, &run.machine.engine));
    let _ = writeln!(out, "{}\n", colour.dim(&plan));
    if !run.plan.note.is_empty() {
        for line in run.plan.note.lines() {
            let _ = writeln!(out, "{}", width.wrap(2, &format!("  {line}")));
        }
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "  {}   {}/s   {}",
        colour.bold(&format!("{} msg/s", human::known(run.rate_msg_s, human::rate))),
        human::known(run.bytes_s(), human::bytes),
        colour.verdict(run.verdict),
    );
    for reason in &run.verdict_reasons {
        let _ = writeln!(out, "{}", width.wrap(4, &format!("  {reason}")));
    }
    out.push('\n');
}

fn facts(out: &mut String, run: &Run, width: Width) {
    for (name, value) in fact_rows(run) {
        let fact = format!("  {name:<14} {value}");
        let _ = writeln!(out, "{}", width.wrap(FACT_INDENT, &fact));
    }
    out.push('\n');
}

/// The table on the left, the bars of the headline on the right.
fn percentiles(
    out: &mut String,
    run: &Run,
    headline: Option<&Histogram<u64>>,
    (colour, room): (Colour, Width),
) {
    let metrics = metrics(run);
    let names: String = metrics.iter().map(|(name, _)| format!("{name:>11}")).collect();
    let mut left = vec![format!("{:<8}{names}", "")];
    for row in 0..percentile_rows(&run.service_ns).len() {
        let (name, _) = percentile_rows(&run.service_ns)[row];
        let mut line = format!("{name:<8}");
        for (_, latency) in &metrics {
            let _ = write!(line, "{:>11}", human::time(percentile_rows(latency)[row].1));
        }
        left.push(line);
    }
    let width = 8 + 11 * metrics.len();
    let mut right = headline.map_or_else(Vec::new, |histogram| {
        let what = format!("{} time of {}", metrics[0].0, counted(histogram.len(), "message"));
        bars(histogram, &what, room.columns().saturating_sub(2 + width + 3))
    });
    let rows = left.len().max(right.len());
    left.resize(rows, String::new());
    right.resize(rows, String::new());
    for (row, (left, right)) in left.iter().zip(&right).enumerate() {
        let line = format!("  {left:<width$}   {right}");
        let line = line.trim_end();
        let _ = writeln!(out, "{}", if row == 0 { colour.dim(line) } else { line.to_owned() });
    }
    if run.mode() == Mode::Closed {
        let _ = writeln!(out, "\n{}", room.wrap(2, &format!("  {CLOSED_LOOP_NOTE}")));
    }
    out.push('\n');
}

/// A histogram in characters, under its title; no line has more than `columns`.
pub(super) fn bars(histogram: &Histogram<u64>, what: &str, columns: usize) -> Vec<String> {
    const BESIDE_BAR: usize = 9 + 2 + 1 + 7;
    let longest = columns.saturating_sub(BESIDE_BAR).clamp(BAR_WIDTH_MIN, BAR_WIDTH);
    let bins = bins(histogram, BARS_MAX);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1);
    // Where there is no room for the count, the name of the time is left.
    let fits = what.chars().count() + 11 <= columns;
    let what = if fits { what } else { what.split(" of ").next().unwrap_or_default() };
    let title = format!("{:>9}  {what}", "from");
    let row = |bin: &super::bins::Bin| {
        let share = bin.count as f64 / histogram.len() as f64;
        let bar = bar(bin.count as f64 / most as f64, longest);
        let share = if bin.count == 0 { String::new() } else { human::percent(share) };
        format!("{:>9}  {bar:<longest$} {share:>7}", human::latency(bin.from_ns))
    };
    std::iter::once(title).chain(bins.iter().map(row)).collect()
}

/// A bar in eighths of a character; the smallest for anything above nothing.
fn bar(share: f64, longest: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * (longest * 8) as f64).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

const PHASE_COLUMNS: [Column; 8] = [
    Column::left("phase", 13, 0),
    Column::right("count", 11, 0),
    Column::right("p50", 10, 0),
    Column::right("p90", 10, 2),
    Column::right("p99", 10, 0),
    Column::right("p99.9", 10, 1),
    Column::right("max", 10, 0),
    Column::text("replies"),
];

fn phases(out: &mut String, run: &Run, colour: Colour, width: Width) {
    if run.phases.is_empty() {
        return;
    }
    let mut rows = Vec::new();
    for (phase, result) in &run.phases {
        let codes = codes(&result.replies);
        rows.push(phase_row(phase_title(*phase), &result.latency_ns, codes));
        for (outcome, latency) in &result.outcomes {
            let title = format!("  {}", outcome_title(*outcome));
            rows.push(phase_row(&title, latency, String::new()));
        }
    }
    table(out, &PHASE_COLUMNS, &rows, (colour, width));
}

/// A table with its head, and an empty line after it.
pub(super) fn table(
    out: &mut String,
    columns: &[Column],
    rows: &[Vec<String>],
    (colour, width): (Colour, Width),
) {
    let layout = Layout::of_rows(columns, rows, 2, width);
    let _ = writeln!(out, "{}", colour.dim(&layout.head()));
    for row in rows {
        let _ = writeln!(out, "{}", layout.row(row));
    }
    out.push('\n');
}

fn phase_row(title: &str, latency: &Latency, codes: String) -> Vec<String> {
    let times = [latency.p50, latency.p90, latency.p99, latency.p999, latency.max];
    [title.to_owned(), human::count(latency.count)]
        .into_iter()
        .chain(times.map(human::time))
        .chain([codes])
        .collect()
}

/// `250: 213,450   451: 12`; a single code goes without its count, which is the row's.
fn codes(replies: &BTreeMap<u16, u64>) -> String {
    if let (1, Some(code)) = (replies.len(), replies.keys().next()) {
        return code.to_string();
    }
    let each = |(code, count): (&u16, &u64)| format!("{code}: {}", human::count(*count));
    replies.iter().map(each).collect::<Vec<_>>().join("  ")
}

/// Refusals by enhanced code, errors, and figures with a caveat.
fn troubles(out: &mut String, run: &Run, width: Width) {
    let before = out.len();
    for (name, value) in trouble_rows(run) {
        let fact = format!("  {name:<14} {value}");
        let _ = writeln!(out, "{}", width.wrap(FACT_INDENT, &fact));
    }
    if out.len() > before {
        out.push('\n');
    }
}

const SHARD_COLUMNS: [Column; 9] = [
    Column::left("shard", 5, 0),
    Column::right("msg/s", 10, 0),
    Column::right("p50", 10, 1),
    Column::right("p99", 10, 0),
    Column::right("max", 10, 2),
    Column::right("failed", 10, 0),
    Column::right("CPU", 8, 3),
    Column::left("verdict", 10, 0),
    Column::text(""),
];

/// The runs that a sum was made from, and in what one is unlike the others.
fn shards(out: &mut String, run: &Run, colour: Colour, width: Width) {
    if run.shards.is_empty() {
        return;
    }
    let row = |(shard, odd): (&Shard, Vec<&str>)| {
        let latency = shard.run.headline();
        let odd = match odd.is_empty() {
            true => String::new(),
            false => colour.bold(&format!("odd one out: {}", odd.join(", "))),
        };
        let times = [latency.p50, latency.p99, latency.max].map(human::time);
        [shard.name.clone(), human::known(shard.run.rate_msg_s, human::rate)]
            .into_iter()
            .chain(times)
            .chain([
                human::count(shard.run.counts.messages_failed),
                human::known(shard.run.cpu_busy, human::percent),
                shard.run.verdict.name().to_owned(),
                odd,
            ])
            .collect()
    };
    let rows: Vec<Vec<String>> = run.shards.iter().zip(outliers(&run.shards)).map(row).collect();
    table(out, &SHARD_COLUMNS, &rows, (colour, width));
}
