//! What became of the messages behind the server, as text and as a page.

mod page;

use std::fmt::Write as _;

use super::colour::Colour;
use super::columns::{Column, Layout, Width};
use crate::human::{self, counted};
use crate::run::delivery::{DeliveryPart, DeliveryResult, DeliverySplit};
use crate::run::{Judged, Latency};

pub use self::page::html;

/// Rows of a table of parts.
const PARTS_TOLD_MAX: usize = 10;

/// The whole report as text, ending in a newline.
pub fn text(
    result: &DeliveryResult,
    judged: &[Judged],
    (colour, width): (Colour, Width),
) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", width.wrap(2, &title(result)));
    let line = verdict(result);
    let _ = writeln!(out, "\n  {}\n", width.wrap(2, &colour.bold(&line)));
    let columns = [
        Column::left("", 24, 0),
        Column::right("deliveries", 14, 0),
        Column::right("messages", 14, 0),
    ];
    table(&mut out, &columns, &count_rows(result), width);
    let times = ["p50", "p90", "p99", "p99.9", "max"].map(|name| Column::right(name, 11, 0));
    let columns: Vec<Column> = std::iter::once(Column::left("", 24, 0)).chain(times).collect();
    table(&mut out, &columns, &time_rows(result), width);
    let notes = notes(result);
    for note in &notes {
        let _ = writeln!(out, "{}", width.wrap(4, &format!("  {note}")));
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    for (title, splits) in
        [("domain", &result.domains), ("size", &result.sizes), ("target", &result.targets)]
    {
        if splits.len() > 1 {
            split(&mut out, title, splits, width);
        }
    }
    hops(&mut out, result, width);
    for one in judged {
        let mark = if one.fails() { "failed" } else { "passed" };
        let _ = writeln!(out, "{}", width.wrap(4, &format!("  {mark}: {one}")));
    }
    out
}

fn table(out: &mut String, columns: &[Column], rows: &[Vec<String>], width: Width) {
    let layout = Layout::of_rows(columns, rows, 2, width);
    let _ = writeln!(out, "{}", layout.head());
    for row in rows {
        let _ = writeln!(out, "{}", layout.row(row));
    }
    out.push('\n');
}

fn title(result: &DeliveryResult) -> String {
    let noun = if result.runs.len() == 1 { "run" } else { "runs" };
    format!("delivery of {noun} {}", result.runs.join(", "))
}

/// One sentence that says how it went.
fn verdict(result: &DeliveryResult) -> String {
    let counts = &result.deliveries.counts;
    let there = counts.delivered - counts.delivered_not_accepted;
    let accepted = match counts.accepted {
        1 => "1 delivery".to_owned(),
        more => human::count(more) + " deliveries",
    };
    let were = human::were(counts.accepted);
    let mut line = format!("{} of {accepted} that {were} accepted arrived", human::count(there));
    for (count, what) in [
        (counts.lost, "lost"),
        (counts.doubled, "doubled"),
        (counts.altered, "altered"),
        (counts.bounced, "bounced"),
        (counts.unknown, "unknown"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {} {what}", human::count(count));
        }
    }
    if counts.delivered == 0 && result.others > 0 {
        line.push_str("; what is in the spool is not of this run: is it the right one?");
    }
    line
}

/// Counts of deliveries and of messages; those that are rarely of interest only where there are any.
fn count_rows(result: &DeliveryResult) -> Vec<Vec<String>> {
    let of = |part: &DeliveryPart| {
        let counts = &part.counts;
        [
            ("sent", counts.sent, true),
            ("accepted", counts.accepted, true),
            ("delivered", counts.delivered, true),
            ("lost", counts.lost, true),
            ("doubled", counts.doubled, true),
            ("altered", counts.altered, true),
            ("out of order", counts.reordered, false),
            ("bounced", counts.bounced, false),
            ("delivered, not accepted", counts.delivered_not_accepted, false),
            ("to another recipient", counts.rewritten, false),
            ("unknown", counts.unknown, false),
        ]
    };
    of(&result.deliveries)
        .into_iter()
        .zip(of(&result.messages))
        .filter(|((_, deliveries, always), (_, messages, _))| *always || deliveries + messages > 0)
        .map(|((name, deliveries, _), (_, messages, _))| {
            vec![name.to_owned(), human::count(deliveries), human::count(messages)]
        })
        .collect()
}

