//! The report as text, on one screen: what was asked for, how fast it was, what went wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::bins::bins;
use super::colour::Colour;
use super::shards::outliers;
use super::words::{
    CLOSED_LOOP_NOTE, fact_rows, metrics, outcome_title, percentile_rows, phase_title, plan,
    plural, trouble_rows,
};
use super::{human, misbehaviour, targets};
use crate::measure::Mode;
use crate::run::{Latency, Loaded, Run, Shard};

const BARS_MAX: usize = 12;
const BAR_WIDTH: usize = 24;

/// The whole report, ending in a newline.
pub fn render(loaded: &Loaded, colour: Colour) -> String {
    let run = &loaded.run;
    let mut out = String::new();
    head(&mut out, run, colour);
    facts(&mut out, run);
    percentiles(&mut out, run, loaded.headline.as_ref(), colour);
    phases(&mut out, run, colour);
    troubles(&mut out, run);
    targets::text(&mut out, run, colour);
    misbehaviour::text(&mut out, run, colour);
    shards(&mut out, run, colour);
    out
}

fn head(out: &mut String, run: &Run, colour: Colour) {
    let target = colour.bold(&run.plan.target);
    // A merged run has no id of its own; its shards have.
    let id = if run.id.is_empty() { String::new() } else { format!("  run {}", run.id) };
    let _ = writeln!(out, "ringpost {}  {target}  {}{id}", run.versions.ringpost, run.started);
    let _ = writeln!(out, "{}\n", colour.dim(&plan(&run.plan, &run.machine.engine)));
    let bytes_s = if run.elapsed_s > 0.0 { run.counts.bytes as f64 / run.elapsed_s } else { 0.0 };
    let _ = writeln!(
        out,
        "  {}   {}/s   {}",
        colour.bold(&format!("{} msg/s", human::rate(run.rate_msg_s))),
        human::bytes(bytes_s),
        colour.verdict(run.verdict),
    );
    for reason in &run.verdict_reasons {
        let _ = writeln!(out, "  {reason}");
    }
    out.push('\n');
}

fn facts(out: &mut String, run: &Run) {
    for (name, value) in fact_rows(run) {
        let _ = writeln!(out, "  {name:<14} {value}");
    }
    out.push('\n');
}

/// The table on the left, the bars of the headline on the right.
fn percentiles(out: &mut String, run: &Run, headline: Option<&Histogram<u64>>, colour: Colour) {
    let metrics = metrics(run);
    let names: String = metrics.iter().map(|(name, _)| format!("{name:>11}")).collect();
    let mut left = vec![format!("{:<8}{names}", "")];
    for row in 0..percentile_rows(&run.service_ns).len() {
        let (name, _) = percentile_rows(&run.service_ns)[row];
        let mut line = format!("{name:<8}");
        for (_, latency) in &metrics {
            let _ = write!(line, "{:>11}", cell(latency, percentile_rows(latency)[row].1));
        }
        left.push(line);
    }
    let width = 8 + 11 * metrics.len();
    let mut right = headline.map_or_else(Vec::new, |histogram| {
        bars(histogram, &format!("{} time of {}", metrics[0].0, plural(histogram.len(), "message")))
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
        let _ = writeln!(out, "\n  {CLOSED_LOOP_NOTE}");
    }
    out.push('\n');
}

fn cell(latency: &Latency, ns: u64) -> String {
    if latency.count == 0 { "-".to_owned() } else { human::latency(ns) }
}

/// A histogram in characters, under its title.
pub(super) fn bars(histogram: &Histogram<u64>, what: &str) -> Vec<String> {
    let bins = bins(histogram, BARS_MAX);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1);
    let title = format!("{:>9}  {what}", "from");
    let row = |bin: &super::bins::Bin| {
        let share = bin.count as f64 / histogram.len() as f64;
        let bar = bar(bin.count as f64 / most as f64);
        let share = if bin.count == 0 { String::new() } else { human::percent(share) };
        format!("{:>9}  {bar:<BAR_WIDTH$} {share:>7}", human::latency(bin.from_ns))
    };
    std::iter::once(title).chain(bins.iter().map(row)).collect()
}

/// A bar in eighths of a character; the smallest for anything above nothing.
fn bar(share: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * (BAR_WIDTH * 8) as f64).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

fn phases(out: &mut String, run: &Run, colour: Colour) {
    if run.phases.is_empty() {
        return;
    }
    let head = format!(
        "  {:<13}{:>11}{:>10}{:>10}{:>10}{:>10}{:>10}  replies",
        "phase", "count", "p50", "p90", "p99", "p99.9", "max"
    );
    let _ = writeln!(out, "{}", colour.dim(&head));
    for (phase, result) in &run.phases {
        let codes = codes(&result.replies);
        phase_row(out, phase_title(*phase), &result.latency_ns, &codes);
        for (outcome, latency) in &result.outcomes {
            phase_row(out, &format!("  {}", outcome_title(*outcome)), latency, "");
        }
    }
    out.push('\n');
}

fn phase_row(out: &mut String, title: &str, latency: &Latency, codes: &str) {
    let mut line = format!("  {title:<13}{:>11}", human::count(latency.count));
    for ns in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
        let _ = write!(line, "{:>10}", cell(latency, ns));
    }
    let _ = writeln!(out, "{}", format!("{line}  {codes}").trim_end());
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
fn troubles(out: &mut String, run: &Run) {
    let before = out.len();
    for (name, value) in trouble_rows(run) {
        let _ = writeln!(out, "  {name:<14} {value}");
    }
    if out.len() > before {
        out.push('\n');
    }
}

/// The runs that a sum was made from, and in what one is unlike the others.
fn shards(out: &mut String, run: &Run, colour: Colour) {
    if run.shards.is_empty() {
        return;
    }
    let name = |shard: &Shard| shard.name.chars().count();
    let width = run.shards.iter().map(name).max().unwrap_or(0).max(5);
    let head = format!(
        "  {:<width$}{:>10}{:>10}{:>10}{:>10}{:>10}{:>8}  verdict",
        "shard", "msg/s", "p50", "p99", "max", "failed", "CPU"
    );
    let _ = writeln!(out, "{}", colour.dim(&head));
    for (shard, odd) in run.shards.iter().zip(outliers(&run.shards)) {
        let latency = shard.run.headline();
        let mut line = format!("  {:<width$}{:>10}", shard.name, human::rate(shard.run.rate_msg_s));
        for ns in [latency.p50, latency.p99, latency.max] {
            let _ = write!(line, "{:>10}", cell(latency, ns));
        }
        let _ = write!(
            line,
            "{:>10}{:>8}  {}",
            human::count(shard.run.counts.messages_failed),
            human::percent(shard.run.cpu_busy),
            shard.run.verdict.name(),
        );
        if !odd.is_empty() {
            let _ = write!(line, "  {}", colour.bold(&format!("odd one out: {}", odd.join(", "))));
        }
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
}
