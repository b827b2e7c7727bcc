//! The same as one self-contained page.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::{PARTS_TOLD_MAX, count_rows, notes, time_rows, title, verdict};
use crate::human;
use crate::report::chart::{Chart, Scale, escape, legend};
use crate::report::figure::{Figure, curves_by_nine, short};
use crate::report::html;
use crate::run::Judged;
use crate::run::delivery::{DeliveryResult, DeliverySecond, DeliverySplit};

/// The page; `times` are those of deliveries from due and from the reply that accepted.
pub fn html(result: &DeliveryResult, times: [&Histogram<u64>; 2], judged: &[Judged]) -> String {
    let mut out = String::with_capacity(32 * 1024);
    html::begin(&mut out, &format!("{} · ringpost", title(result)));
    let counts = &result.deliveries.counts;
    let is_good = counts.lost + counts.doubled + counts.altered == 0;
    let (tone, word) =
        if is_good { ("good", "all arrived") } else { ("bad", "not all arrived well") };
    let _ = write!(
        out,
        "<header><div><h1>{}</h1><p class=\"soft\">{}</p></div><div class=\"verdict {tone}\">{word}</div></header>",
        escape(&title(result)),
        escape(&verdict(result))
    );
    let notes = notes(result);
    if !notes.is_empty() {
        out.push_str("<ul class=\"reasons warn\">");
        for note in &notes {
            let _ = write!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ul>");
    }
    out.push_str("<div class=\"spaced\"></div>");
    let figures = figures(result, times);
    if !figures.is_empty() {
        out.push_str("<div class=\"pair\">");
        figures.iter().for_each(|figure| html::section(&mut out, figure));
        out.push_str("</div>");
    }
    table(&mut out, "What became of it", &["", "deliveries", "messages"], &count_rows(result));
    table(
        &mut out,
        "How long it took",
        &["", "p50", "p90", "p99", "p99.9", "max"],
        &time_rows(result),
    );
    for (title, splits) in
        [("Domains", &result.domains), ("Sizes", &result.sizes), ("Targets", &result.targets)]
    {
        if splits.len() > 1 {
            split(&mut out, title, splits);
        }
    }
    hops(&mut out, result);
    if !judged.is_empty() {
        let row = |one: &Judged| (if one.fails() { "failed" } else { "passed" }, one.to_string());
        html::facts(&mut out, "Conditions", &judged.iter().map(row).collect::<Vec<_>>());
    }
    html::end(&mut out);
    out
}

fn table(out: &mut String, title: &str, head: &[&str], rows: &[Vec<String>]) {
    let _ = write!(out, "<section class=\"wide\"><h2>{title}</h2><table><thead><tr>");
    for name in head {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (n, cell) in row.iter().enumerate() {
            let _ = match n {
                0 => write!(out, "<th scope=\"row\">{}</th>", escape(cell)),
                _ => write!(out, "<td>{}</td>", escape(cell)),
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></section>");
}

fn split(out: &mut String, title: &str, splits: &[DeliverySplit]) {
    let head = ["", "accepted", "delivered", "lost", "doubled", "altered", "p50", "p99", "max"];
    let rows = super::most(splits).take(PARTS_TOLD_MAX).map(|DeliverySplit { name, part }| {
        let (counts, times) = (&part.counts, &part.delivery_ns);
        let numbers =
            [counts.accepted, counts.delivered, counts.lost, counts.doubled, counts.altered];
        let times = [times.p50, times.p99, times.max].map(human::time);
        std::iter::once(name.clone()).chain(numbers.map(human::count)).chain(times).collect()
    });
    table(out, title, &head, &rows.collect::<Vec<Vec<String>>>());
}

fn hops(out: &mut String, result: &DeliveryResult) {
    if result.hops.is_empty() {
        return;
    }
    let rows = result.hops.iter().map(|hop| {
        let took = &hop.took_ns;
        let [p50, p99, max] = [took.p50, took.p99, took.max].map(human::time);
        vec![format!("{} {}", hop.hop, hop.by), human::count(took.count), p50, p99, max]
    });
    let head = ["hop, received by", "messages", "p50", "p99", "max"];
    table(out, "The way", &head, &rows.collect::<Vec<_>>());
}

fn figures(result: &DeliveryResult, times: [&Histogram<u64>; 2]) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let (Some(first), Some(last)) = (result.seconds.first(), result.seconds.last()) {
        let start_s = first.from_s;
        let end_s = (last.from_s + last.seconds - start_s) as f64;
        figures.push(rates(&result.seconds, start_s, end_s));
        figures.push(in_flight(&result.seconds, start_s, end_s));
    }
    let named = [("due to delivered", "s1"), ("accepted to delivered", "s2")];
    let curves: Vec<_> = named
        .into_iter()
        .zip(times)
        .filter(|(_, times)| !times.is_empty())
        .map(|((name, class), times)| (name, class, times))
        .collect();
    if !curves.is_empty() {
        figures.push(curves_by_nine(Chart::full, &curves));
    }
    figures
}

/// A value holds for its whole stretch; where there is none, nothing happened.
fn steps(
    seconds: &[DeliverySecond],
    start_s: u64,
    value: impl Fn(&DeliverySecond) -> f64,
) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut next_s = start_s;
    for second in seconds {
        let [gap, from, to] =
            [next_s, second.from_s, second.from_s + second.seconds].map(|s| (s - start_s) as f64);
        if second.from_s > next_s {
            points.extend([(gap, 0.0), (from, 0.0)]);
        }
        points.extend([(from, value(second)), (to, value(second))]);
        next_s = second.from_s + second.seconds;
    }
    points
}

fn rates(seconds: &[DeliverySecond], start_s: u64, end_s: f64) -> Figure {
    let rate = |count: u64, second: &DeliverySecond| count as f64 / second.seconds as f64;
    let accepted = steps(seconds, start_s, |second| rate(second.accepted, second));
    let delivered = steps(seconds, start_s, |second| rate(second.delivered, second));
    let most = accepted.iter().chain(&delivered).map(|point| point.1).fold(0.0, f64::max);
    let x = Scale::Linear { from: 0.0, to: end_s };
    let y = Scale::from_zero(most * 1.05);
    let mut chart = Chart::new("Deliveries accepted and delivered per second, over time", x, y);
    chart.y_axis(short);
    chart.x_axis("seconds since the first", |s| human::count(s as u64));
    chart.curve("s2", accepted.into_iter());
    chart.curve("s1", delivered.into_iter());
    let keys = legend("s1", "delivered per second") + &legend("s2", "accepted per second");
    Figure { title: "Throughput", legend: keys, svg: chart.finish() }
}

fn in_flight(seconds: &[DeliverySecond], start_s: u64, end_s: f64) -> Figure {
    let points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0))
        .chain(seconds.iter().map(|second| {
            ((second.from_s + second.seconds - start_s) as f64, second.in_flight as f64)
        }))
        .collect();
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let x = Scale::Linear { from: 0.0, to: end_s };
    let y = Scale::from_zero(most * 1.05);
    let mut chart = Chart::new("Deliveries in the server, over time", x, y);
    chart.y_axis(short);
    chart.x_axis("seconds since the first", |s| human::count(s as u64));
    chart.area(points.clone().into_iter());
    chart.curve("s1", points.into_iter());
    let keys = legend("s1", "accepted and not delivered");
    Figure { title: "In the server", legend: keys, svg: chart.finish() }
}