fn time_rows(result: &DeliveryResult) -> Vec<Vec<String>> {
    let row = |(name, latency): (&str, &Latency)| {
        let Latency { p50, p90, p99, p999, max, .. } = *latency;
        let times = [p50, p90, p99, p999, max].map(human::time);
        std::iter::once(name.to_owned()).chain(times).collect()
    };
    [
        ("due to delivered", &result.deliveries.delivery_ns),
        ("accepted to delivered", &result.deliveries.transit_ns),
        ("due to whole message", &result.messages.delivery_ns),
    ]
    .into_iter()
    .map(row)
    .collect()
}

/// What else is to be known.
fn notes(result: &DeliveryResult) -> Vec<String> {
    let mut notes = Vec::new();
    if !result.alterations.is_empty() {
        let told = result.alterations.iter();
        let told = told
            .map(|(what, count)| format!("{} {}", what.replace('_', " "), human::count(*count)));
        notes.push(format!("altered messages: {}", told.collect::<Vec<_>>().join(", ")));
    }
    if let Some(least_ns) = result.delivery_min_ns.filter(|ns| *ns < 0) {
        let ahead = human::latency(least_ns.unsigned_abs());
        notes.push(format!(
            "a message arrived {ahead} before it was due: the clocks of the two machines differ; --clock-offset \
             adds to the times of the sink"
        ));
    }
    if result.torn {
        notes.push("run.msgs is not whole: the fates of some messages are missing".to_owned());
    }
    for (count, noun, what) in [
        (result.untold, "message", "arrived, and run.msgs does not tell their fate"),
        (result.expanded, "copy", "went to recipients beyond those that were sent"),
        (result.delay_notices, "notice", "told of a delay"),
        (result.bounces_unmatched, "bounce", "named no recipient that was sent"),
        (result.others, "message", "in the spool belonged to no such run"),
    ] {
        if count > 0 {
            notes.push(format!("{} {what}", counted(count, noun).replace("copys", "copies")));
        }
    }
    notes
}

/// Those with the most deliveries first.
fn most(splits: &[DeliverySplit]) -> impl Iterator<Item = &DeliverySplit> {
    let mut most: Vec<_> = splits.iter().collect();
    most.sort_by_key(|split| std::cmp::Reverse(split.part.counts.sent));
    most.into_iter()
}

fn split(out: &mut String, title: &'static str, splits: &[DeliverySplit], width: Width) {
    let columns = [
        Column::left(title, 24, 0),
        Column::right("accepted", 12, 0),
        Column::right("delivered", 12, 0),
        Column::right("lost", 9, 0),
        Column::right("p50", 11, 1),
        Column::right("p99", 11, 0),
    ];
    let row = |DeliverySplit { name, part }: &DeliverySplit| {
        let DeliveryPart { counts, delivery_ns, .. } = part;
        let numbers = [counts.accepted, counts.delivered, counts.lost].map(human::count);
        let times = [delivery_ns.p50, delivery_ns.p99].map(human::time);
        std::iter::once(name.clone()).chain(numbers).chain(times).collect()
    };
    let rows: Vec<Vec<String>> = most(splits).take(PARTS_TOLD_MAX).map(row).collect();
    table(out, &columns, &rows, width);
    if let Some(more) = splits.len().checked_sub(PARTS_TOLD_MAX).filter(|more| *more > 0) {
        out.pop();
        let _ = writeln!(out, "  and {} more\n", human::count(more as u64));
    }
}

fn hops(out: &mut String, result: &DeliveryResult, width: Width) {
    if result.hops.is_empty() {
        return;
    }
    let columns = [
        Column::left("hop", 6, 0),
        Column::right("messages", 12, 0),
        Column::right("p50", 11, 0),
        Column::right("p99", 11, 0),
        Column::right("max", 11, 1),
        Column::text("received by"),
    ];
    let rows: Vec<Vec<String>> = result
        .hops
        .iter()
        .take(PARTS_TOLD_MAX)
        .map(|hop| {
            let took = &hop.took_ns;
            let [p50, p99, max] = [took.p50, took.p99, took.max].map(human::time);
            vec![hop.hop.to_string(), human::count(took.count), p50, p99, max, hop.by.clone()]
        })
        .collect();
    table(out, &columns, &rows, width);
}
